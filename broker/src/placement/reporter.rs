//! The task that takes placements to the controller.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::image::{Image, ImageReader};
use ottla_protocol::messages::assign_replicas_to_dirs_request::{
    AssignReplicasToDirsRequest, DirectoryData, PartitionData, TopicData,
};
use ottla_protocol::messages::assign_replicas_to_dirs_response::AssignReplicasToDirsResponse;
use ottla_protocol::types::BrokerId;
use ottla_protocol::{ErrorCode, Uuid};
use tokio_util::sync::CancellationToken;

use super::Placements;
use super::placements::Key;
use crate::identity::Identity;
use crate::relay::Relay;

/// Sends one AssignReplicasToDirs at a time.
#[derive(Debug)]
pub struct Reporter {
    placements: Arc<Placements>,
    relay: Relay,
    identity: Arc<Identity>,
    image: ImageReader,
    /// Not accepted yet.
    open: BTreeMap<Key, Uuid>,
}

/// Replicas in one request.
const REPORTED_TOGETHER: usize = 1000;
/// Pause after a request of which something was not accepted; doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl Reporter {
    /// Takes what the assigner puts into `placements`.
    pub fn new(
        placements: Arc<Placements>,
        relay: Relay,
        identity: Arc<Identity>,
        image: ImageReader,
    ) -> Self {
        Self { placements, relay, identity, image, open: BTreeMap::new() }
    }

    /// Reports until `stop`. What is left then is put down again in the next life.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.report_all() => {}
        }
    }

    async fn report_all(&mut self) {
        let mut failures = 0u32;
        loop {
            if self.open.is_empty() {
                self.placements.arrived().await;
            }
            self.open.append(&mut self.placements.take());
            let (image, broker) = (self.image.load(), self.identity.broker_id);
            // What changes later, the assigner puts down anew.
            self.open.retain(|key, directory| is_news(&image, (broker, *key), *directory));
            if self.open.is_empty() {
                continue;
            }
            if self.report().await {
                failures = 0;
                continue;
            }
            failures = failures.saturating_add(1);
            let pause = PAUSE_MIN.saturating_mul(1 << failures.min(8)).min(PAUSE_MAX);
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends as much as one request takes; true if all of that was accepted.
    async fn report(&mut self) -> bool {
        let identity = &self.identity;
        let sent = self.open.iter().take(REPORTED_TOGETHER);
        let expected = sent.len();
        let request = request((identity.broker_id, identity.broker_epoch()), sent);
        let response = match self.relay.assign_replicas_to_dirs(request).await {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!(%error, "the controller cannot be told of log directories now");
                return false;
            }
        };
        let error = ErrorCode::from_code(response.error_code);
        if error != ErrorCode::None {
            let error = error.name();
            tracing::warn!(error, "the controller cannot be told of log directories now");
            return false;
        }
        self.settle(&response) == expected
    }

    /// Forgets what was accepted; returns how many that were.
    fn settle(&mut self, response: &AssignReplicasToDirsResponse) -> usize {
        let mut accepted = 0;
        for directory in &response.directories {
            for topic in &directory.topics {
                for partition in &topic.partitions {
                    let key = (topic.topic_id, partition.partition_index);
                    let error = ErrorCode::from_code(partition.error_code);
                    if error != ErrorCode::None {
                        let (topic_id, partition) = key;
                        tracing::warn!(%topic_id, partition, error = error.name(),
                            "the controller did not note the log directory of a replica");
                    } else if self.open.get(&key) == Some(&directory.id) {
                        self.open.remove(&key);
                        accepted += 1;
                    }
                }
            }
        }
        accepted
    }
}

/// Whether the cluster wants a replica here and believes it in another directory.
fn is_news(image: &Image, (broker, key): (BrokerId, Key), directory: Uuid) -> bool {
    image.partition(key.0, key.1).is_some_and(|partition| {
        partition.replicas.contains(&broker.0) && partition.log_dir_of(broker.0) != directory
    })
}

fn request<'a>(
    (broker, broker_epoch): (BrokerId, i64),
    placed: impl Iterator<Item = (&'a Key, &'a Uuid)>,
) -> AssignReplicasToDirsRequest {
    let mut directories: BTreeMap<Uuid, Vec<TopicData>> = BTreeMap::new();
    for ((topic_id, partition_index), directory) in placed {
        let topics = directories.entry(*directory).or_default();
        let partition =
            PartitionData { partition_index: *partition_index, ..PartitionData::default() };
        match topics.last_mut() {
            // Placements come in the order of their topics.
            Some(topic) if topic.topic_id == *topic_id => topic.partitions.push(partition),
            _ => topics.push(TopicData {
                topic_id: *topic_id,
                partitions: vec![partition],
                ..TopicData::default()
            }),
        }
    }
    let directories = directories.into_iter();
    AssignReplicasToDirsRequest {
        broker_id: broker.0,
        broker_epoch,
        directories: directories
            .map(|(id, topics)| DirectoryData { id, topics, ..DirectoryData::default() })
            .collect(),
        ..AssignReplicasToDirsRequest::default()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
