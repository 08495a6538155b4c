//! One run of a script against one server.

use std::{collections::BTreeMap, net::SocketAddr};

use ottla_integration_tests::harness::{WireClient, eventually};
use ottla_protocol::{
    ErrorCode, Request, Str, Uuid,
    messages::{
        CreateTopicsRequest, ListOffsetsRequest, MetadataRequest,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        metadata_request::MetadataRequestTopic,
    },
};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// A connection, and the notes taken so far.
pub struct Session {
    address: SocketAddr,
    client: WireClient,
    lines: Vec<String>,
    ids: BTreeMap<Str, Uuid>,
}

/// Kafka's name of an error code.
pub fn code(code: i16) -> &'static str {
    ErrorCode::from_code(code).name()
}

impl Session {
    /// Connects to a broker.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            client: WireClient::connect(address),
            lines: Vec::new(),
            ids: BTreeMap::new(),
        }
    }

    /// What was noted.
    pub fn into_lines(self) -> Vec<String> {
        self.lines
    }

    /// Notes one observation.
    pub fn note(&mut self, step: &str, outcome: impl std::fmt::Display) {
        self.lines.push(format!("{step} -> {outcome}"));
    }

    /// A request and its answer.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.client.call(version, request)
    }

    /// Sends a request that must end the connection, and connects anew.
    pub fn call_that_closes<R: Request>(&mut self, version: i16, request: &R) -> &'static str {
        self.client.send(version, request);
        let outcome = match self.client.read_frame() {
            Ok(None) => "closed",
            Ok(Some(_)) => "answered",
            Err(_) => "silent",
        };
        self.client = WireClient::connect(self.address);
        outcome
    }

    /// Sends a request that is never answered.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.client.send(version, request);
    }

    /// Creates a topic with one replica, and waits until every partition has a leader.
    pub fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
            ..CreatableTopicConfig::default()
        });
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.collect(),
            ..CreatableTopic::default()
        };
        let request =
            CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        let response = self.call(7, &request);
        assert_eq!(response.topics[0].error_code, 0, "{name}: {:?}", response.topics[0]);
        self.ids.insert(name.into(), response.topics[0].topic_id);
        self.await_leaders(name, usize::try_from(partitions).expect("partitions"));
        (0..partitions).for_each(|partition| self.await_serving(name, partition));
    }

    /// The id of a topic that this session has created.
    pub fn id(&self, name: &str) -> Uuid {
        self.ids[name]
    }

    fn await_leaders(&mut self, name: &str, partitions: usize) {
        let topic = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
        eventually(&format!("{name} has its leaders"), PATIENCE, || {
            let response = self.call(12, &request);
            let topic = &response.topics[0];
            let led = topic.partitions.iter().filter(|p| p.error_code == 0 && 0 <= p.leader_id);
            (topic.error_code == 0 && led.count() == partitions).then_some(())
        });
    }

    /// Kafka's metadata can name a leader that does not lead yet.
    fn await_serving(&mut self, name: &str, partition_index: i32) {
        let partition =
            ListOffsetsPartition { partition_index, timestamp: -1, ..Default::default() };
        let topic = ListOffsetsTopic {
            name: name.into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request =
            ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        eventually(&format!("{name}-{partition_index} is served"), PATIENCE, || {
            let response = self.call(7, &request);
            (response.topics[0].partitions[0].error_code == 0).then_some(())
        });
    }
}
