//! One partition's replica on this broker: its state machine, what others see of it, and how to find it.

mod ack_queue;
mod handle;
mod high_watermark;
pub mod isr;
pub mod replica;
mod settings;
mod table;
mod view;
mod watch;

pub use ack_queue::AckQueue;
pub use handle::{Address, PartitionHandle};
pub use high_watermark::HighWatermark;
pub use isr::{FollowerProgress, FollowerView, Isr, Proposal, ProposalOutcome};
pub use replica::{Acks, Assignment, Replica, Role};
pub use settings::TopicSettings;
pub use table::PartitionTable;
pub use view::{Continuation, Located, LogReader, ReadRange, View, shows_progress};
pub use watch::{SubscriberKey, Subscribers, Subscription, Watcher};
