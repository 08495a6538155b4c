//! The broker: listeners, handlers, log workers and the relay to the coordinator.
