//! What a shard has decided and the journal does not hold yet, and who waits until it does.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use ottla_metadata::journal::Record;
use ottla_metadata::keys::{GroupKey, ShardKey};
use ottla_metadata::store::Limits;
use tokio::sync::oneshot;

use crate::group::Response;

/// An answer and the way back. Whoever drops it answers NOT_COORDINATOR.
#[derive(Debug)]
pub struct Reply {
    /// The answer.
    pub response: Response,
    /// Whoever waits for it.
    pub to: oneshot::Sender<Response>,
}

/// Records in the order in which they were decided, and answers that wait for them.
#[derive(Debug, Default)]
pub struct Outbox {
    /// With their numbers, which grow by one from record to record.
    queue: VecDeque<(u64, Record)>,
    /// The number of the waiting record of a key whose order among others does not matter.
    places: HashMap<ShardKey, u64>,
    /// Number of the next record.
    next: u64,
    /// Every record below this number is durable.
    durable: u64,
    /// With the number below which everything has to be durable first.
    waiting: VecDeque<(u64, Reply)>,
    bytes: usize,
    /// When the oldest waiting record was put.
    since: Option<Duration>,
    /// The shard was lost since it was last read: what it still decides goes back to a state that is not in the journal.
    is_closed: bool,
}

/// Records on their way into a transaction.
#[derive(Debug, Default)]
pub struct Taken {
    /// No key twice.
    pub records: Vec<Record>,
    /// The number of the record behind the last.
    pub up_to: u64,
    /// When the oldest of them was put.
    pub since: Option<Duration>,
}

impl Outbox {
    /// Puts a record last; a committed offset takes the place of the one that waits to be written.
    pub fn push(&mut self, record: Record, now: Duration) {
        if self.is_closed {
            return;
        }
        if let Some(number) = self.places.get(&record.key)
            && let Ok(at) = self.queue.binary_search_by_key(number, |(number, _)| *number)
        {
            self.bytes -= size(&self.queue[at].1);
            self.bytes += size(&record);
            self.queue[at].1 = record;
            return;
        }
        if is_unordered(&record.key) {
            self.places.insert(record.key.clone(), self.next);
        }
        self.bytes += size(&record);
        self.since.get_or_insert(now);
        self.queue.push_back((self.next, record));
        self.next += 1;
    }

    /// Keeps an answer until everything decided so far is durable; gives it back if that is so already. Drops it
    /// if the shard was lost.
    #[must_use]
    pub fn wait(&mut self, reply: Reply) -> Option<Reply> {
        if self.is_closed {
            return None;
        }
        if self.durable == self.next {
            return Some(reply);
        }
        self.waiting.push_back((self.next, reply));
        None
    }

    /// Takes the oldest records, as many as there is room for. One that is larger than the room of a whole
    /// transaction goes alone.
    pub fn take(&mut self, room: &mut Room) -> Taken {
        let mut taken = Taken { since: self.since, ..Taken::default() };
        let mut places: HashMap<ShardKey, usize> = HashMap::new();
        while let Some((_, record)) = self.queue.front() {
            let size = size(record);
            let known = places.get(&record.key).copied();
            if !room.take(size, usize::from(known.is_none())) {
                break;
            }
            let Some((number, record)) = self.queue.pop_front() else { break };
            self.bytes -= size;
            taken.up_to = number + 1;
            self.places.remove(&record.key);
            match known {
                // A transaction is applied as a whole, so the later value is all that anybody will see.
                Some(at) => taken.records[at] = record,
                None => {
                    places.insert(record.key.clone(), taken.records.len());
                    taken.records.push(record);
                }
            }
        }
        if self.queue.is_empty() {
            self.since = None;
        }
        taken
    }

    /// Everything below `up_to` is durable: the answers that waited for it may leave.
    pub fn confirm(&mut self, up_to: u64) -> Vec<Reply> {
        self.durable = self.durable.max(up_to);
        let ready = self.waiting.iter().take_while(|(after, _)| *after <= self.durable).count();
        self.waiting.drain(..ready).map(|(_, reply)| reply).collect()
    }

