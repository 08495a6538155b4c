//! What a replica's fetch says of the replica.
//!
//! Whoever asks for an offset has everything below it, for good. That counts only if it was checked: the
//! request names the leader epoch that is the present one, and the epoch of the record before the offset,
//! which the leader's log confirms (or there is no record before it). The life of the broker has to be
//! named as well, since a former one may have had what is lost now.

use std::sync::Arc;

use ottla_protocol::types::Offset;

use super::read::{Candidate, PartitionRead, Reading};
use super::{Poll, Reader};
use crate::fetch_session::Reported;
use crate::partition::shows_progress;
use crate::worker::{Control, Fetched, FetchedItem, Inbox};

/// Tells the workers what is new, with one message to each. Waits for room in their queues.
pub(super) async fn report(poll: &Poll, candidates: &[Candidate], reading: &Reading) {
    let Reader::Replica { broker, epoch: broker_epoch } = poll.terms.reader else { return };
    if broker_epoch < 0 {
        return;
    }
    let mut by_worker: Vec<(Arc<Inbox>, Vec<FetchedItem>)> = Vec::new();
    for (candidate, result) in candidates.iter().zip(&reading.results) {
        let (Ok(found), PartitionRead::Read(marks, _)) = (&candidate.found, result) else {
            continue;
        };
        let wanted = &candidate.wanted;
        let named = (wanted.current_leader_epoch, wanted.last_fetched_epoch);
        let own = (marks.leader_epoch, marks.log_start);
        if !shows_progress(Offset(wanted.fetch_offset), named, own) {
            continue;
        }
        let reported = Reported {
            leader_epoch: marks.leader_epoch,
            partition_epoch: marks.partition_epoch,
            broker_epoch,
            end: candidate.wanted.fetch_offset,
            log_start: candidate.wanted.log_start,
        };
        let is_new = poll.session.with_entry(candidate.index, |entry| {
            entry.reported.replace(reported) != Some(reported)
        });
        if is_new != Some(true) {
            continue;
        }
        let item = FetchedItem {
            slot: found.handle.slot,
            leader_epoch: marks.leader_epoch,
            end: Offset(reported.end),
            log_start: Offset(reported.log_start),
        };
        let inbox = &found.handle.inbox;
        match by_worker.iter_mut().find(|(known, _)| Arc::ptr_eq(known, inbox)) {
            Some((_, items)) => items.push(item),
            None => by_worker.push((Arc::clone(inbox), vec![item])),
        }
    }
    for (inbox, items) in by_worker {
        let fetched = Box::new(Fetched { broker, broker_epoch, items });
        // A worker that has ended leads nothing.
        let _ = inbox.send_control(Control::Fetched(fetched)).await;
    }
}
