//! Rules that can be taken away, so that tests can show that each of them is needed.
//!
//! The shipped code knows nothing of this: what breaks a rule is done where its parts meet, to what one part
//! tells another.

use ottla_metadata::keys::{Key, KeySpace};
use ottla_metadata::model::{Partition, decode, encode};
use ottla_metadata::store::embedded::Core;
use ottla_metadata::store::{GuardedWrite, KeyRange, RangeRequest};

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Nothing: faults come as often as for the others, and everything has to go well.
    Nothing,
    /// A leader that returns in a new life keeps its epoch.
    KeepsEpochInNewLife,
    /// Writes of the controller compare nothing.
    ComparesNothing,
    /// A broker leads whichever life of it was elected.
    LeadsInAnyLife,
    /// A machine that went down says that only the process did.
    KeepsSeatsAfterMachineCrash,
    /// The controller is not told in which life members of an ISR are.
    IgnoresLivesOfMembers,
    /// A leader forgets what it proposed, and goes on with the ISR that is agreed on.
    CountsAgreedMembersOnly,
    /// A leader puts followers out of the ISR without asking.
    ShrinksWithoutAsking,
    /// A follower cuts its log at its high watermark when a new epoch begins.
    CutsAtHighWatermark,
    /// A follower appends what a former leader sent.
    UsesAnswersOfOlderEpochs,
    /// With acks=all, a leader acknowledges what is in its own log.
    AcknowledgesAtItsOwnEnd,
    /// Recovery does not sync what it keeps.
    RecoversWithoutSync,
    /// With `flush.messages=1`, what is not on disk counts.
    CountsWhatIsNotFlushed,
    /// The clocks of followers run on while their leader stands still.
    ClocksRunOnInPause,
}

impl Mutation {
    /// Whether brokers die while something that was written is not synced, and their machines lose power in the first writes
    /// of the next life: what the life in between has shown must be on the disk.
    pub(super) fn crashes_unsynced(self) -> bool {
        matches!(self, Self::RecoversWithoutSync | Self::Nothing)
    }

    /// Whether machines lose power whose brokers are just being proposed for an ISR.
    pub(super) fn strikes_who_joins(self) -> bool {
        matches!(self, Self::IgnoresLivesOfMembers | Self::Nothing)
    }

    /// Changes a write on its way into the store.
    pub(super) fn change_write(self, core: &Core, keys: &KeySpace, write: &mut GuardedWrite) {
        match self {
            Self::KeepsEpochInNewLife => keep_epochs(core, keys, write),
            Self::ComparesNothing => {
                let head = keys.controller_head();
                if write.puts.iter().any(|put| put.key == head) {
                    write.compares.clear();
                }
            }
            _ => {}
        }
    }
}

fn keep_epochs(core: &Core, keys: &KeySpace, write: &mut GuardedWrite) {
    for put in &mut write.puts {
        let Ok(Key::Partition(..)) = keys.parse(&put.key) else { continue };
        let request = RangeRequest::newest(KeyRange::key(&put.key));
        let Ok(page) = core.range(&request) else { continue };
        let Some(current) = page.items.first() else { continue };
        let read = |value: &[u8]| decode::<Partition>("mutated", value).ok();
        if let (Some(before), Some(mut after)) = (read(&current.value), read(&put.value))
            && before.leader == after.leader
        {
            after.leader_epoch = before.leader_epoch;
            put.value = encode(&after);
        }
    }
}
