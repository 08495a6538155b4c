//! A member as clients are: heartbeats every three seconds, joins again when it is told to.

use bytes::Bytes;
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
};
use ottla_protocol::{ErrorCode, Str};

use crate::group::{self, Answer, Response, Ticket};

#[derive(Debug)]
pub(super) enum Request {
    Join(JoinGroupRequest),
    Sync(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    Leave(LeaveGroupRequest),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Stopped,
    /// Joins at the next opportunity.
    Idle,
    Waiting,
    Member,
}

#[derive(Debug)]
pub(super) struct Client {
    name: String,
    version: i16,
    instance: Option<String>,
    phase: Phase,
    is_paused: bool,
    pub member_id: String,
    generation: i32,
    metadata: u32,
    /// The generation that it was last given an assignment of.
    pub assigned: Option<i32>,
    last_sent: u64,
    inbox: Vec<Answer>,
    /// It may have lost its membership through no fault of the group.
    pub excused: bool,
    /// What it hears may be long ago: it was paused meanwhile.
    is_late: bool,
}

impl Client {
    /// Some know their id beforehand and some do not; two are static, and two claim to be the same static one.
    pub fn new(number: usize) -> Self {
        let instance = match number {
            2 => Some("s2"),
            4 | 5 => Some("twin"),
            _ => None,
        };
        Self {
            name: format!("c{number}"),
            version: [3, 4, 9, 7, 8, 9][number],
            instance: instance.map(str::to_owned),
            phase: Phase::Stopped,
            is_paused: false,
            member_id: String::new(),
            generation: -1,
            metadata: 0,
            assigned: None,
            last_sent: 0,
            inbox: Vec::new(),
            excused: false,
            is_late: false,
        }
    }

    pub fn as_client(&self) -> group::Client {
        group::Client {
            id: self.name.clone(),
            host: "/127.0.0.1".to_owned(),
            version: self.version,
        }
    }

    pub fn start(&mut self) {
        if self.phase == Phase::Stopped {
            self.forget();
            self.phase = Phase::Idle;
        }
    }

    pub fn kill(&mut self) {
        self.phase = Phase::Stopped;
        self.is_paused = false;
        self.inbox.clear();
    }

    pub fn leave(&mut self) -> Option<Request> {
        let is_static = self.instance.is_some();
        if self.phase == Phase::Stopped || self.member_id.is_empty() || is_static {
            return None;
        }
        let identity = MemberIdentity {
            member_id: self.member_id.as_str().into(),
            ..MemberIdentity::default()
        };
        self.kill();
        Some(Request::Leave(LeaveGroupRequest {
            group_id: "g".into(),
            member_id: if self.version < 3 { identity.member_id.clone() } else { Str::new() },
            members: vec![identity],
            ..LeaveGroupRequest::default()
        }))
    }

    pub fn pause(&mut self) {
        self.is_paused = true;
        self.is_late = true;
        self.excused = true;
    }

    pub fn resume(&mut self) {
        self.is_paused = false;
    }

    pub fn change(&mut self) {
        self.metadata += 1;
        if self.phase == Phase::Member {
            self.phase = Phase::Idle;
        }
    }

    /// Its request is lost, with its answer.
    pub fn lose_connection(&mut self) {
        if self.phase == Phase::Waiting {
            self.phase = Phase::Idle;
        }
    }

    pub fn sent(&mut self, _ticket: Ticket, second: u64) {
        self.last_sent = second;
    }

    pub fn living(&self) -> Option<String> {
        (self.phase != Phase::Stopped).then(|| self.member_id.clone())
    }

    pub fn tick(&mut self, second: u64) -> Option<Request> {
        if self.is_paused {
            return None;
        }
        self.is_late = false;
        match self.phase {
            Phase::Idle => Some(self.join()),
            Phase::Member if self.last_sent + 3 <= second => {
                Some(Request::Heartbeat(HeartbeatRequest {
                    group_id: "g".into(),
                    generation_id: self.generation,
                    member_id: self.member_id.as_str().into(),
                    group_instance_id: self.instance.as_deref().map(Str::from),
                    ..HeartbeatRequest::default()
                }))
            }
            _ => None,
        }
    }

    /// Notes an answer; the generation and the assignment if it is one.
    pub fn receive(&mut self, answer: Answer, _second: u64) -> Option<(i32, String)> {
        if self.phase == Phase::Stopped {
            return None;
        }
        let given = match &answer.response {
            Response::SyncGroup(sync) if sync.error_code == 0 => {
                Some(self.check_assignment(&sync.assignment))
            }
            _ => None,
        };
        self.inbox.push(answer);
        given
    }

