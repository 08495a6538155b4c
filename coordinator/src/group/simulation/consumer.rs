//! How a client of the new protocol gets its partitions.

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_protocol::messages::ConsumerGroupHeartbeatRequest;
use ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_protocol::{ErrorCode, Uuid};

use super::client::Member;
use super::{Place, Response, TOPICS};
use crate::group::Request;

#[derive(Debug)]
pub struct State {
    target: BTreeSet<Place>,
    /// When it will have let go of what it has to give up.
    revoked_at: Option<Duration>,
    tell_all: bool,
    tell_owned: bool,
}

impl State {
    pub fn new() -> Self {
        Self { target: BTreeSet::new(), revoked_at: None, tell_all: true, tell_owned: true }
    }

    pub fn is_stable(&self) -> bool {
        self.revoked_at.is_none() && !self.tell_all && !self.tell_owned
    }

    pub fn unanswered(&mut self, member: &mut Member, now: Duration) {
        // Nobody knows what was heard.
        self.tell_all = true;
        member.next = now;
    }

    pub fn request(&mut self, member: &Member) -> Request {
        let all = member.epoch == 0 || std::mem::take(&mut self.tell_all);
        let tells_owned = std::mem::take(&mut self.tell_owned) || all;
        let topic = |at: usize| TopicPartitions {
            topic_id: id_of(at),
            partitions: member.owned.keys().filter(|it| it.0 == at).map(|it| it.1).collect(),
            ..Default::default()
        };
        let owned = (0..TOPICS.len()).map(topic).filter(|topic| !topic.partitions.is_empty());
        let names = TOPICS.iter().map(|(name, _)| (*name).into());
        Request::ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest {
            rebalance_timeout_ms: if all { 4000 } else { -1 },
            subscribed_topic_names: all.then(|| names.collect()),
            topic_partitions: tells_owned.then(|| owned.collect()),
            ..heartbeat(member, member.epoch)
        })
    }

    /// Lets go of what it has to give up, then takes what is new, then says so at once.
    pub fn pass(&mut self, member: &mut Member, now: Duration) {
        if self.revoked_at.is_none_or(|at| now < at) {
            return;
        }
        self.revoked_at = None;
        if !member.owned.keys().eq(self.target.iter()) {
            member.own(self.target.iter().copied());
            self.tell_owned = true;
            member.next = now;
        }
    }

    pub fn answered(&mut self, member: &mut Member, response: &Response, now: Duration) {
        let Response::ConsumerGroupHeartbeat(answer) = response else { panic!("{response:?}") };
        let interval = u64::try_from(answer.heartbeat_interval_ms).expect("an interval");
        member.next = now + Duration::from_millis(interval.max(50));
        match ErrorCode::from_code(answer.error_code) {
            ErrorCode::None => {}
            ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch => {
                return self.join_anew(member, now);
            }
            // The group is a classic one just now, or the instance id is in use for a while.
            ErrorCode::GroupIdNotFound | ErrorCode::UnreleasedInstanceId => {
                return self.join_anew(member, now + Duration::from_millis(500));
            }
            ErrorCode::FencedInstanceId => {
                member.owned.clear();
                member.is_over = true;
                return;
            }
            other => panic!("{other:?} {:?}", answer.error_message),
        }
        assert!(member.epoch <= answer.member_epoch, "{}: its epoch went back", member.id);
        member.epoch = answer.member_epoch;
        let Some(assignment) = &answer.assignment else { return };
        let places = assignment.topic_partitions.iter().flat_map(|topic| {
            let at = (0..TOPICS.len()).find(|at| id_of(*at) == topic.topic_id).expect("a topic");
            topic.partitions.iter().map(move |partition| (at, *partition))
        });
        self.target = places.collect();
        let gives_up = member.owned.keys().any(|place| !self.target.contains(place));
        let time = Duration::from_millis(if gives_up { 300 } else { 0 });
        self.revoked_at = self.revoked_at.or(Some(now + time));
        self.pass(member, now);
    }

    fn join_anew(&mut self, member: &mut Member, at: Duration) {
        *self = Self::new();
        member.owned.clear();
        member.epoch = 0;
        member.next = at;
    }
}

pub fn leave(member: &Member) -> Option<Request> {
    // Every other static member will be back.
    let is_back = member.instance.as_ref().is_some_and(|it| it.len().is_multiple_of(2));
    let request = heartbeat(member, if is_back { -2 } else { -1 });
    (0 < member.epoch).then(|| Request::ConsumerGroupHeartbeat(request))
}

fn heartbeat(member: &Member, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.id.as_str().into(),
        member_epoch: epoch,
        instance_id: member.instance.as_deref().map(Into::into),
        ..Default::default()
    }
}

/// Topics are made first of all, each in a revision of its own.
fn id_of(topic: usize) -> Uuid {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(1 + 2 * topic as i64).to_be_bytes());
    Uuid::from_bytes(id)
}
