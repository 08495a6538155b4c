//! `ottla cluster recover`: puts a store right that lost what happened since its snapshot, or everything, from
//! what the disks of the brokers hold.
//!
//! What makes it safe:
//! - Nobody runs: the tool holds the election while it writes, and refuses while a broker has a claim.
//! - Of a partition's logs the one with the newest leader epoch, and of those the longest, has every record
//!   that was acknowledged by all in sync; the others may lack some. Only it, and its equals, get seats.
//! - Leader epochs begin beyond all that logs have noted, producer ids beyond all that were met.
//! - The mark by which nodes accept the store again is written last. Without it they go on refusing, and the
//!   tool may be run again.

mod apply;
mod partition;
mod plan;
#[cfg(test)]
mod tests;
mod topics;

pub use apply::{ApplyError, Snapshot, apply, read};
pub use plan::{Finding, Gravity, PartitionRow, Plan, PlanError, Request, plan};
