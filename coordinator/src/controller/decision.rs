//! What every decision about an admin request reads and returns.

use ottla_metadata::config::ConfigMap;
use ottla_metadata::image::Image;
use ottla_protocol::time::Now;
use rand::RngCore;

use super::plan::Unit;
use super::preferred::Balance;
use crate::admin::AdminError;

/// Defaults and limits of admin requests, from `coordinator.properties`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminSettings {
    /// `num.partitions`: for topics that do not say.
    pub num_partitions: i32,
    /// `default.replication.factor`: for topics that do not say.
    pub default_replication_factor: i16,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// `max.partitions.per.request`: new partitions that one request may ask for.
    pub partitions_per_request_max: usize,
    /// `max.partitions.per.cluster`: partitions of all topics together.
    pub partitions_max: usize,
    /// When leadership goes back to preferred replicas by itself.
    pub balance: Balance,
    /// What the coordinator's file says about configs that are defaults for topics.
    pub file: ConfigMap,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self {
            num_partitions: 1,
            default_replication_factor: 1,
            delete_topic_enable: true,
            partitions_per_request_max: 10_000,
            partitions_max: 200_000,
            balance: Balance::default(),
            file: ConfigMap::new(),
        }
    }
}

/// What a decision reads.
pub struct Context<'a> {
    /// The cluster.
    pub image: &'a Image,
    /// Defaults and limits.
    pub settings: &'a AdminSettings,
    /// The time.
    pub now: Now,
    /// Where ids and ties come from.
    pub random: &'a mut dyn RngCore,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("revision", &self.image.revision()).finish_non_exhaustive()
    }
}

/// What is answered once it is true, and what makes it true.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<T> {
    /// One result for each item of the request, in its order.
    pub results: Vec<Result<T, AdminError>>,
    /// What to write. A unit that completes an item makes its result true; an item that no unit completes
    /// is true already, or failed.
    pub units: Vec<Unit>,
}

impl<T> Decision<T> {
    /// Nothing is written.
    pub fn without_writes(results: Vec<Result<T, AdminError>>) -> Self {
        Self { results, units: Vec::new() }
    }
}

/// The indices of items that name what another item of the same request names too.
pub(super) fn duplicates<K: Ord>(keys: impl Iterator<Item = K>) -> Vec<bool> {
    let keys: Vec<K> = keys.collect();
    let mut count = std::collections::BTreeMap::new();
    for key in &keys {
        *count.entry(key).or_insert(0u32) += 1;
    }
    keys.iter().map(|key| 1 < count.get(key).copied().unwrap_or(0)).collect()
}
