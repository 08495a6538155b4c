//! What readers of the image hold.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::Instant;

use super::picture::Image;

/// A handle to the newest image; cheap to clone, and every clone sees changes of its own accord.
#[derive(Debug, Clone)]
pub struct ImageReader {
    current: Arc<ArcSwap<Image>>,
    revision: watch::Receiver<i64>,
    status: watch::Receiver<FeedStatus>,
}

/// How the feed is doing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FeedStatus {
    /// True while a watch runs behind a complete list: the image follows the store.
    pub following: bool,
    /// When the store last showed that the image was up to date: an answer, a change, a progress notification.
    pub fresh_at: Option<Instant>,
    /// Complete lists so far.
    pub lists: u64,
    /// Watches that broke so far.
    pub breaks: u64,
    /// What keeps the image from moving, said so that a person can act on it.
    pub trouble: Option<String>,
}

/// The image did not come as far as it should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// The time is over.
    #[error("the image is at revision {reached}, not yet at {wanted}")]
    Timeout {
        /// Where it is.
        reached: i64,
        /// Where it should be.
        wanted: i64,
    },
    /// The feed has ended, so the image will not move any more.
    #[error("the image feed has stopped")]
    Stopped,
}

impl ImageReader {
    pub(super) fn new(
        current: Arc<ArcSwap<Image>>,
        revision: watch::Receiver<i64>,
        status: watch::Receiver<FeedStatus>,
    ) -> Self {
        Self { current, revision, status }
    }

    /// A reader of an image that never changes, for tests of what reads images.
    pub fn fixed(image: Image) -> Self {
        let revision = watch::channel(image.revision()).1;
        let status = watch::channel(FeedStatus::default()).1;
        Self::new(Arc::new(ArcSwap::from_pointee(image)), revision, status)
    }

    /// The newest image.
    pub fn load(&self) -> Arc<Image> {
        self.current.load_full()
    }

    /// Waits until the image has reached `revision`, and returns it. With 1: until it is complete.
    pub async fn wait_for(
        &self,
        revision: i64,
        timeout: Duration,
    ) -> Result<Arc<Image>, WaitError> {
        let mut seen = self.revision.clone();
        match tokio::time::timeout(timeout, seen.wait_for(|now| revision <= *now)).await {
            Ok(Ok(_)) => Ok(self.load()),
            Ok(Err(_)) => Err(WaitError::Stopped),
            Err(_) => Err(WaitError::Timeout { reached: self.load().revision(), wanted: revision }),
        }
    }

    /// Waits for an image newer than the one of the last call (of this clone), and returns it. Several changes
    /// may have been taken together. Cancel-safe.
    pub async fn changed(&mut self) -> Result<Arc<Image>, WaitError> {
        self.revision.changed().await.map_err(|_| WaitError::Stopped)?;
        self.revision.borrow_and_update();
        Ok(self.load())
    }

    /// How the feed is doing.
    pub fn status(&self) -> FeedStatus {
        self.status.borrow().clone()
    }

    /// How long ago the image was last known to be up to date; `None` before the first list.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.status.borrow().fresh_at.map(|at| now.saturating_duration_since(at))
    }
}
