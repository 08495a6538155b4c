//! The one writer of the journal: what all shards have decided, a transaction at a time.
//!
//! While a transaction is under way, what comes next gathers. After an answer that is lost the same transaction
//! is sent again until it is known what became of it; until then nobody is answered and nothing is undone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::journal::{Journal, JournalError, ShardBatch};
use tokio::sync::{mpsc, oneshot};

use super::hub::Hub;
use super::linger::Linger;
use super::outbox::{Reply, Room, Taken};

/// A shard that has to be taken over once more.
pub(super) struct TakeOver {
    pub shard: i32,
    pub reply: oneshot::Sender<Result<(), JournalError>>,
}

/// Writes for all shards of a term.
pub(super) struct Writer {
    hub: Arc<Hub>,
    journal: Box<dyn Journal>,
    requests: mpsc::Receiver<TakeOver>,
    /// Shards with something to write.
    dirty: BTreeSet<i32>,
    /// Where the next transaction begins to look for records, so that every shard has its turn.
    turn: i32,
    linger: Linger,
}

/// What one transaction takes along.
struct Batch {
    parts: Vec<(i32, Taken)>,
    is_full: bool,
}

impl Writer {
    pub fn new(
        hub: Arc<Hub>,
        journal: Box<dyn Journal>,
        requests: mpsc::Receiver<TakeOver>,
    ) -> Self {
        let (dirty, linger) = (BTreeSet::new(), Linger::default());
        Self { hub, journal, requests, dirty, turn: 0, linger }
    }

    /// Takes all shards over, then writes until the term is over.
    pub async fn run(mut self) {
        let over = self.hub.over.clone();
        tokio::select! {
            () = over.cancelled() => {}
            () = self.work() => {}
        }
    }

    async fn work(&mut self) {
        let all = self.hub.slots.iter().map(|slot| slot.id).collect();
        if let Err(error) = self.take_over(all).await {
            tracing::warn!(%error, "cannot take the shards of groups over");
            self.hub.over.cancel();
            return;
        }
        self.hub.reader.send_replace(Some(self.journal.reader()));
        loop {
            let hub = self.hub.clone();
            tokio::select! {
                () = hub.written.notified() => self.write_all().await,
                Some(request) = self.requests.recv() => self.answer(request).await,
            }
        }
    }

    async fn answer(&mut self, request: TakeOver) {
        let taken = self.take_over(vec![request.shard]).await;
        // A worker that is gone does not mind.
        let _ = request.reply.send(taken);
    }

