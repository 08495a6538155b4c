//! A partition as everybody but its worker sees it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ottla_protocol::{Str, Uuid};

use super::{Subscribers, View};
use crate::worker::{Inbox, SlotKey};

/// The way to one replica: its view to read, its worker's inbox to write. Lives as long as somebody
/// holds it; a closed partition's view says that it is not led here.
#[derive(Debug)]
pub struct PartitionHandle {
    /// The topic.
    pub topic_id: Uuid,
    /// The topic's name.
    pub topic: Str,
    /// The partition's number.
    pub index: i32,
    /// Number of the log directory it lives in.
    pub log_dir: usize,
    /// Its worker.
    pub inbox: Arc<Inbox>,
    /// Its place there.
    pub slot: SlotKey,
    /// Consumers that wait for it to change.
    pub subscribers: Subscribers,
    /// Replicas that wait for records.
    pub followers: Subscribers,
    view: ArcSwap<View>,
}

/// What a handle is made of.
#[derive(Debug, Clone)]
pub struct Address {
    /// The topic.
    pub topic_id: Uuid,
    /// The topic's name, detached from any frame.
    pub topic: Str,
    /// The partition's number.
    pub index: i32,
    /// Number of the log directory.
    pub log_dir: usize,
    /// Place in the worker.
    pub slot: SlotKey,
}

impl PartitionHandle {
    /// A handle whose first view is `view`.
    pub fn new(address: Address, inbox: Arc<Inbox>, view: View) -> Self {
        Self {
            topic_id: address.topic_id,
            topic: address.topic,
            index: address.index,
            log_dir: address.log_dir,
            inbox,
            slot: address.slot,
            subscribers: Subscribers::default(),
            followers: Subscribers::default(),
            view: ArcSwap::from_pointee(view),
        }
    }

    /// The newest view.
    pub fn view(&self) -> arc_swap::Guard<Arc<View>> {
        self.view.load()
    }

    /// The newest view, to be kept.
    pub fn view_full(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Has everybody look who waits. For the partition's worker only, after it published.
    pub fn wake_all(&self) {
        self.subscribers.mark(0, true);
        self.followers.mark(0, true);
    }

    /// For the partition's worker only.
    pub fn publish(&self, view: View) {
        self.view.store(Arc::new(view));
    }
}
