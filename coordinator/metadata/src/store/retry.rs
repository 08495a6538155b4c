//! Repeating calls that are safe to repeat, and turning `Unknown` into knowledge.

use std::time::Duration;

use bytes::Bytes;

use super::types::{
    Compare, GuardedWrite, KeyRange, KeyValue, Limits, Outcome, Page, RangeRequest,
};
use super::{MetaStore, StoreError};

/// How often and how long a call is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The first pause; doubles up to `pause_max`.
    pub pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// When to give up, counted in pauses so that no clock is read.
    pub attempts: u32,
}

impl RetryPolicy {
    /// The pause before attempt `attempt`, the first being 0.
    pub fn pause_before(&self, attempt: u32) -> Duration {
        match attempt {
            0 => Duration::ZERO,
            attempt => {
                let factor = 1u32.checked_shl(attempt - 1).unwrap_or(u32::MAX);
                self.pause.saturating_mul(factor).min(self.pause_max)
            }
        }
    }
}

impl Default for RetryPolicy {
    /// 20 ms, doubling to 1 s, ten attempts.
    fn default() -> Self {
        Self { pause: Duration::from_millis(20), pause_max: Duration::from_secs(1), attempts: 10 }
    }
}

/// Reads one key.
pub async fn read_key(
    store: &dyn MetaStore,
    key: impl AsRef<[u8]>,
) -> Result<Option<KeyValue>, StoreError> {
    let page = store.range(RangeRequest::newest(KeyRange::key(key))).await?;
    Ok(page.items.into_iter().next())
}

/// Reads a range of any length, in pages of one revision; `revision` of the answer is that revision. Fails
/// with [`StoreError::Compacted`] if the history goes away meanwhile. For tools, tests and loading a shard;
/// the image is fed otherwise.
pub async fn read_all(store: &dyn MetaStore, keys: KeyRange) -> Result<Page, StoreError> {
    let mut all = store.range(RangeRequest::newest(keys.clone())).await?;
    while all.more {
        let Some(last) = all.items.last() else { break };
        let request = RangeRequest {
            keys: keys.after(&last.key),
            limit: Limits::PAGE_ITEMS_MAX,
            at_revision: Some(all.revision),
        };
        let page = store.range(request).await?;
        all.items.extend(page.items);
        all.more = page.more && all.items.last().is_some();
    }
    Ok(all)
}

