//! The directives of scripts about consumer groups.
//!
//! `who` is a client, the name of its request, and its member id unless `member=…` says another. Partitions are
//! written as `t.0-3`, lists of them as `owned=(t.0-3,u.1)`, and `owned=none` for none. An expression is the line
//! below the directive, `none` for an empty one.
//!
//! | directive | arguments |
//! |---|---|
//! | `join who` | as `heartbeat` with `epoch=0`, nothing owned and `rebalance=60s` |
//! | `heartbeat who` | `epoch` (what the member has), `version` (1), `topics`, `owned`, `assignor`, `rebalance`, `instance`, `rack` |
//! | `leave who`, `away who` | `version`, `instance` |
//! | `classic-join who` | `version` (9), `protocols` (range), `topics` (t), `owned`, `instance`, `session` (45s), `rebalance` (60s), `type` |
//! | `classic-sync who`, `classic-heartbeat who` | `generation` (what the member has), `instance` |
//! | `classic-leave who` | `version` (5), `instance` |
//! | `grow topic partitions=n`, `drop topic`, `image` | `image` tells the group what changed in the cluster |
//! | `commit who`, `fetch who` | `epoch`, `version` (9), `partitions` |
//! | `upgrade`, `downgrade` | from a classic group `members=(…)` with `owned=(…)` in turn; shows what becomes of it |
//! | `describe`, `list`, `delete` | |

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::image::Image;
use ottla_metadata::keys::Key;
use ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_protocol::messages::consumer_protocol_assignment::TopicPartition as Assigned;
use ottla_protocol::messages::consumer_protocol_subscription::TopicPartition;
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerProtocolAssignment, ConsumerProtocolSubscription,
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
};
use ottla_protocol::{Message, Str, Uuid};

use super::world::restore;
use crate::group::consumer::partitions::Owned;
use crate::group::consumer::{
    ClassicMemberParts, ClassicParts, CommitClaim, ConsumerGroup, consumer_protocol,
};
use crate::group::scenario::{Case, Machine, World};
use crate::group::{Client, Context, Ticket};

pub struct Scripted {
    group: ConsumerGroup,
    seen: Image,
}

impl Machine for Scripted {
    fn new() -> Self {
        Self { group: ConsumerGroup::new("g"), seen: Image::default() }
    }

    fn step(&mut self, case: &mut Case, world: &mut World) -> Result<String, String> {
        match case.directive() {
            "join" | "heartbeat" | "leave" | "away" => {
                let request = self.heartbeat(case, world);
                let version = case.number("version").unwrap_or(1);
                let (ticket, client) = request_of(case, world, version);
                world.with(|cx| self.group.heartbeat(ticket, &client, &request, cx));
            }
            "classic-join" => {
                let request = join(case);
                let version = case.number("version").unwrap_or(9);
                let (ticket, client) = request_of(case, world, version);
                let request = named(request, &client);
                world.with(|cx| self.group.join(ticket, &client, &request, cx));
            }
            "classic-sync" | "classic-heartbeat" | "classic-leave" => self.classic(case, world),
            "grow" => grow(case, world),
            "drop" => {
                let name = case.subject();
                world.cluster().delete(Key::Topic(name));
            }
            "image" => {
                let image = world.cluster().image().clone();
                let changed = image.diff(&self.seen).topics;
                self.seen = image;
                world.with(|cx| self.group.image_changed(&changed, cx));
            }
            "commit" | "fetch" => return Ok(self.commit(case, world)),
            "upgrade" => return Ok(self.upgrade(case, world)),
            "downgrade" => return Ok(self.downgrade(world)),
            "describe" => return Ok(self.describe(world)),
            "list" => return Ok(format!("{:?}\n", self.group.listed())),
            "delete" => world.with(|cx| self.group.delete(cx.out)),
            other => return Err(format!("{other} is no directive")),
        }
        Ok(String::new())
    }

