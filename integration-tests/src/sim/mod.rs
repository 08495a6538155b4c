//! The deterministic simulator: a whole cluster from one seed, on virtual time.
//!
//! Here are only the network, the store's and the machines' faults, the clock, the scheduler, clients and
//! checkers. What runs in the nodes is the shipped code: the embedded store's core, the image feed, the
//! controller's decisions and the fence of its writes, log directories with recovery, log workers with
//! their replicas and their in-sync sets, the lanes of followers, the desk of proposals. The thin drivers
//! around them, which do IO in the processes, are played by `coordinator` and `broker`: elections and claims,
//! who is in which lane, how a leader waits with a fetch (its sessions are not simulated), when a proposal is
//! sent again.
//!
//! One seed decides everything: no clock is read, no thread started, no order left to chance. Two runs of
//! a seed have the same log.

mod broker;
mod checks;
mod client;
mod coordinator;
mod env;
mod faults;
mod feed;
mod message;
mod mutation;
mod net;
mod port;
mod store;
mod trace;
mod world;

pub use mutation::Mutation;
pub use world::{Options, Report, run};
