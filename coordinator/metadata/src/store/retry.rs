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
/// The write must fence itself, or a repetition could apply it twice: one of its puts is to a key that it
/// compares by mod revision or absence (so that applying it makes the compare fail), and differs from the
/// value of any other writer, or it only deletes keys that it compares. A head with (owner, epoch, sequence)
/// is such a put, and so is any value guarded by the mod revision of its own key, as long as two writers of
/// the same bytes mean the same thing.
///
/// Answers `Unknown` only after the attempts of `policy` are used up. Then nothing may be assumed, nothing
/// answered: call again with the same write.
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
            Ok(Outcome::Refused { revision, current }) if in_doubt => {
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

/// The key that shows whether a write was applied, and what it holds then.
struct Proof {
    key: Bytes,
    value: Option<Bytes>,
}

impl Proof {
    fn of(write: &GuardedWrite) -> Option<Self> {
        let guards = |key: &Bytes| {
            write.compares.iter().any(|compare| match compare {
                Compare::ModRevision(compared, _) | Compare::Absent(compared) => compared == key,
                _ => false,
            })
        };
        if let Some(put) = write.puts.iter().find(|put| guards(&put.key)) {
            return Some(Self { key: put.key.clone(), value: Some(put.value.clone()) });
        }
        let existed = |key: &Bytes| {
            write.compares.iter().any(|compare| match compare {
                Compare::ModRevision(compared, _)
                | Compare::CreateRevision(compared, _)
                | Compare::Exists(compared) => compared == key,
                _ => false,
            })
        };
        let deleted = write.deletes.iter().find(|keys| keys.end.is_none() && existed(&keys.start));
        // Beside unguarded puts a deletion proves nothing: they may have been overwritten since.
        let deleted = deleted.filter(|_| write.puts.is_empty())?;
        Some(Self { key: deleted.start.clone(), value: None })
    }

    fn judge(&self, revision: i64, current: Vec<KeyValue>) -> Outcome {
        let found = current.iter().find(|kv| kv.key == self.key);
        match (&self.value, found) {
            (Some(mine), Some(kv)) if kv.value == *mine => {
                Outcome::Committed { revision: kv.mod_revision }
            }
            (None, None) => Outcome::Committed { revision },
            _ => Outcome::Refused { revision, current },
        }
    }
}
