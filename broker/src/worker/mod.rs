//! Log workers: the threads that own the logs.

mod command;
mod follow;
mod lead;
mod queue;
mod shelf;
mod slot;
mod step;
mod thread;
mod ticket;

pub use command::{
    ActiveProducer, AppendCommand, AppendItem, Control, Fetched, FetchedItem, Open, SlotKey,
};
pub use follow::{Follow, FollowAction, FollowError, FollowReply, Followed, FollowerBatches};
pub use queue::{CONTROL_MAX, Closed, DATA_BYTES_MAX, Queue, Queued};
pub use shelf::Shelf;
pub use slot::initial_view;
pub use step::{Progress, StartSync, Worker};
pub use thread::WorkerThread;
pub use ticket::{Outcome, Ticket, Waiter};

/// What one worker is sent.
pub type Inbox = Queue<Control, AppendCommand>;

#[cfg(test)]
mod tests;
