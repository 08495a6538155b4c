//! The listeners of a broker as a list.

use ottla_metadata::config::ServerConfig;
use ottla_metadata::config::listeners::host_or_loopback;
use ottla_protocol::Str;

use super::ConfigError;
use crate::listener::{Endpoint, SecurityProtocol};

/// One listener: where it is bound, what it speaks, and what clients are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Its name, upper case.
    pub name: String,
    /// What its connections speak.
    pub protocol: SecurityProtocol,
    /// Host to bind; empty = loopback.
    pub host: String,
    /// Port to bind; 0 lets the system choose.
    pub port: u16,
    /// Host that clients are told.
    pub advertised_host: String,
    /// Port that clients are told; 0 = the one that is bound.
    pub advertised_port: u16,
}

impl ListenerConfig {
    /// What to bind.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            name: Str::from(self.name.as_str()),
            protocol: self.protocol,
            host: self.host.clone(),
            port: self.port,
        }
    }
}

pub(super) fn listeners(server: &ServerConfig) -> Result<Vec<ListenerConfig>, ConfigError> {
    let wrong = |problem: String| ConfigError::Unsupported { name: "listeners", problem };
    let mut all = Vec::new();
    for (bound, advertised) in server.listeners().into_iter().zip(server.advertised_listeners()) {
        let name = bound.name;
        let protocol = server
            .listener_protocol(&name)
            .ok_or_else(|| wrong(format!("the listener {name} has no security protocol")))?;
        if protocol != SecurityProtocol::Plaintext {
            let lacks = if protocol.authenticates() { "SASL" } else { "TLS" };
            return Err(wrong(format!(
                "the listener {name} speaks {}, but {lacks} is not built yet; use PLAINTEXT",
                protocol.name()
            )));
        }
        all.push(ListenerConfig {
            name,
            protocol,
            host: bound.host,
            port: bound.port,
            advertised_host: host_or_loopback(&advertised.host).to_owned(),
            advertised_port: advertised.port,
        });
    }
    if all.is_empty() {
        return Err(wrong(
            "there is none; name at least one, such as PLAINTEXT://:9092".to_owned(),
        ));
    }
    Ok(all)
}

pub(super) fn inter_broker(
    server: &ServerConfig,
    listeners: &[ListenerConfig],
) -> Result<String, ConfigError> {
    if let Some(name) = server.text("inter.broker.listener.name") {
        return Ok(name.to_ascii_uppercase());
    }
    let protocol = server.text("security.inter.broker.protocol").unwrap_or_default();
    let found = listeners.iter().find(|l| l.protocol.name().eq_ignore_ascii_case(&protocol));
    let found = found.ok_or_else(|| ConfigError::Unsupported {
        name: "security.inter.broker.protocol",
        problem: format!("no listener speaks {protocol}; set inter.broker.listener.name"),
    })?;
    Ok(found.name.clone())
}
