//! Clusters in real processes, faults, histories, and the simulator.

pub mod harness;
pub mod sim;
