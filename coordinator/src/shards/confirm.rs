//! Answers that were read from memory leave once the store has said that the shards are still this
//! coordinator's: one that was replaced without knowing it would answer with offsets of the past.

use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::journal::ShardReader;

use super::hub::Hub;
use super::outbox::Reply;

/// Confirms until the term is over: one read for all that wait.
pub(super) async fn run(hub: Arc<Hub>) {
    let over = hub.over.clone();
    tokio::select! {
        () = over.cancelled() => {}
        () = work(&hub) => {}
    }
}

async fn work(hub: &Hub) {
    let mut readers = hub.reader.subscribe();
    let reader = match readers.wait_for(Option::is_some).await {
        Ok(reader) => reader.clone(),
        Err(_) => None,
    };
    let Some(reader) = reader else { return };
    loop {
        hub.unconfirmed_came.notified().await;
        let replies = hub.take_unconfirmed();
        if !replies.is_empty() && !confirm(hub, &reader, replies).await {
            tracing::warn!("this coordinator no longer owns the shards of groups");
            hub.over.cancel();
            return;
        }
    }
}

/// Sends answers once they are known to be right; false if they are not. Whoever waits is then told by the
/// loss of his answer.
async fn confirm(hub: &Hub, reader: &ShardReader, mut replies: Vec<Reply>) -> bool {
    loop {
        match reader.is_active().await {
            Ok(false) => return false,
            Ok(true) => {
                for reply in replies {
                    // Whoever does not wait any more does not mind.
                    let _ = reply.to.send(reply.response);
                }
                return true;
            }
            Err(error) => {
                tracing::debug!(%error, "cannot confirm what was read for groups, trying again");
                replies.retain(|reply| !reply.to.is_closed());
                if replies.is_empty() {
                    return true;
                }
                tokio::time::sleep(PAUSE).await;
                // Those that came meanwhile ride along.
                replies.append(&mut hub.take_unconfirmed());
            }
        }
    }
}

/// Between attempts.
const PAUSE: Duration = Duration::from_millis(100);
