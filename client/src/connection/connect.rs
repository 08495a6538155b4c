//! Reaching a peer.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, lookup_host};

/// Any byte stream.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A byte stream of whatever kind.
pub type BoxedStream = Box<dyn Stream>;

/// Where a peer listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Text that is not `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address of the form host:port")]
pub struct ParseAddressError(pub String);

/// Why a peer was not reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Resolving or connecting failed.
    #[error("cannot connect to {address}: {message}")]
    Io {
        /// Where to.
        address: Address,
        /// The kind of failure.
        kind: io::ErrorKind,
        /// What the system says.
        message: String,
    },
    /// Not reached within this time.
    #[error("cannot connect to {address} within {timeout:?}")]
    TimedOut {
        /// Where to.
        address: Address,
        /// The time allowed.
        timeout: Duration,
    },
}

/// Makes streams to peers: over TCP, or in-process where client and server share a process, as in tests.
pub trait Connector: Send + Sync {
    /// Reaches the peer at `address`.
    fn connect<'a>(
        &'a self,
        address: &'a Address,
    ) -> BoxFuture<'a, Result<BoxedStream, ConnectError>>;
}

/// Connects over TCP, with `TCP_NODELAY` and keep-alive.
#[derive(Clone, Copy, Debug)]
pub struct TcpConnector {
    /// How long resolving and connecting may take: `socket.connection.setup.timeout.ms`. Default 10 s.
    pub timeout: Duration,
}

impl Default for TcpConnector {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10) }
    }
}

impl Connector for TcpConnector {
    fn connect<'a>(
        &'a self,
        address: &'a Address,
    ) -> BoxFuture<'a, Result<BoxedStream, ConnectError>> {
        Box::pin(async move {
            let stream = self.connect_tcp(address).await?;
            Ok(Box::new(stream) as BoxedStream)
        })
    }
}

impl TcpConnector {
    /// Reaches the peer at `address`, trying each of the addresses that its name has.
    pub async fn connect_tcp(&self, address: &Address) -> Result<TcpStream, ConnectError> {
        match tokio::time::timeout(self.timeout, connect_any(address)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(ConnectError::Io {
                address: address.clone(),
                kind: error.kind(),
                message: error.to_string(),
            }),
            Err(_) => {
                Err(ConnectError::TimedOut { address: address.clone(), timeout: self.timeout })
            }
        }
    }
}

async fn connect_any(address: &Address) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for resolved in lookup_host((address.host.as_str(), address.port)).await? {
        let socket = if resolved.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_keepalive(true)?;
        match socket.connect(resolved).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        let error = || ParseAddressError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(v6) => v6,
            None if host.contains(':') => return Err(error()),
            None => host,
        };
        if host.is_empty() {
            return Err(error());
        }
        let port = port.parse().map_err(|_| error())?;
        Ok(Self { host: host.to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for text in ["localhost:9092", "10.0.0.1:1", "[::1]:65535"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in ["", "localhost", ":9092", "localhost:", "localhost:x", "::1:9092", "a:70000"] {
            assert_eq!(text.parse::<Address>(), Err(ParseAddressError(text.to_owned())));
        }
    }
}
