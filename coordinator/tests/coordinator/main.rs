//! A coordinator as a whole: on the embedded store and its faults, seen through its public faces.

mod broker;
mod etcd;
mod failover;
mod faults;
mod gated_store;
mod group_faults;
mod groups;
mod link;
mod liveness;
mod relay;
mod replicas;
mod support;
mod traced_store;
mod versions;
