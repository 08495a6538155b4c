//! What the leader's fetch session holds, as its only user knows (KIP-227).

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::messages::fetch_request::{
    FetchPartition, FetchRequest, FetchTopic, ForgottenTopic,
};
use ottla_protocol::types::{LeaderEpoch, Offset};

use super::Key;

/// What is asked of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The first offset that is missing: everything below is here (and on disk, if the topic is durable).
    pub offset: Offset,
    /// The newest epoch in the log; `LeaderEpoch::NONE` without one.
    pub last_epoch: LeaderEpoch,
    /// The epoch that is followed.
    pub leader_epoch: LeaderEpoch,
    /// First offset of the log here.
    pub log_start: Offset,
}

/// A session. Partitions whose state may differ from what the leader knows are *dirty*; only they are
/// looked at when a request is made, so an idle session costs nothing.
#[derive(Debug, Default)]
pub(super) struct Session {
    id: i32,
    /// Of the next request.
    epoch: i32,
    known: BTreeMap<Key, Wanted>,
    dirty: BTreeSet<Key>,
}

/// Epoch of a request that opens a session.
const INITIAL: i32 = 0;
/// Epoch of a request that ends one.
const FINAL: i32 = -1;

impl Session {
    /// The partition is not as the leader knows it.
    pub fn mark(&mut self, key: Key) {
        self.dirty.insert(key);
    }

    /// Whatever the leader knows of the partition, it is to be named again.
    pub fn name_again(&mut self, key: Key) {
        if let Some(known) = self.known.get_mut(&key) {
            known.offset = Offset::NONE;
        }
        self.mark(key);
    }

    /// What the leader was asked last, of this partition.
    pub fn asked(&self, key: Key) -> Option<Wanted> {
        self.known.get(&key).copied()
    }

    /// True if the leader remembers something of this session.
    pub const fn is_open(&self) -> bool {
        self.id != 0
    }

    /// Brings the leader up to date in `request`. `wanted` says what is wanted of a partition now, if it is
    /// to be fetched at all.
    pub fn fill(
        &mut self,
        request: &mut FetchRequest,
        bytes_max: i32,
        wanted: impl Fn(Key) -> Option<Wanted>,
    ) {
        (request.session_id, request.session_epoch) = (self.id, self.epoch);
        for key in std::mem::take(&mut self.dirty) {
            match (wanted(key), self.known.get(&key)) {
                (Some(wanted), Some(known)) if *known == wanted => {}
                (Some(wanted), _) => {
                    self.known.insert(key, wanted);
                    add(&mut request.topics, key, partition(key.1, wanted, bytes_max));
                }
                (None, Some(_)) => {
                    self.known.remove(&key);
                    forget(&mut request.forgotten_topics_data, key);
                }
                (None, None) => {}
            }
        }
    }

    /// A request that ends the session.
    pub fn close(&mut self, request: &mut FetchRequest) {
        (request.session_id, request.session_epoch) = (self.id, FINAL);
        self.known.clear();
        self.dirty.clear();
        (self.id, self.epoch) = (0, INITIAL);
    }

    /// The leader answered as the holder of session `id`; 0 means that it keeps none. Returns the partitions
    /// that have to be named again.
    pub fn on_answer(&mut self, id: i32) -> bool {
        if id == 0 {
            return self.reset(0);
        }
        self.epoch = if self.id == id { next(self.epoch) } else { 1 };
        self.id = id;
        false
    }

    /// The leader does not know the session, or contradicts it; or the connection broke. Everything is asked
    /// anew, and the leader told that `former` is of no more use.
    pub fn reset(&mut self, former: i32) -> bool {
        self.dirty.extend(std::mem::take(&mut self.known).into_keys());
        (self.id, self.epoch) = (former, INITIAL);
        true
    }

    /// As [`Session::reset`], ending the present one.
    pub fn reset_closing(&mut self) {
        self.reset(self.id);
    }
}

