//! One connection: a task that reads and starts calls, and one that writes answers as they come.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use ottla_client::internode::Nonce;
use ottla_protocol::messages::{CancelRelayRequest, NodeHelloRequest, RelayRequest};
use ottla_protocol::wire::{DecodeError, Decoder, EncodeError, Pieces};
use ottla_protocol::{ApiKey, Message, Request, RequestHeader, frame};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadHalf};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

use super::budget::{Budget, Kind, Permit};
use super::calls;
use super::hello::{self, Greeting, Opening, Peer};
use crate::coordinator::Services;
use crate::heartbeats::Heartbeats;
use crate::relay;

/// Why a connection was closed from this side.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    #[error("it broke: {0}")]
    Io(#[from] std::io::Error),
    #[error("it sent what is no request: {0}")]
    Decode(#[from] DecodeError),
    #[error("an answer cannot be encoded: {0}")]
    Encode(#[from] EncodeError),
    #[error("it did not greet within {HELLO_TIMEOUT:?}")]
    NoHello,
    #[error("its first request is not a greeting")]
    NotHello,
    #[error("it was not accepted: {0}")]
    Refused(String),
    #[error("API {key} version {version} is not served between nodes")]
    NotServed { key: i16, version: i16 },
    #[error("it used correlation id {0} twice at a time")]
    DuplicateCorrelation(i32),
    #[error("a call failed: {0}")]
    Panicked(#[from] JoinError),
}

type Frames<S> = FramedRead<ReadHalf<S>, LengthDelimitedCodec>;

/// Serves a connection until the other side ends it; an error is this side's reason.
pub(crate) async fn run<S>(stream: S, services: Services) -> Result<(), ConnectionError>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (reader, writer) = tokio::io::split(stream);
    let codec = LengthDelimitedCodec::builder().max_frame_length(HELLO_BYTES_MAX).new_codec();
    let mut frames = FramedRead::new(reader, codec);
    let (answers, queue) = mpsc::channel(ANSWERS_MAX);
    let writing = write_answers(writer, queue);
    let reading = async {
        let peer = greet(&mut frames, &services, &answers).await?;
        frames.decoder_mut().set_max_frame_length(FRAME_BYTES_MAX);
        let budget = services.budgets.of(peer.node_id);
        let _farewell = Farewell { heartbeats: services.heartbeats.clone(), peer: peer.clone() };
        let connection = Connection { services: services.clone(), peer, budget, answers };
        connection.read(&mut frames).await
    };
    let mut writing = std::pin::pin!(writing);
    let read = tokio::select! {
        read = reading => read,
        written = &mut writing => return written,
    };
    // The writer ends when all senders are gone, so answers on their way are still sent, unless the other
    // side takes none.
    let written = tokio::time::timeout(FAREWELL_TIMEOUT, writing).await;
    read.and(written.unwrap_or(Ok(())))
}

/// Tells, however the connection ends, that it did.
struct Farewell {
    heartbeats: Arc<Heartbeats>,
    peer: Peer,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        if self.peer.is_broker {
            self.heartbeats.put_broken(self.peer.node_id);
        }
    }
}

async fn greet<S: AsyncRead>(
    frames: &mut Frames<S>,
    services: &Services,
    answers: &mpsc::Sender<Bytes>,
) -> Result<Peer, ConnectionError> {
    let (header, first) = next_hello(frames).await?;
    let nonce: Nonce = rand::random();
    let (header, Greeting { answer, peer }) = match hello::open(services, &first, nonce) {
        Opening::Greeted(greeting) => (header, greeting),
        Opening::Challenged(challenge) => {
            // A peer that is gone already shows at the next read.
            let _ = answers.send(encode::<NodeHelloRequest>(&header, &challenge)?).await;
            let (header, second) = next_hello(frames).await?;
            (header, hello::prove(services, &first, nonce, &second))
        }
    };
    let refusal = answer.error_message.clone();
    let _ = answers.send(encode::<NodeHelloRequest>(&header, &answer)?).await;
    peer.ok_or_else(|| ConnectionError::Refused(refusal.as_deref().unwrap_or_default().to_owned()))
}

async fn next_hello<S: AsyncRead>(
    frames: &mut Frames<S>,
) -> Result<(RequestHeader, NodeHelloRequest), ConnectionError> {
    let frame = tokio::time::timeout(HELLO_TIMEOUT, frames.next()).await;
    let frame = frame.map_err(|_| ConnectionError::NoHello)?.ok_or(ConnectionError::NotHello)??;
    let mut decoder = Decoder::new(frame.freeze());
    let header = RequestHeader::decode(&mut decoder)?;
    if header.api_key != NodeHelloRequest::KEY.code() {
        return Err(ConnectionError::NotHello);
    }
    let hello = body(&header, decoder)?;
    Ok((header, hello))
}

struct Connection {
    services: Services,
    peer: Peer,
    budget: Arc<Budget>,
    answers: mpsc::Sender<Bytes>,
}

/// Calls under way; dropping it ends them.
#[derive(Default)]
struct Calls {
    tasks: JoinSet<Result<i32, ConnectionError>>,
    relayed: HashMap<i32, AbortHandle>,
}

impl Connection {
    async fn read<S: AsyncRead>(self, frames: &mut Frames<S>) -> Result<(), ConnectionError> {
        let mut calls = Calls::default();
        loop {
            let frame = tokio::select! {
                frame = frames.next() => match frame {
                    Some(frame) => frame?,
                    None => return Ok(()),
                },
                Some(ended) = calls.tasks.join_next() => {
                    calls.note_end(ended)?;
                    continue;
                }
            };
            self.start(frame.freeze(), &mut calls).await?;
        }
    }

    async fn start(&self, frame: Bytes, calls: &mut Calls) -> Result<(), ConnectionError> {
        let len = frame.len();
        let mut decoder = Decoder::new(frame);
        let header = RequestHeader::decode(&mut decoder)?;
        let key = ApiKey::try_from(header.api_key)
            .map_err(|_| DecodeError::UnknownApiKey(header.api_key))?;
        match key {
            ApiKey::CancelRelay => {
                let cancel: CancelRelayRequest = body(&header, decoder)?;
                if let Some(call) = calls.relayed.remove(&cancel.correlation_id) {
                    call.abort();
                }
                Ok(())
            }
            ApiKey::Relay => {
                let request: RelayRequest = body(&header, decoder)?;
                self.start_relay(header, request, len, calls).await
            }
            ApiKey::BrokerHeartbeat => {
                let permit = self.budget.take_prompt(len).await;
                let request = body(&header, decoder)?;
                let answer = calls::heartbeat(&self.services, &self.peer, &request);
                self.answer(encode::<ottla_protocol::messages::BrokerHeartbeatRequest>(
                    &header, &answer,
                )?)
                .await;
                drop(permit);
                Ok(())
            }
            ApiKey::AlterPartition => {
                let request = body(&header, decoder)?;
                let services = self.services.clone();
                let answer = async move { calls::alter_partition(&services, request).await };
                self.start_prompt::<ottla_protocol::messages::AlterPartitionRequest>(
                    header, len, answer, calls,
                )
                .await
            }
            ApiKey::AssignReplicasToDirs => {
                let request = body(&header, decoder)?;
                let services = self.services.clone();
                let answer =
                    async move { calls::assign_replicas_to_dirs(&services, request).await };
                self.start_prompt::<ottla_protocol::messages::AssignReplicasToDirsRequest>(
                    header, len, answer, calls,
                )
                .await
            }
            ApiKey::AllocateProducerIds => {
                let request = body(&header, decoder)?;
                let services = self.services.clone();
                let answer = async move { calls::allocate_producer_ids(&services, &request).await };
                self.start_prompt::<ottla_protocol::messages::AllocateProducerIdsRequest>(
                    header, len, answer, calls,
                )
                .await
            }
            _ => {
                Err(ConnectionError::NotServed { key: header.api_key, version: header.api_version })
            }
        }
    }

    async fn start_prompt<R: Request>(
        &self,
        header: RequestHeader,
        len: usize,
        answer: impl Future<Output = R::Response> + Send + 'static,
        calls: &mut Calls,
    ) -> Result<(), ConnectionError>
    where
        R::Response: Send,
    {
        // While there is no room the socket is not read: the other side waits.
        let permit = self.budget.take_prompt(len).await;
        let answers = self.answers.clone();
        calls.tasks.spawn(async move {
            let encoded = encode::<R>(&header, &answer.await)?;
            // Nobody to answer is no error of the call.
            let _ = answers.send(encoded).await;
            drop(permit);
            Ok(header.correlation_id)
        });
        Ok(())
    }

    async fn start_relay(
        &self,
        header: RequestHeader,
        request: RelayRequest,
        len: usize,
        calls: &mut Calls,
    ) -> Result<(), ConnectionError> {
        let Some(permit) = self.budget.try_take(Kind::Relayed, len) else {
            self.answer(encode::<RelayRequest>(&header, &relay::overloaded())?).await;
            return Ok(());
        };
        let correlation_id = header.correlation_id;
        if calls.relayed.contains_key(&correlation_id) {
            return Err(ConnectionError::DuplicateCorrelation(correlation_id));
        }
        let call = Relayed {
            services: self.services.clone(),
            answers: self.answers.clone(),
            header,
            permit,
        };
        calls.relayed.insert(correlation_id, calls.tasks.spawn(call.run(request)));
        Ok(())
    }

    async fn answer(&self, answer: Bytes) {
        // A writer that is gone shows at the next read.
        let _ = self.answers.send(answer).await;
    }
}

/// A relayed call under way.
struct Relayed {
    services: Services,
    answers: mpsc::Sender<Bytes>,
    header: RequestHeader,
    permit: Permit,
}

impl Relayed {
    async fn run(self, request: RelayRequest) -> Result<i32, ConnectionError> {
        let metrics = self.services.metrics.clone();
        let _counted = relay::Counted::new(metrics);
        let response = relay::handle(&self.services, request).await;
        let encoded = encode::<RelayRequest>(&self.header, &response)?;
        // Nobody to answer is no error of the call.
        let _ = self.answers.send(encoded).await;
        drop(self.permit);
        Ok(self.header.correlation_id)
    }
}

impl Calls {
    fn note_end(
        &mut self,
        ended: Result<Result<i32, ConnectionError>, JoinError>,
    ) -> Result<(), ConnectionError> {
        match ended {
            Ok(ended) => {
                self.relayed.remove(&ended?);
                Ok(())
            }
            Err(error) if error.is_cancelled() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Writes answers in the order in which they were finished; several that wait go out together.
async fn write_answers<W: AsyncWrite + Unpin>(
    writer: W,
    mut queue: mpsc::Receiver<Bytes>,
) -> Result<(), ConnectionError> {
    let mut writer = BufWriter::with_capacity(WRITE_BUFFER, writer);
    while let Some(answer) = queue.recv().await {
        writer.write_all(&answer).await?;
        while let Ok(answer) = queue.try_recv() {
            writer.write_all(&answer).await?;
        }
        writer.flush().await?;
    }
    writer.shutdown().await?;
    Ok(())
}

/// The body of a request, in a version that this process knows.
fn body<M: Message>(header: &RequestHeader, mut decoder: Decoder) -> Result<M, ConnectionError> {
    let version = header.api_version;
    if !(M::MIN_VERSION..=M::MAX_VERSION).contains(&version) {
        return Err(ConnectionError::NotServed { key: header.api_key, version });
    }
    let body = M::decode(&mut decoder, version)?;
    decoder.finish()?;
    Ok(body)
}

fn encode<R: Request>(
    header: &RequestHeader,
    answer: &R::Response,
) -> Result<Bytes, ConnectionError> {
    let pieces: Pieces =
        frame::encode_response(R::KEY, header.api_version, header.correlation_id, answer)?;
    Ok(pieces.into_contiguous()?)
}

/// How long a new connection may say nothing, before and between its greetings.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How long answers are still sent after the other side has ended.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest frame before the greeting.
const HELLO_BYTES_MAX: usize = 64 * 1024;
/// Longest frame after it.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Answers that wait for the socket.
const ANSWERS_MAX: usize = 256;
/// Answers that are sent in one piece.
const WRITE_BUFFER: usize = 64 * 1024;
