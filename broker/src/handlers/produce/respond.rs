//! What a produce request is answered with.

use std::sync::Arc;

use ottla_protocol::messages::produce_request::{ProduceRequest, TopicProduceData};
use ottla_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    ProduceResponse, TopicProduceResponse,
};
use ottla_protocol::{ErrorCode, Str, Uuid};

use super::prepare::Rejected;
use crate::data_path::{DataPath, LeaderHint, Resolver, Unroutable};
use crate::handlers::{Reply, RequestContext};
use crate::worker::{Outcome, Ticket};

/// What became, or will become, of every partition of a request, in its order.
#[derive(Debug)]
pub(super) struct Plan {
    pub topics: Vec<TopicPlan>,
    /// Where the outcomes of queued batches are.
    pub ticket: Option<Arc<Ticket>>,
}

#[derive(Debug)]
pub(super) struct TopicPlan {
    pub name: Str,
    pub id: Uuid,
    /// The id by whichever way the request named the topic.
    pub resolved: Option<Uuid>,
    pub partitions: Vec<PartitionPlan>,
}

#[derive(Debug)]
pub(super) struct PartitionPlan {
    pub index: i32,
    pub status: Status,
}

#[derive(Debug)]
pub(super) enum Status {
    /// Not here.
    Unroutable(Unroutable),
    /// The batch is not sound.
    Rejected(Rejected),
    /// With the index in the ticket.
    Queued(u32),
}

impl Plan {
    /// Every partition gets the same error.
    pub(super) fn refused(topics: &[TopicProduceData], error: ErrorCode) -> Self {
        let refuse = |topic: &TopicProduceData| TopicPlan {
            name: topic.name.clone(),
            id: topic.topic_id,
            resolved: None,
            partitions: (topic.partition_data.iter())
                .map(|partition| PartitionPlan {
                    index: partition.index,
                    status: Status::Unroutable(Unroutable::plain(error)),
                })
                .collect(),
        };
        Self { topics: topics.iter().map(refuse).collect(), ticket: None }
    }

    /// Whether any batch was not appended, as far as known.
    pub(super) fn has_failed(&self) -> bool {
        let partitions = self.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.into_iter().any(|partition| match &partition.status {
            Status::Queued(index) => self.outcome(*index).error != ErrorCode::None,
            _ => true,
        })
    }

    /// The response.
    pub(super) fn reply(&self, context: &RequestContext, data: &DataPath) -> Reply {
        let resolver = data.resolver();
        let mut hints = Vec::new();
        let responses = self.topics.iter().map(|topic| TopicProduceResponse {
            name: topic.name.clone(),
            topic_id: topic.id,
            partition_responses: (topic.partitions.iter())
                .map(|partition| {
                    let (response, hint) = self.answer(topic, partition, &resolver);
                    data.figures.failed_produce.inc_by(u64::from(response.error_code != 0));
                    hints.extend(hint);
                    response
                })
                .collect(),
            ..TopicProduceResponse::default()
        });
        let responses = responses.collect();
        let mut response = ProduceResponse { responses, ..ProduceResponse::default() };
        let endpoints = resolver.endpoints(hints.into_iter(), &context.connection.listener);
        response.node_endpoints = (endpoints.into_iter())
            .map(|endpoint| NodeEndpoint {
                node_id: endpoint.node,
                host: endpoint.host,
                port: endpoint.port,
                rack: endpoint.rack,
                ..NodeEndpoint::default()
            })
            .collect();
        if context.api_version < 10 {
            without_hints(&mut response);
        }
        Reply::new::<ProduceRequest>(context, &response)
    }

    fn answer(
        &self,
        topic: &TopicPlan,
        partition: &PartitionPlan,
        resolver: &Resolver,
    ) -> (PartitionProduceResponse, Option<LeaderHint>) {
        let mut response = PartitionProduceResponse {
            index: partition.index,
            base_offset: -1,
            ..Default::default()
        };
        let mut hint = None;
        match &partition.status {
            Status::Unroutable(unroutable) => {
                response.error_code = unroutable.error.code();
                hint = unroutable.leader;
            }
            Status::Rejected(rejected) => {
                response.error_code = rejected.error.code();
                response.log_start_offset = rejected.log_start.0;
                response.error_message = Some(Str::from(&rejected.message));
                let record_error = |record: &ottla_protocol::record_batch::RecordError| {
                    BatchIndexAndErrorMessage {
                        batch_index: record.index,
                        batch_index_error_message: Some(Str::from(&record.message)),
                        ..Default::default()
                    }
                };
                response.record_errors = rejected.records.iter().map(record_error).collect();
            }
            Status::Queued(index) => {
                let outcome = self.outcome(*index);
                response.error_code = outcome.error.code();
                response.base_offset = outcome.base_offset.0;
                response.log_append_time_ms = outcome.log_append_time;
                response.log_start_offset = outcome.log_start.0;
                if outcome.error == ErrorCode::NotLeaderOrFollower {
                    let topic = topic.resolved;
                    hint = topic.and_then(|id| resolver.leader_hint(id, partition.index));
                }
            }
        }
        if let Some(hint) = hint {
            response.current_leader = LeaderIdAndEpoch {
                leader_id: hint.leader.0,
                leader_epoch: hint.leader_epoch.0,
                ..Default::default()
            };
        }
        (response, hint)
    }

    fn outcome(&self, index: u32) -> Outcome {
        let known = self.ticket.as_ref().and_then(|ticket| ticket.outcome(index));
        known.unwrap_or(Outcome::failed(ErrorCode::RequestTimedOut))
    }
}

/// Older versions have no place for who leads.
fn without_hints(response: &mut ProduceResponse) {
    response.node_endpoints.clear();
    for topic in &mut response.responses {
        for partition in &mut topic.partition_responses {
            partition.current_leader = LeaderIdAndEpoch::default();
        }
    }
}