    /// Forgets everything, for a shard that is lost; whoever waits is told so. Takes nothing more before
    /// [`Self::open`]: the shard may be in the middle of a step, whose writes would be valid and wrong.
    pub fn close(&mut self) {
        *self = Self { is_closed: true, ..Self::default() };
    }

    /// The shard was read anew.
    pub fn open(&mut self) {
        self.is_closed = false;
    }

    /// Whether nothing waits to be written.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Answers that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes that wait to be written, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether what waits fills a transaction.
    pub fn is_full(&self) -> bool {
        OPERATIONS_MAX / 2 <= self.queue.len() || BYTES_MAX / 2 <= self.bytes
    }
}

/// Offsets say nothing about each other nor about members, so they may be written earlier than they were decided.
fn is_unordered(key: &ShardKey) -> bool {
    matches!(key, ShardKey::Group(_, GroupKey::Offsets(..)))
}

/// The room of one transaction.
#[derive(Debug)]
pub struct Room {
    operations: usize,
    bytes: usize,
    is_untouched: bool,
}

impl Room {
    /// A whole transaction.
    pub fn new() -> Self {
        Self { operations: OPERATIONS_MAX, bytes: BYTES_MAX, is_untouched: true }
    }

    /// Makes room for the head of one more shard, if there is room for a record behind it.
    pub fn take_head(&mut self) -> bool {
        if self.operations < 2 || self.bytes < HEAD_BYTES {
            return false;
        }
        self.operations -= 1;
        self.bytes -= HEAD_BYTES;
        true
    }

    fn take(&mut self, bytes: usize, operations: usize) -> bool {
        let fits = operations <= self.operations && bytes <= self.bytes;
        if !fits && !self.is_untouched {
            return false;
        }
        self.is_untouched = false;
        self.operations = self.operations.saturating_sub(operations);
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }
}

/// About what a record takes of a request, never less than it does.
fn size(record: &Record) -> usize {
    let key = match &record.key {
        ShardKey::Head => 0,
        ShardKey::Group(group, key) => {
            let member = match key {
                GroupKey::Member(member)
                | GroupKey::Assignment(member)
                | GroupKey::ConsumerMember(member)
                | GroupKey::ConsumerAssignment(member) => member.len(),
                GroupKey::Meta | GroupKey::Offsets(..) | GroupKey::Pending(..) => 0,
            };
            group.len() + member
        }
        ShardKey::Transaction(id, _) => id.len(),
    };
    // An escaped byte takes three.
    3 * key + KEY_BYTES + Limits::OVERHEAD + record.value.as_ref().map_or(0, bytes::Bytes::len)
}