    fn abandon(&mut self, _ticket: Ticket, _cx: &mut Context<'_>) {}

    fn next_deadline(&self) -> Option<Duration> {
        self.group.next_deadline()
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        self.group.on_timer(cx);
    }

    fn restore(world: &World) -> Self {
        Self { group: restore(&world.journal, world.now), seen: Image::default() }
    }

    fn state(&self) -> String {
        let group = &self.group;
        let mut text =
            format!("{} {}/{}", group.state().name(), group.epoch, group.assignment_epoch);
        for (id, member) in &group.members {
            let current = &member.current;
            let classic = if member.classic.is_some() { " classic" } else { "" };
            text.push_str(&format!(" [{id} {}{classic}", current.epoch));
            for (sign, owned) in [("", &current.assigned), ("-", &current.revoking)] {
                text.push_str(&shown(sign, owned));
            }
            let missing = member.target.iter().filter(|(t, p)| !current.assigned.contains(*t, *p));
            let missing: Owned = missing.map(|(topic, partition)| (topic, partition, 0)).collect();
            text.push_str(&shown("+", &missing));
            text.push(']');
        }
        text
    }
}

impl Scripted {
    fn epoch_of(&self, id: &str) -> i32 {
        self.group.members.get(id).map_or(1, |member| member.current.epoch)
    }

    fn heartbeat(&self, case: &mut Case, world: &World) -> ConsumerGroupHeartbeatRequest {
        let directive = case.directive().to_owned();
        let (instance, member) = (case.text("instance"), case.text("member"));
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            instance_id: instance.map(Str::from),
            rack_id: case.text("rack").map(Str::from),
            subscribed_topic_names: names(case.list("topics")),
            subscribed_topic_regex: regex(case.input()),
            server_assignor: case.text("assignor").map(Str::from),
            topic_partitions: case.list("owned").map(|all| claimed(&all, world)),
            ..Default::default()
        };
        request.rebalance_timeout_ms =
            case.time("rebalance").map_or(-1, |time| time.as_millis() as i32);
        let epoch: Option<i32> = case.number("epoch");
        // The subject is asked for last: all other arguments have values.
        let who = case.peek_subject();
        let id = member.unwrap_or(who);
        let id = if id == "none" { String::new() } else { id };
        request.member_epoch = match directive.as_str() {
            "join" => 0,
            "leave" => -1,
            "away" => -2,
            _ => epoch.unwrap_or_else(|| self.epoch_of(&id)),
        };
        if directive == "join" {
            request.topic_partitions.get_or_insert_default();
            if request.rebalance_timeout_ms == -1 {
                request.rebalance_timeout_ms = 60_000;
            }
        }
        request.member_id = id.into();
        request
    }

    fn classic(&mut self, case: &mut Case, world: &mut World) {
        let directive = case.directive().to_owned();
        let instance = case.text("instance").map(Str::from);
        let (member, generation) = (case.text("member"), case.number("generation"));
        let version = case.number("version").unwrap_or(5);
        let (ticket, client) = request_of(case, world, version);
        let id = member.unwrap_or_else(|| client.id.clone());
        let id = if id == "none" { String::new() } else { id };
        let generation_id = generation.unwrap_or_else(|| self.epoch_of(&id));
        let member_id = Str::from(id);
        match directive.as_str() {
            "classic-sync" => {
                let request = SyncGroupRequest {
                    generation_id,
                    member_id,
                    group_instance_id: instance,
                    protocol_type: Some("consumer".into()),
                    protocol_name: Some("range".into()),
                    ..Default::default()
                };
                world.with(|cx| self.group.sync(ticket, &client, &request, cx));
            }
            "classic-heartbeat" => {
                let request = HeartbeatRequest {
                    generation_id,
                    member_id,
                    group_instance_id: instance,
                    ..Default::default()
                };
                world.with(|cx| self.group.classic_heartbeat(ticket, &client, &request, cx));
            }
            _ => {
                let identity = MemberIdentity {
                    member_id: member_id.clone(),
                    group_instance_id: instance,
                    ..Default::default()
                };
                let members = if 3 <= version { vec![identity] } else { Vec::new() };
                let request = LeaveGroupRequest { member_id, members, ..Default::default() };
                world.with(|cx| self.group.leave(ticket, &client, &request, cx));
            }
        }
    }

