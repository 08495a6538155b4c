//! One after another: requests of a connection whose effects have to follow each other.
//!
//! What a client commits first must not be applied last, wherever the requests meet. Kafka handles one
//! request of a connection at a time; here that holds for those that take turns, and the connection reads on
//! meanwhile, so that it notices when its client hangs up.

use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

/// The order of one connection.
#[derive(Debug, Default)]
pub struct Turns {
    last: Mutex<Option<oneshot::Receiver<()>>>,
}

/// A place in that order. The next one's turn comes when this is dropped.
#[derive(Debug)]
pub struct Turn {
    before: Option<oneshot::Receiver<()>>,
    _done: oneshot::Sender<()>,
}

impl Turns {
    /// A place behind all that were taken before. To be taken in the ordered part of a request.
    pub fn take(&self) -> Turn {
        let (done, is_done) = oneshot::channel();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        Turn { before: last.replace(is_done), _done: done }
    }
}

impl Turn {
    /// Waits until all that come before are done, or given up.
    pub async fn come(&mut self) {
        if let Some(before) = self.before.take() {
            // Nothing is ever sent: it ends when the other is dropped.
            let _ = before.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn turns_come_in_the_order_in_which_they_were_taken() {
        let turns = Turns::default();
        let (mut first, mut second, mut third) = (turns.take(), turns.take(), turns.take());
        first.come().await;
        assert!(poll!(Box::pin(second.come())).is_pending());
        // Given up by its client before its turn came.
        drop(first);
        second.come().await;
        assert!(poll!(Box::pin(third.come())).is_pending());
        drop(second);
        third.come().await;
        drop(third);
        turns.take().come().await;
    }
}
