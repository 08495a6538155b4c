//! The coordinator: elects itself through the metadata store, and while it is the active one decides
//! everything that the cluster must agree on: who is alive, who leads, which topics exist.
//!
//! It stores and forwards no records.

pub mod admin;
pub mod clock;
pub mod config;
pub mod controller;
mod coordinator;
mod data_dir;
pub mod group;
mod heartbeats;
mod internode;
pub mod leadership;
mod log_ends;
mod maintenance;
pub mod metrics;
mod prober;
pub mod recovery;
mod relay;
pub mod rest;
mod shards;

pub use config::Config;
pub use coordinator::{Coordinator, Handle, Services, StartError};
pub use data_dir::{DataDirError, seen_recovery};
