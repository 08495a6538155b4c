//! Groups: who is a member, who has which partitions, and what has been committed.
//!
//! Everything here is a state machine without IO: requests, the image and the time go in, [`Effects`] come
//! out. The shard that a group belongs to writes the records to its journal and sends the answers, those
//! that depend on a write only when it is durable.

pub mod classic;
pub mod consumer;
pub mod context;
pub mod effects;
pub mod membership;
pub mod offsets;
mod refusal;
mod request;
#[cfg(test)]
pub(crate) mod scenario;
pub mod settings;
pub mod shard;
#[cfg(test)]
mod simulation;

pub use classic::{ClassicGroup, ClassicState};
pub use consumer::ConsumerGroup;
pub use context::{Client, Context};
pub use effects::{After, Answer, Effects, Response, Ticket};
pub use refusal::refusal;
pub use request::Request;
pub use settings::{GroupSettings, SettingsTable};
pub use shard::{Call, Filter, Shard, World};
