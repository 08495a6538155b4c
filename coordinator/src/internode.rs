//! The link between nodes: brokers (and tools) call, coordinators answer.
//!
//! Kafka's frames on long-lived connections; many calls in flight, answers in any order. The first request
//! is [`NodeHello`](ottla_protocol::messages::NodeHelloRequest); then `BrokerHeartbeat`, `AlterPartition`,
//! `AllocateProducerIds`, `Relay` and `CancelRelay`. A coordinator that is not active answers
//! `NOT_CONTROLLER` and names the one that is.
//!
//! The link carries principals that a broker vouches for, so whoever reaches it can act as anybody: it is
//! only opened on loopback as long as nodes cannot prove who they are.

mod budget;
mod calls;
mod connection;
mod hello;

use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

pub(crate) use budget::Budgets;

use crate::coordinator::Services;

/// Serves one connection until it ends. For sockets, and for brokers in the same process that connect
/// through memory.
pub(crate) async fn serve_connection<S>(stream: S, services: Services)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    services.metrics.internode_connections.inc();
    let stop = services.stop.clone();
    let metrics = services.metrics.clone();
    tokio::select! {
        () = stop.cancelled() => {}
        ended = connection::run(stream, services) => {
            if let Err(error) = ended {
                tracing::warn!(%error, "closed a connection of another node");
            }
        }
    }
    metrics.internode_connections.dec();
}

/// Accepts connections until the process stops.
pub(crate) async fn listen(listener: TcpListener, services: Services, tasks: TaskTracker) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = services.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                // Small answers must not wait for more.
                let _ = stream.set_nodelay(true);
                let services = services.clone();
                tasks.spawn(async move {
                    serve_connection(stream, services).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of another node");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether a host is this machine only.
pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Connections at a time; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 1024;
/// After a failed accept, which is mostly for want of file descriptors.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

#[cfg(test)]
mod tests;
