//! The coordinator: controller, inter-node listener and REST admin API.
