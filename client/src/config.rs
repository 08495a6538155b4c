//! What producer, consumer and admin calls have in common.

use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::Str;

use crate::backoff::Backoff;
use crate::connection::{
    Address, ConnectionOptions, Connector, ParseAddressError, Software, TcpConnector,
};

/// How a client reaches its cluster. Names in `code` are those of Kafka's own settings.
#[derive(Clone)]
pub struct ClientConfig {
    /// Where to ask for the cluster's brokers first: `bootstrap.servers`. No default.
    pub bootstrap_servers: Vec<Address>,
    /// What brokers log and count the client as: `client.id`. Default `ottla`.
    pub client_id: Str,
    /// Name and version that brokers are told.
    pub software: Software,
    /// How long one request may take: `request.timeout.ms`. Default 30 s.
    pub request_timeout: Duration,
    /// How long a call with all its retries may take: `default.api.timeout.ms`. Default 60 s.
    pub api_timeout: Duration,
    /// Age at which metadata is fetched anew: `metadata.max.age.ms`. Default 5 min.
    pub metadata_max_age: Duration,
    /// Between attempts to connect: `reconnect.backoff.ms` and `.max.ms`. Default 50 ms to 1 s.
    pub reconnect_backoff: Backoff,
    /// Between attempts of a call: `retry.backoff.ms` and `.max.ms`. Default 100 ms to 1 s.
    pub retry_backoff: Backoff,
    /// Whether asking for a topic that does not exist creates it, where the broker does so: `allow.auto.create.topics`.
    /// Default yes.
    pub allow_auto_create_topics: bool,
    /// Bytes of an answer: above `fetch.max.bytes` and the largest batch. Default 128 MiB.
    pub answer_bytes_max: usize,
    /// Makes the connections. Default TCP with a timeout of 10 s (`socket.connection.setup.timeout.ms`).
    pub connector: Arc<dyn Connector>,
}

impl ClientConfig {
    /// Defaults, for a cluster reached through `bootstrap_servers`: `host:port,host:port`.
    pub fn new(bootstrap_servers: &str) -> Result<Self, ParseAddressError> {
        let addresses: Vec<Address> = bootstrap_servers
            .split(',')
            .map(str::trim)
            .filter(|address| !address.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        if addresses.is_empty() {
            return Err(ParseAddressError(bootstrap_servers.to_owned()));
        }
        Ok(Self::to(addresses))
    }

    /// Defaults, for a cluster reached through these addresses.
    pub fn to(bootstrap_servers: Vec<Address>) -> Self {
        Self {
            bootstrap_servers,
            client_id: Str::from_static("ottla"),
            software: Software::default(),
            request_timeout: Duration::from_secs(30),
            api_timeout: Duration::from_secs(60),
            metadata_max_age: Duration::from_secs(300),
            reconnect_backoff: Backoff {
                initial: Duration::from_millis(50),
                max: Duration::from_secs(1),
            },
            retry_backoff: Backoff {
                initial: Duration::from_millis(100),
                max: Duration::from_secs(1),
            },
            allow_auto_create_topics: true,
            answer_bytes_max: ConnectionOptions::default().answer_bytes_max,
            connector: Arc::new(TcpConnector::default()),
        }
    }

    pub(crate) fn connection_options(&self) -> ConnectionOptions {
        ConnectionOptions {
            client_id: Some(self.client_id.clone()),
            request_timeout: self.request_timeout,
            answer_bytes_max: self.answer_bytes_max,
            ..ConnectionOptions::default()
        }
    }
}

impl std::fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientConfig")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootstrap_servers_are_a_list() {
        let config = ClientConfig::new("a:1, [::1]:2,,").unwrap();
        let addresses: Vec<_> = config.bootstrap_servers.iter().map(Address::to_string).collect();
        assert_eq!(addresses, ["a:1", "[::1]:2"]);
        for wrong in ["", ",", "a:1,b"] {
            assert!(ClientConfig::new(wrong).is_err(), "{wrong}");
        }
    }
}
