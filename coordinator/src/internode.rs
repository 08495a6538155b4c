//! The link between nodes: brokers (and tools) call, coordinators answer.
//!
//! Kafka's frames on long-lived connections; many calls in flight, answers in any order. The first request
//! is [`NodeHello`](ottla_protocol::messages::NodeHelloRequest); then `BrokerHeartbeat`, `AlterPartition`,
//! `AllocateProducerIds`, `Relay` and `CancelRelay`. A coordinator that is not active answers
//! `NOT_CONTROLLER` and names the one that is.
//!
//! The link carries principals that a broker vouches for, so whoever reaches it can act as anybody. Off
//! loopback nodes therefore prove who they are: by certificates under TLS, by a secret of the cluster
//! ([`ottla_client::internode`]), or both.

mod budget;
mod calls;
mod connection;
mod hello;

use std::net::SocketAddr;
use std::sync::Arc;

use ottla_client::tls::NodeTls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

pub(crate) use budget::Budgets;

use crate::coordinator::Services;

/// Serves one connection until it ends. For sockets, and for brokers in the same process that connect
/// through memory.
pub(crate) async fn serve_connection<S>(stream: S, services: Services, from: Option<SocketAddr>)
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
                let from = from.map(tracing::field::display);
                tracing::warn!(from, %error, "closed a connection of another node");
            }
        }
    }
    metrics.internode_connections.dec();
}

/// Accepts connections until the process stops, all of them under TLS if there is any.
pub(crate) async fn listen(
    listener: TcpListener,
    tls: Option<NodeTls>,
    services: Services,
    tasks: TaskTracker,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = services.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                // Small answers must not wait for more.
                let _ = stream.set_nodelay(true);
                let (tls, services) = (tls.clone(), services.clone());
                tasks.spawn(async move {
                    let stop = services.stop.clone();
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = admit(stream, from, tls, services) => {}
                    }
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

/// Agrees on TLS, or on none, and serves the connection.
async fn admit(stream: TcpStream, from: SocketAddr, tls: Option<NodeTls>, services: Services) {
    let Some(tls) = tls else {
        if speaks_tls(&stream).await {
            tracing::warn!(
                %from,
                "refused a node that speaks TLS, which this listener does not: set internode.ssl.* on all nodes \
                 or on none"
            );
            return;
        }
        return serve_connection(stream, services, Some(from)).await;
    };
    match tokio::time::timeout(TLS_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => serve_connection(stream, services, Some(from)).await,
        Ok(Err(reason)) => tracing::warn!(%from, reason, "refused a connection under TLS"),
        Err(_) => tracing::warn!(%from, "refused a connection: TLS was not agreed on in time"),
    }
}

/// Whether the other side begins with a record of TLS. No greeting begins so: it would be longer than any is.
async fn speaks_tls(stream: &TcpStream) -> bool {
    let mut first = [0];
    let peeked = tokio::time::timeout(TLS_TIMEOUT, stream.peek(&mut first)).await;
    matches!(peeked, Ok(Ok(1))) && first == [TLS_HANDSHAKE]
}

/// Connections at a time; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 1024;
/// How long agreeing on TLS may take.
const TLS_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
/// The first byte of every connection under TLS.
const TLS_HANDSHAKE: u8 = 22;
/// After a failed accept, which is mostly for want of file descriptors.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

#[cfg(test)]
mod tests;
