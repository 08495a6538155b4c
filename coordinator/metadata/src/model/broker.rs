//! Brokers: what one says about itself, and what the controller made of it.

use std::collections::BTreeMap;

use ottla_protocol::Uuid;
use serde::{Deserialize, Serialize};

use super::controller::Endpoint;
use super::{Rest, Value};

/// How bytes on a listener are protected; names are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL without encryption.
    SaslPlaintext,
    /// SASL inside TLS.
    SaslSsl,
}

/// Where a listener of a broker can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The listener's name, upper case.
    pub name: String,
    /// The advertised host.
    pub host: String,
    /// The advertised port.
    pub port: u16,
    /// How it is protected.
    pub security_protocol: SecurityProtocol,
}

/// What the claimant knows of its node's previous life: decides whether the broker may keep its seats
/// in ISR and ELR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum PreviousLife {
    /// There was none: the log directories are new.
    None,
    /// Drained and stopped; everything was synced.
    Clean {
        /// The broker epoch of that life.
        broker_epoch: i64,
    },
    /// The process died, the machine lived on and no IO failed: the page cache kept what was written.
    ProcessCrash {
        /// The broker epoch of that life.
        broker_epoch: i64,
    },
    /// The machine went down, or it cannot be shown that it did not: unsynced writes may be gone.
    MachineCrash {
        /// The broker epoch of that life, -1 if even that is not known.
        broker_epoch: i64,
    },
}

/// The levels of a feature that a node supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureRange {
    /// Lowest level.
    pub min: i16,
    /// Highest level.
    pub max: i16,
}

/// The key `claims/brokers/<id>`: written by the broker under its lease. It is only a claim to be alive;
/// its create revision becomes the broker epoch when the controller accepts it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BrokerClaim {
    /// Every listener that clients or nodes may use.
    pub listeners: Vec<Listener>,
    /// The name of the listener that other brokers use.
    pub inter_broker_listener: String,
    /// `broker.rack`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
    /// The ids of the usable log directories.
    #[serde(with = "super::value::uuids")]
    pub log_dirs: Vec<Uuid>,
    /// The boot id of the machine.
    pub boot_id: String,
    /// Drawn at each start of the process, so that a claim tells its writer from a namesake.
    #[serde(with = "super::value::uuid")]
    pub incarnation_id: Uuid,
    /// The version of the program, for people.
    pub version: String,
    /// How this node's previous life ended.
    pub previous: PreviousLife,
    /// Supported feature levels by name.
    #[serde(default)]
    pub features: BTreeMap<String, FeatureRange>,
    /// Health and metrics, when served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Endpoint>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Value for BrokerClaim {}

/// The key `brokers/<id>`: written by the controller only. Readers of the image need nothing of the claim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BrokerRecord {
    /// The create revision of the claim that this record judged.
    pub broker_epoch: i64,
    /// Neither electable nor eligible for an ISR.
    pub fenced: bool,
    /// Going to stop: leads nothing new, and is not waited for.
    #[serde(default)]
    pub draining: bool,
    /// Copied from the claim.
    pub boot_id: String,
    /// Copied from the claim.
    #[serde(with = "super::value::uuid")]
    pub incarnation_id: Uuid,
    /// Copied from the claim.
    pub listeners: Vec<Listener>,
    /// Copied from the claim.
    pub inter_broker_listener: String,
    /// Copied from the claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
    /// Copied from the claim: the log directories that were usable at the start.
    #[serde(with = "super::value::uuids")]
    pub log_dirs: Vec<Uuid>,
    /// Log directories that failed since.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "super::value::uuids")]
    pub offline_log_dirs: Vec<Uuid>,
    /// Copied from the claim.
    #[serde(default)]
    pub features: BTreeMap<String, FeatureRange>,
    /// Copied from the claim.
    #[serde(default)]
    pub version: String,
    /// Copied from the claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Endpoint>,
    /// Written by `ottla cluster recover`, which looked into the log directories: how their last life had
    /// ended. A claim that says the same finds them as they were then, so that the broker keeps its seats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered: Option<PreviousLife>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub rest: Rest,
}

impl BrokerRecord {
    /// The address of the listener called `name`.
    pub fn listener(&self, name: &str) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.name == name)
    }

    /// True if the broker may lead and be in an ISR.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.draining
    }
}

impl Value for BrokerRecord {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{decode, encode};

    #[test]
    fn claim_reads_as_a_person_expects() {
        let claim = BrokerClaim {
            listeners: vec![Listener {
                name: "CLIENT".into(),
                host: "::1".into(),
                port: 9092,
                security_protocol: SecurityProtocol::SaslPlaintext,
            }],
            inter_broker_listener: "CLIENT".into(),
            rack: None,
            log_dirs: vec![Uuid::ONE],
            boot_id: "b".into(),
            incarnation_id: Uuid::ONE,
            version: "0.1.0".into(),
            previous: PreviousLife::ProcessCrash { broker_epoch: 12 },
            features: BTreeMap::new(),
            http: None,
            rest: Rest::new(),
        };
        let text = encode(&claim);
        let shown = std::str::from_utf8(&text).unwrap();
        assert!(shown.starts_with(r#"{"v":1,"#), "{shown}");
        assert!(
            shown.contains(r#""previous":{"end":"process_crash","broker_epoch":12}"#),
            "{shown}"
        );
        assert!(shown.contains(r#""log_dirs":["AAAAAAAAAAAAAAAAAAAAAQ"]"#), "{shown}");
        assert!(shown.contains(r#""security_protocol":"SASL_PLAINTEXT""#), "{shown}");
        assert_eq!(decode::<BrokerClaim>("k", &text).unwrap(), claim);
    }
}
