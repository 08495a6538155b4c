//! The follower's half of replication: copies the logs of leaders on other brokers.
//!
//! ```text
//! assigner ──Change──▶ Fetchers ──Command──▶ Fetcher, one task per leader
//!                                              ├─ Follower (lane: in sync)    ─ connection ─▶ leader
//!                                              └─ Follower (lane: catching up)─ connection ─▶ leader
//!                                                    │ Follow commands        ▲ what became of them
//!                                                    ▼                        │
//!                                                  log workers ───────────────┘
//! ```
//!
//! | part | file |
//! |---|---|
//! | the state machine of one lane | `follower` |
//! | what its fetch session on the leader holds | `session` |
//! | an answer, read and checked | `answer` |
//! | how much is still being written | `outstanding` |
//! | where diverging logs part | `divergence` |
//! | how fast those who catch up may fetch, here and from here | `throttle` |
//! | the task of one leader | `fetcher`, with `lane` and `link` |
//! | which leader has a task, and what it follows | `fetchers` |
//! | metrics | `figures` |
//!
//! A fetcher belongs to a partition, a leader and a leader epoch: what an older one brings is dropped unread,
//! by the machine and once more by the worker. Logs are cut only where the leader says that they part.

mod answer;
pub(crate) mod divergence;
mod fetcher;
mod fetchers;
mod figures;
mod follower;
mod lane;
mod link;
mod outstanding;
mod session;
mod throttle;

#[cfg(test)]
mod driver_tests;
#[cfg(test)]
mod tests;

pub use answer::{Answer, InvalidRecords, PartitionAnswer};
pub use fetchers::{CHANGES_MAX, Change, Changes, Feed, Fetchers, Following, channel};
pub use figures::ReplicationFigures;
pub use follower::{
    Bounds, Effect, FetchConfig, FollowOutcome, Follower, LaneKind, Moment, Partition, Ticket,
};
pub use link::Transport;
pub use throttle::{Side, Throttle, ThrottleFigures};

use ottla_protocol::Uuid;

/// A partition: its topic's id, and its number.
pub type Key = (Uuid, i32);
