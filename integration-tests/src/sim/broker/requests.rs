//! What clients ask: on each connection answered in order.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use ottla_broker::partition::Acks;
use ottla_broker::worker::{AppendCommand, AppendItem, Ticket, Waiter};
use ottla_metadata::image::Image;
use ottla_metadata::model::ProducerIds;
use ottla_protocol::record_batch::{ValidateOptions, single_batch, validate};
use ottla_protocol::{ErrorCode, Uuid};
use ottla_storage::LeaderBatch;
use std::sync::Arc;

use super::super::env::{Env, Process};
use super::super::message::{
    AdminRequest, ClientAnswer, ClientRequest, Message, ShownTopic, Timer,
};
use super::super::mutation::Mutation;
use super::{Running, coordinator_of, observe};

/// Who asked: the client's process, its connection, and its number of the request.
type Asker = (Process, u64, u64);

/// Requests that are not yet answered.
#[derive(Debug, Default)]
pub(super) struct Requests {
    connections: BTreeMap<(Process, u64), Connection>,
    relays: BTreeMap<u64, Relayed>,
    next_relay: u64,
    ids: Option<Range<i64>>,
    waiting_for_ids: Vec<Asker>,
}

/// A connection of a client.
#[derive(Debug, Default)]
struct Connection {
    waiting: VecDeque<(u64, Waiting)>,
    lane: Duration,
}

/// An answer that is there, or will be.
#[derive(Debug)]
enum Waiting {
    Ready(ClientAnswer),
    Append(Arc<Ticket>),
}

/// A request that the coordinator has.
#[derive(Debug)]
enum Relayed {
    Client(Asker),
    Ids,
}

impl Running {
    /// Whether a request belongs to a connection with this process, or opens one.
    pub(super) fn accepts(&mut self, connection: (Process, u64), opens: bool) -> bool {
        if connection.1 != 0 && opens {
            self.requests.connections.entry(connection).or_default();
        }
        connection.1 == 0 || self.requests.connections.contains_key(&connection)
    }

    pub(super) fn handle_request(&mut self, env: &mut Env, asker: Asker, request: ClientRequest) {
        match request {
            ClientRequest::Metadata => {
                let answer = ClientAnswer::Metadata(metadata(self.feed.image()));
                self.answer(env, asker, answer);
            }
            ClientRequest::Admin(request) => {
                if !self.relay(env, request, Relayed::Client(asker)) {
                    let answer = ClientAnswer::Admin(Err(ErrorCode::NotController));
                    self.answer(env, asker, answer);
                }
            }
            ClientRequest::InitProducerId => {
                self.requests.waiting_for_ids.push(asker);
                self.hand_out_ids(env);
            }
            ClientRequest::Produce { topic, partition, batch, acks } => {
                let waiting = match self.append(env, (topic, partition), (&batch, acks)) {
                    Ok(ticket) => Waiting::Append(ticket),
                    Err(code) => Waiting::Ready(ClientAnswer::Produced(Err(code))),
                };
                self.queue(env, asker, waiting);
            }
            ClientRequest::Fetch { topic, partition, offset, from_any, leader_epoch } => {
                let fetched = self.fetch((topic, partition), offset, (from_any, leader_epoch));
                self.queue(env, asker, Waiting::Ready(ClientAnswer::Fetched(fetched)));
            }
        }
    }

    /// Checks a batch as the handler does and hands it to the worker.
    fn append(
        &mut self,
        env: &mut Env,
        key: (Uuid, i32),
        (bytes, acks): (&Bytes, Acks),
    ) -> Result<Arc<Ticket>, ErrorCode> {
        let data = self.data.as_ref().ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let handle = data.find(key).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        handle.view().check_leader(-1)?;
        let batch = single_batch(bytes).map_err(|error| error.error_code())?;
        let summary = validate(&batch, &ValidateOptions::default(), &mut Vec::new())
            .map_err(|error| error.error_code())?;
        let ticket = Ticket::new(1);
        let batch = LeaderBatch { batch, max_timestamp: summary.max_timestamp };
        let waiter = Waiter::new(Arc::clone(&ticket), 0);
        let item = AppendItem { slot: handle.slot, batch, waiter };
        let acks = match acks {
            Acks::All if env.does(Mutation::AcknowledgesAtItsOwnEnd) => Acks::Leader,
            acks => acks,
        };
        let command = AppendCommand { items: vec![item], acks };
        if !data.append(command, bytes.len()) {
            return Err(ErrorCode::KafkaStorageError);
        }
        self.step_soon(env);
        Ok(ticket)
    }

