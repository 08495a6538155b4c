//! What a fetch does to its session.

use std::sync::Arc;

use ottla_protocol::messages::fetch_request::FetchRequest;
use ottla_protocol::{ErrorCode, Str, Uuid};

use crate::data_path::DataPath;
use crate::fetch_session::{Change, Session, SessionOwner, TopicKey, TopicNaming, Wanted};
use crate::handlers::RequestContext;

/// A fetch whose partitions are known.
#[derive(Debug)]
pub(super) struct Begun {
    pub session: Arc<Session>,
    /// Every partition is answered.
    pub is_full: bool,
    /// The epoch that the session has now.
    pub epoch: i32,
}

/// Epoch of a request that opens a session.
const INITIAL_EPOCH: i32 = 0;
/// Epoch of a request that ends its session, or wants none.
const FINAL_EPOCH: i32 = -1;

/// Finds, opens, changes or ends the session.
pub(super) fn begin(
    data: &DataPath,
    context: &RequestContext,
    owner: SessionOwner,
    request: FetchRequest,
) -> Result<Begun, ErrorCode> {
    let naming = if context.api_version < 13 { TopicNaming::Names } else { TopicNaming::Ids };
    let (id, epoch) = (request.session_id, request.session_epoch);
    let now = context.received.monotonic;
    if epoch != INITIAL_EPOCH && epoch != FINAL_EPOCH {
        let found = data.fetch_sessions.find(id, now).filter(|session| session.owner == owner);
        let session = found.ok_or(ErrorCode::FetchSessionIdNotFound)?;
        let forgotten = forgotten(&request, naming);
        let epoch = session.begin((epoch, naming), changes(request, naming), forgotten)?;
        let partitions = session.len();
        if partitions == 0 {
            // Nothing is left to be told: the session ends, and the answer says so.
            data.fetch_sessions.remove(id);
            return Ok(Begun { session: Session::new(0, naming, owner), is_full: true, epoch });
        }
        data.fetch_sessions.resize(id, partitions);
        return Ok(Begun { session, is_full: false, epoch });
    }
    if id != 0 {
        data.fetch_sessions.remove(id);
    }
    let changes = changes(request, naming);
    let opened = if epoch == INITIAL_EPOCH && !changes.is_empty() {
        let make = |id| Session::new(id, naming, owner);
        data.fetch_sessions.create(rand::random(), changes.len(), now, make)
    } else {
        None
    };
    let session = opened.unwrap_or_else(|| Session::new(0, naming, owner));
    session.fill(changes);
    Ok(Begun { session, is_full: true, epoch: 1 })
}

fn changes(request: FetchRequest, naming: TopicNaming) -> Vec<Change> {
    let mut changes = Vec::with_capacity(request.topics.iter().map(|t| t.partitions.len()).sum());
    for topic in request.topics {
        let key = key_of(&topic.topic, topic.topic_id, naming);
        changes.extend(topic.partitions.into_iter().map(|partition| Change {
            topic: key.clone(),
            partition: partition.partition,
            wanted: Wanted {
                fetch_offset: partition.fetch_offset,
                bytes_max: partition.partition_max_bytes,
                current_leader_epoch: partition.current_leader_epoch,
                last_fetched_epoch: partition.last_fetched_epoch,
                log_start: partition.log_start_offset,
            },
        }));
    }
    changes
}

fn forgotten(request: &FetchRequest, naming: TopicNaming) -> Vec<(TopicKey, i32)> {
    let mut forgotten = Vec::new();
    for topic in &request.forgotten_topics_data {
        let key = key_of(&topic.topic, topic.topic_id, naming);
        forgotten.extend(topic.partitions.iter().map(|partition| (key.clone(), *partition)));
    }
    forgotten
}

fn key_of(name: &Str, id: Uuid, naming: TopicNaming) -> TopicKey {
    match naming {
        TopicNaming::Names => TopicKey::Name(name.detach()),
        TopicNaming::Ids => TopicKey::Id(id),
    }
}
