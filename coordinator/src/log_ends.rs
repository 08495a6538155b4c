//! Where the logs of partitions begin and end: their leaders are asked, and what they said holds for a moment.
//! Lag is the distance from what a group committed to the end.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ottla_client::admin::Admin;
use ottla_client::{Address, Client, ClientConfig, OffsetAt, OffsetFound};
use ottla_metadata::image::Image;
use ottla_protocol::Str;
use ottla_protocol::types::PartitionId;

use crate::clock::Clock;
use crate::prober;

/// A partition, by its topic's name and its number.
pub(crate) type PartitionName = (String, i32);

/// The first offset that can be read, and the one behind the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogEnd {
    pub start: i64,
    pub end: i64,
}

/// Asks brokers, as any client does.
#[derive(Debug)]
pub(crate) struct LogEnds {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// With the addresses that it was made for.
    client: Option<(Vec<Address>, Admin)>,
    /// With the time at which they were asked for.
    known: BTreeMap<PartitionName, (LogEnd, Duration)>,
}

impl LogEnds {
    pub fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// The ends of these logs, as far as their leaders answer.
    pub async fn get(
        &self,
        image: &Image,
        partitions: &[PartitionName],
    ) -> BTreeMap<PartitionName, LogEnd> {
        let mut found = self.known(partitions);
        let missing: Vec<&PartitionName> =
            partitions.iter().filter(|partition| !found.contains_key(*partition)).collect();
        if missing.is_empty() {
            return found;
        }
        let starts = missing.iter().map(|partition| query(partition, OffsetAt::Earliest));
        let ends = missing.iter().map(|partition| query(partition, OffsetAt::Latest));
        let queries: Vec<_> = starts.chain(ends).collect();
        let answers = self.ask(image, &queries).await;
        let (starts, ends) = answers.split_at(missing.len());
        for ((partition, start), end) in missing.iter().zip(starts).zip(ends) {
            if let (Some(start), Some(end)) = (start, end) {
                found.insert((*partition).clone(), LogEnd { start: *start, end: *end });
            }
        }
        self.remember(&found);
        found
    }

    /// The first offset of each of these partitions whose record is of this time (Unix ms) or later; the end
    /// of the log if there is none. Left out where the leader does not answer.
    pub async fn at_time(
        &self,
        image: &Image,
        partitions: &[PartitionName],
        at_ms: i64,
    ) -> BTreeMap<PartitionName, i64> {
        let queries: Vec<_> =
            partitions.iter().map(|it| query(it, OffsetAt::Timestamp(at_ms))).collect();
        let answers = self.ask(image, &queries).await;
        let ends = self.get(image, partitions).await;
        let offset = |partition: &PartitionName, answer: Option<i64>| {
            answer.filter(|offset| 0 <= *offset).or_else(|| Some(ends.get(partition)?.end))
        };
        let pairs = partitions.iter().zip(answers);
        pairs.filter_map(|(it, answer)| Some((it.clone(), offset(it, answer)?))).collect()
    }

    /// One offset for each query, in their order; `None` for those that are not answered in time.
    async fn ask(
        &self,
        image: &Image,
        queries: &[(Str, PartitionId, OffsetAt)],
    ) -> Vec<Option<i64>> {
        let nothing = vec![None; queries.len()];
        let Some(admin) = self.admin(image) else { return nothing };
        let asked = tokio::time::timeout(ASK_TIMEOUT, admin.list_offsets(queries)).await;
        let Ok(answers) = asked else { return nothing };
        answers.into_iter().map(|answer| answer.ok().map(offset_of)).collect()
    }

    fn known(&self, partitions: &[PartitionName]) -> BTreeMap<PartitionName, LogEnd> {
        let now = self.clock.now().monotonic;
        let mut state = self.lock();
        state.known.retain(|_, (_, at)| now.saturating_sub(*at) < KNOWN_FOR);
        let known = partitions.iter().filter_map(|partition| {
            let (end, _) = state.known.get(partition)?;
            Some((partition.clone(), *end))
        });
        known.collect()
    }

    fn remember(&self, found: &BTreeMap<PartitionName, LogEnd>) {
        let now = self.clock.now().monotonic;
        let mut state = self.lock();
        for (partition, end) in found {
            if KNOWN_MAX <= state.known.len() {
                return;
            }
            state.known.entry(partition.clone()).or_insert((*end, now));
        }
    }

    /// A client of the brokers that are there now.
    fn admin(&self, image: &Image) -> Option<Admin> {
        let live = image.brokers().filter(|(_, record)| !record.fenced).map(|(id, _)| id);
        let addresses: Vec<Address> = live
            .filter_map(|id| prober::target(image, id))
            .map(|(host, port, _)| Address { host, port })
            .collect();
        if addresses.is_empty() {
            return None;
        }
        let mut state = self.lock();
        if let Some((known, admin)) = &state.client
            && *known == addresses
        {
            return Some(admin.clone());
        }
        let mut config = ClientConfig::to(addresses.clone());
        config.client_id = Str::from_static("ottla-coordinator");
        config.allow_auto_create_topics = false;
        (config.request_timeout, config.api_timeout) = (ASK_TIMEOUT, ASK_TIMEOUT);
        let admin = Admin::new(Client::new(config));
        state.client = Some((addresses, admin.clone()));
        Some(admin)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn query((topic, partition): &PartitionName, at: OffsetAt) -> (Str, PartitionId, OffsetAt) {
    (topic.as_str().into(), PartitionId(*partition), at)
}

fn offset_of(found: OffsetFound) -> i64 {
    found.offset.0
}

/// How long an answer holds.
const KNOWN_FOR: Duration = Duration::from_secs(3);
/// Partitions that are remembered.
const KNOWN_MAX: usize = 100_000;
/// How long brokers may take to answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt, StreamExt};
    use ottla_metadata::keys::Key;
    use ottla_metadata::model::{BrokerClaim, PreviousLife};
    use ottla_protocol::messages::api_versions_response::ApiVersion;
    use ottla_protocol::messages::list_offsets_response::{
        ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
    };
    use ottla_protocol::messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };
    use ottla_protocol::messages::{
        ApiVersionsRequest, ApiVersionsResponse, ListOffsetsRequest, ListOffsetsResponse,
        MetadataRequest, MetadataResponse,
    };
    use ottla_protocol::wire::Decoder;
    use ottla_protocol::{ApiKey, Message, Request, RequestHeader, frame};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::codec::{Framed, LengthDelimitedCodec};

