//! What keeps the writes of a term apart from those of other terms, and from its own delayed ones: without
//! IO, so that the simulator runs the same rules.
//!
//! Every write compares that the election of its term still stands, and compares **and bumps** a head
//! (term, sequence). Sent again after a lost answer, the same write is refused by its own success, and the
//! head that comes back with the refusal says so.

use bytes::Bytes;
use ottla_metadata::keys::{Key, KeySpace};
use ottla_metadata::model::{self, Rest, Value};
use ottla_metadata::store::{Compare, GuardedWrite, KeyValue, LeaseId, StoreError};
use serde::{Deserialize, Serialize};

/// The value of the head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ControllerHead {
    /// Create revision of the election's key.
    term: i64,
    /// Raised by each write of the term.
    sequence: i64,
    /// Fields of later versions.
    #[serde(flatten)]
    rest: Rest,
}

impl Value for ControllerHead {}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// Applied, as this revision.
    Committed(i64),
    /// Not applied: a key was not as the decision saw it. Decide again once the image has this revision.
    Refused(i64),
    /// Not applied, and it never can be.
    Failed(StoreError),
    /// This term is over. Nothing of it will be applied any more.
    Deposed,
}

/// The fence of one term. One write at a time may be under way.
#[derive(Debug)]
pub struct Fence {
    keys: KeySpace,
    head: ControllerHead,
    head_revision: i64,
}

/// A write behind the fence: to be sent, unchanged, until it is known what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Fenced {
    /// What the store is sent.
    pub write: GuardedWrite,
    next: ControllerHead,
}

impl Fence {
    /// The fence of `term`; [`Fence::found_head`] is to follow.
    pub fn new(keys: KeySpace, term: i64) -> Self {
        Self {
            keys,
            head: ControllerHead { term, sequence: 0, rest: Rest::new() },
            head_revision: 0,
        }
    }

    /// The revision that last wrote the head, 0 if there is none. Before the first write of the term, and
    /// again if that is refused because a delayed write of the former term came between.
    pub fn found_head(&mut self, revision: i64) {
        self.head_revision = revision;
    }

    /// The term.
    pub fn term(&self) -> i64 {
        self.head.term
    }

    /// Revision of the last write; an image that has reached it shows all of them.
    pub fn revision(&self) -> i64 {
        self.head_revision
    }

    /// The first write of the term. The election's key is written again by the same transaction: the head is
    /// not part of the image, and so an image that has reached the revision has all that former terms wrote.
    pub fn take_over(&self, announcement: Bytes, lease: LeaseId) -> Fenced {
        self.fence(GuardedWrite::new().put_leased(self.election_key(), announcement, lease))
    }

    /// Puts a write behind the fence. The head comes first, since it is what shows whether a write was applied.
    pub fn fence(&self, write: GuardedWrite) -> Fenced {
        let mut next = self.head.clone();
        next.sequence += 1;
        let (head, election) = (self.keys.controller_head(), self.election_key());
        let mut fenced = GuardedWrite::new()
            .when(Compare::CreateRevision(election.clone(), self.head.term))
            .when_unchanged(&head, self.head_revision)
            .read_back(&election)
            .put(&head, model::encode(&next));
        fenced.compares.extend(write.compares);
        fenced.puts.extend(write.puts);
        fenced.deletes.extend(write.deletes);
        Fenced { write: fenced, next }
    }

    /// The write was applied.
    pub fn handle_committed(&mut self, fenced: &Fenced, revision: i64) -> Written {
        self.head = fenced.next.clone();
        self.head_revision = revision;
        Written::Committed(revision)
    }

    /// The write was refused: the head tells whether an earlier copy was applied, the election whether the
    /// term is over, and otherwise one of the decision's own compares failed.
    pub fn handle_refused(
        &mut self,
        fenced: &Fenced,
        revision: i64,
        current: &[KeyValue],
    ) -> Written {
        let find = |key: &[u8]| current.iter().find(|kv| kv.key == key);
        let head = find(self.keys.controller_head().as_bytes());
        let stored: Option<ControllerHead> = head.and_then(|kv| {
            model::decode("the controller's head", &kv.value)
                .inspect_err(|error| tracing::error!(%error, "cannot read the controller's head"))
                .ok()
        });
        if let (Some(kv), Some(stored)) = (head, &stored)
            && (stored.term, stored.sequence) == (fenced.next.term, fenced.next.sequence)
        {
            return self.handle_committed(fenced, kv.mod_revision);
        }
        let election = find(&self.election_key());
        if election.is_none_or(|kv| kv.create_revision != self.head.term) {
            return Written::Deposed;
        }
        if head.map_or(0, |kv| kv.mod_revision) != self.head_revision {
            // Before the first write of the term the former one may still have moved the head.
            if self.head.sequence == 0 {
                return Written::Refused(revision);
            }
            tracing::error!("somebody else writes as the controller of this term, stepping down");
            return Written::Deposed;
        }
        Written::Refused(revision)
    }

    fn election_key(&self) -> Bytes {
        Bytes::from(self.keys.format(&Key::Controller))
    }
}
