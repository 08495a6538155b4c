//! Clusters in real processes, faults, histories, and the simulator.

pub mod disk_order;
pub mod harness;
pub mod sim;