    fn commit(&self, case: &mut Case, world: &World) -> String {
        let is_commit = case.directive() == "commit";
        let epoch: Option<i32> = case.number("epoch");
        let version = case.number("version").unwrap_or(9);
        let partitions = claimed(&case.list("partitions").unwrap_or_default(), world);
        let who = case.subject();
        let id = if who == "nobody" { String::new() } else { who };
        let epoch = epoch.unwrap_or_else(|| self.epoch_of(&id));
        let checked = if is_commit {
            let claim = CommitClaim { member_id: &id, instance_id: None, epoch, version };
            let all =
                partitions.iter().flat_map(|it| it.partitions.iter().map(|p| (it.topic_id, *p)));
            self.group.check_commit(&claim, all)
        } else {
            self.group.check_fetch((!id.is_empty()).then_some(id.as_str()), epoch)
        };
        format!("{}\n", checked.map_or_else(|error| error.name(), |()| "may"))
    }

    fn upgrade(&mut self, case: &mut Case, world: &mut World) -> String {
        let members = case.list("members").unwrap_or_default();
        let owned = case.list("owned").unwrap_or_default();
        let topics = case.list("topics").unwrap_or_else(|| vec!["t".to_owned()]);
        let member = |(id, owned): (&String, &String)| ClassicMemberParts {
            member_id: id.clone(),
            instance_id: None,
            client_id: id.clone(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout: Duration::from_secs(45),
            rebalance_timeout: Duration::from_secs(60),
            protocols: vec![("range".to_owned(), subscription(&topics, &[]))],
            assignment: assignment(std::slice::from_ref(owned)),
        };
        let parts = ClassicParts {
            id: "g".to_owned(),
            generation: case.number("generation").unwrap_or(5),
            protocol: Some("range".to_owned()),
            members: members.iter().zip(&owned).map(member).collect(),
            rebalance: false,
        };
        match world.with(|cx| ConsumerGroup::upgrade(&parts, cx)) {
            Ok(group) => {
                self.group = group;
                String::new()
            }
            Err(error) => format!("{}\n", error.name()),
        }
    }

    fn downgrade(&mut self, world: &mut World) -> String {
        let image = world.cluster().image().clone();
        let Some(parts) = world.with(|cx| self.group.take_downgrade(cx)) else {
            return "stays as it is\n".to_owned();
        };
        world.with(|cx| self.group.delete_members(cx.out));
        let mut text = format!(
            "classic group: generation={} protocol={:?} rebalance={}\n",
            parts.generation, parts.protocol, parts.rebalance
        );
        for member in &parts.members {
            let owned = consumer_protocol::read_assignment(&member.assignment, &image, 0).unwrap();
            text.push_str(&format!("{}{}\n", member.member_id, shown("", &owned)));
        }
        text
    }

    fn describe(&self, world: &mut World) -> String {
        let described = world.with(|cx| self.group.describe(cx.image, cx.settings));
        let mut text = format!(
            "{} epoch={} assignment-epoch={} assignor={}\n",
            described.group_state,
            described.group_epoch,
            described.assignment_epoch,
            described.assignor_name
        );
        for member in &described.members {
            let topics =
                |it: &ottla_protocol::messages::consumer_group_describe_response::Assignment| {
                    let topic = it.topic_partitions.iter();
                    let topic = topic.map(|it| format!("{}:{:?}", it.topic_name, it.partitions));
                    topic.collect::<Vec<_>>().join(" ")
                };
            text.push_str(&format!(
                "{} instance={:?} rack={:?} epoch={} client={}{} topics={:?} regex={:?} type={} has=[{}] \
                 target=[{}]\n",
                member.member_id,
                member.instance_id.as_deref(),
                member.rack_id.as_deref(),
                member.member_epoch,
                member.client_id,
                member.client_host,
                member.subscribed_topic_names,
                member.subscribed_topic_regex.as_deref(),
                member.member_type,
                topics(&member.assignment),
                topics(&member.target_assignment),
            ));
        }
        text
    }
}

fn request_of(case: &mut Case, world: &mut World, version: i16) -> (Ticket, Client) {
    let who = case.subject();
    (world.ticket(&who), world.client(&who, version))
}

fn grow(case: &mut Case, world: &mut World) {
    let partitions = case.number("partitions").expect("grow topic partitions=n");
    let name = case.subject();
    let mut topic = world.cluster().image().topic(&name).expect("a topic").value.clone();
    topic.partitions = partitions;
    world.cluster().put(Key::Topic(name), &topic);
}

fn join(case: &mut Case) -> JoinGroupRequest {
    let topics = case.list("topics").unwrap_or_else(|| vec!["t".to_owned()]);
    let metadata = subscription(&topics, &case.list("owned").unwrap_or_default());
    let protocols = case.list("protocols").unwrap_or_else(|| vec!["range".to_owned()]);
    let protocol = |name: &String| JoinGroupRequestProtocol {
        name: name.as_str().into(),
        metadata: metadata.clone(),
        ..Default::default()
    };
    let millis = |time: Duration| time.as_millis() as i32;
    JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: millis(case.time("session").unwrap_or(Duration::from_secs(45))),
        rebalance_timeout_ms: millis(case.time("rebalance").unwrap_or(Duration::from_secs(60))),
        group_instance_id: case.text("instance").map(Str::from),
        protocol_type: case.text("type").unwrap_or_else(|| "consumer".to_owned()).into(),
        protocols: protocols.iter().map(protocol).collect(),
        member_id: case.text("member").unwrap_or_default().into(),
        ..Default::default()
    }
}

