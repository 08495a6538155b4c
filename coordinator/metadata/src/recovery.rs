//! What the disks of nodes tell `ottla cluster recover`: collected on every machine, read where the store is
//! put right. One JSON document a node.

use std::collections::BTreeMap;

use ottla_protocol::Uuid;
use serde::{Deserialize, Serialize};

use crate::model::{PreviousLife, Recovery, Rest, Value};

/// What one broker's log directories hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BrokerFacts {
    /// The broker's id.
    pub broker: i32,
    /// The cluster that its directories belong to.
    pub cluster_id: String,
    /// How its last life ended: the worst of all its directories.
    pub previous: PreviousLife,
    /// The last recovery that it knows of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
    /// The ids of its directories, with their paths for people.
    pub dirs: BTreeMap<String, String>,
    /// All logs in them.
    pub logs: Vec<LogFacts>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Value for BrokerFacts {}

/// What one replica's log holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogFacts {
    /// The topic's name.
    pub topic: String,
    /// The topic's id; zero where the folder does not say.
    #[serde(with = "crate::model::value::uuid")]
    pub topic_id: Uuid,
    /// The partition.
    pub partition: i32,
    /// The directory that it is in.
    #[serde(with = "crate::model::value::uuid")]
    pub dir: Uuid,
    /// The first offset.
    pub log_start: i64,
    /// The offset behind the last sound record.
    pub log_end: i64,
    /// The newest leader epoch that the log took note of; -1 if there is none.
    pub leader_epoch: i32,
    /// The high watermark as it was last written; what is below it was acknowledged. 0 if it never was.
    #[serde(default)]
    pub high_watermark: i64,
    /// What was synced, as the disk says; more than `log_end` if it lost some of that.
    #[serde(default)]
    pub synced_end: i64,
    /// The highest producer id that was met in it; -1 if there is none.
    pub max_producer_id: i64,
    /// Why it cannot be read, if so. Its offsets and epoch mean nothing then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{decode, encode};

    #[test]
    fn facts_travel_as_a_document_with_a_version() {
        let facts = BrokerFacts {
            broker: 3,
            cluster_id: "c".into(),
            previous: PreviousLife::Clean { broker_epoch: 7 },
            recovery: Some(Recovery { number: 2, id: Uuid::ONE }),
            dirs: BTreeMap::from([(Uuid::ONE.to_string(), "/data".to_owned())]),
            logs: vec![LogFacts {
                topic: "t".into(),
                topic_id: Uuid::ONE,
                partition: 1,
                dir: Uuid::ONE,
                log_start: 0,
                log_end: 9,
                leader_epoch: 4,
                high_watermark: 8,
                synced_end: 9,
                max_producer_id: -1,
                unreadable: None,
            }],
            rest: Rest::new(),
        };
        let text = encode(&facts);
        assert!(text.starts_with(br#"{"v":1,"broker":3,"#));
        assert_eq!(decode::<BrokerFacts>("facts", &text).unwrap(), facts);
        assert!(decode::<BrokerFacts>("facts", br#"{"v":2}"#).is_err());
    }
}
