//! A client: it reads what it was given, from where the group was, and commits. How it gets partitions is for the two
//! protocols to say.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::OffsetCommitRequest;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use rand::Rng;
use rand::rngs::StdRng;

use super::{Place, Response, TOPICS, Ticket, classic, consumer};
use crate::group::Request;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Alive,
    Paused(Duration),
    Crashed,
    Leaving,
    Gone,
}

#[derive(Debug)]
pub enum Protocol {
    Classic(classic::State),
    Consumer(consumer::State),
}

/// How far a client is in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// It has to ask where the group is.
    Unknown,
    /// It asks; nothing less than this was acknowledged when it did.
    Asking(i64),
    /// The next record that it will read.
    At(i64),
}

#[derive(Debug)]
pub struct Client {
    pub name: String,
    pub life: Life,
    pub member: Member,
    pub protocol: Protocol,
    /// A heartbeat or whatever else is said to the group, and until when it is waited for.
    control: Option<(Ticket, Duration)>,
    /// A commit or a look at what is committed.
    offsets: Option<(Ticket, Duration)>,
    next_commit: Duration,
    committing: BTreeMap<Place, i64>,
}

/// What a client knows of itself as a member.
#[derive(Debug, Default)]
pub struct Member {
    pub id: String,
    pub instance: Option<String>,
    /// Its epoch, or generation.
    pub epoch: i32,
    pub owned: BTreeMap<Place, Position>,
    /// When it speaks to the group next.
    pub next: Duration,
    /// It was told that its place is another's.
    pub is_over: bool,
}

impl Member {
    /// Takes over what it was given; what it keeps it goes on with.
    pub fn own(&mut self, places: impl IntoIterator<Item = Place>) {
        let before = std::mem::take(&mut self.owned);
        for place in places {
            let position = before.get(&place).copied().unwrap_or(Position::Unknown);
            self.owned.insert(place, position);
        }
    }
}

impl Client {
    pub fn new(number: usize, others: &[Self], random: &mut StdRng) -> Self {
        let mut instance = random.random_bool(0.3).then(|| format!("i{number}"));
        let mut gone = others.iter().filter(|it| !it.is_there() && it.member.instance.is_some());
        if random.random_bool(0.6)
            && let Some(other) = gone.next_back()
        {
            instance.clone_from(&other.member.instance);
        }
        let is_taken = |it: &Self| it.is_there() && it.member.instance == instance;
        if others.iter().any(is_taken) {
            instance = None;
        }
        let is_classic = random.random_bool(0.5);
        let id = if is_classic { String::new() } else { format!("m{number}") };
        Self {
            name: format!("c{number}"),
            life: Life::Alive,
            member: Member { id, instance, ..Member::default() },
            protocol: if is_classic {
                Protocol::Classic(classic::State::new())
            } else {
                Protocol::Consumer(consumer::State::new())
            },
            control: None,
            offsets: None,
            next_commit: Duration::ZERO,
            committing: BTreeMap::new(),
        }
    }

    pub fn is_there(&self) -> bool {
        matches!(self.life, Life::Alive | Life::Paused(_) | Life::Leaving)
    }

    /// True if it has what it was told to have, and nothing more to say.
    pub fn is_settled(&self) -> bool {
        let says_more = match &self.protocol {
            Protocol::Classic(state) => !state.is_stable(),
            Protocol::Consumer(state) => !state.is_stable(),
        };
        !says_more && self.member.owned.values().all(|it| matches!(it, Position::At(_)))
    }

    pub fn line(&self) -> String {
        let member = &self.member;
        let owned: Vec<_> = member.owned.keys().collect();
        format!("{} {} epoch {} {owned:?}", self.name, member.id, member.epoch)
    }

    /// As the coordinator sees it.
    pub fn as_seen(&self, request: &Request) -> crate::group::Client {
        let version = match request {
            Request::ConsumerGroupHeartbeat(_) => 1,
            Request::Heartbeat(_) => 4,
            Request::SyncGroup(_) | Request::LeaveGroup(_) => 5,
            _ => 9,
        };
        crate::group::Client { id: self.name.clone(), host: "/127.0.0.1".to_owned(), version }
    }

    pub fn leave(&mut self) {
        self.life = Life::Leaving;
        self.member.owned.clear();
        (self.control, self.offsets) = (None, None);
    }

    pub fn disconnected(&mut self, now: Duration) {
        for (_, until) in [&mut self.control, &mut self.offsets].into_iter().flatten() {
            *until = now;
        }
    }

    pub fn waits_for(&self, ticket: Ticket) -> bool {
        [&self.control, &self.offsets].into_iter().flatten().any(|(it, _)| *it == ticket)
    }

    pub fn sent(&mut self, ticket: Ticket, request: &Request, now: Duration) {
        let is_offsets = matches!(request, Request::OffsetCommit(_) | Request::OffsetFetch(_));
        let patience = if matches!(request, Request::JoinGroup(_)) { 10 } else { 2 };
        let waits = Some((ticket, now + Duration::from_secs(patience)));
        *(if is_offsets { &mut self.offsets } else { &mut self.control }) = waits;
    }