/// The client's own name is its member id, unless the script says another.
fn named(mut request: JoinGroupRequest, client: &Client) -> JoinGroupRequest {
    if request.member_id.is_empty() {
        request.member_id = client.id.as_str().into();
    } else if request.member_id == "none" {
        request.member_id = Str::default();
    }
    request
}

fn names(topics: Option<Vec<String>>) -> Option<Vec<Str>> {
    let topics = topics?;
    let topics = topics.iter().filter(|name| *name != "none");
    Some(topics.map(|name| name.as_str().into()).collect())
}

/// An expression, `none` for an empty one, nothing for none.
fn regex(input: &str) -> Option<Str> {
    match input {
        "" => None,
        "none" => Some(Str::default()),
        text => Some(text.into()),
    }
}

/// `t.0-3`, `t.5`.
fn places(all: &[String]) -> BTreeMap<String, Vec<i32>> {
    let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for place in all.iter().filter(|place| *place != "none") {
        let (topic, range) = place.rsplit_once('.').expect("topic.first-last");
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let range = first.parse().expect("a number")..=last.parse::<i32>().expect("a number");
        topics.entry(topic.to_owned()).or_default().extend(range);
    }
    topics
}

fn claimed(all: &[String], world: &World) -> Vec<TopicPartitions> {
    let topic = |(name, partitions): (String, Vec<i32>)| TopicPartitions {
        topic_id: world.image().topic(&name).map_or(Uuid::ZERO, |topic| topic.id),
        partitions,
        ..Default::default()
    };
    places(all).into_iter().map(topic).collect()
}

fn subscription(topics: &[String], owned: &[String]) -> Bytes {
    let owned = places(owned).into_iter();
    let subscription = ConsumerProtocolSubscription {
        topics: topics.iter().map(Into::into).collect(),
        owned_partitions: owned
            .map(|(topic, partitions)| TopicPartition { topic: topic.into(), partitions })
            .collect(),
        ..Default::default()
    };
    versioned(&subscription.encode_all(1).unwrap())
}

fn assignment(all: &[String]) -> Bytes {
    let topics = places(all).into_iter();
    let assignment = ConsumerProtocolAssignment {
        assigned_partitions: topics
            .map(|(topic, partitions)| Assigned { topic: topic.into(), partitions })
            .collect(),
        ..Default::default()
    };
    versioned(&assignment.encode_all(1).unwrap())
}

fn versioned(body: &[u8]) -> Bytes {
    [&[0, 1], body].concat().into()
}

/// ` t:0-3`, with a sign before each.
fn shown(sign: &str, owned: &Owned) -> String {
    let mut text = String::new();
    for (topic, partitions) in owned.topics() {
        let mut rest: Vec<i32> = partitions.keys().copied().collect();
        while let Some(first) = rest.first().copied() {
            let count = rest.iter().zip(first..).take_while(|(a, b)| *a == b).count();
            let last = first + count as i32 - 1;
            let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
            text.push_str(&format!(" {sign}{topic}:{range}"));
            rest.drain(..count);
        }
    }
    text
}
