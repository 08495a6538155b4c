//! Three brokers, of either make.

use std::{net::SocketAddr, path::PathBuf};

use ottla_integration_tests::harness::{ApacheKafka, Cluster};

/// Brokers 1 to 3.
pub trait Servers {
    /// Where a broker listens.
    fn address(&self, id: u16) -> SocketAddr;
    /// A broker's log directory.
    fn log_dir(&self, id: u16) -> PathBuf;
    /// SIGKILL.
    fn kill(&mut self, id: u16);
    /// Waits until nothing claims any more that a broker which was killed is alive.
    fn await_lapse(&self, id: u16);
    /// Starts a broker that was killed; returns when it answers.
    fn start(&mut self, id: u16);
}

impl Servers for Cluster {
    fn address(&self, id: u16) -> SocketAddr {
        self.broker_address(id)
    }

    fn log_dir(&self, id: u16) -> PathBuf {
        self.broker_log_dir(id)
    }

    fn kill(&mut self, id: u16) {
        self.broker(id).kill();
    }

    fn await_lapse(&self, id: u16) {
        self.await_claim_lapsed(id);
    }

    fn start(&mut self, id: u16) {
        self.restart_broker(id);
    }
}

impl Servers for ApacheKafka {
    fn address(&self, id: u16) -> SocketAddr {
        ApacheKafka::address(self, id)
    }

    fn log_dir(&self, id: u16) -> PathBuf {
        ApacheKafka::log_dir(self, id)
    }

    fn kill(&mut self, id: u16) {
        ApacheKafka::kill(self, id);
    }

    fn await_lapse(&self, _id: u16) {}

    fn start(&mut self, id: u16) {
        self.restart(id);
    }
}
