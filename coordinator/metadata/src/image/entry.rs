//! One key of the image, decoded.

use std::sync::Arc;

use super::picture::Versioned;
use crate::keys::{ConfigResource, Key, KeySpace};
use crate::model::{
    BrokerClaim, BrokerRecord, Cluster, ConfigEntry, Controller, DeletedTopic, ModelError,
    Partition, ProducerIds, Topic, Value, decode,
};
use crate::store::KeyValue;
use ottla_protocol::Uuid;

/// A decoded key.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    Cluster(Arc<Versioned<Cluster>>),
    Controller(Arc<Versioned<Controller>>),
    Claim(i32, Arc<Versioned<BrokerClaim>>),
    Coordinator(i32, Arc<Versioned<Controller>>),
    Broker(i32, Arc<Versioned<BrokerRecord>>),
    Topic(String, Arc<Versioned<Topic>>),
    Partition(Uuid, i32, Arc<Versioned<Partition>>),
    Deleted(Uuid, Arc<Versioned<DeletedTopic>>),
    Config(ConfigResource, Arc<Versioned<ConfigEntry>>),
    ProducerIds(Arc<Versioned<ProducerIds>>),
    /// A key that the image does not keep: access rules and the like, or a kind that a later version added.
    Other,
}

impl Entry {
    pub(super) fn decode(keys: &KeySpace, kv: &KeyValue) -> Result<Self, ModelError> {
        let Ok(key) = keys.parse(&kv.key) else { return Ok(Self::Other) };
        let shown = String::from_utf8_lossy(&kv.key);
        Ok(match key {
            Key::Cluster => Self::Cluster(cluster(&shown, kv)?),
            Key::Controller => Self::Controller(versioned(&shown, kv)?),
            Key::BrokerClaim(id) => Self::Claim(id, versioned(&shown, kv)?),
            Key::CoordinatorClaim(id) => Self::Coordinator(id, versioned(&shown, kv)?),
            Key::Broker(id) => Self::Broker(id, versioned(&shown, kv)?),
            Key::Topic(name) => Self::Topic(name, versioned(&shown, kv)?),
            Key::Partition(topic, number) => Self::Partition(topic, number, versioned(&shown, kv)?),
            Key::Deleted(topic) => Self::Deleted(topic, versioned(&shown, kv)?),
            Key::Config(resource) => Self::Config(resource, versioned(&shown, kv)?),
            Key::ProducerIds => Self::ProducerIds(versioned(&shown, kv)?),
            Key::Acl(_) | Key::Scram { .. } | Key::Quota(_) | Key::Token(_) | Key::Shard(..) => {
                Self::Other
            }
        })
    }
}

/// A layout of the key space that this process does not know says that it knows nothing of the cluster.
fn cluster(shown: &str, kv: &KeyValue) -> Result<Arc<Versioned<Cluster>>, ModelError> {
    let cluster: Arc<Versioned<Cluster>> = versioned(shown, kv)?;
    let (found, supported) = (cluster.format_version, Cluster::FORMAT_VERSION);
    if supported < found {
        let key = format!("format_version in {shown}");
        return Err(ModelError::NewerVersion { key, found, supported });
    }
    Ok(cluster)
}

fn versioned<T: Value>(shown: &str, kv: &KeyValue) -> Result<Arc<Versioned<T>>, ModelError> {
    Ok(Arc::new(Versioned {
        value: decode(shown, &kv.value)?,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
    }))
}
