//! What the image asks of this broker, without any IO.

use std::sync::Arc;

use ottla_metadata::config::{ConfigMap, Layers, ServerConfig, TopicConfig};
use ottla_metadata::image::{Image, Versioned};
use ottla_metadata::keys::ConfigResource;
use ottla_metadata::model::{Partition, Topic};
use ottla_protocol::types::{BrokerId, LeaderEpoch};

use crate::partition::{Assignment, TopicSettings};

/// Resolves topics' configurations: their own, then what is set for this broker, for all brokers, in the
/// node's file, then the default.
#[derive(Debug, Clone)]
pub struct SettingsResolver {
    broker: BrokerId,
    server: Arc<ServerConfig>,
}

impl SettingsResolver {
    /// For `broker`, whose node's file is `server`.
    pub const fn new(broker: BrokerId, server: Arc<ServerConfig>) -> Self {
        Self { broker, server }
    }

    /// Of a topic that may be unknown.
    pub fn by_name(&self, image: &Image, name: &str) -> TopicSettings {
        match image.topic(name) {
            Some(topic) => self.of_topic(image, topic),
            None => self.resolve(image, &ConfigMap::new(), false),
        }
    }

    /// Of a topic.
    pub fn of_topic(&self, image: &Image, topic: &Topic) -> TopicSettings {
        self.resolve(image, &topic.configs, topic.internal)
    }

    fn resolve(&self, image: &Image, own: &ConfigMap, is_internal: bool) -> TopicSettings {
        static EMPTY: ConfigMap = ConfigMap::new();
        let dynamic =
            |resource: &ConfigResource| image.config(resource).map(|entry| &entry.configs);
        let layers = Layers {
            own,
            dynamic_broker: dynamic(&ConfigResource::Broker(self.broker.0)).unwrap_or(&EMPTY),
            dynamic_default: dynamic(&ConfigResource::BrokerDefault).unwrap_or(&EMPTY),
            file: self.server.values(),
        };
        match TopicConfig::resolve(&layers) {
            Ok(config) => {
                let mut settings = TopicSettings::new(&config, is_internal);
                let log = Arc::make_mut(&mut settings.log);
                log.producer_id_expiration = self.server.millis("producer.id.expiration.ms");
                settings
            }
            Err(error) => {
                tracing::error!(%error, "a config that was stored is not valid; the defaults are used");
                TopicSettings { is_internal, ..TopicSettings::default() }
            }
        }
    }
}

/// Whether this broker is to have a replica.
pub fn is_replica(partition: &Partition, broker: BrokerId) -> bool {
    partition.replicas.contains(&broker.0)
}

/// Who leads, and who may be in sync. This broker leads only in the life that the election meant.
pub fn assignment(
    image: &Image,
    partition: &Versioned<Partition>,
    (broker, broker_epoch): (BrokerId, i64),
) -> Assignment {
    let leads = partition.leader == broker.0
        && partition.leader_broker_epoch == broker_epoch
        && broker_epoch != NO_EPOCH;
    let ids = |ids: &[i32]| ids.iter().map(|id| BrokerId(*id)).collect();
    let eligible = |id: &i32| {
        let record = image.broker(*id).filter(|record| record.is_active())?;
        Some((BrokerId(*id), record.broker_epoch))
    };
    Assignment {
        leader: BrokerId(partition.leader),
        leader_epoch: LeaderEpoch(partition.leader_epoch),
        partition_epoch: partition.mod_revision,
        leads,
        replicas: ids(&partition.replicas),
        in_sync: ids(&partition.isr),
        eligible: partition.replicas.iter().filter_map(eligible).collect(),
        is_recovering: partition.recovering,
    }
}

/// Whom this broker has to follow, and in which epoch, if somebody else leads.
pub fn leader_to_follow(
    partition: &Partition,
    broker: BrokerId,
) -> Option<(BrokerId, LeaderEpoch)> {
    let leader = partition.leader().filter(|leader| *leader != broker.0)?;
    is_replica(partition, broker).then_some((BrokerId(leader), LeaderEpoch(partition.leader_epoch)))
}

/// Before the first claim.
const NO_EPOCH: i64 = -1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ImageBuilder;

    fn partition(leader: i32, leader_broker_epoch: i64) -> Versioned<Partition> {
        let value = Partition {
            replicas: vec![1, 2, 3],
            log_dirs: vec![],
            adding: vec![],
            removing: vec![],
            isr: vec![1],
            elr: vec![],
            last_known_elr: vec![],
            leader,
            leader_epoch: 4,
            leader_broker_epoch,
            recovering: false,
            rest: Default::default(),
        };
        Versioned { value, create_revision: 7, mod_revision: 9 }
    }

    #[test]
    fn replicas_follow_whoever_else_leads() {
        let follows = |leader, broker| {
            let found = leader_to_follow(&partition(leader, 10), BrokerId(broker));
            found.map(|(leader, epoch)| (leader.0, epoch.0))
        };
        assert_eq!(follows(2, 1), Some((2, 4)));
        assert_eq!(follows(1, 1), None, "also not in another life");
        assert_eq!(follows(-1, 1), None);
        assert_eq!(follows(2, 9), None, "it has no replica");
    }

    #[test]
    fn leads_only_in_the_life_that_was_elected() {
        let leads = |leader, elected, epoch| {
            let image = Image::default();
            assignment(&image, &partition(leader, elected), (BrokerId(1), epoch)).leads
        };
        assert!(leads(1, 10, 10));
        assert!(!leads(1, 9, 10), "a former life was elected");
        assert!(!leads(1, 11, 10), "a later life was elected");
        assert!(!leads(2, 10, 10));
        assert!(!leads(1, -1, -1), "nobody leads before the first claim");
    }

    #[test]
    fn only_active_replicas_may_be_in_sync_each_in_its_present_life() {
        let image =
            ImageBuilder::new().broker(1, false, &[]).broker(2, true, &[]).broker(3, false, &[]);
        let assignment = assignment(&image.build(), &partition(1, 100), (BrokerId(1), 100));
        assert_eq!(assignment.eligible, [(BrokerId(1), 100), (BrokerId(3), 300)]);
        assert_eq!(assignment.partition_epoch, 9);
    }
}
