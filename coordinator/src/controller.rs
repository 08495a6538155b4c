//! The controller: decides who is alive, who leads, which topics exist.
//!
//! Everything but [`driver`] and [`writer`] is a function of an image of the cluster, an input and the time, and returns what shall
//! be written. Decisions are only ever read back from the store, through the image: nothing is changed
//! in memory, so nothing has to be reverted.

pub mod alter_partition;
pub mod brokers;
pub mod cluster;
pub mod configs;
pub mod decision;
pub mod directories;
pub mod drain;
pub(crate) mod driver;
pub mod election;
pub mod features;
pub mod fence;
pub mod internal_topics;
pub mod liveness;
pub mod placement;
pub mod plan;
pub mod preferred;
pub mod producer_ids;
pub mod reassignment;
pub mod reclaim;
pub(crate) mod store_clock;
#[cfg(test)]
pub(crate) mod testing;
pub mod topics;
pub(crate) mod writer;