/// Operations of a transaction: one less than etcd takes, since the election is compared, too.
const OPERATIONS_MAX: usize = 127;
/// Bytes of a transaction; etcd takes half as much again.
const BYTES_MAX: usize = 1 << 20;
/// What the head of a shard takes: it is compared, written, and read back.
const HEAD_BYTES: usize = 512;
/// What surrounds the names in a key: the prefix, topic id, numbers.
const KEY_BYTES: usize = 160;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ottla_protocol::{ErrorCode, Uuid};

    use super::*;

    const T: Duration = Duration::ZERO;

    fn record(key: GroupKey, value: Option<&'static str>) -> Record {
        let key = ShardKey::Group("g".to_owned(), key);
        Record { key, value: value.map(|text| Bytes::from_static(text.as_bytes())) }
    }

    fn offsets(chunk: i32, value: &'static str) -> Record {
        record(GroupKey::Offsets(Uuid::ONE, chunk), Some(value))
    }

    fn member(name: &str, value: &'static str) -> Record {
        record(GroupKey::Member(name.to_owned()), Some(value))
    }

    fn reply() -> (Reply, oneshot::Receiver<Response>) {
        let (to, from) = oneshot::channel();
        (Reply { response: Response::Delete(ErrorCode::None), to }, from)
    }

    fn take(outbox: &mut Outbox) -> Taken {
        outbox.take(&mut Room::new())
    }

    #[test]
    fn newer_commit_takes_the_place_of_one_that_is_not_sent() {
        let mut outbox = Outbox::default();
        for record in [offsets(0, "1"), member("m", "a"), offsets(0, "2"), offsets(1, "3")] {
            outbox.push(record, T);
        }
        let taken = take(&mut outbox);
        assert_eq!(taken.records, [offsets(0, "2"), member("m", "a"), offsets(1, "3")]);
        // One that was sent is followed, not replaced.
        outbox.push(offsets(0, "4"), T);
        assert_eq!(take(&mut outbox).records, [offsets(0, "4")]);
        assert!(outbox.is_empty() && outbox.bytes() == 0);
    }

    #[test]
    fn members_keep_their_order_and_the_last_of_a_transaction_is_written() {
        let mut outbox = Outbox::default();
        let meta = |value| record(GroupKey::Meta, Some(value));
        for record in [member("m", "1"), meta("1"), member("m", "2"), meta("2")] {
            outbox.push(record, T);
        }
        let mut room = Room { operations: 2, ..Room::new() };
        let taken = outbox.take(&mut room);
        assert_eq!((taken.records, taken.up_to), (vec![member("m", "2"), meta("2")], 4));
        for record in [member("m", "3"), meta("3"), member("n", "3")] {
            outbox.push(record, T);
        }
        let taken = outbox.take(&mut Room { operations: 2, ..Room::new() });
        assert_eq!(taken.records, [member("m", "3"), meta("3")], "a prefix, never with a gap");
        assert_eq!(take(&mut outbox).records, [member("n", "3")]);
    }

    #[test]
    fn answer_leaves_when_everything_before_it_is_durable() {
        let mut outbox = Outbox::default();
        let (first, _kept) = reply();
        assert!(outbox.wait(first).is_some(), "nothing to wait for");
        outbox.push(offsets(0, "1"), T);
        let (second, _kept) = reply();
        assert!(outbox.wait(second).is_none());
        let up_to = take(&mut outbox).up_to;
        // It replaces nothing, since that is under way: its answer waits for the next transaction.
        outbox.push(offsets(0, "2"), T);
        let (third, _kept) = reply();
        assert!(outbox.wait(third).is_none());
        assert_eq!(outbox.confirm(up_to).len(), 1);
        let up_to = take(&mut outbox).up_to;
        assert_eq!((outbox.waiting(), outbox.confirm(up_to).len()), (1, 1));
        let (fourth, _kept) = reply();
        assert!(outbox.wait(fourth).is_some());
    }

    #[test]
    fn transaction_takes_what_etcd_takes_and_a_large_record_alone() {
        let mut outbox = Outbox::default();
        let large: &'static str = Box::leak("x".repeat(BYTES_MAX + 1).into_boxed_str());
        outbox.push(member("a", "1"), T);
        outbox.push(member("b", large), T);
        for chunk in 0..300 {
            outbox.push(offsets(chunk, "1"), T);
        }
        let mut next = || {
            let mut room = Room::new();
            assert!(room.take_head());
            outbox.take(&mut room).records.len()
        };
        assert_eq!([next(), next(), next(), next(), next(), next()], [1, 1, 126, 126, 48, 0]);
    }

    #[test]
    fn lost_shard_tells_whoever_waits() {
        let mut outbox = Outbox::default();
        outbox.push(offsets(0, "1"), T);
        let (reply, mut from) = reply();
        assert!(outbox.wait(reply).is_none());
        outbox.close();
        assert!(from.try_recv().is_err() && outbox.is_empty());
    }

    #[test]
    fn step_that_was_under_way_when_its_shard_was_lost_writes_and_answers_nothing() {
        let mut outbox = Outbox::default();
        outbox.close();
        outbox.push(offsets(0, "1"), T);
        let (late, mut from) = reply();
        assert!(outbox.wait(late).is_none());
        assert!(from.try_recv().is_err() && outbox.is_empty());
        outbox.open();
        outbox.push(offsets(0, "2"), T);
        assert_eq!(take(&mut outbox).records, [offsets(0, "2")]);
    }
}
