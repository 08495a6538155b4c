//! The metadata store as a node: the embedded store's core behind the network.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_metadata::keys::Key;
use ottla_metadata::model::{self, Partition};
use ottla_metadata::store::embedded::{Core, WatchId};
use ottla_metadata::store::{Event, WatchBatch, WatchItem};

use super::env::{Env, Node, Process};
use super::message::{Message, StoreReply, StoreRequest, Timer};

/// The store.
#[derive(Debug)]
pub struct StoreNode {
    core: Core,
    streams: BTreeMap<(Process, u64), Stream>,
    /// Sees everything that is written, for the checkers.
    audit: WatchId,
    audit_next: i64,
    tick_at: Option<Duration>,
    paused: bool,
}

/// An open watch.
#[derive(Debug)]
struct Stream {
    id: WatchId,
    /// When the last item arrives.
    lane: Duration,
}

impl StoreNode {
    /// An empty store.
    pub fn new(env: &Env) -> Self {
        let mut core = Core::in_memory(STORE_ID);
        let audit = core.watch(env.keys.image(), 1).expect("the store is well at the start");
        Self { core, streams: BTreeMap::new(), audit, audit_next: 1, tick_at: None, paused: false }
    }

    /// A call arrives.
    pub fn handle(&mut self, env: &mut Env, from: Process, call: u64, request: StoreRequest) {
        let now = env.now;
        let reply = match request {
            StoreRequest::Range(range) => Some(StoreReply::Page(self.core.range(&range))),
            StoreRequest::Txn(mut write) => {
                if let Some(mutation) = env.mutation {
                    mutation.change_write(&self.core, &env.keys, &mut write);
                }
                Some(StoreReply::Txn(self.core.txn(&write, now)))
            }
            StoreRequest::Grant(ttl) => Some(StoreReply::Lease(self.core.lease_grant(ttl, now))),
            StoreRequest::KeepAlive(lease) => {
                Some(StoreReply::Done(self.core.lease_keep_alive(lease, now).map(drop)))
            }
            StoreRequest::Revoke(lease) => {
                Some(StoreReply::Done(self.core.lease_revoke(lease, now)))
            }
            StoreRequest::Watch { watch, from: revision } => {
                self.open_stream(env, from, (call, watch, revision));
                None
            }
            StoreRequest::Unwatch(watch) => {
                if let Some(stream) = self.streams.remove(&(from, watch)) {
                    self.core.unwatch(stream.id);
                }
                None
            }
            StoreRequest::Progress(watch) => {
                if let Some(stream) = self.streams.get(&(from, watch)) {
                    self.core.request_progress(stream.id);
                }
                None
            }
        };
        if let Some(reply) = reply {
            env.send(ME, (from.node, Some(from.life)), Message::StoreReply { call, reply });
        }
        self.pump(env);
    }

    /// The answer and what the watch sees travel on one stream, in order.
    fn open_stream(
        &mut self,
        env: &mut Env,
        client: Process,
        (call, watch, revision): (u64, u64, i64),
    ) {
        let opened = self.core.watch(env.keys.image(), revision);
        let to = (client.node, Some(client.life));
        let mut lane = Duration::ZERO;
        let reply = StoreReply::Done(opened.as_ref().map(drop).map_err(Clone::clone));
        let message = Message::StoreReply { call, reply };
        let arrives = env.send_in_order(ME, to, &mut lane, message);
        match opened {
            Ok(id) if arrives => {
                self.streams.insert((client, watch), Stream { id, lane });
            }
            Ok(id) => self.core.unwatch(id),
            Err(_) => {}
        }
    }

    /// Leases end.
    pub fn tick(&mut self, env: &mut Env) {
        self.tick_at = None;
        self.core.tick(env.now);
        self.pump(env);
    }

    /// Stops answering, or goes on.
    pub fn set_paused(&mut self, env: &mut Env, paused: bool) {
        self.paused = paused;
        self.core.set_paused(paused, env.now);
        self.pump(env);
    }

    /// Forgets all but a little of the history.
    pub fn compact(&mut self, env: &mut Env) {
        let Ok(status) = self.core.status() else { return };
        // What the checkers have not seen may not go, but they have seen everything.
        let _ = self.core.compact(status.revision, env.now);
        self.pump(env);
    }

    /// Breaks every watch.
    pub fn break_watches(&mut self, env: &mut Env) {
        self.core.break_watches();
        self.pump(env);
    }

    /// A process is gone, and its connections with it.
    pub fn forget(&mut self, process: Process) {
        let gone: Vec<_> = self.streams.keys().filter(|(of, _)| *of == process).copied().collect();
        for key in gone {
            if let Some(stream) = self.streams.remove(&key) {
                self.core.unwatch(stream.id);
            }
        }
    }

    /// Delivers what watches see, and waits for the next lease to end.
    fn pump(&mut self, env: &mut Env) {
        self.pump_audit(env);
        let keys: Vec<_> = self.streams.keys().copied().collect();
        for key in keys {
            self.pump_stream(env, key);
        }
        let due = self.core.next_deadline().filter(|_| !self.paused);
        if let Some(due) = due
            && self.tick_at.is_none_or(|at| due < at)
        {
            self.tick_at = Some(due);
            env.timer(ME, due.saturating_sub(env.now), Timer::StoreTick);
        }
    }

    fn pump_audit(&mut self, env: &mut Env) {
        while let Some(item) = self.core.poll_watch(self.audit) {
            match item {
                WatchItem::Batch(batch) => {
                    self.audit_next = batch.revision + 1;
                    env.history.handle_stored(&env.keys, &batch);
                    note_partitions(env, &batch);
                }
                WatchItem::Compacted { .. } | WatchItem::Broken { .. } => {
                    let Ok(audit) = self.core.watch(env.keys.image(), self.audit_next) else {
                        return;
                    };
                    self.audit = audit;
                }
            }
        }
    }

    fn pump_stream(&mut self, env: &mut Env, (client, watch): (Process, u64)) {
        loop {
            let Some(stream) = self.streams.get_mut(&(client, watch)) else { return };
            let Some(item) = self.core.poll_watch(stream.id) else { return };
            let is_last = !matches!(item, WatchItem::Batch(_));
            let to = (client.node, Some(client.life));
            let message = Message::Watched { watch, item };
            let arrives = env.send_in_order(ME, to, &mut stream.lane, message);
            if !arrives || is_last {
                self.core.unwatch(stream.id);
                self.streams.remove(&(client, watch));
            }
            if !arrives {
                env.timer(client, SILENCE_MAX, Timer::WatchBroken(watch));
            }
        }
    }
}

/// Elections and changes of ISRs, for people.
fn note_partitions(env: &mut Env, batch: &WatchBatch) {
    for event in &batch.events {
        let Event::Put(kv) = event else { continue };
        let Ok(Key::Partition(topic, number)) = env.keys.parse(event.key()) else { continue };
        let Ok(partition) = model::decode::<Partition>("stored", &kv.value) else { continue };
        let Partition { leader, leader_epoch, isr, elr, last_known_elr, recovering, .. } =
            partition;
        let at = kv.mod_revision;
        env.note(format_args!(
            "{topic}-{number} at {at}: {leader} leads in {leader_epoch}, ISR {isr:?} ELR {elr:?} last known {last_known_elr:?} {recovering}"
        ));
    }
}

/// The store is one process that never ends.
const ME: Process = Process { node: Node::Store, life: 0 };
const STORE_ID: u64 = 0x0711_a000;
/// After so long a client takes a connection without a sign of life for broken.
const SILENCE_MAX: Duration = Duration::from_secs(2);
