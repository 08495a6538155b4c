//! What nodes say to each other, and what they wait for.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use ottla_broker::partition::Acks;
use ottla_broker::replication::{Bounds, Key};
use ottla_coordinator::controller::liveness::{Heartbeat, Probe};
use ottla_metadata::store::{
    GuardedWrite, Lease, LeaseId, Outcome, Page, RangeRequest, StoreError, WatchItem,
};
use ottla_protocol::messages::fetch_request::FetchRequest;
use ottla_protocol::messages::fetch_response::FetchResponse;
use ottla_protocol::messages::{AlterPartitionRequest, AlterPartitionResponse};
use ottla_protocol::wire::Records;
use ottla_protocol::{ErrorCode, Uuid};

/// A call to the store.
#[derive(Debug, Clone)]
pub enum StoreRequest {
    /// Reads a page.
    Range(RangeRequest),
    /// A transaction.
    Txn(GuardedWrite),
    /// Grants a lease.
    Grant(Duration),
    /// Renews a lease.
    KeepAlive(LeaseId),
    /// Ends a lease.
    Revoke(LeaseId),
    /// Opens a watch of the image's keys, called `watch` by its client.
    Watch {
        /// The client's name for it.
        watch: u64,
        /// The first revision.
        from: i64,
    },
    /// Ends a watch; not answered.
    Unwatch(u64),
    /// Asks a watch for progress; not answered.
    Progress(u64),
}

/// The store's answer.
#[derive(Debug, Clone)]
pub enum StoreReply {
    /// To `Range`.
    Page(Result<Page, StoreError>),
    /// To `Txn`.
    Txn(Result<Outcome, StoreError>),
    /// To `Grant`.
    Lease(Result<Lease, StoreError>),
    /// To `KeepAlive`, `Revoke` and `Watch`.
    Done(Result<(), StoreError>),
}

/// What a broker passes on to the active coordinator.
#[derive(Debug, Clone)]
pub enum AdminRequest {
    /// Creates a topic.
    Create {
        /// Its name.
        name: String,
        /// Its partitions.
        partitions: i32,
        /// Replicas of each.
        replicas: i16,
        /// Whether an acknowledgement means synced.
        durable: bool,
    },
    /// Adds partitions.
    Grow {
        /// The topic.
        name: String,
        /// Partitions afterwards.
        count: i32,
    },
    /// Deletes a topic.
    Delete(String),
    /// Takes a block of producer ids for a broker.
    AllocateIds {
        /// The broker.
        broker: i32,
        /// Its life.
        broker_epoch: i64,
    },
}

/// What a client asks of a broker.
#[derive(Debug, Clone)]
pub enum ClientRequest {
    /// Who leads what.
    Metadata,
    /// To be relayed.
    Admin(AdminRequest),
    /// A producer id.
    InitProducerId,
    /// One batch.
    Produce {
        /// When it is acknowledged.
        acks: Acks,
        /// The topic.
        topic: Uuid,
        /// The partition.
        partition: i32,
        /// The batch.
        batch: Bytes,
    },
    /// Records from an offset on.
    Fetch {
        /// The topic.
        topic: Uuid,
        /// The partition.
        partition: i32,
        /// The first offset.
        offset: i64,
        /// Also a follower may answer.
        from_any: bool,
        /// The newest leader epoch that the client knows.
        leader_epoch: i32,
    },
}

/// A topic as Metadata shows it.
#[derive(Debug, Clone)]
pub struct ShownTopic {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Uuid,
    /// Partitions with leader and leader epoch.
    pub partitions: Vec<(i32, i32, i32)>,
}

/// What a broker answers.
#[derive(Debug, Clone)]
pub enum ClientAnswer {
    /// Every topic.
    Metadata(Vec<ShownTopic>),
    /// What became of an admin request: 0, or the start of a block of producer ids.
    Admin(Result<i64, ErrorCode>),
    /// A producer id.
    ProducerId(Result<i64, ErrorCode>),
    /// The offset of the batch's first record.
    Produced(Result<i64, ErrorCode>),
    /// Whole batches, below the high watermark.
    Fetched(Result<Bytes, ErrorCode>),
}