    /// What it sends now.
    pub fn requests(
        &mut self,
        now: Duration,
        acknowledged: &BTreeMap<Place, i64>,
        random: &mut StdRng,
    ) -> Vec<Request> {
        if self.life == Life::Leaving {
            self.life = Life::Gone;
            return match &self.protocol {
                Protocol::Classic(_) => classic::leave(&self.member),
                Protocol::Consumer(_) => consumer::leave(&self.member),
            }
            .into_iter()
            .collect();
        }
        if self.life != Life::Alive {
            return Vec::new();
        }
        let mut requests = Vec::new();
        if self.control.is_some_and(|(_, until)| until <= now) {
            self.control = None;
            match &mut self.protocol {
                Protocol::Classic(state) => state.unanswered(&mut self.member, now),
                Protocol::Consumer(state) => state.unanswered(&mut self.member, now),
            }
        }
        match &mut self.protocol {
            Protocol::Classic(state) => state.pass(),
            Protocol::Consumer(state) => state.pass(&mut self.member, now),
        }
        if self.control.is_none() && self.member.next <= now {
            requests.push(match &mut self.protocol {
                Protocol::Classic(state) => state.request(&self.member),
                Protocol::Consumer(state) => state.request(&self.member),
            });
        }
        if self.offsets.is_some_and(|(_, until)| until <= now) {
            self.offsets = None;
            self.committing.clear();
            self.unasked();
        }
        if self.offsets.is_none() {
            requests.extend(self.offset_request(now, acknowledged, random));
        }
        requests
    }

    fn unasked(&mut self) {
        for position in self.member.owned.values_mut() {
            if matches!(position, Position::Asking(_)) {
                *position = Position::Unknown;
            }
        }
    }

    fn offset_request(
        &mut self,
        now: Duration,
        acknowledged: &BTreeMap<Place, i64>,
        random: &mut StdRng,
    ) -> Option<Request> {
        let mut unknown = Vec::new();
        for (place, position) in &mut self.member.owned {
            if *position == Position::Unknown {
                *position = Position::Asking(acknowledged.get(place).copied().unwrap_or(0));
                unknown.push(*place);
            }
        }
        if !unknown.is_empty() {
            return Some(Request::OffsetFetch(self.fetch(&unknown)));
        }
        if now < self.next_commit {
            return None;
        }
        self.next_commit = now + Duration::from_millis(random.random_range(100..900));
        self.committing.clear();
        for (place, position) in &mut self.member.owned {
            if let Position::At(at) = position {
                *at += random.random_range(0..3);
                self.committing.insert(*place, *at);
            }
        }
        (!self.committing.is_empty()).then(|| Request::OffsetCommit(self.commit()))
    }

    fn commit(&self) -> OffsetCommitRequest {
        let partition = |(place, offset): (&Place, &i64)| OffsetCommitRequestPartition {
            partition_index: place.1,
            committed_offset: *offset,
            ..Default::default()
        };
        let topic = |at: usize| OffsetCommitRequestTopic {
            name: TOPICS[at].0.into(),
            partitions: self
                .committing
                .iter()
                .filter(|(it, _)| it.0 == at)
                .map(partition)
                .collect(),
            ..Default::default()
        };
        let topics = (0..TOPICS.len()).map(topic);
        OffsetCommitRequest {
            group_id: "g".into(),
            generation_id_or_member_epoch: self.member.epoch,
            member_id: self.member.id.as_str().into(),
            group_instance_id: self.member.instance.as_deref().map(Into::into),
            topics: topics.filter(|topic| !topic.partitions.is_empty()).collect(),
            ..Default::default()
        }
    }

    fn fetch(&self, places: &[Place]) -> OffsetFetchRequestGroup {
        let is_consumer = matches!(self.protocol, Protocol::Consumer(_));
        let topic = |at: usize| OffsetFetchRequestTopics {
            name: TOPICS[at].0.into(),
            partition_indexes: places.iter().filter(|it| it.0 == at).map(|it| it.1).collect(),
            ..Default::default()
        };
        let topics = (0..TOPICS.len()).map(topic);
        OffsetFetchRequestGroup {
            group_id: "g".into(),
            member_id: is_consumer.then(|| self.member.id.as_str().into()),
            member_epoch: if is_consumer { self.member.epoch } else { -1 },
            topics: Some(topics.filter(|topic| !topic.partition_indexes.is_empty()).collect()),
            ..Default::default()
        }
    }

    pub fn answered(
        &mut self,
        ticket: Ticket,
        response: &Response,
        now: Duration,
        acknowledged: &mut BTreeMap<Place, i64>,
    ) {
        if self.control.is_some_and(|(waits_for, _)| waits_for == ticket) {
            self.control = None;
            match &mut self.protocol {
                Protocol::Classic(state) => state.answered(&mut self.member, response, now),
                Protocol::Consumer(state) => state.answered(&mut self.member, response, now),
            }
            if self.member.is_over {
                self.life = Life::Gone;
            }
            return;
        }
        self.offsets = None;
        match response {
            Response::OffsetCommit(answer) => {
                for topic in &answer.topics {
                    let at = TOPICS.iter().position(|it| *it.0 == *topic.name).expect("a topic");
                    for partition in topic.partitions.iter().filter(|it| it.error_code == 0) {
                        let place = (at, partition.partition_index);
                        let highest = acknowledged.entry(place).or_default();
                        *highest = (*highest).max(self.committing[&place]);
                    }
                }
            }
            Response::OffsetFetch(answer) => {
                let code = ErrorCode::from_code(answer.error_code);
                for topic in answer.topics.iter().filter(|_| code.is_none()) {
                    let at = TOPICS.iter().position(|it| *it.0 == *topic.name).expect("a topic");
                    for partition in &topic.partitions {
                        self.found((at, partition.partition_index), partition.committed_offset);
                    }
                }
                self.unasked();
            }
            other => panic!("{}: {other:?}", self.name),
        }
    }

    /// What an acknowledged commit said is never less later.
    fn found(&mut self, place: Place, committed: i64) {
        let Some(position) = self.member.owned.get_mut(&place) else { return };
        let Position::Asking(least) = *position else { return };
        assert!(
            least <= committed.max(0),
            "{}: {place:?} went back from {least} to {committed}",
            self.name
        );
        *position = Position::At(committed.max(0));
    }
}
