//! A cluster in this process, whose brokers do what a script says. For faults that a real broker would not commit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use ottla_protocol::messages::api_versions_response::ApiVersion;
use ottla_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_protocol::messages::{
    ApiVersionsResponse, InitProducerIdResponse, MetadataRequest, MetadataResponse,
};
use ottla_protocol::types::TopicId;
use ottla_protocol::wire::Decoder;
use ottla_protocol::{ApiKey, ErrorCode, Message, Request, RequestHeader, Str, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::watch;

use crate::config::ClientConfig;
use crate::connection::{Address, BoxedStream, ConnectError, Connector};

/// What a broker does with a request.
pub(crate) enum Reaction {
    /// It answers, with this message already encoded.
    Answer(Bytes),
    /// It answers after this time.
    AnswerAfter(Duration, Bytes),
    /// It closes the connection.
    Close,
    /// It does not answer.
    Silence,
}

impl Reaction {
    /// An answer to `header`.
    pub(crate) fn answer<M: Message>(header: &RequestHeader, response: &M) -> Self {
        let key = ApiKey::try_from(header.api_key).unwrap();
        let (version, id) = (header.api_version, header.correlation_id);
        let frame = frame::encode_response(key, version, id, response).unwrap();
        Self::Answer(frame.into_contiguous().unwrap())
    }
}

/// Decides on every request but those that the cluster answers itself: the broker asked, the request.
pub(crate) type Script = Box<dyn FnMut(i32, &RequestHeader, Bytes) -> Reaction + Send>;

/// Leaders of the partitions of one topic, `topic`, with their epochs; the brokers are 1 and 2.
#[derive(Clone)]
pub(crate) struct FakeCluster {
    state: Arc<Mutex<State>>,
    /// The broker that stands still.
    paused: watch::Sender<Option<i32>>,
}

struct State {
    leaders: Vec<(i32, i32)>,
    /// What metadata says instead.
    stale_leaders: Option<Vec<(i32, i32)>>,
    script: Script,
    connections: usize,
    refused: HashMap<i32, usize>,
}

pub(crate) const TOPIC: &str = "topic";

impl FakeCluster {
    pub(crate) fn new(partitions: usize, script: Script) -> Self {
        let leaders = (0..partitions).map(|partition| (1 + partition as i32 % 2, 0)).collect();
        let state =
            State { leaders, stale_leaders: None, script, connections: 0, refused: HashMap::new() };
        Self { state: Arc::new(Mutex::new(state)), paused: watch::Sender::new(None) }
    }

    pub(crate) fn config(&self) -> ClientConfig {
        self.config_through(&[1])
    }

    /// With these brokers to begin at.
    pub(crate) fn config_through(&self, brokers: &[i32]) -> ClientConfig {
        let bootstrap = brokers.iter().map(|&broker| address(broker)).collect();
        ClientConfig { connector: Arc::new(self.clone()), ..ClientConfig::to(bootstrap) }
    }

    /// Makes a broker stand still: it can be connected to and sent to, but answers nothing until it goes on.
    pub(crate) fn pause(&self, broker: i32) {
        self.paused.send_replace(Some(broker));
    }

    /// Makes every broker go on, with what it was sent meanwhile.
    pub(crate) fn resume(&self) {
        self.paused.send_replace(None);
    }

    /// From now on metadata says nothing new of leaders.
    pub(crate) fn freeze_metadata(&self) {
        let mut state = self.state.lock().unwrap();
        state.stale_leaders = Some(state.leaders.clone());
    }

    /// Returns once `broker` does not stand still.
    async fn going_on(&self, broker: i32) {
        let mut paused = self.paused.subscribe();
        // The sender lives as long as this handle.
        let _ = paused.wait_for(|paused| *paused != Some(broker)).await;
    }

    /// Makes the other broker the leader.
    pub(crate) fn move_leader(&self, partition: usize) {
        let (leader, epoch) = &mut self.state.lock().unwrap().leaders[partition];
        *leader = 3 - *leader;
        *epoch += 1;
    }

    pub(crate) fn leader(&self, partition: usize) -> i32 {
        self.leader_and_epoch(partition).0
    }

    pub(crate) fn leader_and_epoch(&self, partition: usize) -> (i32, i32) {
        self.state.lock().unwrap().leaders[partition]
    }

    /// Lets the next attempts to connect to a broker fail.
    pub(crate) fn refuse(&self, broker: i32, times: usize) {
        self.state.lock().unwrap().refused.insert(broker, times);
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    fn react(&self, broker: i32, header: &RequestHeader, body: Bytes) -> Reaction {
        match ApiKey::try_from(header.api_key).unwrap() {
            ApiKey::ApiVersions => Reaction::answer(header, &every_version()),
            ApiKey::Metadata => Reaction::answer(header, &self.metadata(header, body)),
            ApiKey::InitProducerId => {
                let response = InitProducerIdResponse {
                    producer_id: 1000,
                    producer_epoch: 0,
                    ..InitProducerIdResponse::default()
                };
                Reaction::answer(header, &response)
            }
            _ => {
                // Not held while the script runs, which may ask for leaders.
                let idle: Script = Box::new(|_, _, _| Reaction::Silence);
                let mut script = std::mem::replace(&mut self.state.lock().unwrap().script, idle);
                let reaction = script(broker, header, body);
                self.state.lock().unwrap().script = script;
                reaction
            }
        }
    }

    fn metadata(&self, header: &RequestHeader, body: Bytes) -> MetadataResponse {
        let asked = MetadataRequest::decode_all(body, header.api_version).unwrap();
        let state = self.state.lock().unwrap();
        let broker = |node_id| MetadataResponseBroker {
            node_id,
            host: address(node_id).host.into(),
            port: address(node_id).port.into(),
            ..Default::default()
        };
        let partitions = (0..).zip(state.stale_leaders.as_ref().unwrap_or(&state.leaders)).map(
            |(partition_index, &(leader_id, epoch))| MetadataResponsePartition {
                partition_index,
                leader_id,
                leader_epoch: epoch,
                ..Default::default()
            },
        );
        let known = MetadataResponseTopic {
            name: Some(Str::from(TOPIC)),
            topic_id: TopicId::from_bytes([7; 16]),
            partitions: partitions.collect(),
            ..Default::default()
        };
        let topics = asked.topics.unwrap_or_default().into_iter().map(|topic| {
            if topic.name.as_deref() == Some(TOPIC) {
                return known.clone();
            }
            let error_code = ErrorCode::UnknownTopicOrPartition.code();
            MetadataResponseTopic { name: topic.name, error_code, ..Default::default() }
        });
        MetadataResponse {
            brokers: vec![broker(1), broker(2)],
            controller_id: 1,
            topics: topics.collect(),
            ..Default::default()
        }
    }

    async fn serve(self, broker: i32, mut stream: DuplexStream) {
        while let Ok(len) = stream.read_u32().await {
            let mut frame = vec![0; len as usize];
            if stream.read_exact(&mut frame).await.is_err() {
                return;
            }
            self.going_on(broker).await;
            let mut decoder = Decoder::new(frame.into());
            let header = RequestHeader::decode(&mut decoder).unwrap();
            let reaction = self.react(broker, &header, decoder.rest());
            self.going_on(broker).await;
            match reaction {
                Reaction::Silence => {}
                Reaction::Close => return,
                Reaction::AnswerAfter(wait, frame) => {
                    tokio::time::sleep(wait).await;
                    if stream.write_all(&frame).await.is_err() {
                        return;
                    }
                }
                Reaction::Answer(frame) => {
                    if stream.write_all(&frame).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

impl Connector for FakeCluster {
    fn connect<'a>(
        &'a self,
        address: &'a Address,
    ) -> BoxFuture<'a, Result<BoxedStream, ConnectError>> {
        Box::pin(async move {
            let broker = i32::from(address.port);
            {
                let mut state = self.state.lock().unwrap();
                state.connections += 1;
                if let Some(left) = state.refused.get_mut(&broker).filter(|left| 0 < **left) {
                    *left -= 1;
                    return Err(ConnectError::Io {
                        address: address.clone(),
                        kind: std::io::ErrorKind::ConnectionRefused,
                        message: "refused".into(),
                    });
                }
            }
            let (ours, theirs) = duplex(1 << 20);
            tokio::spawn(self.clone().serve(broker, theirs));
            Ok(Box::new(ours) as BoxedStream)
        })
    }
}

fn address(broker: i32) -> Address {
    Address { host: "broker".into(), port: broker as u16 }
}

fn every_version() -> ApiVersionsResponse {
    let api_keys =
        (0..=80i16).filter(|&key| ApiKey::try_from(key).is_ok_and(|key| !key.is_private())).map(
            |api_key| ApiVersion { api_key, min_version: 0, max_version: 99, ..Default::default() },
        );
    ApiVersionsResponse { api_keys: api_keys.collect(), ..Default::default() }
}

/// Reads the body of a request.
pub(crate) fn decode<R: Request>(header: &RequestHeader, body: Bytes) -> R {
    R::decode_all(body, header.api_version).unwrap()
}
