//! Where brokers keep their logs, and how large these are.

use ottla_protocol::messages::DescribeLogDirsRequest;
use ottla_protocol::messages::describe_log_dirs_response::DescribeLogDirsResult;
use ottla_protocol::types::{BrokerId, PartitionId};
use ottla_protocol::{ErrorCode, Str};

use crate::admin::Admin;
use crate::error::{ClientError, check};

/// A folder of logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDir {
    /// Its path on the broker.
    pub path: Str,
    /// Why it is offline, or `None`.
    pub error: ErrorCode,
    /// Size of the volume, bytes; −1 from old brokers.
    pub total_bytes: i64,
    /// Free bytes of the volume; −1 from old brokers.
    pub usable_bytes: i64,
    /// What is in it.
    pub replicas: Vec<ReplicaInfo>,
}

/// A partition's log in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaInfo {
    /// Of this topic.
    pub topic: Str,
    /// Its number.
    pub partition: PartitionId,
    /// Bytes of its segments.
    pub size: i64,
    /// Records that it lacks, against the high watermark or the log that it is to replace.
    pub offset_lag: i64,
    /// Whether it is to replace a log in another folder.
    pub is_future: bool,
}

impl Admin {
    /// The folders of each broker, and all logs in them.
    pub async fn describe_log_dirs(
        &self,
        brokers: &[BrokerId],
    ) -> Vec<Result<Vec<LogDir>, ClientError>> {
        let timeout = self.client.config().api_timeout;
        let mut results = Vec::with_capacity(brokers.len());
        for &broker in brokers {
            let described = self.client.retry("describing log dirs", timeout, || async move {
                self.describe_broker_log_dirs(broker).await
            });
            results.push(described.await);
        }
        results
    }

    async fn describe_broker_log_dirs(&self, broker: BrokerId) -> Result<Vec<LogDir>, ClientError> {
        if !self.client.metadata().brokers.contains_key(&broker) {
            self.client.refresh_metadata(&[]).await?;
        }
        let link = self.client.broker(broker).await?;
        let every_topic = DescribeLogDirsRequest { topics: None, ..Default::default() };
        let response = link.call(&every_topic).await?;
        check(response.error_code, None)?;
        Ok(response.results.iter().map(log_dir).collect())
    }
}

fn log_dir(dir: &DescribeLogDirsResult) -> LogDir {
    let replicas = dir.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| ReplicaInfo {
            topic: topic.name.clone(),
            partition: PartitionId(partition.partition_index),
            size: partition.partition_size,
            offset_lag: partition.offset_lag,
            is_future: partition.is_future_key,
        })
    });
    LogDir {
        path: dir.log_dir.clone(),
        error: ErrorCode::from_code(dir.error_code),
        total_bytes: dir.total_bytes,
        usable_bytes: dir.usable_bytes,
        replicas: replicas.collect(),
    }
}