    /// Takes shards over; an error means that they belong to somebody else.
    async fn take_over(&mut self, shards: Vec<i32>) -> Result<(), JournalError> {
        loop {
            match self.journal.take_over(shards.clone()).await {
                Ok(()) => return Ok(()),
                Err(error @ (JournalError::NotActive | JournalError::Value(_))) => {
                    return Err(error);
                }
                // Somebody wrote in between. Whoever is the active one wins in the end.
                Err(error) => {
                    tracing::warn!(%error, "cannot take shards of groups over, trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Writes until nothing waits.
    async fn write_all(&mut self) {
        self.dirty.extend(self.hub.take_dirty());
        while !self.dirty.is_empty() {
            if !self.is_full() {
                tokio::time::sleep(self.linger.pause()).await;
            }
            self.dirty.extend(self.hub.take_dirty());
            let batch = self.collect();
            self.note_backlog(&batch);
            if !batch.parts.is_empty() {
                self.write(batch).await;
            }
            if let Ok(request) = self.requests.try_recv() {
                self.answer(request).await;
            }
        }
    }

    fn is_full(&self) -> bool {
        let mut dirty = self.dirty.iter().filter_map(|shard| self.hub.slot(*shard));
        dirty.any(|slot| slot.outbox().is_full())
    }

    /// Takes from every shard in turn what fits into one transaction.
    fn collect(&mut self) -> Batch {
        let mut room = Room::new();
        let mut batch = Batch { parts: Vec::new(), is_full: false };
        let turns: Vec<i32> =
            self.dirty.range(self.turn..).chain(self.dirty.range(..self.turn)).copied().collect();
        for shard in turns {
            let Some(slot) = self.hub.slot(shard) else { continue };
            let mut outbox = slot.outbox();
            if outbox.is_empty() {
                self.dirty.remove(&shard);
                continue;
            }
            if !room.take_head() {
                (batch.is_full, self.turn) = (true, shard);
                break;
            }
            let taken = outbox.take(&mut room);
            if !taken.records.is_empty() {
                batch.parts.push((shard, taken));
            }
            if outbox.is_empty() {
                self.dirty.remove(&shard);
            } else {
                (batch.is_full, self.turn) = (true, shard);
                break;
            }
        }
        batch
    }

    fn note_backlog(&self, batch: &Batch) {
        let now = self.hub.clock.real();
        let oldest = batch.parts.iter().filter_map(|(_, taken)| taken.since).min();
        let waited = oldest.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        let bytes = if batch.is_full {
            self.hub.slots.iter().map(|slot| slot.outbox().bytes()).sum()
        } else {
            0
        };
        self.hub.note_backlog(waited, bytes);
        self.hub.metrics.journal_backlog.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    async fn write(&mut self, mut batch: Batch) {
        let records: usize = batch.parts.iter().map(|(_, taken)| taken.records.len()).sum();
        let batches: Vec<ShardBatch> = batch
            .parts
            .iter_mut()
            .map(|(shard, taken)| ShardBatch {
                shard: *shard,
                records: std::mem::take(&mut taken.records),
            })
            .collect();
        let began = self.hub.clock.real();
        self.hub.clock.set_writing(true);
        let written = self.commit(batches).await;
        self.hub.clock.set_writing(false);
        let took = self.hub.clock.real().saturating_sub(began);
        self.linger.note(took);
        self.hub.metrics.journal_latency.observe(took.as_secs_f64());
        self.hub.metrics.journal_records.observe(records as f64);
        match written {
            Ok(_revision) => self.confirm(&batch),
            Err(JournalError::NotActive) => {
                tracing::warn!("this coordinator no longer owns the shards of groups");
                self.hub.over.cancel();
            }
            Err(error) => self.lose(&batch, &error),
        }
    }

    fn confirm(&self, batch: &Batch) {
        let mut replies: Vec<Reply> = Vec::new();
        for (shard, taken) in &batch.parts {
            if let Some(slot) = self.hub.slot(*shard) {
                replies.append(&mut slot.outbox().confirm(taken.up_to));
            }
        }
        self.hub.release(replies);
    }

    /// What a shard decided is not written and cannot be: it is read anew, and decides again.
    fn lose(&self, batch: &Batch, error: &JournalError) {
        for (shard, _) in &batch.parts {
            tracing::error!(shard, %error, "cannot write a shard of groups, reading it anew");
            self.hub.metrics.lost_shards.inc();
            if let Some(slot) = self.hub.slot(*shard) {
                slot.lose();
            }
        }
    }

    /// Writes one transaction, and returns when it is known what became of it.
    async fn commit(&mut self, batches: Vec<ShardBatch>) -> Result<i64, JournalError> {
        let mut written = self.journal.commit(batches.clone()).await;
        loop {
            match written {
                Err(JournalError::Unresolved { reason }) => {
                    tracing::warn!(reason, "a write of groups is in doubt, sending it again");
                    tokio::time::sleep(PAUSE).await;
                    written = match self.journal.resolve().await {
                        Ok(Some(revision)) => Ok(revision),
                        Ok(None) => Err(JournalError::Unresolved { reason: "lost".to_owned() }),
                        Err(error) => Err(error),
                    };
                }
                // Certainly not written: for want of a store, or of room in it.
                Err(JournalError::Store(error)) if error.is_retryable() => {
                    tracing::warn!(%error, "cannot write for groups, trying again");
                    tokio::time::sleep(PAUSE).await;
                    written = self.journal.commit(batches.clone()).await;
                }
                written => return written,
            }
        }
    }
}

/// Between attempts.
const PAUSE: Duration = Duration::from_millis(100);
