//! The broker: listeners, handlers, log workers and the relay to the coordinator.

pub mod auto_create;
pub mod broker;
pub mod claim;
pub mod clock;
pub mod config;
pub mod data;
pub mod data_path;
pub mod faces;
pub mod fetch_session;
mod figures;
pub mod handlers;
pub mod http;
pub mod identity;
pub mod isr;
pub mod listener;
pub mod machine;
pub mod metrics;
pub mod partition;
pub mod placement;
pub mod pool;
pub mod preferred_dirs;
pub mod producer_ids;
pub mod read_log;
pub mod recovery;
pub mod relay;
pub mod replication;
mod seen;
pub mod services;
pub mod worker;

#[cfg(test)]
mod testing;
