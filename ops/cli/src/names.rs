//! Partitions and brokers as a person names them.

use std::str::FromStr;

use clap::Args;
use ottla_client::protocol::{Str, types::PartitionId};

/// `TOPIC`, which means all of its partitions, or `TOPIC:PARTITION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The topic.
    pub topic: Str,
    /// The partition; none means all.
    pub partition: Option<PartitionId>,
}

impl Named {
    /// Whether this partition is meant.
    pub fn means(&self, topic: &str, partition: PartitionId) -> bool {
        *self.topic == *topic && self.partition.is_none_or(|wanted| wanted == partition)
    }
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (topic, partition) = match text.rsplit_once(':') {
            None => (text, None),
            Some((topic, number)) => {
                let number = number.parse().ok().filter(|number| 0 <= *number);
                let number = number.ok_or("expected TOPIC or TOPIC:PARTITION")?;
                (topic, Some(PartitionId(number)))
            }
        };
        if topic.is_empty() {
            return Err("the topic is missing".to_owned());
        }
        Ok(Self { topic: topic.into(), partition })
    }
}

/// Where the coordinators' REST API is, for what Kafka's protocol has no request for.
#[derive(Debug, Clone, Args)]
pub struct CoordinatorUrl {
    /// REST API of any coordinator; the active one does it.
    #[arg(
        long = "coordinator",
        value_name = "URL",
        env = "OTTLA_COORDINATOR",
        default_value = "http://127.0.0.1:9080"
    )]
    pub url: String,
}

/// Numbers with commas between them.
pub fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_with_and_without_partition() {
        let all: Named = "orders".parse().unwrap();
        assert!(all.means("orders", PartitionId(7)) && !all.means("order", PartitionId(7)));
        let one: Named = "orders:3".parse().unwrap();
        assert!(one.means("orders", PartitionId(3)) && !one.means("orders", PartitionId(4)));
        for bad in ["orders:x", "orders:-1", ":1", ""] {
            assert!(bad.parse::<Named>().is_err(), "{bad}");
        }
    }
}
