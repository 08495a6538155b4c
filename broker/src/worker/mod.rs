//! Log workers: the threads that own the logs.

mod command;
mod queue;
mod ticket;

pub use command::{AppendCommand, AppendItem, Control, SlotKey};
pub use queue::{CONTROL_MAX, Closed, DATA_BYTES_MAX, Queue, Queued};
pub use ticket::{Outcome, Ticket, Waiter};

/// What one worker is sent.
pub type Inbox = Queue<Control, AppendCommand>;
