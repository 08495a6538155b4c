//! A client that speaks the new protocol, as Apache Kafka's consumer does.

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use ottla_protocol::time::Now;
use ottla_protocol::{ErrorCode, Uuid};
use rand::Rng;
use rand::rngs::StdRng;

use crate::group::{Client, Ticket};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Alive,
    Paused(Duration),
    Crashed,
    /// It says that it goes, and does not wait for the answer for long.
    Leaving,
    Gone,
}

#[derive(Debug, Clone)]
pub struct Wishes {
    pub topics: Vec<&'static str>,
    pub pattern: Option<&'static str>,
    pub assignor: Option<&'static str>,
}

pub struct Member {
    pub name: String,
    pub id: String,
    pub wishes: Wishes,
    pub life: Life,
    pub epoch: i32,
    /// What it reads.
    pub owned: BTreeSet<(Uuid, i32)>,
    pub is_slow: bool,
    instance: Option<String>,
    target: BTreeSet<(Uuid, i32)>,
    /// When it will have let go of what it has to give up.
    revoked_at: Option<Duration>,
    next: Duration,
    in_flight: Option<(Ticket, Duration)>,
    tell_all: bool,
    tell_owned: bool,
    tell_wishes: bool,
}

impl Member {
    /// A static member may be another process of one that is gone.
    pub fn new(number: usize, random: &mut StdRng, others: &[Self], now: Now) -> Self {
        let mut instance = random.random_bool(0.3).then(|| format!("i{number}"));
        let mut gone = others.iter().filter(|other| !other.is_there());
        if random.random_bool(0.5)
            && let Some(other) = gone.rfind(|other| other.instance.is_some())
        {
            instance.clone_from(&other.instance);
        }
        let taken = others.iter().any(|other| other.is_there() && other.instance == instance);
        Self {
            name: format!("c{number}"),
            id: format!("m{number}"),
            wishes: wishes(random),
            life: Life::Alive,
            epoch: 0,
            owned: BTreeSet::new(),
            is_slow: false,
            instance: instance.filter(|_| !taken),
            target: BTreeSet::new(),
            revoked_at: None,
            next: now.monotonic,
            in_flight: None,
            tell_all: true,
            tell_owned: true,
            tell_wishes: true,
        }
    }

    pub fn is_there(&self) -> bool {
        matches!(self.life, Life::Alive | Life::Paused(_) | Life::Leaving)
    }

    pub fn reads(&self) -> bool {
        matches!(self.life, Life::Alive | Life::Paused(_))
    }

    pub fn has_its_target(&self) -> bool {
        let has_said_all = !self.tell_all && !self.tell_wishes;
        let has_all = self.owned == self.target && self.revoked_at.is_none();
        has_said_all && has_all && 0 < self.epoch
    }

    pub fn client(&self) -> Client {
        Client { id: self.name.clone(), host: "/127.0.0.1".to_owned(), version: 1 }
    }

    pub fn leave(&mut self) {
        self.life = Life::Leaving;
        self.in_flight = None;
        self.next = Duration::ZERO;
        self.owned.clear();
    }

    pub fn change_wishes(&mut self, random: &mut StdRng) {
        self.wishes = wishes(random);
        self.tell_wishes = true;
    }

    pub fn waits_for(&self, ticket: Ticket) -> bool {
        self.in_flight.is_some_and(|(waits_for, _)| waits_for == ticket)
    }

    /// What it sends now, if anything.
    pub fn next_request(&mut self, now: Duration) -> Option<ConsumerGroupHeartbeatRequest> {
        if self.life == Life::Alive {
            self.reconcile(now);
        }
        if let Some((_, deadline)) = self.in_flight {
            if now < deadline {
                return None;
            }
            // The next request says everything, since nobody knows what was heard.
            self.in_flight = None;
            self.tell_all = true;
            self.next = now;
        }
        match self.life {
            Life::Alive if self.next <= now => Some(self.heartbeat()),
            Life::Leaving => {
                self.life = Life::Gone;
                let away = self.instance.is_some() && self.id.len().is_multiple_of(2);
                let mut request = self.request(if away { -2 } else { -1 });
                request.instance_id = self.instance.as_deref().map(Into::into);
                (0 < self.epoch).then_some(request)
            }
            _ => None,
        }
    }