/// From 2³¹−1 it goes on with 1: 0 would open a session.
const fn next(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

fn partition(index: i32, wanted: Wanted, bytes_max: i32) -> FetchPartition {
    FetchPartition {
        partition: index,
        current_leader_epoch: wanted.leader_epoch.0,
        fetch_offset: wanted.offset.0,
        last_fetched_epoch: wanted.last_epoch.0,
        log_start_offset: wanted.log_start.0,
        partition_max_bytes: bytes_max,
        ..FetchPartition::default()
    }
}

/// Keys come in order, so partitions of a topic follow each other.
fn add(topics: &mut Vec<FetchTopic>, (topic_id, _): Key, partition: FetchPartition) {
    match topics.last_mut() {
        Some(last) if last.topic_id == topic_id => last.partitions.push(partition),
        _ => topics.push(FetchTopic {
            topic_id,
            partitions: vec![partition],
            ..FetchTopic::default()
        }),
    }
}

fn forget(topics: &mut Vec<ForgottenTopic>, (topic_id, index): Key) {
    match topics.last_mut() {
        Some(last) if last.topic_id == topic_id => last.partitions.push(index),
        _ => topics.push(ForgottenTopic {
            topic_id,
            partitions: vec![index],
            ..ForgottenTopic::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::Uuid;

    use super::*;

    fn wanted(offset: i64) -> Wanted {
        Wanted {
            offset: Offset(offset),
            last_epoch: LeaderEpoch(1),
            leader_epoch: LeaderEpoch(2),
            log_start: Offset(0),
        }
    }

    fn request(session: &mut Session, wanted: impl Fn(Key) -> Option<Wanted>) -> FetchRequest {
        let mut request = FetchRequest::default();
        session.fill(&mut request, 1000, wanted);
        request
    }

    fn named(request: &FetchRequest) -> Vec<(i32, i64)> {
        let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|partition| (partition.partition, partition.fetch_offset)).collect()
    }

    #[test]
    fn only_what_changed_is_named_again() {
        let mut session = Session::default();
        let key = |index| (Uuid::ONE, index);
        (0..3).for_each(|index| session.mark(key(index)));
        let first = request(&mut session, |_| Some(wanted(5)));
        assert_eq!(named(&first), [(0, 5), (1, 5), (2, 5)]);
        assert_eq!((first.session_id, first.session_epoch), (0, 0));
        session.on_answer(77);

        session.mark(key(1));
        session.mark(key(2));
        let second = request(&mut session, |(_, index)| match index {
            1 => Some(wanted(6)),
            _ => Some(wanted(5)),
        });
        assert_eq!((second.session_id, second.session_epoch), (77, 1));
        assert_eq!(named(&second), [(1, 6)]);
        session.on_answer(77);

        session.mark(key(0));
        let third = request(&mut session, |_| None);
        assert_eq!(third.session_epoch, 2);
        assert_eq!(third.forgotten_topics_data[0].partitions, [0]);
        session.on_answer(77);
        assert!(named(&request(&mut session, |_| Some(wanted(9)))).is_empty());
    }

    #[test]
    fn lost_session_is_begun_anew_with_everything() {
        let mut session = Session::default();
        let key = |index| (Uuid::ONE, index);
        (0..2).for_each(|index| session.mark(key(index)));
        request(&mut session, |_| Some(wanted(5)));
        session.on_answer(77);
        session.reset_closing();
        let again = request(&mut session, |_| Some(wanted(5)));
        assert_eq!((again.session_id, again.session_epoch), (77, 0));
        assert_eq!(named(&again), [(0, 5), (1, 5)]);
        // The leader has no room for sessions: each request names everything.
        session.on_answer(0);
        assert_eq!(named(&request(&mut session, |_| Some(wanted(6)))), [(0, 6), (1, 6)]);
    }

    #[test]
    fn epochs_wrap_to_1() {
        let mut session = Session { id: 7, epoch: i32::MAX, ..Session::default() };
        session.on_answer(7);
        assert_eq!(session.epoch, 1);
    }
}
