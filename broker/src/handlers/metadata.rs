//! Metadata, 0 to 13: brokers, topics and who leads their partitions, from the image.
//!
//! - Version 0: an empty list of topics means all; later, `null` does and an empty list means none.
//! - Addresses are those of the listener that the request came in on. A leader without that listener
//!   is LISTENER_NOT_FOUND from version 6 on, LEADER_NOT_AVAILABLE before.
//! - A named topic that does not exist is created if the broker's `auto.create.topics.enable` and the
//!   request (from version 4 on) allow it; the answer still says UNKNOWN_TOPIC_OR_PARTITION, as Kafka's
//!   does, and the client asks again.
//! - Topic ids are told from version 10 on and may be asked from version 12 on.
//! - The controller that is told is this broker: every broker takes admin requests and passes them on.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_metadata::config::validate_topic_name;
use ottla_metadata::image::{Image, Versioned};
use ottla_metadata::model::Topic;
use ottla_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_protocol::{ErrorCode, Str};

use super::topology::{
    ALL_CLUSTER_OPERATIONS, ALL_TOPIC_OPERATIONS, OPERATIONS_NOT_ASKED, Topology,
};
use super::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves Metadata.
#[derive(Debug)]
pub struct Metadata;

impl Handler for Metadata {
    type Request = MetadataRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=13;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: MetadataRequest,
    ) -> Answer {
        let image = services.image.load();
        let topology = Topology { image: &image, listener: &context.connection.listener };
        let asker = Asker { topology, version: context.api_version, request: &request };
        let (topics, unknown) = asker.topics();
        if services.config.auto_create_topics && request.allow_auto_topic_creation {
            services.auto_create.request(services, context, unknown);
        }
        let response = asker.response(topics, services);
        Answer::ready::<MetadataRequest>(context, &response)
    }
}

/// One request over one image.
struct Asker<'a> {
    topology: Topology<'a>,
    version: i16,
    request: &'a MetadataRequest,
}

/// First version that can ask for topics by id.
const BY_ID_FROM: i16 = 12;
/// First version that knows LISTENER_NOT_FOUND.
const LISTENER_NOT_FOUND_FROM: i16 = 6;

impl Asker<'_> {
    /// The topics that were asked for, and the names that no topic has although one could.
    fn topics(&self) -> (Vec<MetadataResponseTopic>, Vec<Str>) {
        let named = match &self.request.topics {
            Some(named) if !(self.version == 0 && named.is_empty()) => named,
            _ => {
                let all = self.topology.image.topics().map(|topic| self.topic(topic));
                return (all.collect(), Vec::new());
            }
        };
        let mut seen = HashSet::with_capacity(named.len());
        let mut topics = Vec::with_capacity(named.len());
        let mut unknown = Vec::new();
        for asked in named {
            if !seen.insert((asked.topic_id, asked.name.as_deref())) {
                continue;
            }
            let (topic, is_creatable) = self.asked_topic(asked);
            if let (true, Some(name)) = (is_creatable, &asked.name) {
                unknown.push(name.clone());
            }
            topics.push(topic);
        }
        (topics, unknown)
    }

    /// One topic, and whether it could be created.
    fn asked_topic(&self, asked: &MetadataRequestTopic) -> (MetadataResponseTopic, bool) {
        let image: &Image = self.topology.image;
        if BY_ID_FROM <= self.version && !asked.topic_id.is_zero() {
            let topic = match image.topic_by_id(asked.topic_id) {
                Some(topic) => self.topic(topic),
                None => MetadataResponseTopic {
                    error_code: ErrorCode::UnknownTopicId.code(),
                    name: None,
                    topic_id: asked.topic_id,
                    topic_authorized_operations: OPERATIONS_NOT_ASKED,
                    ..MetadataResponseTopic::default()
                },
            };
            return (topic, false);
        }
        // Without a name or a usable id nothing was asked for.
        let Some(name) = &asked.name else {
            return (missing(ErrorCode::InvalidRequest, &Str::new()), false);
        };
        match image.topic(name) {
            Some(topic) => (self.topic(topic), false),
            None if validate_topic_name(name).is_err() => {
                (missing(ErrorCode::InvalidTopicException, name), false)
            }
            None => (missing(ErrorCode::UnknownTopicOrPartition, name), true),
        }
    }

    fn topic(&self, topic: &Versioned<Topic>) -> MetadataResponseTopic {
        let numbered = self.topology.image.partitions_of(topic.id);
        let partitions = numbered.map(|(number, partition)| {
            let state = self.topology.partition(partition);
            let mut answer = MetadataResponsePartition {
                error_code: self.error_of(state.error.0).code(),
                partition_index: number,
                leader_id: state.leader,
                leader_epoch: state.leader_epoch,
                replica_nodes: state.replicas,
                isr_nodes: state.isr,
                offline_replicas: state.offline,
                ..MetadataResponsePartition::default()
            };
            if self.version == 0 {
                self.hide_unreachable(&mut answer);
            }
            answer
        });
        MetadataResponseTopic {
            error_code: ErrorCode::None.code(),
            name: Some(Str::from(topic.name.as_str())),
            topic_id: topic.id,
            is_internal: topic.internal,
            partitions: partitions.collect(),
            topic_authorized_operations: if self.request.include_topic_authorized_operations {
                ALL_TOPIC_OPERATIONS
            } else {
                OPERATIONS_NOT_ASKED
            },
            ..MetadataResponseTopic::default()
        }
    }

    fn error_of(&self, error: ErrorCode) -> ErrorCode {
        if error == ErrorCode::ListenerNotFound && self.version < LISTENER_NOT_FOUND_FROM {
            return ErrorCode::LeaderNotAvailable;
        }
        error
    }

    /// Version 0 tells reachable replicas only, and says so with an error.
    fn hide_unreachable(&self, partition: &mut MetadataResponsePartition) {
        let before = partition.replica_nodes.len() + partition.isr_nodes.len();
        partition.replica_nodes.retain(|id| self.topology.alive(*id).is_some());
        partition.isr_nodes.retain(|id| self.topology.alive(*id).is_some());
        let after = partition.replica_nodes.len() + partition.isr_nodes.len();
        if after < before && partition.error_code == ErrorCode::None.code() {
            partition.error_code = ErrorCode::ReplicaNotAvailable.code();
        }
    }

    fn response(
        &self,
        topics: Vec<MetadataResponseTopic>,
        services: &Services,
    ) -> MetadataResponse {
        let brokers =
            self.topology.brokers().map(|(id, record, listener)| MetadataResponseBroker {
                node_id: id,
                host: Str::from(listener.host.as_str()),
                port: listener.port.into(),
                rack: record.rack.as_deref().map(Str::from),
                ..MetadataResponseBroker::default()
            });
        let is_asked = self.request.include_cluster_authorized_operations;
        MetadataResponse {
            brokers: brokers.collect(),
            cluster_id: Some(services.identity.cluster_id.clone()),
            controller_id: services.identity.broker_id.0,
            topics,
            cluster_authorized_operations: if is_asked {
                ALL_CLUSTER_OPERATIONS
            } else {
                OPERATIONS_NOT_ASKED
            },
            ..MetadataResponse::default()
        }
    }
}

fn missing(error: ErrorCode, name: &Str) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: error.code(),
        name: Some(name.clone()),
        topic_authorized_operations: OPERATIONS_NOT_ASKED,
        ..MetadataResponseTopic::default()
    }
}