    pub fn sent(&mut self, ticket: Ticket, now: Duration) {
        self.in_flight = Some((ticket, now + Duration::from_secs(1)));
    }

    fn request(&self, epoch: i32) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: self.id.as_str().into(),
            member_epoch: epoch,
            instance_id: self.instance.as_deref().map(Into::into),
            ..Default::default()
        }
    }

    fn heartbeat(&mut self) -> ConsumerGroupHeartbeatRequest {
        let all = self.epoch == 0 || self.tell_all;
        let mut request = self.request(self.epoch);
        if all {
            request.rebalance_timeout_ms = 4000;
        }
        if all || self.tell_wishes {
            let topics = self.wishes.topics.iter().map(|topic| (*topic).into());
            request.subscribed_topic_names = Some(topics.collect());
            request.subscribed_topic_regex = Some(self.wishes.pattern.unwrap_or("").into());
            request.server_assignor = self.wishes.assignor.map(Into::into);
        }
        if all || self.tell_owned {
            let mut topics: Vec<TopicPartitions> = Vec::new();
            for (topic_id, partition) in &self.owned {
                match topics.last_mut() {
                    Some(last) if last.topic_id == *topic_id => last.partitions.push(*partition),
                    _ => topics.push(TopicPartitions {
                        topic_id: *topic_id,
                        partitions: vec![*partition],
                        ..Default::default()
                    }),
                }
            }
            request.topic_partitions = Some(topics);
        }
        (self.tell_all, self.tell_owned, self.tell_wishes) = (false, false, false);
        request
    }

    pub fn answered(
        &mut self,
        response: &ConsumerGroupHeartbeatResponse,
        now: Duration,
        random: &mut StdRng,
    ) {
        self.in_flight = None;
        let interval = u64::try_from(response.heartbeat_interval_ms).unwrap();
        self.next = now + Duration::from_millis(interval.max(50));
        match ErrorCode::from_code(response.error_code) {
            ErrorCode::None => {}
            ErrorCode::UnknownMemberId
            | ErrorCode::FencedMemberEpoch
            | ErrorCode::GroupIdNotFound => {
                // It gives everything up and joins anew.
                self.epoch = 0;
                self.owned.clear();
                self.target.clear();
                self.revoked_at = None;
                self.next = now;
                self.tell_all = true;
                return;
            }
            ErrorCode::UnreleasedInstanceId => {
                self.tell_all = true;
                self.next = now + Duration::from_secs(1);
                return;
            }
            ErrorCode::FencedInstanceId => {
                self.life = Life::Gone;
                self.owned.clear();
                return;
            }
            other => panic!("{}: {other:?} {:?}", self.name, response.error_message),
        }
        assert!(self.epoch <= response.member_epoch, "{}: the epoch went back", self.name);
        assert!(0 < response.member_epoch);
        self.epoch = response.member_epoch;
        let Some(assignment) = &response.assignment else { return };
        let topics = assignment.topic_partitions.iter();
        self.target = topics
            .flat_map(|topic| topic.partitions.iter().map(|it| (topic.topic_id, *it)))
            .collect();
        if self.owned.difference(&self.target).next().is_none() {
            self.revoked_at = self.revoked_at.or(Some(now));
        } else if self.revoked_at.is_none() {
            let longest = if self.is_slow { 7000 } else { 800 };
            self.revoked_at = Some(now + Duration::from_millis(random.random_range(0..longest)));
        }
        self.reconcile(now);
    }

    /// Lets go of what it has to give up, then takes what is new, then says so at once.
    fn reconcile(&mut self, now: Duration) {
        if self.revoked_at.is_none_or(|at| now < at) {
            return;
        }
        self.revoked_at = None;
        if self.owned != self.target {
            self.owned.clone_from(&self.target);
            self.tell_owned = true;
            self.next = self.next.min(now);
        }
    }
}

fn wishes(random: &mut StdRng) -> Wishes {
    let all: [&[&str]; 6] = [&["a"], &["a", "b"], &["a", "b", "c"], &["b"], &["d", "a"], &[]];
    let topics = all[random.random_range(0..all.len())].to_vec();
    let pattern =
        random.random_bool(0.3).then_some(["a.*", "[bc]", ".*"][random.random_range(0..3)]);
    let assignors = [None, None, Some("uniform"), Some("range")];
    Wishes { topics, pattern, assignor: assignors[random.random_range(0..4)] }
}