/// A message.
#[derive(Debug, Clone)]
pub enum Message {
    /// A call to the store.
    StoreCall {
        /// The caller's number.
        call: u64,
        /// The call.
        request: StoreRequest,
    },
    /// Its answer.
    StoreReply {
        /// The caller's number.
        call: u64,
        /// The answer.
        reply: StoreReply,
    },
    /// What a watch saw.
    Watched {
        /// The client's name of the watch.
        watch: u64,
        /// What it saw.
        item: WatchItem,
    },
    /// A broker lives.
    Heartbeat(Heartbeat),
    /// The connection to a broker's process broke.
    LinkBroken(i32),
    /// Does this life of the broker still run?
    Probe(i64),
    /// What came of a probe.
    Probed {
        /// The broker.
        broker: i32,
        /// Its life.
        broker_epoch: i64,
        /// What came of it.
        probe: Probe,
    },
    /// An admin request passed on by a broker.
    Relay {
        /// The broker's number.
        id: u64,
        /// The request.
        request: AdminRequest,
    },
    /// Its answer.
    Relayed {
        /// The broker's number.
        id: u64,
        /// The answer.
        result: Result<i64, ErrorCode>,
    },
    /// A leader proposes in-sync replicas.
    AlterPartition {
        /// The broker's number.
        id: u64,
        /// The proposals.
        request: Box<AlterPartitionRequest>,
    },
    /// What the controller decided.
    Altered {
        /// The broker's number.
        id: u64,
        /// The decisions.
        response: Box<AlterPartitionResponse>,
    },
    /// A replica fetches from its leader.
    ReplicaFetch {
        /// The follower's number.
        id: u64,
        /// What it wants.
        request: Box<FetchRequest>,
    },
    /// What the leader has.
    ReplicaFetched {
        /// The follower's number.
        id: u64,
        /// The answer.
        response: Box<FetchResponse>,
    },
    /// A replica asks for the bounds of its leader's log.
    LookUp {
        /// The follower's number.
        id: u64,
        /// The partition.
        key: Key,
        /// The epoch that is followed.
        leader_epoch: i32,
    },
    /// Its answer.
    LookedUp {
        /// The follower's number.
        id: u64,
        /// The bounds.
        result: Result<Bounds, ErrorCode>,
    },
    /// A request of a client.
    Request {
        /// The connection; 0 for requests whose order does not matter.
        connection: u64,
        /// It is the first on its connection: what follows on one that a process does not know is refused.
        opens: bool,
        /// The client's number.
        id: u64,
        /// The request.
        request: ClientRequest,
    },
    /// Its answer.
    Answer {
        /// The connection.
        connection: u64,
        /// The client's number.
        id: u64,
        /// The answer.
        answer: ClientAnswer,
    },
}

/// What a process waits for.
#[derive(Debug, Clone)]
pub enum Timer {
    /// A call to the store was not answered.
    CallTimeout(u64),
    /// The feed's pause before a list is over.
    FeedList(u64, RangeRequest),
    /// The feed's pause before a watch is over.
    FeedWatch(u64, i64),
    /// The feed looks after its watch.
    FeedTick,
    /// A watch fell silent because its connection is cut.
    WatchBroken(u64),
    /// Leases end.
    StoreTick,
    /// Renew the lease.
    KeepAlive(LeaseId),
    /// Send what is in doubt again.
    Retry,
    /// The coordinator looks around.
    Look,
    /// Stand for election, or claim.
    Claim,
    /// A broker has read its logs.
    Recover,
    /// Tell the coordinator.
    Heartbeat,
    /// The log worker works.
    Step,
    /// A sync reaches the disk.
    SyncRun(u64),
    /// A sync is reported.
    SyncDone(u64),
    /// Write checkpoints.
    Checkpoint,
    /// A relayed request was not answered.
    RelayTimeout(u64),
    /// A leader did not answer a fetch.
    FetchTimeout(u64),
    /// A leader did not tell the bounds of its log.
    LookUpTimeout(u64),
    /// A fetcher has something to do.
    PollFetchers,
    /// A fetch has waited for long enough.
    ServeFetches,
    /// The controller did not answer a proposal.
    ProposalTimeout(u64),
    /// The pause before the next proposals is over.
    Propose,
    /// The machine loses power, if it has not by now.
    PowerOff,
    /// A client does what is to be done next.
    Act,
    /// A client's request was not answered.
    RequestTimeout(u64),
}

