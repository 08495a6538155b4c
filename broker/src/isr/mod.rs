//! Proposals for in-sync replicas on their way to the controller, all of this broker's leaders together.
//!
//! Log workers put them down in [`Proposals`]; one task, the [`Proposer`], sends what is there in one
//! AlterPartition at a time, sends it again until there is a definite answer, and reports that to the
//! worker. What is sent again is the same proposal: the partition epoch in it makes sure that it is
//! carried out at most once.

pub mod desk;
mod proposals;
mod proposer;

pub use proposals::{Proposals, Proposed};
pub use proposer::{IsrFigures, Proposer};
