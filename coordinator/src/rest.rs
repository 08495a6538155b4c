//! The REST admin API, health checks and metrics over HTTP.
//!
//! Reads are answered from this node's image. Writes end in the same functions as requests that brokers
//! relay ([`crate::admin::Admin`]); on a node that is not active they are passed on to the one that is.
//! Every error is a problem document of RFC 9457. The API describes itself at `/v1/openapi.json`.

mod brokers;
mod caller;
mod cluster;
mod configs;
mod elections;
mod extract;
mod groups;
mod health;
mod limits;
mod metrics;
mod origin;
mod paging;
mod partitions;
mod probes;
mod problem;
mod proxy;
mod reassignments;
mod routes;
mod server;
mod state;
mod topics;

use tokio::net::TcpListener;

use crate::coordinator::Services;

pub use problem::Problem;
pub use routes::openapi;

/// Serves the API on a socket that listens, until the coordinator stops and the requests under way are
/// answered.
///
/// The API authenticates nobody. Where the socket may be bound is checked when the configuration is read:
/// off loopback only with `allow.insecure.listeners=true`.
pub async fn serve(listener: TcpListener, services: Services) {
    let stop = services.stop.clone();
    let patience = server::Patience::default();
    server::serve(listener, state::Rest::new(services), patience, stop).await;
}

#[cfg(test)]
mod tests;
