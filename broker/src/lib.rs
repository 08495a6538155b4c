//! The broker: listeners, handlers, log workers and the relay to the coordinator.

pub mod clock;
pub mod fetch_session;
pub mod handlers;
pub mod listener;
pub mod metrics;
pub mod partition;
pub mod pool;
pub mod services;
pub mod worker;
