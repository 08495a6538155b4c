//! What one fetch session remembers between requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ottla_protocol::types::{BrokerId, LeaderEpoch};
use ottla_protocol::{ErrorCode, Str, Uuid};

use crate::partition::{PartitionHandle, SubscriberKey, Subscribers, Subscription, Watcher};

/// How requests of a session name topics; they may not mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicNaming {
    /// By name, before version 13.
    Names,
    /// By id.
    Ids,
}

/// A topic as a request names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TopicKey {
    /// By name.
    Name(Str),
    /// By id.
    Id(Uuid),
}

/// What a consumer wants from one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// First offset.
    pub fetch_offset: i64,
    /// Bytes at most.
    pub bytes_max: i32,
    /// The leader epoch that the consumer knows, −1 if none.
    pub current_leader_epoch: i32,
    /// The epoch of the last record that it read, −1 if none.
    pub last_fetched_epoch: i32,
    /// Where the log of a replica starts, −1 if it is none.
    pub log_start: i64,
}

/// What a session said of a partition last; what is still so is not said again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The high watermark; −1 after an error, so that the next answer says it.
    pub high_watermark: i64,
    /// The log's start.
    pub log_start: i64,
}

impl Told {
    /// Nothing yet.
    pub const NOTHING: Self = Self { high_watermark: -1, log_start: -1 };
}

/// Whose a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionOwner {
    /// A consumer's: it waits for high watermarks to move.
    Consumer,
    /// A replica's, by its broker: it waits for records.
    Replica(BrokerId),
}

/// What was said of a follower's progress last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// The partition epoch that the leader knew.
    pub partition_epoch: i64,
    /// The follower's life.
    pub broker_epoch: i64,
    /// Its end.
    pub end: i64,
    /// Its start.
    pub log_start: i64,
}

/// One partition of a session.
#[derive(Debug)]
pub struct Entry {
    /// The topic.
    pub topic: TopicKey,
    /// The partition.
    pub partition: i32,
    /// What is wanted from it.
    pub wanted: Wanted,
    /// What was said of it.
    pub told: Told,
    /// What a replica's progress was when the leader's state was told of it.
    pub reported: Option<Reported>,
    subscription: Arc<Subscription>,
    registration: Option<Registration>,
}

/// A session: its partitions and what became dirty among them.
#[derive(Debug)]
pub struct Session {
    /// Its id; 0 for the partitions of a single request without a session.
    pub id: i32,
    /// How its requests name topics.
    pub naming: TopicNaming,
    /// Whose it is; others do not find it.
    pub owner: SessionOwner,
    /// Wakes its poll.
    pub watcher: Arc<Watcher>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Epoch of the next request.
    epoch: i32,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    by_key: HashMap<(TopicKey, i32), u32>,
}

/// One partition that a request adds to a session, or changes there. A session outlives its requests, so
/// the topic's name has to be detached from its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The topic.
    pub topic: TopicKey,
    /// The partition.
    pub partition: i32,
    /// What is wanted from it.
    pub wanted: Wanted,
}

/// A subscription in a partition's list; dropping it takes it out.
#[derive(Debug)]
struct Registration {
    handle: Arc<PartitionHandle>,
    owner: SessionOwner,
    key: SubscriberKey,
}

impl Session {
    /// Without partitions. Its first incremental request has epoch 1.
    pub fn new(id: i32, naming: TopicNaming, owner: SessionOwner) -> Arc<Self> {
        let state =
            State { epoch: 1, entries: Vec::new(), free: Vec::new(), by_key: HashMap::new() };
        Arc::new(Self { id, naming, owner, watcher: Watcher::new(), state: Mutex::new(state) })
    }

