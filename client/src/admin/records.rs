//! Deleting records from the front of partitions.

use std::collections::HashMap;

use futures_util::future::join_all;
use ottla_protocol::Str;
use ottla_protocol::messages::DeleteRecordsRequest;
use ottla_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use ottla_protocol::types::{Offset, PartitionId};

use crate::admin::{Admin, unanswered};
use crate::error::{ClientError, check};

impl Admin {
    /// Deletes every record before the given offset, or up to the high watermark where it is −1. Returns each
    /// partition's first offset afterwards.
    pub async fn delete_records(
        &self,
        before: &[(Str, PartitionId, Offset)],
    ) -> Vec<Result<Offset, ClientError>> {
        let timeout = self.client.config().api_timeout;
        let deleted = before.iter().map(|(topic, partition, offset)| async move {
            self.client
                .retry("deleting records", timeout, || async move {
                    let result = self.delete_before(topic, *partition, *offset).await;
                    if result.as_ref().is_err_and(ClientError::is_retriable) {
                        self.client.refresh_metadata(&[]).await?;
                    }
                    result
                })
                .await
        });
        join_all(deleted).await
    }

    async fn delete_before(
        &self,
        topic: &Str,
        partition: PartitionId,
        offset: Offset,
    ) -> Result<Offset, ClientError> {
        let leader = self.client.leader(topic, partition).await?;
        let link = self.client.broker(leader).await?;
        let partitions = vec![DeleteRecordsPartition {
            partition_index: partition.0,
            offset: offset.0,
            ..DeleteRecordsPartition::default()
        }];
        let name = topic.clone();
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic { name, partitions, ..Default::default() }],
            timeout_ms: self.timeout_ms(),
            ..DeleteRecordsRequest::default()
        };
        let response = link.call(&request).await?;
        let answers: HashMap<_, _> = response
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|answered| (answered.partition_index, answered))
            .collect();
        let answered = answers.get(&partition.0).ok_or_else(unanswered)?;
        check(answered.error_code, None)?;
        Ok(Offset(answered.low_watermark))
    }
}
