//! The directives of scripts about classic groups.
//!
//! `who` is a client, and the name of its request; `member=…` is the id under which it speaks, none by default.
//!
//! | directive | arguments |
//! |---|---|
//! | `join who` | `version` (9), `type` (consumer), `protocols` (range), `topics` or `metadata`, `session` (45s), `rebalance` (60s), `instance` |
//! | `sync who` | `generation`, `version` (5), `instance`, `protocol`, `to=(member,…)` with `assignments=(text,…)` |
//! | `heartbeat who` | `generation`, `version` (4), `instance` |
//! | `leave who` | `version` (5), `members=(…)` or `instances=(…)` |
//! | `commit who` | `generation`, `instance` |
//! | `describe`, `list`, `delete`, `unload` | |

use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::keys::GroupKey;
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    ConsumerProtocolSubscription, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    SyncGroupRequest,
};
use ottla_protocol::{Message, Str};

use crate::group::scenario::{Case, Machine, World};
use crate::group::{ClassicGroup, Context, Ticket};

pub(super) struct Scripted {
    group: ClassicGroup,
}

impl Machine for Scripted {
    fn new() -> Self {
        Self { group: ClassicGroup::new("g") }
    }

    fn step(&mut self, case: &mut Case, world: &mut World) -> Result<String, String> {
        match case.directive() {
            "join" => self.join(case, world),
            "sync" => self.sync(case, world),
            "heartbeat" => self.heartbeat(case, world),
            "leave" => self.leave(case, world),
            "commit" => return Ok(self.commit(case, world)),
            "describe" => return Ok(self.describe()),
            "list" => return Ok(format!("{:?}\n", self.group.listed())),
            "delete" => world.with(|cx| self.group.delete(cx.out)),
            "unload" => world.with(|cx| self.group.unload(cx.out)),
            other => return Err(format!("{other} is no directive")),
        }
        Ok(String::new())
    }

    fn abandon(&mut self, ticket: Ticket, cx: &mut Context<'_>) {
        self.group.abandon(ticket, cx);
    }

    fn next_deadline(&self) -> Option<Duration> {
        self.group.next_deadline()
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        self.group.on_timer(cx);
    }

    fn restore(world: &World) -> Self {
        Self { group: restored(world) }
    }

    fn state(&self) -> String {
        let members = self.group.members.iter().map(|member| {
            let leads = if self.group.members.is_leader(&member.id) { "*" } else { "" };
            let waits = match (&member.join, &member.sync) {
                (Some(_), _) => " joins",
                (_, Some(_)) => " syncs",
                _ => "",
            };
            format!("{leads}{}{waits}", member.id)
        });
        let members = members.collect::<Vec<_>>().join(", ");
        format!("{} {} [{members}]", self.group.state(), self.group.generation())
    }
}

fn restored(world: &World) -> ClassicGroup {
    let meta = world.journal.get(&GroupKey::Meta);
    let members = world.stored(|key| match key {
        GroupKey::Member(member) => Some(member.clone()),
        _ => None,
    });
    let assignments = world.stored(|key| match key {
        GroupKey::Assignment(member) => Some(member.clone()),
        _ => None,
    });
    ClassicGroup::restore("g", meta, &members, &assignments, world.now).expect("readable values")
}

impl Scripted {
    fn join(&mut self, case: &mut Case, world: &mut World) {
        let metadata = match (case.list("topics"), case.text("metadata")) {
            (None, Some(text)) => Bytes::from(text),
            (topics, _) => subscription(&topics.unwrap_or_else(|| vec!["t".to_owned()])),
        };
        let protocols = case.list("protocols").unwrap_or_else(|| vec!["range".to_owned()]);
        let protocols = protocols.iter().filter(|name| *name != "none");
        let version = case.number("version").unwrap_or(9);
        let millis = |time: Duration| time.as_millis() as i32;
        let request = JoinGroupRequest {
            group_id: case.text("group").unwrap_or_else(|| "g".to_owned()).into(),
            session_timeout_ms: millis(case.time("session").unwrap_or(Duration::from_secs(45))),
            rebalance_timeout_ms: millis(case.time("rebalance").unwrap_or(Duration::from_secs(60))),
            group_instance_id: case.text("instance").map(Str::from),
            protocol_type: case.text("type").unwrap_or_else(|| "consumer".to_owned()).into(),
            protocols: protocols
                .map(|name| JoinGroupRequestProtocol {
                    name: name.as_str().into(),
                    metadata: metadata.clone(),
                    ..JoinGroupRequestProtocol::default()
                })
                .collect(),
            member_id: member(case, world),
            ..JoinGroupRequest::default()
        };
        let who = case.subject();
        let (ticket, client) = (world.ticket(&who), world.client(&who, version));
        world.with(|cx| self.group.join(ticket, &client, &request, cx));
    }