    fn check_assignment(&self, assignment: &Bytes) -> (i32, String) {
        let text = std::str::from_utf8(assignment).unwrap();
        let parts: Vec<&str> = text.split(' ').collect();
        let [generation, whose, which] = parts[..] else { panic!("{text:?} to {self:?}") };
        assert_eq!(generation, self.generation.to_string(), "{text:?} to {self:?}");
        let own = self.instance.as_ref().unwrap_or(&self.member_id);
        assert_eq!(whose, own, "{text:?} to {self:?}");
        (self.generation, which.to_owned())
    }

    /// Acts on what it heard.
    pub fn react(&mut self, assignments: &mut u64) -> Option<Request> {
        if self.is_paused || self.inbox.is_empty() {
            return None;
        }
        let answer = self.inbox.remove(0);
        match answer.response {
            Response::JoinGroup(join) => self.on_join(&join, assignments),
            Response::SyncGroup(sync) => {
                if self.is_good(sync.error_code) {
                    self.phase = Phase::Member;
                    self.assigned = Some(self.generation);
                    return None;
                }
                self.rejoin()
            }
            Response::Heartbeat(heartbeat) => {
                if self.is_good(heartbeat.error_code) {
                    None
                } else {
                    self.rejoin()
                }
            }
            _ => None,
        }
    }

    fn on_join(&mut self, join: &JoinGroupResponse, assignments: &mut u64) -> Option<Request> {
        if join.error_code == ErrorCode::MemberIdRequired.code() {
            self.member_id = join.member_id.as_str().to_owned();
            self.excused = self.is_late;
            return Some(self.join());
        }
        if !self.is_good(join.error_code) {
            return self.rejoin();
        }
        assert!(self.version < 7 || join.protocol_name.as_deref() == Some("range"), "{join:?}");
        if self.member_id != *join.member_id {
            self.member_id = join.member_id.as_str().to_owned();
            self.excused = self.is_late;
        }
        self.generation = join.generation_id;
        let mut assigned = Vec::new();
        if join.leader == join.member_id && !join.skip_assignment {
            assert!(!join.members.is_empty(), "a leader learns who the members are: {join:?}");
            *assignments += 1;
            for member in &join.members {
                let whose = member.group_instance_id.as_ref().unwrap_or(&member.member_id);
                let text = format!("{} {whose} {assignments}", join.generation_id);
                assigned.push(SyncGroupRequestAssignment {
                    member_id: member.member_id.clone(),
                    assignment: text.into(),
                    ..SyncGroupRequestAssignment::default()
                });
            }
        }
        let names = (5 <= self.version).then_some(());
        Some(Request::Sync(SyncGroupRequest {
            group_id: "g".into(),
            generation_id: self.generation,
            member_id: self.member_id.as_str().into(),
            group_instance_id: self.instance.as_deref().map(Str::from),
            protocol_type: names.map(|()| "consumer".into()),
            protocol_name: names.map(|()| "range".into()),
            assignments: assigned,
            ..SyncGroupRequest::default()
        }))
    }

    /// True without an error. Else the client is made ready to join again, or stops.
    fn is_good(&mut self, code: i16) -> bool {
        let error = ErrorCode::from_code(code);
        match error {
            ErrorCode::None => return true,
            ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration => {}
            ErrorCode::UnknownMemberId => {
                assert!(self.excused, "was expelled: {self:?}");
                self.forget();
            }
            ErrorCode::FencedInstanceId => {
                assert!(self.name == "c4" || self.name == "c5", "nobody took its place: {self:?}");
                self.kill();
                return false;
            }
            other => panic!("{other:?} to {self:?}"),
        }
        self.phase = Phase::Idle;
        false
    }

    fn rejoin(&mut self) -> Option<Request> {
        (self.phase == Phase::Idle).then(|| self.join())
    }

    fn forget(&mut self) {
        self.member_id = String::new();
        self.generation = -1;
        self.assigned = None;
        self.inbox.clear();
        // Until it knows its new id there is nothing to lose.
        self.excused = true;
    }

    fn join(&mut self) -> Request {
        self.phase = Phase::Waiting;
        Request::Join(JoinGroupRequest {
            group_id: "g".into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 20_000,
            member_id: self.member_id.as_str().into(),
            group_instance_id: self.instance.as_deref().map(Str::from),
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: "range".into(),
                metadata: format!("{} of {}", self.metadata, self.name).into(),
                ..JoinGroupRequestProtocol::default()
            }],
            ..JoinGroupRequest::default()
        })
    }
}
