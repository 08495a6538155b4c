//! Passing the bytes of one connection on, both ways, as a rule allows.

use std::{net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::Rule;

/// Bytes read at a time.
const PIECE: usize = 64 << 10;
/// Pieces under way in one direction.
const PIECES: usize = 16;

/// Connects to `target` and passes bytes on until both sides have ended. The rules are those of the way there and of the way
/// back.
pub(super) async fn connection(
    stream: TcpStream,
    target: SocketAddr,
    [there, back]: [watch::Receiver<Rule>; 2],
) {
    // A connection over a link that is cut is not made; it waits like everything else.
    if !is_opened(there.clone()).await || !is_opened(back.clone()).await {
        return;
    }
    let Ok(other) = TcpStream::connect(target).await else { return };
    let _ = (stream.set_nodelay(true), other.set_nodelay(true));
    let (from_client, to_client) = stream.into_split();
    let (from_server, to_server) = other.into_split();
    tokio::join!(direction(from_client, to_server, there), direction(from_server, to_client, back));
}

/// Waits until it is not cut; false if nobody cares any more.
async fn is_opened(mut rule: watch::Receiver<Rule>) -> bool {
    rule.wait_for(|rule| *rule != Rule::Cut).await.is_ok()
}

async fn direction(
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    rule: watch::Receiver<Rule>,
) {
    let (pieces, queue) = mpsc::channel(PIECES);
    tokio::join!(read(from, pieces, rule.clone()), write(queue, to, rule));
}

async fn read(
    mut from: impl AsyncRead + Unpin,
    pieces: mpsc::Sender<(Instant, Bytes)>,
    rule: watch::Receiver<Rule>,
) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE);
        match from.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let delay = match *rule.borrow() {
            Rule::Pass(delay) => delay,
            Rule::Cut => Duration::ZERO,
        };
        if pieces.send((Instant::now() + delay, buffer.split().freeze())).await.is_err() {
            return;
        }
    }
}

async fn write(
    mut pieces: mpsc::Receiver<(Instant, Bytes)>,
    mut to: impl AsyncWrite + Unpin,
    mut rule: watch::Receiver<Rule>,
) {
    while let Some((due, piece)) = pieces.recv().await {
        sleep_until(due).await;
        let open = rule.wait_for(|rule| *rule != Rule::Cut).await.is_ok();
        if !open || to.write_all(&piece).await.is_err() {
            return;
        }
    }
    // The end of the connection is news too.
    if rule.wait_for(|rule| *rule != Rule::Cut).await.is_ok() {
        let _ = to.shutdown().await;
    }
}
