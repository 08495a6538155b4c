//! The coordinator: elects itself through the metadata store, and while it is the active one decides
//! everything that the cluster must agree on: who is alive, who leads, which topics exist.
//!
//! It stores and forwards no records.

pub mod admin;
pub mod clock;
pub mod controller;
mod heartbeats;
pub mod leadership;
pub mod metrics;
mod prober;