    fn sync(&mut self, case: &mut Case, world: &mut World) {
        let version = case.number("version").unwrap_or(5);
        let to = case.list("to").unwrap_or_default();
        let what = case.list("assignments").unwrap_or_default();
        let protocol = case.text("protocol").unwrap_or_else(|| "range".to_owned());
        let protocol_type = case.text("type").unwrap_or_else(|| "consumer".to_owned());
        let named = |text: &str| (5 <= version && text != "null").then(|| Str::from(text));
        let request = SyncGroupRequest {
            group_id: "g".into(),
            generation_id: case.number("generation").unwrap_or(self.group.generation()),
            group_instance_id: case.text("instance").map(Str::from),
            protocol_type: named(&protocol_type),
            protocol_name: named(&protocol),
            assignments: to
                .iter()
                .zip(what)
                .map(|(to, what)| SyncGroupRequestAssignment {
                    member_id: world.id(to).into(),
                    assignment: what.into(),
                    ..SyncGroupRequestAssignment::default()
                })
                .collect(),
            member_id: member(case, world),
            ..SyncGroupRequest::default()
        };
        let who = case.subject();
        let (ticket, client) = (world.ticket(&who), world.client(&who, version));
        world.with(|cx| self.group.sync(ticket, &client, &request, cx));
    }

    fn heartbeat(&mut self, case: &mut Case, world: &mut World) {
        let version = case.number("version").unwrap_or(4);
        let request = HeartbeatRequest {
            group_id: "g".into(),
            generation_id: case.number("generation").unwrap_or(self.group.generation()),
            group_instance_id: case.text("instance").map(Str::from),
            member_id: member(case, world),
            ..HeartbeatRequest::default()
        };
        let who = case.subject();
        let (ticket, client) = (world.ticket(&who), world.client(&who, version));
        world.with(|cx| self.group.heartbeat(ticket, &client, &request, cx));
    }

    fn leave(&mut self, case: &mut Case, world: &mut World) {
        let version = case.number("version").unwrap_or(5);
        let identity = |id: String, instance: Option<String>| MemberIdentity {
            member_id: id.into(),
            group_instance_id: instance.map(Str::from),
            ..MemberIdentity::default()
        };
        let mut members = Vec::new();
        for name in case.list("members").unwrap_or_default() {
            members.push(identity(world.id(&name), None));
        }
        for instance in case.list("instances").unwrap_or_default() {
            members.push(identity(String::new(), Some(instance)));
        }
        let own = member(case, world);
        if members.is_empty() && 3 <= version {
            members.push(identity(own.clone().into(), case.text("instance")));
        }
        let member_id = if version < 3 { own } else { Str::new() };
        let request = LeaveGroupRequest {
            group_id: "g".into(),
            member_id,
            members,
            ..LeaveGroupRequest::default()
        };
        let who = case.subject();
        let (ticket, client) = (world.ticket(&who), world.client(&who, version));
        world.with(|cx| self.group.leave(ticket, &client, &request, cx));
    }

    fn commit(&mut self, case: &mut Case, world: &mut World) -> String {
        let generation = case.number("generation").unwrap_or(self.group.generation());
        let instance = case.text("instance");
        let member = member(case, world);
        case.subject();
        let checked =
            world.with(|cx| self.group.check_commit(&member, instance.as_deref(), generation, cx));
        format!("{}\n", checked.map_or_else(|error| error.name(), |()| "may commit"))
    }

    fn describe(&self) -> String {
        let group = self.group.describe();
        let mut text = format!(
            "state={} type={} protocol={}\n",
            group.group_state, group.protocol_type, group.protocol_data
        );
        for member in &group.members {
            text.push_str(&format!(
                "{} instance={} client={} host={} metadata={} assignment={:?}\n",
                member.member_id,
                member.group_instance_id.as_deref().unwrap_or("null"),
                member.client_id,
                member.client_host,
                member.member_metadata.len(),
                member.member_assignment,
            ));
        }
        text
    }
}

/// Who the step says that it is.
fn member(case: &mut Case, world: &World) -> Str {
    match case.text("member").as_deref() {
        None | Some("none") => Str::new(),
        Some(name) => world.id(name).into(),
    }
}

fn subscription(topics: &[String]) -> Bytes {
    let subscription = ConsumerProtocolSubscription {
        topics: topics.iter().map(|topic| topic.as_str().into()).collect(),
        ..ConsumerProtocolSubscription::default()
    };
    let mut bytes = vec![0, 1];
    bytes.extend_from_slice(&subscription.encode_all(1).expect("version 1 has all that is set"));
    bytes.into()
}