impl fmt::Display for Message {
    /// Short, and the same in every run.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StoreCall { call, request } => write!(f, "call {call} {request}"),
            Self::StoreReply { call, reply } => write!(f, "reply {call} {reply}"),
            Self::Watched { watch, item } => match item {
                WatchItem::Batch(batch) => {
                    write!(f, "watched {watch} to {} ({})", batch.revision, batch.events.len())
                }
                WatchItem::Compacted { compacted } => {
                    write!(f, "watch {watch} compacted {compacted}")
                }
                WatchItem::Broken { .. } => write!(f, "watch {watch} broken"),
            },
            Self::Heartbeat(heartbeat) => {
                write!(f, "heartbeat {} at {}", heartbeat.broker_epoch, heartbeat.image_revision)
            }
            Self::LinkBroken(broker) => write!(f, "link of broker {broker} broke"),
            Self::Probe(epoch) => write!(f, "probe {epoch}"),
            Self::Probed { broker, probe, .. } => write!(f, "probed {broker}: {probe:?}"),
            Self::Relay { id, request } => write!(f, "relay {id} {request:?}"),
            Self::Relayed { id, result } => write!(f, "relayed {id} {result:?}"),
            Self::AlterPartition { id, request } => {
                write!(f, "alter partition {id}")?;
                let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
                partitions.into_iter().try_for_each(|data| {
                    let isr = data.new_isr_with_epochs.iter().map(|seat| seat.broker_id);
                    let isr: Vec<i32> = isr.collect();
                    write!(f, " {} at {} to {isr:?}", data.partition_index, data.partition_epoch)
                })
            }
            Self::Altered { id, response } => {
                write!(f, "altered {id} {}", response.error_code)?;
                let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
                partitions.into_iter().try_for_each(|data| {
                    write!(f, " {}: {} {:?}", data.partition_index, data.error_code, data.isr)
                })
            }
            Self::ReplicaFetch { id, request } => {
                write!(f, "replica fetch {id}")?;
                let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
                partitions.into_iter().try_for_each(|data| {
                    let (number, offset) = (data.partition, data.fetch_offset);
                    let epochs = (data.last_fetched_epoch, data.current_leader_epoch);
                    write!(f, " {number} from {offset} {epochs:?}")
                })
            }
            Self::ReplicaFetched { id, response } => {
                write!(f, "replica fetched {id}")?;
                let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
                partitions.into_iter().try_for_each(|data| {
                    let len = data.records.as_ref().map_or(0, Records::len);
                    let (number, error) = (data.partition_index, data.error_code);
                    let diverging = (data.diverging_epoch.epoch, data.diverging_epoch.end_offset);
                    write!(f, " {number}: {error} {len} hw {} {diverging:?}", data.high_watermark)
                })
            }
            Self::LookUp { id, key, leader_epoch } => {
                write!(f, "look up {id} {} in {leader_epoch}", key.1)
            }
            Self::LookedUp { id, result } => write!(f, "looked up {id} {result:?}"),
            Self::Request { connection, id, request, .. } => {
                write!(f, "request {connection}/{id} {request}")
            }
            Self::Answer { connection, id, answer } => {
                write!(f, "answer {connection}/{id} {answer}")
            }
        }
    }
}

impl fmt::Display for StoreRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(range) => write!(f, "range at {:?}", range.at_revision),
            Self::Txn(write) => {
                let key = write.puts.last().map(|put| String::from_utf8_lossy(&put.key));
                write!(f, "txn of {} puts, last {key:?}", write.puts.len())
            }
            Self::Grant(_) => f.write_str("grant"),
            Self::KeepAlive(lease) => write!(f, "keep {lease}"),
            Self::Revoke(lease) => write!(f, "revoke {lease}"),
            Self::Watch { watch, from } => write!(f, "watch {watch} from {from}"),
            Self::Unwatch(watch) => write!(f, "unwatch {watch}"),
            Self::Progress(watch) => write!(f, "progress {watch}"),
        }
    }
}

impl fmt::Display for StoreReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page(Ok(page)) => write!(f, "page at {} ({})", page.revision, page.items.len()),
            Self::Txn(Ok(Outcome::Committed { revision })) => write!(f, "committed {revision}"),
            Self::Txn(Ok(Outcome::Refused { revision, .. })) => write!(f, "refused {revision}"),
            Self::Txn(Ok(Outcome::Unknown { .. })) => f.write_str("unknown"),
            Self::Lease(Ok(lease)) => write!(f, "lease {}", lease.id),
            Self::Done(Ok(())) => f.write_str("done"),
            Self::Page(Err(error))
            | Self::Txn(Err(error))
            | Self::Lease(Err(error))
            | Self::Done(Err(error)) => write!(f, "{error}"),
        }
    }
}

impl fmt::Display for ClientRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metadata => f.write_str("metadata"),
            Self::Admin(request) => write!(f, "{request:?}"),
            Self::InitProducerId => f.write_str("init producer id"),
            Self::Produce { partition, batch, .. } => {
                write!(f, "produce {partition} ({})", batch.len())
            }
            Self::Fetch { partition, offset, .. } => write!(f, "fetch {partition} from {offset}"),
        }
    }
}

impl fmt::Display for ClientAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metadata(topics) => write!(f, "{} topics", topics.len()),
            Self::Admin(result) => write!(f, "admin {result:?}"),
            Self::ProducerId(result) => write!(f, "producer id {result:?}"),
            Self::Produced(result) => write!(f, "produced {result:?}"),
            Self::Fetched(Ok(bytes)) => write!(f, "fetched {}", bytes.len()),
            Self::Fetched(Err(error)) => write!(f, "fetch {error:?}"),
        }
    }
}
