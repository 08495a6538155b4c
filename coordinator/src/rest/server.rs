//! The listening socket: how many connections it carries, and for how long.

use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::caller::ClientAddress;
use super::origin::OwnAddress;
use super::routes::router;
use super::state::Rest;

/// How patient the API is with connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From the end of one answer to the end of the next request's head.
    pub head: Duration,
    /// Without a byte either way. Longer than any request may take, since nothing moves meanwhile.
    pub idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { head: Duration::from_secs(30), idle: Duration::from_secs(75) }
    }
}

/// Serves until `stop`, and then until the requests under way are answered.
pub(super) async fn serve(
    listener: TcpListener,
    rest: Rest,
    patience: Patience,
    stop: CancellationToken,
) {
    let router = router(rest);
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        match accepted {
            Ok((stream, ends, permit)) => {
                let connection = Connection::new(stream, patience.idle, permit);
                let routes = Routes::new(router.clone(), ends);
                connections.spawn(converse(connection, routes, patience.head, stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the REST API");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, Ends, OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.expect("it is never closed");
    let (stream, address) = listener.accept().await?;
    // Answers are small and whole; waiting for more to send would only delay them.
    stream.set_nodelay(true)?;
    let own = OwnAddress(stream.local_addr()?);
    Ok((stream, (ClientAddress(address), own), permit))
}

/// The addresses of a connection.
type Ends = (ClientAddress, OwnAddress);

/// One connection, request after request.
async fn converse(connection: Connection, routes: Routes, head: Duration, stop: CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(BUFFER_BYTES_MAX);
    let mut conversation = pin!(http.serve_connection(TokioIo::new(connection), routes));
    let ended = tokio::select! {
        ended = conversation.as_mut() => ended,
        () = stop.cancelled() => {
            conversation.as_mut().graceful_shutdown();
            conversation.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the REST API broke off");
    }
}

/// The routes as one connection sees them: every request knows where it comes from, and where it came to.
struct Routes {
    router: TowerToHyperService<Router>,
    ends: Ends,
}

impl Routes {
    fn new(router: Router, ends: Ends) -> Self {
        Self { router: TowerToHyperService::new(router), ends }
    }
}

impl Service<Request<Incoming>> for Routes {
    type Response = axum::response::Response;
    type Error = std::convert::Infallible;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let (client, own) = self.ends;
        request.extensions_mut().insert(client);
        request.extensions_mut().insert(own);
        self.router.call(request)
    }
}

/// A connection that ends when nothing moved on it for a while.
struct Connection {
    stream: TcpStream,
    patience: Duration,
    idle: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: TcpStream, patience: Duration, permit: OwnedSemaphorePermit) -> Self {
        let idle = Box::pin(tokio::time::sleep(patience));
        Self { stream, patience, idle, _permit: permit }
    }

    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        moved: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            self.idle.as_mut().reset(Instant::now() + self.patience);
            return moved;
        }
        match self.idle.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let moved = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.watch(context, moved)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, moved)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

const CONNECTIONS_MAX: usize = 1024;
const BUFFER_BYTES_MAX: usize = 64 * 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
