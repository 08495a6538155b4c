//! Streams under TLS, to and from other nodes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::ServerName;

use super::explain::{explain, is_of_tls};
use super::identity::NodeTls;
use crate::connection::{Address, BoxedStream, ConnectError, Connector};

/// Connects by another connector, and then agrees on TLS.
#[derive(Clone)]
pub struct TlsConnector<C> {
    inner: C,
    tls: NodeTls,
    timeout: Duration,
}

/// A stream under TLS, whose errors say what to do.
#[derive(Debug)]
pub struct Protected<S>(S);

impl<C: Connector> TlsConnector<C> {
    /// TLS over what `inner` connects to; it has to be agreed on within `timeout`.
    pub fn new(inner: C, tls: NodeTls, timeout: Duration) -> Self {
        Self { inner, tls, timeout }
    }
}

impl<C: std::fmt::Debug> std::fmt::Debug for TlsConnector<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsConnector").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<C: Connector> Connector for TlsConnector<C> {
    fn connect<'a>(
        &'a self,
        address: &'a Address,
    ) -> BoxFuture<'a, Result<BoxedStream, ConnectError>> {
        Box::pin(async move {
            let stream = self.inner.connect(address).await?;
            let failed = |error: io::Error| ConnectError::Io {
                address: address.clone(),
                kind: error.kind(),
                message: explain(&error),
            };
            let name = ServerName::try_from(address.host.clone())
                .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls.client));
            match tokio::time::timeout(self.timeout, connector.connect(name, stream)).await {
                Ok(Ok(stream)) => Ok(Box::new(Protected(stream)) as BoxedStream),
                Ok(Err(error)) => Err(failed(error)),
                Err(_) => {
                    Err(ConnectError::TimedOut { address: address.clone(), timeout: self.timeout })
                }
            }
        })
    }
}

impl NodeTls {
    /// Agrees on TLS with a node that connected, which has to show a certificate. The caller bounds the time.
    ///
    /// # Errors
    /// What is wrong, in words that say what to do.
    pub async fn accept<S>(
        &self,
        stream: S,
    ) -> Result<Protected<tokio_rustls::server::TlsStream<S>>, String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let accepting = TlsAcceptor::from(Arc::clone(&self.server)).accept(stream).into_fallible();
        match accepting.await {
            Ok(stream) => Ok(Protected(stream)),
            Err((error, stream)) => {
                drain(stream).await;
                Err(explain(&error))
            }
        }
    }
}

/// Takes in what the other side has sent meanwhile: closing a socket with unread bytes would make it lose the
/// alert that tells it why.
async fn drain<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
    let mut rest = (&mut stream).take(DRAIN_BYTES_MAX);
    let mut nowhere = tokio::io::sink();
    let draining = tokio::io::copy(&mut rest, &mut nowhere);
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, draining).await;
}

impl<S: AsyncRead + Unpin> AsyncRead for Protected<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer).map_err(in_words)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Protected<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes).map_err(in_words)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices).map_err(in_words)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context).map_err(in_words)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context).map_err(in_words)
    }
}

fn in_words(error: io::Error) -> io::Error {
    if is_of_tls(&error) { io::Error::other(explain(&error)) } else { error }
}

/// How long, and how much, is read from a side that was refused.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
const DRAIN_BYTES_MAX: u64 = 64 * 1024;
