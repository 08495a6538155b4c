//! A TCP proxy before a member: it loses answers, holds requests and breaks connections.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Forward,
    /// Answers are dropped.
    LoseAnswers,
    /// Requests are kept.
    HoldRequests,
}

/// A running proxy; it ends with its runtime.
pub(super) struct Proxy {
    pub(super) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    mode: watch::Sender<Mode>,
    /// Bumped to close all connections.
    life: watch::Sender<u64>,
    /// Bytes that the server has not seen, with the connection to it.
    held: Mutex<Vec<(Vec<u8>, tokio::net::tcp::OwnedWriteHalf)>>,
}

impl Proxy {
    pub(super) async fn start(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            mode: watch::channel(Mode::Forward).0,
            life: watch::channel(0).0,
            held: Mutex::new(Vec::new()),
        });
        let accepting = shared.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { continue };
                tokio::spawn(carry(client, server, accepting.clone()));
            }
        });
        Self { port, shared }
    }

    /// From now on answers are lost, until [`Proxy::heal`].
    pub(super) fn lose_answers(&self) {
        self.shared.mode.send_replace(Mode::LoseAnswers);
    }

    /// From now on requests are held, until [`Proxy::heal`].
    pub(super) fn hold_requests(&self) {
        self.shared.mode.send_replace(Mode::HoldRequests);
    }

    /// Works again, with new connections. What is held stays so.
    pub(super) fn heal(&self) {
        self.shared.mode.send_replace(Mode::Forward);
        self.break_connections();
    }

    /// Gives the server what was held, as if it had been under way all the time.
    pub(super) async fn deliver_held(&self) {
        // The connection that holds it may still be about to notice that it was healed.
        for _ in 0..200 {
            if !self.shared.held.lock().unwrap().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let held = std::mem::take(&mut *self.shared.held.lock().unwrap());
        assert!(!held.is_empty(), "no request was held");
        for (bytes, mut server) in held {
            server.write_all(&bytes).await.unwrap();
            // The connection stays open until the runtime ends, so that the request is not cancelled.
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(60)).await;
                drop(server);
            });
        }
    }

    pub(super) fn break_connections(&self) {
        self.shared.life.send_modify(|life| *life += 1);
    }
}

async fn carry(client: TcpStream, server: TcpStream, shared: Arc<Shared>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut life = shared.life.subscribe();
    let mode = shared.mode.subscribe();
    let answers = async move {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let read = from_server.read(&mut bytes).await.unwrap_or(0);
            let lost = *mode.borrow() == Mode::LoseAnswers;
            if read == 0 || (!lost && to_client.write_all(&bytes[..read]).await.is_err()) {
                // While a held request waits the answers have nowhere to go, but the server must live.
                return;
            }
        }
    };
    let answers = tokio::spawn(answers);
    let mode = shared.mode.subscribe();
    let mut held = Vec::new();
    let mut bytes = vec![0; 64 * 1024];
    let mut until = None;
    loop {
        let read = tokio::select! {
            _ = life.changed() => 0,
            read = from_client.read(&mut bytes) => read.unwrap_or(0),
        };
        if read == 0 {
            break;
        }
        if *mode.borrow() == Mode::HoldRequests {
            // The client cancels the request at its deadline; the cancellation never arrives.
            let now = tokio::time::Instant::now();
            if now <= *until.get_or_insert(now + REQUEST_WITHIN) {
                held.extend_from_slice(&bytes[..read]);
            }
        } else if to_server.write_all(&bytes[..read]).await.is_err() {
            break;
        }
    }
    if held.is_empty() {
        answers.abort();
    } else {
        shared.held.lock().unwrap().push((held, to_server));
    }
}

/// The bytes of one request come together.
const REQUEST_WITHIN: Duration = Duration::from_millis(150);
