//! AlterReplicaLogDirs, 1 to 2: in which log directory of this broker a replica is to be.
//!
//! - A replica that is not here yet is REPLICA_NOT_AVAILABLE, and will be made in that directory: this is how a
//!   reassignment names directories.
//! - A replica that is there already is done.
//! - A replica in another directory is INVALID_REQUEST: replicas move between brokers, not between the disks of one.
//!   Kafka copies them.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use ottla_metadata::image::Image;
use ottla_protocol::messages::alter_replica_log_dirs_request::AlterReplicaLogDirsRequest;
use ottla_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsResponse,
};
use ottla_protocol::{ErrorCode, Str};

use super::{Answer, Handler, RequestContext};
use crate::data_path::DataPath;
use crate::services::Services;

/// Serves AlterReplicaLogDirs.
#[derive(Debug)]
pub struct AlterReplicaLogDirs;

impl Handler for AlterReplicaLogDirs {
    type Request = AlterReplicaLogDirsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=2;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: AlterReplicaLogDirsRequest,
    ) -> Answer {
        let image = services.image.load();
        let mut response = AlterReplicaLogDirsResponse::default();
        for dir in &request.dirs {
            for topic in &dir.topics {
                let partition = |index: &i32| AlterReplicaLogDirPartitionResult {
                    partition_index: *index,
                    error_code: place(&services.data, &image, &dir.path, (&topic.name, *index))
                        .code(),
                    ..AlterReplicaLogDirPartitionResult::default()
                };
                response.results.push(AlterReplicaLogDirTopicResult {
                    topic_name: topic.name.clone(),
                    partitions: topic.partitions.iter().map(partition).collect(),
                    ..AlterReplicaLogDirTopicResult::default()
                });
            }
        }
        Answer::ready::<AlterReplicaLogDirsRequest>(context, &response)
    }
}

fn place(data: &DataPath, image: &Image, path: &Str, (topic, index): (&Str, i32)) -> ErrorCode {
    if !Path::new(path.as_str()).is_absolute() {
        return ErrorCode::LogDirNotFound;
    }
    let mut dirs = (0..).zip(&data.log_dirs);
    let Some((number, dir)) = dirs.find(|(_, dir)| is_same(&dir.path, path)) else {
        return ErrorCode::LogDirNotFound;
    };
    if dir.is_offline() {
        return ErrorCode::KafkaStorageError;
    }
    let Some(topic) = image.topic(topic) else { return ErrorCode::UnknownTopicOrPartition };
    match data.partitions.find(topic.id, index) {
        Some(handle) if handle.log_dir == number => ErrorCode::None,
        Some(_) => ErrorCode::InvalidRequest,
        None if image.partition(topic.id, index).is_none() => ErrorCode::UnknownTopicOrPartition,
        None if data.preferred_dirs.prefer((topic.id, index), dir.id) => {
            ErrorCode::ReplicaNotAvailable
        }
        None => ErrorCode::ThrottlingQuotaExceeded,
    }
}

/// The same folder, however it is written in `log.dirs`.
fn is_same(dir: &Path, asked: &str) -> bool {
    let asked = Path::new(asked);
    dir == asked || std::path::absolute(dir).is_ok_and(|dir| dir == asked)
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::alter_replica_log_dirs_request::{
        AlterReplicaLogDir, AlterReplicaLogDirTopic,
    };

    use super::*;
    use crate::testing::data::{EPOCH, TestBroker, TestCluster, TestTopic};

    async fn ask(broker: &TestBroker, path: &Path, topic: &str, index: i32) -> ErrorCode {
        let topic = AlterReplicaLogDirTopic {
            name: Str::from(topic),
            partitions: vec![index],
            ..Default::default()
        };
        let path = Str::from(path.display().to_string());
        let dir = AlterReplicaLogDir { path, topics: vec![topic], ..Default::default() };
        let request = AlterReplicaLogDirsRequest { dirs: vec![dir], ..Default::default() };
        let response = broker.ask::<AlterReplicaLogDirs>(2, request).await.unwrap();
        ErrorCode::from_code(response.results[0].partitions[0].error_code)
    }

    #[tokio::test]
    async fn replica_stays_where_it_is_and_goes_nowhere_else() {
        let topic = TestTopic::new("orders", 1);
        let cluster = TestCluster::new();
        cluster.put_topic(&topic).await;
        let broker = cluster.start(&["a", "b"], EPOCH).await;
        let home = broker.leads(topic.id, 0).await.log_dir;
        let dirs = broker.plane.path.log_dirs.clone();
        let (home, other) = (&dirs[home], &dirs[1 - home]);
        assert_eq!(ask(&broker, &home.path, "orders", 0).await, ErrorCode::None);
        assert_eq!(ask(&broker, &other.path, "orders", 0).await, ErrorCode::InvalidRequest);
        let nowhere = Path::new("/nowhere");
        assert_eq!(ask(&broker, nowhere, "orders", 0).await, ErrorCode::LogDirNotFound);
        let relative = Path::new("a");
        assert_eq!(ask(&broker, relative, "orders", 0).await, ErrorCode::LogDirNotFound);
        for (topic, index) in [("nothing", 0), ("orders", 7)] {
            let error = ask(&broker, &home.path, topic, index).await;
            assert_eq!(error, ErrorCode::UnknownTopicOrPartition);
        }
        home.set_offline();
        assert_eq!(ask(&broker, &home.path, "orders", 0).await, ErrorCode::KafkaStorageError);
    }

    #[tokio::test]
    async fn replica_to_come_is_made_in_the_directory_that_was_named() {
        for wanted in [0, 1] {
            let topic = TestTopic::new("orders", 1);
            let cluster = TestCluster::new();
            let broker = cluster.start(&["a", "b"], EPOCH).await;
            let path = &broker.plane.path;
            assert!(path.preferred_dirs.prefer((topic.id, 0), path.log_dirs[wanted].id));
            cluster.put_topic(&topic).await;
            assert_eq!(broker.leads(topic.id, 0).await.log_dir, wanted);
            assert_eq!(path.preferred_dirs.take((topic.id, 0)), None, "forgotten");
        }
    }
}
