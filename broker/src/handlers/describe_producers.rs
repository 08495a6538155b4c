//! DescribeProducers, 0: the producers that the leader of a partition remembers.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::messages::describe_producers_request::DescribeProducersRequest;
use ottla_protocol::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
use ottla_protocol::{ErrorCode, Str};
use tokio::sync::oneshot;

use super::{Answer, Handler, Reply, RequestContext};
use crate::data_path::Resolver;
use crate::services::Services;
use crate::worker::{ActiveProducer, Control};

/// Serves DescribeProducers.
#[derive(Debug)]
pub struct DescribeProducers;

impl Handler for DescribeProducers {
    type Request = DescribeProducersRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: DescribeProducersRequest,
    ) -> Answer {
        let (data, context) = (Arc::clone(&services.data), context.clone());
        Answer::later(async move {
            let resolver = data.resolver();
            let mut response = DescribeProducersResponse::default();
            for topic in request.topics {
                let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
                for index in topic.partition_indexes {
                    partitions.push(answer(index, describe(&resolver, &topic.name, index).await));
                }
                let name = topic.name;
                response.topics.push(TopicResponse { name, partitions, ..Default::default() });
            }
            Reply::new::<DescribeProducersRequest>(&context, &response)
        })
    }
}

async fn describe(
    resolver: &Resolver,
    topic: &str,
    partition: i32,
) -> Result<Vec<ActiveProducer>, ErrorCode> {
    let id = resolver.topic_id_by_name(topic);
    let found = resolver.find(id, partition);
    if let (Err(_), Ok(id)) = (&found, id)
        && resolver.empty_log(id, partition).is_some()
    {
        return Ok(Vec::new());
    }
    let handle = found.map_err(|unroutable| unroutable.error)?;
    handle.view().check_leader(-1)?;
    let (reply, producers) = oneshot::channel();
    let control = Control::DescribeProducers { slot: handle.slot, reply };
    handle.inbox.send_control(control).await.map_err(|_| ErrorCode::KafkaStorageError)?;
    producers.await.map_err(|_| ErrorCode::KafkaStorageError)?
}

fn answer(
    partition_index: i32,
    producers: Result<Vec<ActiveProducer>, ErrorCode>,
) -> PartitionResponse {
    let mut response = PartitionResponse { partition_index, ..PartitionResponse::default() };
    match producers {
        Ok(producers) => response.active_producers = producers.iter().map(state).collect(),
        Err(error) => {
            response.error_code = error.code();
            response.error_message = Some(Str::from_static(error.message()));
        }
    }
    response
}

fn state(producer: &ActiveProducer) -> ProducerState {
    ProducerState {
        producer_id: producer.producer_id.0,
        producer_epoch: producer.epoch,
        last_sequence: producer.last_sequence,
        last_timestamp: producer.last_timestamp,
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.transaction_start.0,
        ..ProducerState::default()
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::describe_producers_request::TopicRequest;

    use super::*;
    use crate::testing::data::{TestBroker, TestTopic, batch, sequenced};

    #[tokio::test]
    async fn only_idempotent_producers_are_remembered() {
        let topic = TestTopic::new("orders", 1);
        let broker = TestBroker::leading(&[&topic]).await;
        broker.append(&topic, 0, &batch(&["a"])).await;
        broker.append(&topic, 0, &sequenced(77, 3, 0, &["a", "b"])).await;
        let topic = TopicRequest {
            name: Str::from_static("orders"),
            partition_indexes: vec![0, 9],
            ..TopicRequest::default()
        };
        let request = DescribeProducersRequest { topics: vec![topic], ..Default::default() };
        let response = broker.ask::<DescribeProducers>(0, request).await.unwrap();
        let [known, unknown] = &response.topics[0].partitions[..] else { panic!("{response:?}") };
        let [producer] = &known.active_producers[..] else { panic!("{known:?}") };
        let identity = (producer.producer_id, producer.producer_epoch, producer.last_sequence);
        assert_eq!(identity, (77, 3, 1));
        assert_eq!(producer.current_txn_start_offset, -1);
        assert_eq!(unknown.error_code, ErrorCode::UnknownTopicOrPartition.code());
    }
}
