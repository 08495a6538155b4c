//! Tells the controller which log directories this broker's replicas are in (KIP-858): so a directory that
//! fails costs the leaders in it, and no others.
//!
//! The assigner puts down every replica of which the image says something else in [`Placements`]; one task,
//! the [`Reporter`], sends what is there in one AssignReplicasToDirs at a time, and again until it is
//! accepted or the image no longer asks for it.

mod placements;
mod reporter;

pub use placements::Placements;
pub use reporter::Reporter;
