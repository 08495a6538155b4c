//! DescribeLogDirs, 1 to 5: how much each partition takes in each log directory.
//!
//! No topics (null) means all of them. A directory that failed is there with KAFKA_STORAGE_ERROR and
//! nothing in it. 4 tells the size of the disk, 5 whether a directory takes no new partitions: none is
//! closed so.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use ottla_protocol::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use ottla_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use ottla_protocol::{ErrorCode, Str};

use super::{Answer, Handler, Reply, RequestContext};
use crate::data_path::{DataPath, LogDirStatus};
use crate::partition::PartitionHandle;
use crate::services::Services;

/// Serves DescribeLogDirs.
#[derive(Debug)]
pub struct DescribeLogDirs;

impl Handler for DescribeLogDirs {
    type Request = DescribeLogDirsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=5;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: DescribeLogDirsRequest,
    ) -> Answer {
        let (data, context) = (Arc::clone(&services.data), context.clone());
        Answer::later(async move {
            let response = describe(&data, &request).await;
            Reply::new::<DescribeLogDirsRequest>(&context, &response)
        })
    }
}

async fn describe(data: &DataPath, request: &DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let wanted: Option<HashSet<(&str, i32)>> = request.topics.as_ref().map(|topics| {
        let all = topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|index| (topic.topic.as_str(), *index)));
        all.collect()
    });
    let handles = data.partitions.all();
    let is_wanted = |handle: &PartitionHandle| {
        wanted.as_ref().is_none_or(|wanted| wanted.contains(&(handle.topic.as_str(), handle.index)))
    };
    let mut response = DescribeLogDirsResponse::default();
    for (number, dir) in data.log_dirs.iter().enumerate() {
        let of_dir = handles.iter().filter(|handle| handle.log_dir == number && is_wanted(handle));
        response.results.push(describe_dir(data, dir, of_dir).await);
    }
    response
}

async fn describe_dir(
    data: &DataPath,
    dir: &Arc<LogDirStatus>,
    handles: impl Iterator<Item = &Arc<PartitionHandle>>,
) -> DescribeLogDirsResult {
    let mut result = DescribeLogDirsResult {
        log_dir: Str::from(dir.path.display().to_string()),
        ..DescribeLogDirsResult::default()
    };
    if dir.is_offline() {
        result.error_code = ErrorCode::KafkaStorageError.code();
        return result;
    }
    let mut topics: BTreeMap<Str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for handle in handles {
        topics.entry(handle.topic.clone()).or_default().push(DescribeLogDirsPartition {
            partition_index: handle.index,
            partition_size: i64::try_from(handle.view().log.size()).unwrap_or(i64::MAX),
            ..DescribeLogDirsPartition::default()
        });
    }
    result.topics = (topics.into_iter())
        .map(|(name, mut partitions)| {
            partitions.sort_unstable_by_key(|partition| partition.partition_index);
            DescribeLogDirsTopic { name, partitions, ..DescribeLogDirsTopic::default() }
        })
        .collect();
    let status = Arc::clone(dir);
    if let Ok(Some((total, usable))) = data.readers.run(move || space(&status.path)).await {
        result.total_bytes = total;
        result.usable_bytes = usable;
    }
    result
}

/// Size of the file system and what is free of it, bytes. Waits for the disk.
fn space(path: &Path) -> Option<(i64, i64)> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(stat.f_frsize)).ok();
    Some((bytes(stat.f_blocks)?, bytes(stat.f_bavail)?))
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;

    use super::*;
    use crate::testing::data::{TestBroker, TestTopic, batch};

    #[tokio::test]
    async fn sizes_are_told_for_all_or_for_those_asked_for() {
        let topic = TestTopic::new("orders", 3);
        let broker = TestBroker::leading(&[&topic]).await;
        let one = batch(&["a"]);
        broker.append(&topic, 1, &one).await;
        let all = DescribeLogDirsRequest { topics: None, ..Default::default() };
        let response = broker.ask::<DescribeLogDirs>(4, all).await.unwrap();
        let [dir] = &response.results[..] else { panic!("{response:?}") };
        assert!(dir.log_dir.ends_with("/a"), "{}", dir.log_dir);
        let sizes: Vec<_> =
            dir.topics[0].partitions.iter().map(|partition| partition.partition_size).collect();
        assert_eq!(sizes, [0, one.bytes.len() as i64, 0]);
        assert!(0 < dir.usable_bytes && dir.usable_bytes <= dir.total_bytes);

        let asked = DescribableLogDirTopic {
            topic: Str::from_static("orders"),
            partitions: vec![2],
            ..Default::default()
        };
        let some = DescribeLogDirsRequest { topics: Some(vec![asked]), ..Default::default() };
        let response = broker.ask::<DescribeLogDirs>(1, some).await.unwrap();
        let partitions = &response.results[0].topics[0].partitions;
        assert_eq!(partitions.iter().map(|p| p.partition_index).collect::<Vec<_>>(), [2]);
    }

    #[tokio::test]
    async fn failed_directory_has_an_error_and_nothing_else() {
        let topic = TestTopic::new("orders", 1);
        let broker = TestBroker::leading(&[&topic]).await;
        broker.plane.path.log_dirs[0].set_offline();
        let all = DescribeLogDirsRequest { topics: None, ..Default::default() };
        let response = broker.ask::<DescribeLogDirs>(4, all).await.unwrap();
        assert_eq!(response.results[0].error_code, ErrorCode::KafkaStorageError.code());
        assert!(response.results[0].topics.is_empty());
    }
}
