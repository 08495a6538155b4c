//! OffsetForLeaderEpoch, 2 to 4: where a leader's epoch ends, by which consumers notice truncation.
//!
//! The answer is the largest epoch at or below the one asked for and the offset after its last record;
//! (−1, −1) if the log knows of none. Versions 0 and 1 know no fencing and are not served.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition,
};
use ottla_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use ottla_protocol::types::{LeaderEpoch, Offset};

use super::{Answer, Handler, RequestContext};
use crate::data_path::Resolver;
use crate::services::Services;

/// Serves OffsetForLeaderEpoch.
#[derive(Debug)]
pub struct OffsetForLeaderEpoch;

impl Handler for OffsetForLeaderEpoch {
    type Request = OffsetForLeaderEpochRequest;
    const VERSIONS: RangeInclusive<i16> = 2..=4;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: OffsetForLeaderEpochRequest,
    ) -> Answer {
        let resolver = services.data.resolver();
        let topics = request.topics.into_iter().map(|topic| {
            let of_partition =
                |partition: &OffsetForLeaderPartition| answer(&resolver, &topic.topic, partition);
            OffsetForLeaderTopicResult {
                partitions: topic.partitions.iter().map(of_partition).collect(),
                topic: topic.topic.clone(),
                ..OffsetForLeaderTopicResult::default()
            }
        });
        let response = OffsetForLeaderEpochResponse {
            topics: topics.collect(),
            ..OffsetForLeaderEpochResponse::default()
        };
        Answer::ready::<OffsetForLeaderEpochRequest>(context, &response)
    }
}

fn answer(
    resolver: &Resolver,
    topic: &str,
    partition: &OffsetForLeaderPartition,
) -> EpochEndOffset {
    let mut answer = EpochEndOffset { partition: partition.partition, ..EpochEndOffset::default() };
    match end_of_epoch(resolver, topic, partition) {
        Ok(Some((epoch, end))) => {
            answer.leader_epoch = epoch.0;
            answer.end_offset = end.0;
        }
        Ok(None) => {}
        Err(error) => answer.error_code = error.code(),
    }
    answer
}

fn end_of_epoch(
    resolver: &Resolver,
    topic: &str,
    partition: &OffsetForLeaderPartition,
) -> Result<Option<(LeaderEpoch, Offset)>, ErrorCode> {
    let id = resolver.topic_id_by_name(topic);
    let found = resolver.find(id, partition.partition);
    if let (Err(_), Ok(id)) = (&found, id)
        && let Some(empty) = resolver.empty_log(id, partition.partition)
    {
        empty.check_epoch(partition.current_leader_epoch)?;
        let epoch = LeaderEpoch(partition.leader_epoch);
        return Ok((epoch <= empty.leader_epoch).then_some((epoch, Offset(0))));
    }
    let handle = found.map_err(|unroutable| unroutable.error)?;
    let view = handle.view();
    view.check_leader(partition.current_leader_epoch)?;
    Ok(view.end_of_epoch(LeaderEpoch(partition.leader_epoch)))
}

#[cfg(test)]
mod tests {
    use ottla_protocol::Str;
    use ottla_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderTopic;

    use super::*;
    use crate::testing::data::{TestBroker, TestTopic, batch};

    #[tokio::test]
    async fn epochs_end_where_the_next_begins() {
        let mut topic = TestTopic::new("orders", 1);
        topic.leader_epoch = 2;
        let broker = TestBroker::leading(&[&topic]).await;
        broker.append(&topic, 0, &batch(&["a", "b"])).await;
        topic.leader_epoch = 6;
        broker.cluster.put_topic(&topic).await;
        let handle = broker.leads(topic.id, 0).await;
        broker.until(|| (handle.view().leader_epoch.0 == 6).then_some(())).await;
        let ask = async |known: i32, epoch: i32| {
            let partition = OffsetForLeaderPartition {
                current_leader_epoch: known,
                leader_epoch: epoch,
                ..OffsetForLeaderPartition::default()
            };
            let topic = OffsetForLeaderTopic {
                topic: Str::from_static("orders"),
                partitions: vec![partition],
                ..OffsetForLeaderTopic::default()
            };
            let request = OffsetForLeaderEpochRequest { topics: vec![topic], ..Default::default() };
            let response = broker.ask::<OffsetForLeaderEpoch>(4, request).await.unwrap();
            let answer = &response.topics[0].partitions[0];
            (ErrorCode::from_code(answer.error_code), answer.leader_epoch, answer.end_offset)
        };
        assert_eq!(ask(6, 6).await, (ErrorCode::None, 6, 2), "without records of its own yet");
        assert_eq!(ask(6, 2).await, (ErrorCode::None, 2, 2));
        assert_eq!(ask(6, 4).await, (ErrorCode::None, 2, 2), "the present epoch begins at the end");
        broker.append(&topic, 0, &batch(&["c"])).await;
        assert_eq!(ask(6, 2).await, (ErrorCode::None, 2, 2));
        assert_eq!(ask(6, 4).await, (ErrorCode::None, 2, 2), "the largest epoch below");
        assert_eq!(ask(-1, 6).await, (ErrorCode::None, 6, 3));
        assert_eq!(ask(6, 7).await, (ErrorCode::None, -1, -1), "an epoch to come");
        assert_eq!(ask(5, 2).await.0, ErrorCode::FencedLeaderEpoch);
        assert_eq!(ask(7, 2).await.0, ErrorCode::UnknownLeaderEpoch);
    }
}
