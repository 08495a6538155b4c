//! Which process listens where, and the files that say so to it.

use std::{fmt::Write, net::SocketAddr, path::Path};

use super::Shape;
use crate::harness::{
    PortBlock,
    links::{Links, Role},
};

/// Members of etcd, and coordinators, that a block of ports has room for.
pub(super) const FEW: u16 = 5;
/// Brokers that a block of ports has room for.
pub(super) const BROKERS: u16 = 8;

const ETCD: u16 = 0;
const COORDINATOR: u16 = ETCD + 2 * FEW;
const BROKER: u16 = COORDINATOR + 2 * FEW;
const BROKER_HTTP: u16 = BROKER + BROKERS;
const BROKER_INTERNAL: u16 = BROKER_HTTP + BROKERS;
const PORTS: u16 = BROKER_INTERNAL + BROKERS;

/// The addresses of a cluster. Ids count from 1.
#[derive(Debug)]
pub(super) struct Layout {
    ports: PortBlock,
}

impl Layout {
    pub(super) fn claim() -> Self {
        Self { ports: PortBlock::of(PORTS) }
    }

    pub(super) fn etcd_client(&self, id: u16) -> SocketAddr {
        self.at(ETCD + 2 * (id - 1))
    }

    pub(super) fn etcd_peer(&self, id: u16) -> SocketAddr {
        self.at(ETCD + 2 * (id - 1) + 1)
    }

    pub(super) fn coordinator_http(&self, id: u16) -> SocketAddr {
        self.at(COORDINATOR + 2 * (id - 1))
    }

    pub(super) fn coordinator_internode(&self, id: u16) -> SocketAddr {
        self.at(COORDINATOR + 2 * (id - 1) + 1)
    }

    pub(super) fn broker(&self, id: u16) -> SocketAddr {
        self.at(BROKER + id - 1)
    }

    pub(super) fn broker_http(&self, id: u16) -> SocketAddr {
        self.at(BROKER_HTTP + id - 1)
    }

    pub(super) fn broker_internal(&self, id: u16) -> SocketAddr {
        self.at(BROKER_INTERNAL + id - 1)
    }

    fn at(&self, index: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports.port(index)))
    }

    /// `server.properties` of a broker.
    pub(super) fn broker_properties(
        &self,
        id: u16,
        log_dir: &Path,
        shape: &Shape,
        links: Option<&Links>,
    ) -> String {
        let mut text = format!(
            "broker.id={id}\nlog.dirs={}\nhttp.listener={}\netcd.endpoints={}\n",
            log_dir.display(),
            self.broker_http(id),
            self.etcd_endpoints(shape.etcds, links),
        );
        let (client, internal) = (self.broker(id), self.broker_internal(id));
        match links {
            None => line(&mut text, "listeners", &format!("PLAINTEXT://{client}")),
            Some(links) => {
                let both = |a, b| format!("PLAINTEXT://{a},INTERNAL://{b}");
                let role = Role::Broker(id);
                line(&mut text, "listeners", &both(client, internal));
                let advertised = both(links.front(role, client), links.front(role, internal));
                line(&mut text, "advertised.listeners", &advertised);
                line(&mut text, "inter.broker.listener.name", "INTERNAL");
                let protocols = "PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT";
                line(&mut text, "listener.security.protocol.map", protocols);
            }
        }
        append(&mut text, &shape.broker_settings);
        text
    }

    /// The properties of a coordinator.
    pub(super) fn coordinator_properties(
        &self,
        id: u16,
        data_dir: &Path,
        shape: &Shape,
        links: Option<&Links>,
    ) -> String {
        let internode = self.coordinator_internode(id);
        let mut text = format!(
            "node.id={id}\nhttp.listener={}\ninternode.listener={internode}\n\
             etcd.endpoints={}\ndata.dir={}\n",
            self.coordinator_http(id),
            self.etcd_endpoints(shape.etcds, links),
            data_dir.display(),
        );
        if let Some(links) = links {
            let front = links.front(Role::Coordinator(id), internode).to_string();
            line(&mut text, "internode.advertised.listener", &front);
        }
        append(&mut text, &shape.coordinator_settings);
        text
    }

    fn etcd_endpoints(&self, etcds: u16, links: Option<&Links>) -> String {
        let endpoint = |id| {
            let client = self.etcd_client(id);
            let address = links.map_or(client, |links| links.front(Role::Etcd(id), client));
            format!("http://{address}")
        };
        (1..=etcds).map(endpoint).collect::<Vec<_>>().join(",")
    }
}

fn line(text: &mut String, name: &str, value: &str) {
    writeln!(text, "{name}={value}").expect("a string takes it");
}

fn append(text: &mut String, lines: &[String]) {
    for line in lines {
        writeln!(text, "{line}").expect("a string takes it");
    }
}
