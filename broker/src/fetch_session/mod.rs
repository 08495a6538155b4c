//! Incremental fetch sessions (KIP-227), kept as subscriptions: what did not change is not looked at.

mod cache;
mod session;

pub use cache::Cache;
pub use session::{
    Change, Entry, Reported, Session, SessionOwner, Told, TopicKey, TopicNaming, Wanted,
};
