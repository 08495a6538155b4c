//! The broker: listeners, handlers, log workers and the relay to the coordinator.

pub mod clock;
pub mod handlers;
pub mod listener;
pub mod metrics;
pub mod services;
