//! DeleteRecords, 0 to 2: moves the start of partitions up.
//!
//! - Offset −1 means the high watermark; one beyond it, or another negative one, is OFFSET_OUT_OF_RANGE.
//! - A topic that is only compacted keeps its records: POLICY_VIOLATION. Internal topics:
//!   INVALID_TOPIC_EXCEPTION.
//! - The answer is the new start, once nobody can read below it.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::delete_records_request::DeleteRecordsRequest;
use ottla_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use ottla_protocol::types::Offset;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::{Answer, Handler, Reply, RequestContext};
use crate::data_path::Resolver;
use crate::services::Services;
use crate::worker::Control;

/// Serves DeleteRecords.
#[derive(Debug)]
pub struct DeleteRecords;

/// What the worker will say.
type Pending = oneshot::Receiver<Result<Offset, ErrorCode>>;

impl Handler for DeleteRecords {
    type Request = DeleteRecordsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: DeleteRecordsRequest,
    ) -> Answer {
        let resolver = services.data.resolver();
        let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
        let deadline = Instant::now() + timeout;
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in topic.partitions {
                let index = partition.partition_index;
                let begun = begin(&resolver, &topic.name, (index, partition.offset)).await;
                partitions.push((index, begun));
            }
            topics.push((topic.name, partitions));
        }
        let context = context.clone();
        Answer::later(async move {
            let mut response = DeleteRecordsResponse::default();
            for (name, pending) in topics {
                let mut partitions = Vec::with_capacity(pending.len());
                for (index, begun) in pending {
                    partitions.push(finish(index, begun, deadline).await);
                }
                let topic = DeleteRecordsTopicResult { name, partitions, ..Default::default() };
                response.topics.push(topic);
            }
            Reply::new::<DeleteRecordsRequest>(&context, &response)
        })
    }
}

/// Asks the worker.
async fn begin(
    resolver: &Resolver,
    topic: &str,
    (partition, offset): (i32, i64),
) -> Result<Pending, ErrorCode> {
    let id = resolver.topic_id_by_name(topic);
    let handle = resolver.find(id, partition).map_err(|unroutable| unroutable.error)?;
    let settings = {
        let view = handle.view();
        view.check_leader(-1)?;
        Arc::clone(&view.settings)
    };
    if settings.is_internal {
        return Err(ErrorCode::InvalidTopicException);
    }
    if settings.is_compacted && !settings.is_deleting {
        return Err(ErrorCode::PolicyViolation);
    }
    let (reply, pending) = oneshot::channel();
    let control = Control::DeleteRecords { slot: handle.slot, offset, reply };
    handle.inbox.send_control(control).await.map_err(|_| ErrorCode::KafkaStorageError)?;
    Ok(pending)
}

async fn finish(
    partition_index: i32,
    begun: Result<Pending, ErrorCode>,
    deadline: Instant,
) -> DeleteRecordsPartitionResult {
    let outcome = match begun {
        Ok(pending) => match timeout_at(deadline, pending).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(ErrorCode::KafkaStorageError),
            Err(_) => Err(ErrorCode::RequestTimedOut),
        },
        Err(error) => Err(error),
    };
    let (low_watermark, error) = match outcome {
        Ok(start) => (start.0, ErrorCode::None),
        Err(error) => (-1, error),
    };
    DeleteRecordsPartitionResult {
        partition_index,
        low_watermark,
        error_code: error.code(),
        ..DeleteRecordsPartitionResult::default()
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::Str;
    use ottla_protocol::messages::delete_records_request::{
        DeleteRecordsPartition, DeleteRecordsTopic,
    };
    use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};

    use super::*;
    use crate::handlers::Fetch;
    use crate::testing::data::{TestBroker, TestTopic, batch};

    async fn delete(broker: &TestBroker, name: &'static str, offset: i64) -> (ErrorCode, i64) {
        let partition = DeleteRecordsPartition { offset, ..DeleteRecordsPartition::default() };
        let topic = DeleteRecordsTopic {
            name: Str::from_static(name),
            partitions: vec![partition],
            ..DeleteRecordsTopic::default()
        };
        let request =
            DeleteRecordsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        let response = broker.ask::<DeleteRecords>(2, request).await.unwrap();
        let answer = &response.topics[0].partitions[0];
        (ErrorCode::from_code(answer.error_code), answer.low_watermark)
    }

    async fn fetch_error(broker: &TestBroker, topic: &TestTopic, fetch_offset: i64) -> ErrorCode {
        let partition =
            FetchPartition { fetch_offset, partition_max_bytes: 1000, ..Default::default() };
        let topic = FetchTopic {
            topic: Str::from_static(topic.name),
            partitions: vec![partition],
            ..FetchTopic::default()
        };
        let request = FetchRequest { topics: vec![topic], ..FetchRequest::default() };
        let response = broker.ask::<Fetch>(11, request).await.unwrap();
        ErrorCode::from_code(response.responses[0].partitions[0].error_code)
    }

    #[tokio::test]
    async fn records_below_the_new_start_are_gone_even_within_a_batch() {
        let topic = TestTopic::new("orders", 1);
        let broker = TestBroker::leading(&[&topic]).await;
        broker.append(&topic, 0, &batch(&["a", "b", "c"])).await;
        assert_eq!(delete(&broker, "orders", 2).await, (ErrorCode::None, 2));
        assert_eq!(fetch_error(&broker, &topic, 1).await, ErrorCode::OffsetOutOfRange);
        assert_eq!(fetch_error(&broker, &topic, 2).await, ErrorCode::None);
        assert_eq!(delete(&broker, "orders", 4).await, (ErrorCode::OffsetOutOfRange, -1));
        assert_eq!(delete(&broker, "orders", -1).await, (ErrorCode::None, 3));
        assert_eq!(broker.append(&topic, 0, &batch(&["d"])).await, 3);
    }

    #[tokio::test]
    async fn policies_are_kept() {
        let compacted = TestTopic::new("compacted", 1).with("cleanup.policy", "compact");
        let mut internal = TestTopic::new("__transaction_state", 1);
        internal.internal = true;
        let broker = TestBroker::leading(&[&compacted, &internal]).await;
        assert_eq!(delete(&broker, "compacted", 0).await, (ErrorCode::PolicyViolation, -1));
        let error = (ErrorCode::InvalidTopicException, -1);
        assert_eq!(delete(&broker, "__transaction_state", 0).await, error);
        let error = (ErrorCode::UnknownTopicOrPartition, -1);
        assert_eq!(delete(&broker, "unknown", 0).await, error);
    }
}
