//! Brokers on machines of their own: disks that fail, and power that can be cut.
//!
//! A process that is killed loses nothing that the kernel holds, and so says nothing about disks. These brokers run in
//! `ottla-fault-broker`, which forgets on order what was not synced, and come back with another boot id.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::Command,
};

use super::{Cluster, Role, binary};
use crate::disk_order::{DiskOrder, POWER_OFF_STATUS};

/// The machines under a cluster's brokers.
#[derive(Debug)]
pub struct Machines {
    log_dirs: usize,
    /// How often each was switched on.
    boots: Vec<u32>,
}

impl Machines {
    /// Stops the brokers that run and starts them again on such machines, each with so many log dirs, and waits until they
    /// are ready.
    ///
    /// # Panics
    /// As [`super::Process::stop`] and [`Cluster::await_ready`].
    #[must_use]
    pub fn under(cluster: &mut Cluster, log_dirs: usize) -> Self {
        let mut machines = Self { log_dirs, boots: vec![0; cluster.brokers.len()] };
        for broker in &mut cluster.brokers {
            broker.stop();
        }
        for id in 1..=u16::try_from(cluster.brokers.len()).expect("few brokers") {
            machines.switch_on(cluster, id);
        }
        cluster.await_ready();
        machines
    }

    /// Log dir `number` of broker `id`; the first is the cluster's own.
    #[must_use]
    pub fn log_dir(&self, cluster: &Cluster, id: u16, number: usize) -> PathBuf {
        let first = cluster.broker_log_dir(id);
        if number == 0 { first } else { first.with_file_name(format!("broker-{id}-{number}")) }
    }

    /// Broker `id` is gone from one moment to the next, and what it had not synced is, too.
    ///
    /// # Panics
    /// When it does not run, or ends otherwise.
    pub fn cut_power(&self, cluster: &mut Cluster, id: u16) {
        let mut stream = self.send(cluster, id, &DiskOrder::CutPower);
        let mut rest = Vec::new();
        // However the connection ends.
        let _ = stream.read_to_end(&mut rest);
        let broker = &mut cluster.brokers[usize::from(id) - 1];
        assert_eq!(broker.wait().code(), Some(POWER_OFF_STATUS), "{}", broker.log_text());
    }

    /// Starts broker `id` in a new life of its machine, with disks that work, and returns at once.
    pub fn switch_on(&mut self, cluster: &mut Cluster, id: u16) {
        let index = usize::from(id) - 1;
        assert!(!cluster.brokers[index].is_running(), "broker {id} still runs");
        self.boots[index] += 1;
        let dirs = (0..self.log_dirs).map(|n| self.log_dir(cluster, id, n).display().to_string());
        let dirs = dirs.collect::<Vec<_>>().join(",");
        let mut command = Command::new(binary("ottla-fault-broker"));
        command.arg("--config").arg(cluster.folder().join(format!("server-{id}.properties")));
        command.arg("--override").arg(format!("log.dirs={dirs}"));
        command.arg("--boot-id").arg(format!("machine-{id}-boot-{}", self.boots[index]));
        command.arg("--orders").arg(orders(cluster, id));
        cluster.brokers[index] = cluster.spawn(Role::Broker(id), &format!("broker-{id}"), command);
    }

    /// Gives an order, and waits until it is carried out.
    ///
    /// # Panics
    /// When broker `id` does not run or does not understand.
    pub fn order(&self, cluster: &Cluster, id: u16, order: &DiskOrder) {
        let mut answer = String::new();
        let stream = self.send(cluster, id, order);
        BufReader::new(stream).read_line(&mut answer).expect("an answer");
        assert_eq!(answer.trim_end(), "ok", "{order}");
    }

    fn send(&self, cluster: &Cluster, id: u16, order: &DiskOrder) -> UnixStream {
        let mut stream = UnixStream::connect(orders(cluster, id)).expect("a broker that runs");
        writeln!(stream, "{order}").expect("a broker that listens");
        stream
    }
}

/// Where broker `id` takes orders.
fn orders(cluster: &Cluster, id: u16) -> PathBuf {
    cluster.folder().join(format!("orders-{id}"))
}