    use super::*;
    use crate::controller::testing::{World, claim, partition};

    /// A broker that leads every partition, each of which begins at 5 and ends at 25; it counts lookups.
    async fn serve(stream: TcpStream, port: u16, lookups: tokio::sync::watch::Sender<usize>) {
        let mut frames = Framed::new(stream, LengthDelimitedCodec::new());
        while let Some(Ok(bytes)) = frames.next().await {
            let mut decoder = Decoder::new(bytes.freeze());
            let header = RequestHeader::decode(&mut decoder).unwrap();
            let answer = match ApiKey::try_from(header.api_key).unwrap() {
                ApiKey::ApiVersions => encode::<ApiVersionsRequest>(&header, &versions()),
                ApiKey::Metadata => encode::<MetadataRequest>(&header, &metadata(port)),
                ApiKey::ListOffsets => {
                    lookups.send_modify(|count| *count += 1);
                    let request =
                        ListOffsetsRequest::decode(&mut decoder, header.api_version).unwrap();
                    encode::<ListOffsetsRequest>(&header, &offsets(&request))
                }
                key => panic!("{key:?}"),
            };
            frames.send(answer).await.unwrap();
        }
    }

    fn encode<R: Request>(header: &RequestHeader, answer: &R::Response) -> bytes::Bytes {
        let (version, id) = (header.api_version, header.correlation_id);
        let pieces = frame::encode_response(R::KEY, version, id, answer).unwrap();
        // The codec writes the length itself.
        pieces.into_contiguous().unwrap().slice(4..)
    }

    fn versions() -> ApiVersionsResponse {
        let range = |api_key: ApiKey, max_version: i16| ApiVersion {
            api_key: api_key.code(),
            min_version: 0,
            max_version,
            ..ApiVersion::default()
        };
        let api_keys = vec![
            range(ApiKey::ApiVersions, 3),
            range(ApiKey::Metadata, 9),
            range(ApiKey::ListOffsets, 5),
        ];
        ApiVersionsResponse { api_keys, ..ApiVersionsResponse::default() }
    }

    fn metadata(port: u16) -> MetadataResponse {
        let broker = MetadataResponseBroker {
            node_id: 1,
            host: "127.0.0.1".into(),
            port: i32::from(port),
            ..MetadataResponseBroker::default()
        };
        let partition = |partition_index: i32| MetadataResponsePartition {
            partition_index,
            leader_id: 1,
            ..MetadataResponsePartition::default()
        };
        let topic = MetadataResponseTopic {
            name: Some("t".into()),
            partitions: vec![partition(0), partition(1)],
            ..MetadataResponseTopic::default()
        };
        MetadataResponse {
            brokers: vec![broker],
            controller_id: 1,
            topics: vec![topic],
            ..MetadataResponse::default()
        }
    }

    /// Earliest is 5, latest 25; of times, those up to 100 have the record 10, later ones none.
    fn offsets(request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| ListOffsetsPartitionResponse {
                partition_index: asked.partition_index,
                offset: match asked.timestamp {
                    -2 => 5,
                    -1 => 25,
                    0..=100 => 10,
                    _ => -1,
                },
                ..ListOffsetsPartitionResponse::default()
            });
            ListOffsetsTopicResponse {
                name: topic.name.clone(),
                partitions: partitions.collect(),
                ..ListOffsetsTopicResponse::default()
            }
        });
        ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() }
    }

    #[tokio::test]
    async fn leaders_are_asked_once_in_a_while() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (lookups, counted) = tokio::sync::watch::channel(0);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, port, lookups.clone()));
            }
        });
        let mut world = World::new();
        world.start_broker(1);
        let mut here: BrokerClaim = claim(1, PreviousLife::None);
        here.listeners[0].port = port;
        world.put(Key::BrokerClaim(1), &here);
        let partition = partition(&[1], 1);
        world.topic("t", &[partition.clone(), partition]);

        let log_ends = LogEnds::new(Clock::system());
        let names = [("t".to_owned(), 0), ("t".to_owned(), 1)];
        let both = LogEnd { start: 5, end: 25 };
        let expected: BTreeMap<_, _> = names.iter().map(|name| (name.clone(), both)).collect();
        assert_eq!(log_ends.get(world.image(), &names).await, expected);
        let asked = *counted.borrow();
        assert_eq!(log_ends.get(world.image(), &names).await, expected);
        assert_eq!(*counted.borrow(), asked, "what they said holds for a moment");
        for (at_ms, offset) in [(50, 10), (500, 25)] {
            let found = log_ends.at_time(world.image(), &names, at_ms).await;
            assert_eq!(found.into_values().collect::<Vec<_>>(), [offset, offset]);
        }
    }

    #[tokio::test]
    async fn where_nobody_lives_nothing_is_known() {
        let names = [("t".to_owned(), 0)];
        let log_ends = LogEnds::new(Clock::system());
        assert!(log_ends.get(World::new().image(), &names).await.is_empty());
    }
}
