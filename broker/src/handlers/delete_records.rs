//! DeleteRecords, 0 to 2: moves the start of partitions up.
//!
//! - Offset −1 means the high watermark; one beyond it, or another negative one, is OFFSET_OUT_OF_RANGE.
//! - A topic that is only compacted keeps its records: POLICY_VIOLATION. Internal topics:
//!   INVALID_TOPIC_EXCEPTION.
//! - The answer is the low watermark: where the last of the logs begins that live replicas have. It comes
//!   once that has reached the offset, or with REQUEST_TIMED_OUT when the time is over.

mod low_watermark;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::messages::delete_records_request::{DeleteRecordsRequest, DeleteRecordsTopic};
use ottla_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use ottla_protocol::types::Offset;
use ottla_protocol::{ErrorCode, Str};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use self::low_watermark::{Wait, wait_for_all};
use super::{Answer, Handler, Reply, RequestContext};
use crate::data_path::Resolver;
use crate::partition::PartitionHandle;
use crate::services::Services;
use crate::worker::Control;

/// Serves DeleteRecords.
#[derive(Debug)]
pub struct DeleteRecords;

/// A deletion that the leader's worker was asked for.
struct Begun {
    handle: Arc<PartitionHandle>,
    /// As requested.
    offset: i64,
    /// What the worker will say: the start of the leader's log.
    start: oneshot::Receiver<Result<Offset, ErrorCode>>,
}

/// The offset of the high watermark.
const HIGH_WATERMARK: i64 = -1;

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
        let mut begun = Vec::new();
        for topic in &request.topics {
            for partition in &topic.partitions {
                let partition = (partition.partition_index, partition.offset);
                begun.push(begin(&resolver, &topic.name, partition).await);
            }
        }
        let (data, context) = (Arc::clone(&services.data), context.clone());
        let topics = request
            .topics
            .into_iter()
            .map(|topic| DeleteRecordsTopic { name: topic.name.detach(), ..topic });
        let topics: Vec<_> = topics.collect();
        Answer::later(async move {
            let mut waits = Vec::with_capacity(begun.len());
            for begun in begun {
                waits.push(deleted_here(begun, deadline).await);
            }
            let outcomes = wait_for_all(&data, waits, deadline).await;
            Reply::new::<DeleteRecordsRequest>(&context, &respond(topics, outcomes))
        })
    }
}

/// Asks the worker.
async fn begin(
    resolver: &Resolver,
    topic: &Str,
    (partition, offset): (i32, i64),
) -> Result<Begun, ErrorCode> {
    let id = resolver.topic_id_by_name(topic);
    if id.is_ok_and(|id| resolver.is_metadata_only(id)) {
        return Err(ErrorCode::InvalidTopicException);
    }
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
    let (reply, start) = oneshot::channel();
    let control = Control::DeleteRecords { slot: handle.slot, offset, reply };
    handle.inbox.send_control(control).await.map_err(|_| ErrorCode::KafkaStorageError)?;
    Ok(Begun { handle, offset, start })
}

/// Waits until the records are gone on the leader; what the other replicas have to reach then.
async fn deleted_here(
    begun: Result<Begun, ErrorCode>,
    deadline: Instant,
) -> Result<Wait, ErrorCode> {
    let Begun { handle, offset, start } = begun?;
    let start = match timeout_at(deadline, start).await {
        Ok(Ok(start)) => start?,
        Ok(Err(_)) => return Err(ErrorCode::KafkaStorageError),
        Err(_) => return Err(ErrorCode::RequestTimedOut),
    };
    let wanted = if offset == HIGH_WATERMARK { start } else { Offset(offset) };
    Ok(Wait { handle, wanted })
}

/// `outcomes` are in the order of the partitions.
fn respond(
    topics: Vec<DeleteRecordsTopic>,
    outcomes: Vec<(Offset, ErrorCode)>,
) -> DeleteRecordsResponse {
    let mut outcomes = outcomes.into_iter();
    let topics = topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(&mut outcomes);
        let partitions =
            partitions.map(|(partition, (low_watermark, error))| DeleteRecordsPartitionResult {
                partition_index: partition.partition_index,
                low_watermark: low_watermark.0,
                error_code: error.code(),
                ..DeleteRecordsPartitionResult::default()
            });
        let partitions = partitions.collect();
        DeleteRecordsTopicResult { name: topic.name, partitions, ..Default::default() }
    });
    DeleteRecordsResponse { topics: topics.collect(), ..DeleteRecordsResponse::default() }
}

#[cfg(test)]
#[path = "delete_records/tests.rs"]
mod tests;