    fn fetch(
        &self,
        key: (Uuid, i32),
        offset: i64,
        (from_any, epoch): (bool, i32),
    ) -> Result<Bytes, ErrorCode> {
        let data = self.data.as_ref().ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let handle = data.find(key).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let view = handle.view_full();
        if from_any {
            view.check_epoch(epoch)?
        } else {
            view.check_leader(epoch)?
        }
        if offset < view.log_start.0 || view.log_end.0 < offset {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        if view.high_watermark.0 <= offset {
            return Ok(Bytes::new());
        }
        let read = observe::read_once(&view, offset, view.high_watermark.0);
        read.map_err(|_| ErrorCode::KafkaStorageError)
    }

    /// Puts an answer behind those that its connection waits for.
    fn queue(&mut self, env: &mut Env, (client, connection, id): Asker, waiting: Waiting) {
        let connection = self.requests.connections.entry((client, connection)).or_default();
        connection.waiting.push_back((id, waiting));
        self.answer_ready(env);
    }

    /// Sends every answer that is there and whose turn it is.
    pub(super) fn answer_ready(&mut self, env: &mut Env) {
        let me = self.me;
        self.requests.connections.retain(|(client, number), connection| {
            while let Some((id, waiting)) = connection.waiting.front() {
                let answer = match waiting {
                    Waiting::Ready(answer) => answer.clone(),
                    Waiting::Append(ticket) => match ticket.outcome(0) {
                        Some(outcome) if outcome.error == ErrorCode::None => {
                            ClientAnswer::Produced(Ok(outcome.base_offset.0))
                        }
                        Some(outcome) => ClientAnswer::Produced(Err(outcome.error)),
                        None => return true,
                    },
                };
                let message = Message::Answer { connection: *number, id: *id, answer };
                let to = (client.node, Some(client.life));
                connection.waiting.pop_front();
                if !env.send_in_order(me, to, &mut connection.lane, message) {
                    return false;
                }
            }
            true
        });
    }

    fn answer(&mut self, env: &mut Env, (client, connection, id): Asker, answer: ClientAnswer) {
        let message = Message::Answer { connection, id, answer };
        env.send(self.me, (client.node, Some(client.life)), message);
    }

    /// Passes a request on to the active coordinator, if one is known.
    fn relay(&mut self, env: &mut Env, request: AdminRequest, relayed: Relayed) -> bool {
        let controller = self.feed.image().controller().map(|controller| controller.node_id);
        let Some(controller) = controller else { return false };
        self.requests.next_relay += 1;
        let id = self.requests.next_relay;
        self.requests.relays.insert(id, relayed);
        env.send(self.me, (coordinator_of(controller), None), Message::Relay { id, request });
        env.timer(self.me, RELAY_TIMEOUT, Timer::RelayTimeout(id));
        true
    }

    pub(super) fn handle_relayed(
        &mut self,
        env: &mut Env,
        id: u64,
        result: Result<i64, ErrorCode>,
    ) {
        match self.requests.relays.remove(&id) {
            Some(Relayed::Client(asker)) => {
                self.answer(env, asker, ClientAnswer::Admin(result));
            }
            Some(Relayed::Ids) => match result {
                Ok(start) => {
                    let len = i64::from(ProducerIds::BLOCK_LEN);
                    self.requests.ids = Some(start..start + len);
                    self.hand_out_ids(env);
                }
                Err(code) => {
                    for asker in std::mem::take(&mut self.requests.waiting_for_ids) {
                        self.answer(env, asker, ClientAnswer::ProducerId(Err(code)));
                    }
                }
            },
            None => {}
        }
    }

    /// Answers those who wait for producer ids, or asks for a block.
    fn hand_out_ids(&mut self, env: &mut Env) {
        if self.requests.ids.as_ref().is_none_or(Range::is_empty) {
            let is_asking =
                self.requests.relays.values().any(|relayed| matches!(relayed, Relayed::Ids));
            if is_asking {
                return;
            }
            let request = self
                .claim
                .broker_epoch()
                .map(|broker_epoch| AdminRequest::AllocateIds { broker: self.id, broker_epoch });
            if !request.is_some_and(|request| self.relay(env, request, Relayed::Ids)) {
                for asker in std::mem::take(&mut self.requests.waiting_for_ids) {
                    let answer = ClientAnswer::ProducerId(Err(ErrorCode::NotController));
                    self.answer(env, asker, answer);
                }
            }
            return;
        }
        while let Some(asker) = self.requests.waiting_for_ids.pop() {
            match self.requests.ids.as_mut().and_then(Iterator::next) {
                Some(id) => self.answer(env, asker, ClientAnswer::ProducerId(Ok(id))),
                None => {
                    self.requests.waiting_for_ids.push(asker);
                    return self.hand_out_ids(env);
                }
            }
        }
    }
}

fn metadata(image: &Image) -> Vec<ShownTopic> {
    let shown = |topic: &ottla_metadata::model::Topic| ShownTopic {
        name: topic.name.clone(),
        id: topic.id,
        partitions: image
            .partitions_of(topic.id)
            .map(|(number, partition)| (number, partition.leader, partition.leader_epoch))
            .collect(),
    };
    image.topics().map(|topic| shown(topic)).collect()
}

const RELAY_TIMEOUT: Duration = Duration::from_secs(2);
