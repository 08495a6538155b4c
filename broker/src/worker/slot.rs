//! One replica as its worker has it.

use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::types::{LeaderEpoch, Offset};
use ottla_storage::{Log, LogIo};

use super::{FollowReply, SlotKey, Waiter};
use crate::partition::replica::Opened;
use crate::partition::{PartitionHandle, Replica, Role, TopicSettings, View};
use crate::read_log::ViewReader;

/// Log, state machine and public face of one replica.
pub(super) struct Slot<I: LogIo> {
    pub key: SlotKey,
    pub log: Log<I>,
    pub replica: Replica<Waiter>,
    pub handle: Arc<PartitionHandle>,
    pub settings: Arc<TopicSettings>,
    /// Where the present epoch began, while this replica leads.
    pub epoch_start: Offset,
    /// A fetcher that waits until the log is on disk.
    pub follow_reply: Option<(LeaderEpoch, FollowReply)>,
    /// In the worker's timers.
    pub timer: Option<Duration>,
    /// The view has to be published at the end of the step.
    pub is_touched: bool,
    /// What subscribers are told after that.
    pub visible: u64,
    pub is_changed: bool,
    /// A follower's log starts elsewhere.
    pub has_follower_start: bool,
    /// Bytes that were appended, of which followers are told.
    pub grown: u64,
    /// The high watermark that was published last is higher than the one before.
    pub has_risen: bool,
}

impl<I: LogIo> Slot<I> {
    pub fn new(
        handle: Arc<PartitionHandle>,
        settings: Arc<TopicSettings>,
        log: Log<I>,
        opened: Opened,
    ) -> Self {
        Self {
            key: handle.slot,
            replica: Replica::new(opened, settings.of_replica()),
            epoch_start: log.log_end(),
            log,
            handle,
            settings,
            follow_reply: None,
            timer: None,
            is_touched: false,
            visible: 0,
            is_changed: false,
            has_follower_start: false,
            grown: 0,
            has_risen: false,
        }
    }

    /// What everybody may know now.
    pub fn view(&self) -> View {
        view_of(&self.log, &self.replica, (self.epoch_start, &self.settings))
    }

    /// Wakes followers after the view was published: for records, and less urgently for the high watermark.
    pub fn tell_followers(&mut self, is_changed: bool) {
        let grown = std::mem::take(&mut self.grown);
        if 0 < grown || is_changed {
            self.handle.followers.mark(grown, is_changed);
        } else if self.has_risen {
            self.handle.followers.nudge();
        }
    }

    /// Wakes consumers, and who waits for records to be deleted everywhere, after the view was published.
    pub fn tell_subscribers(&mut self, visible: u64, is_changed: bool) {
        let has_follower_start = std::mem::take(&mut self.has_follower_start);
        if 0 < visible || is_changed {
            self.handle.subscribers.mark(visible, is_changed);
        }
        if has_follower_start && !is_changed {
            self.handle.subscribers.nudge();
        }
    }

    /// The view of a replica that is not here any more.
    pub fn closed_view(&self) -> View {
        View { role: Role::Follower, ..self.view() }
    }
}

fn view_of<I: LogIo, W>(
    log: &Log<I>,
    replica: &Replica<W>,
    (epoch_start, settings): (Offset, &Arc<TopicSettings>),
) -> View {
    let log_view = log.view();
    let (log_start, log_end) = (log_view.log_start(), log_view.log_end());
    let high_watermark = replica.high_watermark().max(log_start).min(log_end);
    let first_unstable = log_view.first_unstable().unwrap_or(high_watermark);
    View {
        role: replica.role(),
        leader: replica.leader(),
        leader_epoch: replica.leader_epoch(),
        partition_epoch: replica.partition_epoch(),
        followers: replica.followers(),
        log_start,
        log_end,
        high_watermark,
        last_stable: first_unstable.clamp(log_start, high_watermark),
        epoch_start,
        settings: Arc::clone(settings),
        log: Arc::new(ViewReader::new(log_view)),
    }
}

/// The view of a log that no worker has yet.
pub fn initial_view<I: LogIo>(
    log: &Log<I>,
    settings: &Arc<TopicSettings>,
    high_watermark: Offset,
) -> View {
    let opened = Opened {
        broker: ottla_protocol::types::BrokerId::NONE,
        log_start: log.log_start(),
        log_end: log.log_end(),
        high_watermark,
    };
    let replica = Replica::<Waiter>::new(opened, settings.of_replica());
    view_of(log, &replica, (log.log_end(), settings))
}
