//! What the checkers are told of a broker's replicas after each step of its worker.

use std::sync::Arc;

use bytes::Bytes;
use ottla_broker::partition::{PartitionHandle, ReadRange, Role, View};
use ottla_protocol::Uuid;
use ottla_protocol::record_batch::{Batch, batches};
use ottla_protocol::types::Offset;

use super::super::checks::{Leader, LogEntry};
use super::super::env::{Env, Process};
use super::{Replica, Running};

impl Running {
    /// Shows every replica to the checkers.
    pub(super) fn observe(&mut self, env: &mut Env) {
        let (id, me) = (self.id, self.me);
        let Some((replicas, broker_epoch)) = self.replicas_mut() else { return };
        for (key, replica) in replicas {
            let view = replica.handle.view_full();
            if view.role == Role::Offline {
                continue;
            }
            env.history.handle_end(*key, id, view.log_end.0);
            observe_log(env, *key, replica, &view);
            observe_mark(env, (me, *key), replica, &view);
            if view.role != Role::Leader {
                continue;
            }
            env.history.handle_mark(*key, view.high_watermark.0);
            let epoch = view.leader_epoch.0;
            // A broker that lost its claim gives up leading in the step that follows.
            if let Some(broker_epoch) = broker_epoch {
                let leader = Leader { broker: id, broker_epoch };
                let outcome = env.history.leadership.led(*key, epoch, leader);
                env.history.check(outcome);
            }
            let outcome = env.history.watermarks.observed(*key, epoch, view.high_watermark.0);
            env.history.check(outcome);
        }
    }
}

/// Shows what was appended since the last time, and forgets what was cut.
fn observe_log(env: &mut Env, key: (Uuid, i32), replica: &mut Replica, view: &View) {
    if view.log_end.0 < replica.seen_end {
        replica.seen.split_off(&view.log_end.0);
        replica.seen_end = view.log_end.0;
    }
    let from = replica.seen_end.max(view.log_start.0);
    if view.log_end.0 <= from {
        return;
    }
    match read(view, from, view.log_end.0) {
        Ok(found) => {
            for batch in &found {
                let entry = entry_of(batch);
                replica.seen.insert(entry.base, entry);
                let outcome = env.history.contents.seen(key, entry);
                env.history.check(outcome);
            }
            replica.seen_end = view.log_end.0;
        }
        // The power is gone.
        Err(error) => env.note(format_args!("cannot read {key:?}: {error}")),
    }
}

/// Shows the high watermark, and what is below it now.
fn observe_mark(
    env: &mut Env,
    (me, key): (Process, (Uuid, i32)),
    replica: &mut Replica,
    view: &View,
) {
    let mark = view.high_watermark.0;
    if mark < replica.seen_mark && !env.history.may_lose(key) {
        let was = replica.seen_mark;
        env.history.object(format!("{me:?} {key:?}: its high watermark went from {was} to {mark}"));
    }
    // The first time everything that was committed before is looked at as well.
    let new = replica.seen.range(..mark).filter(|(base, _)| replica.seen_mark <= **base);
    for entry in new.map(|(_, entry)| *entry) {
        let outcome = env.history.commit(key, entry);
        env.history.check(outcome);
    }
    replica.seen_mark = mark;
}

/// A batch as checkers compare it.
pub fn entry_of(batch: &Batch) -> LogEntry {
    LogEntry {
        base: batch.header.base_offset.0,
        last: batch.header.last_offset().0,
        epoch: batch.header.partition_leader_epoch.0,
        content: batch.header.crc,
    }
}

/// What consumers can read, if this is the leader, and in which epoch.
pub(super) fn read_led(handle: &Arc<PartitionHandle>) -> Option<(i32, Vec<Batch>)> {
    let view = handle.view_full();
    if view.role != Role::Leader {
        return None;
    }
    let log = read(&view, view.log_start.0, view.high_watermark.0).ok()?;
    Some((view.leader_epoch.0, log))
}

/// All batches from an offset up to another.
pub(super) fn read(view: &View, mut from: i64, below: i64) -> Result<Vec<Batch>, String> {
    let mut found = Vec::new();
    while from < below {
        let bytes = read_once(view, from, below)?;
        let before = found.len();
        for batch in batches(bytes) {
            found.push(batch.map_err(|error| error.to_string())?);
        }
        match found.last() {
            Some(last) if before < found.len() => from = last.header.next_offset().0,
            _ => break,
        }
    }
    Ok(found)
}

/// The bytes of some batches from an offset on; none if there are none.
pub(super) fn read_once(view: &View, from: i64, below: i64) -> Result<Bytes, String> {
    read_up_to(view, (from, below), 16 << 10)
}

/// As [`read_once`], about as many bytes as `bytes_max`.
pub(super) fn read_up_to(
    view: &View,
    (from, below): (i64, i64),
    bytes_max: u32,
) -> Result<Bytes, String> {
    let range =
        ReadRange { from: Offset(from), below: Offset(below), bytes_max, is_first_whole: true };
    let located = view.log.locate(range, true).map_err(|error| error.to_string())?;
    let Some(located) = located else { return Ok(Bytes::new()) };
    let mut bytes = vec![0; located.len as usize];
    let mut done = 0;
    while done < bytes.len() {
        let position = located.position + done as u64;
        match located.source.read_cold(position, &mut bytes[done..]) {
            Ok(0) => return Err("a segment is shorter than it was".to_owned()),
            Ok(read) => done += read,
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(bytes.into())
}
