//! The two tasks of a connection.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

use crate::connection::CloseReason;
use crate::connection::shared::{Outgoing, Shared};

/// Pieces given to the system in one write.
const SLICES_MAX: usize = 64;

/// Frames gathered for one round of writing.
const FRAMES_MAX: usize = 32;

/// The tasks, ended when the last handle goes.
#[derive(Debug)]
pub(super) struct Tasks {
    shared: Arc<Shared>,
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
}

impl Tasks {
    pub(super) fn spawn<R, W>(
        reader: R,
        writer: W,
        queue: mpsc::Receiver<Outgoing>,
        shared: &Arc<Shared>,
    ) -> Self
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        Self {
            shared: shared.clone(),
            reader: tokio::spawn(run_reader(reader, shared.clone())),
            writer: tokio::spawn(run_writer(writer, queue, shared.clone())),
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.shared.close(CloseReason::Local);
        self.reader.abort();
        self.writer.abort();
    }
}

async fn run_reader<R: AsyncRead + Unpin>(reader: R, shared: Arc<Shared>) {
    let codec = LengthDelimitedCodec::builder()
        .length_field_length(4)
        .max_frame_length(shared.options.answer_bytes_max)
        .new_codec();
    let mut frames = FramedRead::new(reader, codec);
    let reason = loop {
        let frame = tokio::select! {
            biased;
            () = shared.closed.cancelled() => return,
            frame = frames.next() => frame,
        };
        let handled = match frame {
            None => Err(CloseReason::Peer),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(frame)) => shared.answer(frame.freeze()),
        };
        if let Err(reason) = handled {
            break reason;
        }
    };
    tracing::debug!(%reason, "connection ended");
    shared.close(reason);
}

async fn run_writer<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut queue: mpsc::Receiver<Outgoing>,
    shared: Arc<Shared>,
) {
    let mut batch = Vec::with_capacity(FRAMES_MAX);
    loop {
        let round = async {
            if queue.recv_many(&mut batch, FRAMES_MAX).await == 0 {
                return Ok(false);
            }
            write_frames(&mut writer, &mut batch).await?;
            Ok::<_, io::Error>(true)
        };
        let result = tokio::select! {
            biased;
            () = shared.closed.cancelled() => break,
            result = round => result,
        };
        match result {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                shared.close(error.into());
                break;
            }
        }
    }
    // Says goodbye where that is possible at once; dropping the stream closes it anyway.
    queue.close();
    let _ = futures_util::FutureExt::now_or_never(writer.shutdown());
}

async fn write_frames<W: AsyncWrite + Unpin>(
    writer: &mut W,
    batch: &mut Vec<Outgoing>,
) -> io::Result<()> {
    let mut pieces: VecDeque<Bytes> =
        batch.iter_mut().flat_map(|outgoing| std::mem::take(&mut outgoing.frame)).collect();
    while !pieces.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        let written = writer.write_vectored(&slices[..count]).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        advance(&mut pieces, written);
    }
    writer.flush().await?;
    for outgoing in batch.drain(..) {
        if let Some(written) = outgoing.written {
            // The sender may have left meanwhile.
            let _ = written.send(());
        }
    }
    Ok(())
}

/// Drops the first `written` bytes.
fn advance(pieces: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(first) = pieces.front_mut() {
        if written < first.len() {
            first.advance(written);
            return;
        }
        written -= first.len();
        pieces.pop_front();
    }
}