    /// Takes an incremental request: checks its epoch and expects the next one, then adds, changes and
    /// forgets partitions. Returns the new epoch, with which [`Session::is_current`] can be asked.
    pub fn begin(
        &self,
        (epoch, naming): (i32, TopicNaming),
        changes: Vec<Change>,
        forgotten: Vec<(TopicKey, i32)>,
    ) -> Result<i32, ErrorCode> {
        let mut state = self.lock();
        if state.epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if self.naming != naming {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        state.epoch = next_epoch(epoch);
        for change in changes {
            state.apply(change, &self.watcher);
        }
        for key in forgotten {
            state.forget(&key);
        }
        Ok(state.epoch)
    }

    /// Adds what the first request of a session asks for, in its order.
    pub fn fill(&self, changes: Vec<Change>) {
        let mut state = self.lock();
        for change in changes {
            state.apply(change, &self.watcher);
        }
    }

    /// Whether no later request has come; an answer to an earlier one would confuse the client.
    pub fn is_current(&self, epoch: i32) -> bool {
        self.lock().epoch == epoch
    }

    /// Number of partitions.
    pub fn len(&self) -> usize {
        self.lock().by_key.len()
    }

    /// True if it has no partitions.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `visit` for the entry at `index`, if it is still there.
    pub fn with_entry<T>(&self, index: u32, visit: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.lock().entries.get_mut(index as usize)?.as_mut().map(visit)
    }

    /// Takes the indices of dirty partitions into `out`, oldest first.
    pub fn take_dirty(&self, out: &mut Vec<u32>) {
        self.watcher.take_dirty(out);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn apply(&mut self, change: Change, watcher: &Arc<Watcher>) {
        let key = (change.topic.clone(), change.partition);
        if let Some(index) = self.by_key.get(&key) {
            if let Some(entry) = &mut self.entries[*index as usize] {
                entry.wanted = change.wanted;
                watcher.mark_dirty(&entry.subscription);
            }
            return;
        }
        let index = self.free.pop().unwrap_or(self.entries.len() as u32);
        let topic = change.topic;
        let subscription = Subscription::new(Arc::clone(watcher), index);
        watcher.mark_dirty(&subscription);
        self.by_key.insert((topic.clone(), change.partition), index);
        let entry = Entry {
            topic,
            partition: change.partition,
            wanted: change.wanted,
            told: Told::NOTHING,
            reported: None,
            subscription,
            registration: None,
        };
        match self.entries.get_mut(index as usize) {
            Some(place) => *place = Some(entry),
            None => self.entries.push(Some(entry)),
        }
    }

    fn forget(&mut self, key: &(TopicKey, i32)) {
        if let Some(index) = self.by_key.remove(key) {
            self.entries[index as usize] = None;
            self.free.push(index);
        }
    }
}

impl Entry {
    /// Declares that the partition's view is read now.
    pub fn begin_visit(&self) {
        self.subscription.begin_visit();
    }

    /// Has to be visited by the next request whatever happens.
    pub fn mark_dirty(&self, watcher: &Watcher) {
        watcher.mark_dirty(&self.subscription);
    }

    /// Hears of changes of `handle` from now on, and of no other; returns true if that is new, so that
    /// the view has to be read (again).
    pub fn maybe_register(&mut self, handle: &Arc<PartitionHandle>, owner: SessionOwner) -> bool {
        if let Some(registration) = &self.registration
            && Arc::ptr_eq(&registration.handle, handle)
        {
            return false;
        }
        let handle = Arc::clone(handle);
        let key = subscribers(&handle, owner).add(Arc::clone(&self.subscription));
        self.registration = Some(Registration { handle, owner, key });
        true
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        subscribers(&self.handle, self.owner).remove(self.key);
    }
}

fn subscribers(handle: &PartitionHandle, owner: SessionOwner) -> &Subscribers {
    match owner {
        SessionOwner::Consumer => &handle.subscribers,
        SessionOwner::Replica(_) => &handle.followers,
    }
}

/// Epochs of requests count from 1 and begin anew at 1.
fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &'static str, partition: i32, fetch_offset: i64) -> Change {
        let wanted = Wanted {
            fetch_offset,
            bytes_max: 1024,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
            log_start: -1,
        };
        Change { topic: TopicKey::Name(Str::from_static(name)), partition, wanted }
    }

    fn dirty(session: &Session) -> Vec<u32> {
        let mut out = Vec::new();
        session.take_dirty(&mut out);
        for index in &out {
            session.with_entry(*index, |entry| entry.begin_visit());
        }
        out
    }

    #[test]
    fn requests_come_in_the_order_of_their_epochs() {
        let session = Session::new(5, TopicNaming::Names, SessionOwner::Consumer);
        let begin = |epoch| session.begin((epoch, TopicNaming::Names), vec![], vec![]);
        assert_eq!(begin(1), Ok(2));
        assert_eq!(begin(1), Err(ErrorCode::InvalidFetchSessionEpoch));
        assert_eq!(begin(2), Ok(3));
        assert!(!session.is_current(2));
        assert!(session.is_current(3));
        let mixed = session.begin((3, TopicNaming::Ids), vec![], vec![]);
        assert_eq!(mixed, Err(ErrorCode::FetchSessionTopicIdError));
        assert_eq!(next_epoch(i32::MAX), 1);
    }

    #[test]
    fn only_new_and_changed_partitions_are_dirty() {
        let session = Session::new(5, TopicNaming::Names, SessionOwner::Consumer);
        session.fill(vec![change("a", 0, 0), change("a", 1, 0), change("b", 0, 0)]);
        assert_eq!(dirty(&session), [0, 1, 2]);
        assert!(dirty(&session).is_empty());
        let changes = vec![change("a", 1, 10), change("c", 0, 0)];
        let forgotten = vec![(TopicKey::Name(Str::from_static("a")), 0)];
        session.begin((1, TopicNaming::Names), changes, forgotten).unwrap();
        assert_eq!(session.len(), 3);
        assert_eq!(dirty(&session), [1, 3]);
        assert_eq!(session.with_entry(1, |entry| entry.wanted.fetch_offset), Some(10));
        assert_eq!(session.with_entry(0, |_| ()), None);
    }
}