/// Sends `write` until it is known what became of it: after `Unknown` the *same* transaction again, whose
/// refusal shows whether the earlier one was applied.
///
/// The write must fence its own repetition, or it could be applied twice. Its *proof* is the first put to a
/// key that it compares by mod revision or absence, so that applying it makes the compare fail; the value
/// must differ from any other writer's (a head with owner, epoch and sequence does). A write without puts
/// is proved by the absence of the first key that it compares and deletes. A refusal that shows the proof
/// is reported as `Committed`, also of the first attempt, so that a write in doubt may be handed in again.
///
/// Answers `Unknown` only after the attempts of `policy` are used up. Then nothing may be assumed and nothing
/// answered to anybody: call again with the same write.
pub async fn commit_until_known(
    store: &dyn MetaStore,
    write: &GuardedWrite,
    policy: RetryPolicy,
) -> Result<Outcome, StoreError> {
    let Some(proof) = Proof::of(write) else {
        return Err(StoreError::Invalid {
            reason: "the write does not fence its own repetition".into(),
        });
    };
    let mut write = write.clone();
    if !write.on_refused.contains(&proof.key) {
        write.on_refused.push(proof.key.clone());
    }
    let mut reason = String::new();
    let mut in_doubt = false;
    for attempt in 0..policy.attempts.max(1) {
        let pause = policy.pause_before(attempt);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        match store.txn(write.clone()).await {
            Ok(Outcome::Unknown { reason: why }) => {
                tracing::warn!(attempt, reason = %why, "metadata write unanswered, sending it again");
                in_doubt = true;
                reason = why;
            }
            Ok(Outcome::Refused { revision, current }) => {
                return Ok(proof.judge(revision, current));
            }
            Ok(outcome) => return Ok(outcome),
            // A definite failure of a repetition says nothing about the earlier transaction.
            Err(error) if in_doubt => reason = error.to_string(),
            Err(error) if error.is_retryable() && attempt + 1 < policy.attempts => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Outcome::Unknown { reason })
}

/// The key that shows whether a write was applied.
struct Proof {
    key: Bytes,
    /// What it holds then; `None` if it is gone then.
    value: Option<Bytes>,
    /// The mod revision that it had before; 0 if it was absent.
    before: i64,
}

impl Proof {
    fn of(write: &GuardedWrite) -> Option<Self> {
        let guard = |key: &Bytes| {
            write.compares.iter().find_map(|compare| match compare {
                Compare::ModRevision(compared, revision) if compared == key => Some(*revision),
                Compare::Absent(compared) if compared == key => Some(0),
                _ => None,
            })
        };
        let mut puts = write.puts.iter();
        if let Some((put, before)) = puts.find_map(|put| Some((put, guard(&put.key)?))) {
            let (key, value) = (put.key.clone(), Some(put.value.clone()));
            return Some(Self { key, value, before });
        }
        if !write.puts.is_empty() {
            return None;
        }
        let existed = |key: &Bytes| {
            write.compares.iter().any(|compare| match compare {
                Compare::ModRevision(compared, _)
                | Compare::CreateRevision(compared, _)
                | Compare::Exists(compared) => compared == key,
                _ => false,
            })
        };
        let mut deletes = write.deletes.iter();
        let deleted = deletes.find(|keys| keys.end.is_none() && existed(&keys.start))?;
        Some(Self { key: deleted.start.clone(), value: None, before: 0 })
    }

    fn judge(&self, revision: i64, current: Vec<KeyValue>) -> Outcome {
        let found = current.iter().find(|kv| kv.key == self.key);
        match (&self.value, found) {
            // The same value at the same revision as before is not ours but one that we meant to keep.
            (Some(mine), Some(kv)) if kv.value == *mine && kv.mod_revision != self.before => {
                Outcome::Committed { revision: kv.mod_revision }
            }
            (None, None) => Outcome::Committed { revision },
            _ => Outcome::Refused { revision, current },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::embedded::{EmbeddedStore, Fault};

    fn quick() -> RetryPolicy {
        RetryPolicy { pause: Duration::from_millis(1), attempts: 3, ..RetryPolicy::default() }
    }

    async fn put(store: &EmbeddedStore, key: &str, value: &'static str) -> i64 {
        match store.txn(GuardedWrite::new().put(key, value)).await.unwrap() {
            Outcome::Committed { revision } => revision,
            outcome => panic!("{outcome:?}"),
        }
    }

    #[tokio::test]
    async fn value_that_was_there_before_proves_nothing() {
        let store = EmbeddedStore::in_memory(1);
        let kept = put(&store, "kept", "same").await;
        let changed = put(&store, "changed", "1").await;
        put(&store, "changed", "2").await;
        // The first put changes nothing, and the second is refused.
        let write = GuardedWrite::new()
            .when_unchanged("kept", kept)
            .when_unchanged("changed", changed)
            .put("kept", "same")
            .put("changed", "3");
        let outcome = commit_until_known(&store, &write, quick()).await.unwrap();
        assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}");
    }

    #[tokio::test]
    async fn guarded_deletion_is_proved_by_absence() {
        let store = EmbeddedStore::in_memory(1);
        let revision = put(&store, "k", "v").await;
        let write = GuardedWrite::new().when_unchanged("k", revision).delete(KeyRange::key("k"));
        store.inject(Fault::LoseAnswer);
        let outcome = commit_until_known(&store, &write, quick()).await.unwrap();
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
        // Created again by somebody else, it was not deleted by this write.
        put(&store, "k", "again").await;
        let outcome = commit_until_known(&store, &write, quick()).await.unwrap();
        assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}");
    }

    #[tokio::test]
    async fn attempts_are_bounded_and_end_in_unknown() {
        let store = EmbeddedStore::in_memory(1);
        (0..3).for_each(|_| store.inject(Fault::LoseRequest));
        let write = GuardedWrite::new().when_unchanged("k", 0).put("k", "v");
        let outcome = commit_until_known(&store, &write, quick()).await.unwrap();
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
        let outcome = commit_until_known(&store, &write, quick()).await.unwrap();
        assert_eq!(outcome, Outcome::Committed { revision: 2 });
        // A store that cannot be reached is an error while nothing is in doubt.
        store.set_paused(true);
        let read = read_key(&store, "k").await.unwrap_err();
        assert!(read.is_retryable());
    }

    #[test]
    fn pauses_grow_up_to_their_limit() {
        let pauses = (0..8).map(|attempt| RetryPolicy::default().pause_before(attempt).as_millis());
        assert_eq!(pauses.collect::<Vec<_>>(), [0, 20, 40, 80, 160, 320, 640, 1000]);
        assert_eq!(RetryPolicy::default().pause_before(u32::MAX), Duration::from_secs(1));
    }
}
