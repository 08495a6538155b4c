//! Clients: they make topics, write, read, and believe only what they are told.

mod admin;
mod producer;
mod reader;

use std::collections::BTreeMap;

use ottla_protocol::Uuid;
use rand::Rng;

pub use admin::Admin;
pub use producer::{Goal, Producer};
pub use reader::Reader;

use super::env::{Env, Node, Process};
use super::message::{ClientRequest, Message, ShownTopic};

/// What every client knows of the cluster.
#[derive(Debug)]
struct Session {
    me: Process,
    brokers: u8,
    next_id: u64,
    next_connection: u64,
    topics: BTreeMap<String, ShownTopic>,
}

impl Session {
    fn new(index: u8, brokers: u8) -> Self {
        let me = Process { node: Node::Client(index), life: 0 };
        Self { me, brokers, next_id: 0, next_connection: 0, topics: BTreeMap::new() }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn connection(&mut self) -> u64 {
        self.next_connection += 1;
        self.next_connection
    }

    fn any_broker(&self, env: &mut Env) -> Node {
        Node::Broker(env.rng.random_range(0..self.brokers))
    }

    /// Asks any broker something whose order does not matter; the number of the request.
    fn ask(&mut self, env: &mut Env, request: ClientRequest) -> u64 {
        let id = self.id();
        let broker = self.any_broker(env);
        let message = Message::Request { connection: 0, opens: true, id, request };
        env.send(self.me, (broker, None), message);
        id
    }

    fn learn(&mut self, env: &mut Env, topics: Vec<ShownTopic>) {
        for topic in &topics {
            env.history.handle_metadata(topic);
        }
        // As every client does: what is older than what it knows is not believed.
        let is_known = |topic: &ShownTopic| {
            let known = self.topics.get(&topic.name).filter(|known| known.id == topic.id);
            let is_older = |(number, _, epoch): &(i32, i32, i32)| {
                let mut partitions = known.iter().flat_map(|known| &known.partitions);
                partitions.any(|(known, _, newest)| known == number && epoch < newest)
            };
            topic.partitions.iter().any(is_older)
        };
        let (older, newer): (Vec<_>, Vec<_>) = topics.into_iter().partition(is_known);
        let older: Vec<String> = older.into_iter().map(|topic| topic.name).collect();
        self.topics.retain(|name, _| older.contains(name));
        self.topics.extend(newer.into_iter().map(|topic| (topic.name.clone(), topic)));
    }

    /// The newest leader epoch of a partition that is known, else −1.
    fn leader_epoch(&self, topic: &str, partition: i32) -> i32 {
        let partitions = self.topics.get(topic).into_iter().flat_map(|topic| &topic.partitions);
        let mut found = partitions.filter(|(number, ..)| *number == partition);
        found.next().map_or(-1, |(_, _, epoch)| *epoch)
    }

    /// The topic's id and the node that leads a partition, as far as known.
    fn leader(&self, topic: &str, partition: i32) -> Option<(Uuid, Node)> {
        let topic = self.topics.get(topic)?;
        let (_, leader, _) = topic.partitions.iter().find(|(number, ..)| *number == partition)?;
        let index = u8::try_from(leader - 1).ok().filter(|index| *index < self.brokers)?;
        Some((topic.id, Node::Broker(index)))
    }
}
