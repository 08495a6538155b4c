//! Finds out what a fetch can return now.

use std::collections::HashSet;
use std::sync::Arc;

use ottla_protocol::types::{BrokerId, LeaderEpoch, Offset};
use ottla_protocol::{ErrorCode, Uuid};
use ottla_storage::ReadError;

use super::hold::Hold;
use super::{Poll, Reader, Terms};
use crate::data_path::{DataPath, EmptyLog, Resolver, Unroutable};
use crate::fetch_session::{Entry, TopicKey, Wanted};
use crate::partition::{
    Continuation, FollowerView, Located, PartitionHandle, ReadRange, Role, View,
};

/// A partition that may be in the answer.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Index in the session.
    pub index: u32,
    pub topic: TopicKey,
    pub partition: i32,
    pub wanted: Wanted,
    pub found: Result<Found, Unroutable>,
    /// Instead of what was not found.
    pub empty: Option<EmptyLog>,
}

#[derive(Debug)]
pub(super) struct Found {
    pub handle: Arc<PartitionHandle>,
    pub view: Arc<View>,
}

/// What all candidates have.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// One for each candidate.
    pub results: Vec<PartitionRead>,
    /// Bytes of records.
    pub bytes: u64,
    /// Something is to be told at once.
    pub is_urgent: bool,
}

/// What one partition has.
#[derive(Debug)]
pub(super) enum PartitionRead {
    Failed(Unroutable),
    /// The consumer's log went another way: it has to go back to this end of this epoch.
    Diverged(Box<View>, LeaderEpoch, Offset),
    /// Records, or none, and the marks of the view they were found in.
    Read(Marks, Option<Located>),
    /// The consumer should read from this replica.
    Elsewhere(Marks, BrokerId),
}

/// The offsets that every answer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    pub high_watermark: Offset,
    pub last_stable: Offset,
    pub log_start: Offset,
    pub log_end: Offset,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: i64,
}

/// Makes candidates of what the session has to look at. With `is_subscribed`, every view is read after
/// its partition knows whom to wake.
pub(super) fn find(poll: &Poll, indices: &mut Vec<u32>, is_subscribed: bool) -> Vec<Candidate> {
    let known = indices.len();
    poll.session.take_dirty(indices);
    if known < indices.len() {
        let mut seen = HashSet::with_capacity(indices.len());
        indices.retain(|index| seen.insert(*index));
    }
    let resolver = poll.data.resolver();
    let candidates = indices.iter().filter_map(|index| {
        poll.session.with_entry(*index, |entry| {
            entry.begin_visit();
            let found = find_partition(&resolver, poll.terms.reader, entry);
            let empty = found.is_err().then(|| find_empty(&resolver, entry)).flatten();
            let found = found.map(|handle| {
                if is_subscribed {
                    entry.maybe_register(&handle, poll.terms.reader.owner());
                }
                Found { view: handle.view_full(), handle }
            });
            Candidate {
                index: *index,
                topic: entry.topic.clone(),
                partition: entry.partition,
                wanted: entry.wanted,
                found,
                empty,
            }
        })
    });
    candidates.collect()
}

fn find_empty(resolver: &Resolver, entry: &Entry) -> Option<EmptyLog> {
    resolver.empty_log(resolver.topic_id(&entry.topic).ok()?, entry.partition)
}

fn find_partition(
    resolver: &Resolver,
    reader: Reader,
    entry: &Entry,
) -> Result<Arc<PartitionHandle>, Unroutable> {
    let topic: Result<Uuid, ErrorCode> = resolver.topic_id(&entry.topic);
    let handle = resolver.find(topic, entry.partition)?;
    if let Reader::Replica { broker, epoch } = reader {
        let knows_epoch = entry.wanted.current_leader_epoch != -1;
        let partition = (handle.topic_id, handle.index);
        let checked = resolver.check_replica(partition, (broker, epoch), knows_epoch);
        checked.map_err(Unroutable::plain)?;
    }
    Ok(handle)
}

/// Finds out what every candidate has, in order and within the limits.
pub(super) async fn read(poll: &Poll, candidates: &[Candidate]) -> Reading {
    let mut reading =
        Reading { results: Vec::with_capacity(candidates.len()), ..Reading::default() };
    let hold = Hold::of(poll);
    for candidate in candidates {
        let left = u64::from(poll.terms.max_bytes).saturating_sub(reading.bytes);
        let budget =
            Budget { bytes: u32::try_from(left).unwrap_or(u32::MAX), is_first: reading.bytes == 0 };
        let result = match read_candidate((poll, hold.as_ref()), candidate, budget).await {
            Ok(result) => result,
            Err(error) => PartitionRead::Failed(error),
        };
        match &result {
            PartitionRead::Read(_, located) => {
                reading.bytes += located.as_ref().map_or(0, |located| u64::from(located.len));
            }
            PartitionRead::Failed(_)
            | PartitionRead::Diverged(..)
            | PartitionRead::Elsewhere(..) => reading.is_urgent = true,
        }
        reading.results.push(result);
    }
    reading
}

#[derive(Debug, Clone, Copy)]
struct Budget {
    bytes: u32,
    /// Nothing was found yet, so the first batch is returned whatever its size.
    is_first: bool,
}

async fn read_candidate(
    (poll, hold): (&Poll, Option<&Hold<'_>>),
    candidate: &Candidate,
    budget: Budget,
) -> Result<PartitionRead, Unroutable> {
    if let Some(empty) = candidate.empty {
        return read_empty(empty, &candidate.wanted).map_err(Unroutable::plain);
    }
    let found = candidate.found.as_ref().map_err(|error| *error)?;
    let mut view = Arc::clone(&found.view);
    for _ in 0..READ_ATTEMPTS {
        let checked = check(&view, &candidate.wanted, &poll.terms);
        let below = match checked {
            Ok(Checked::Readable(below)) => below,
            Ok(Checked::Diverged(epoch, end)) => {
                return Ok(PartitionRead::Diverged(Box::new(View::clone(&view)), epoch, end));
            }
            Err(ErrorCode::NotLeaderOrFollower) => return Err(not_leader(poll, found)),
            Err(ErrorCode::FencedLeaderEpoch) => {
                let leader = not_leader(poll, found).leader;
                return Err(Unroutable { error: ErrorCode::FencedLeaderEpoch, leader });
            }
            Err(error) => return Err(Unroutable::plain(error)),
        };
        let from = Offset(candidate.wanted.fetch_offset);
        if let Some(replica) = nearby_replica(poll, &view, from) {
            return Ok(PartitionRead::Elsewhere(Marks::of(&view), replica));
        }
        let limit = u32::try_from(candidate.wanted.bytes_max).unwrap_or(0).min(budget.bytes);
        if below <= from || limit == 0 && !budget.is_first {
            return Ok(PartitionRead::Read(Marks::of(&view), None));
        }
        if hold.is_some_and(|hold| hold.holds_back(found, &view)) {
            return Ok(PartitionRead::Read(Marks::of(&view), None));
        }
        let range = ReadRange { from, below, bytes_max: limit, is_first_whole: budget.is_first };
        match locate(&poll.data, &view, range).await {
            Ok(located) => return Ok(PartitionRead::Read(Marks::of(&view), located)),
            // A segment went since the view was published; there is a newer view.
            Err(ReadError::Gone) => view = found.handle.view_full(),
            Err(error) => return Err(Unroutable::plain(error_code(&error, found))),
        }
    }
    Ok(PartitionRead::Read(Marks::of(&view), None))
}

fn read_empty(empty: EmptyLog, wanted: &Wanted) -> Result<PartitionRead, ErrorCode> {
    empty.check_epoch(wanted.current_leader_epoch)?;
    if wanted.fetch_offset != 0 {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    Ok(PartitionRead::Read(Marks::of_empty(empty), None))
}

/// Views that are tried: each can lose a segment while it is read.
const READ_ATTEMPTS: usize = 3;

enum Checked {
    /// Up to this offset.
    Readable(Offset),
    Diverged(LeaderEpoch, Offset),
}

fn check(view: &View, wanted: &Wanted, terms: &Terms) -> Result<Checked, ErrorCode> {
    match terms.reader {
        Reader::Nearby => view.check_epoch(wanted.current_leader_epoch)?,
        Reader::Consumer | Reader::Replica { .. } => {
            view.check_leader(wanted.current_leader_epoch)?;
        }
    }
    let from = Offset(wanted.fetch_offset);
    let lacks_it = view.log_end < from && view.role != Role::Leader;
    match view.compare(from, wanted.last_fetched_epoch) {
        Ok(Continuation::Agrees) => {}
        Ok(Continuation::Diverges(epoch, end)) => return Ok(Checked::Diverged(epoch, end)),
        // Its leader may well have it: a consumer must look there, and not take records for lost that a replica
        // lacks, which has just come back without its unsynced end.
        Err(_) if lacks_it && terms.reader == Reader::Nearby => {
            return Err(ErrorCode::OffsetNotAvailable);
        }
        Err(error) => return Err(error),
    }
    Ok(Checked::Readable(match terms.reader {
        Reader::Replica { .. } => view.log_end,
        _ if terms.is_committed_only => view.last_stable,
        _ => view.high_watermark,
    }))
}

/// The replica that a leader sends a consumer to: one in sync, in its rack, that has what it asks for, and
/// more than others have. `None` if that is the leader itself.
pub(super) fn nearby_replica(poll: &Poll, view: &View, from: Offset) -> Option<BrokerId> {
    let rack = poll.terms.rack.as_deref()?;
    if view.role != Role::Leader || poll.terms.reader != Reader::Nearby {
        return None;
    }
    let resolver = poll.data.resolver();
    let listener = &*poll.context.connection.listener;
    let has_it = |follower: &&FollowerView| {
        follower.is_in_sync && follower.log_start <= from && from <= follower.end
    };
    let able: Vec<_> = view.followers.iter().filter(has_it).collect();
    let all = std::iter::once(poll.data.broker).chain(able.iter().map(|able| able.broker));
    let near: Vec<BrokerId> = resolver.in_rack(all, rack, listener).collect();
    if near.contains(&poll.data.broker) {
        return None;
    }
    let best = able.into_iter().filter(|able| near.contains(&able.broker));
    best.max_by_key(|able| (able.end, std::cmp::Reverse(able.broker))).map(|able| able.broker)
}

/// On this task if everything that it takes is in memory, else on a thread that may wait.
async fn locate(
    data: &DataPath,
    view: &Arc<View>,
    range: ReadRange,
) -> Result<Option<Located>, ReadError> {
    match view.log.locate(range, false) {
        Err(ReadError::WouldBlock) => {}
        result => return result,
    }
    let view = Arc::clone(view);
    let result = data.readers.run(move || view.log.locate(range, true)).await;
    result.unwrap_or_else(|error| Err(ReadError::Io(std::io::Error::other(error))))
}

fn not_leader(poll: &Poll, found: &Found) -> Unroutable {
    poll.data.resolver().not_leader(found.handle.topic_id, found.handle.index)
}

fn error_code(error: &ReadError, found: &Found) -> ErrorCode {
    let code = match error {
        ReadError::OffsetOutOfRange { .. } => return ErrorCode::OffsetOutOfRange,
        ReadError::Corrupt { .. } => ErrorCode::CorruptMessage,
        ReadError::WouldBlock | ReadError::Gone | ReadError::Io(_) => ErrorCode::KafkaStorageError,
    };
    let PartitionHandle { topic, index, .. } = &*found.handle;
    tracing::error!(%topic, partition = index, %error, "records cannot be read");
    code
}

impl Marks {
    const fn of_empty(empty: EmptyLog) -> Self {
        Self {
            high_watermark: Offset(0),
            last_stable: Offset(0),
            log_start: Offset(0),
            log_end: Offset(0),
            leader_epoch: empty.leader_epoch,
            partition_epoch: empty.partition_epoch,
        }
    }

    pub(super) fn of(view: &View) -> Self {
        Self {
            high_watermark: view.high_watermark,
            last_stable: view.last_stable,
            log_start: view.log_start,
            log_end: view.log_end,
            leader_epoch: view.leader_epoch,
            partition_epoch: view.partition_epoch,
        }
    }
}
