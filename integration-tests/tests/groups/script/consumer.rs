//! Consumer groups (KIP-848): who is let in, epochs, shares, static members, and how they are described.

use ottla_protocol::{
    Str,
    messages::{
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
        consumer_group_heartbeat_request::TopicPartitions,
    },
};

use crate::{
    notes::{Notes, code},
    wire::{self, consumer_describe, consumer_heartbeat, share_of},
};

const ONE: &str = "AAAAAAAAAAAAAAAAAAAAAQ";
const TWO: &str = "AAAAAAAAAAAAAAAAAAAAAg";
const THREE: &str = "AAAAAAAAAAAAAAAAAAAAAw";

/// The first heartbeat of a member.
fn first(group: &str, member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member.into(),
        rebalance_timeout_ms: 30_000,
        subscribed_topic_names: Some(vec!["orders".into()]),
        topic_partitions: Some(vec![]),
        ..Default::default()
    }
}

/// A later one, in which nothing is new.
fn later(group: &str, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member.into(),
        member_epoch: epoch,
        ..Default::default()
    }
}

/// The first heartbeat in a group: its epoch is the first.
fn joining(
    notes: &mut Notes,
    what: &str,
    request: &ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let response = notes.call(1, request);
    notes.begin_epochs(response.member_epoch);
    let share = share_of(&response);
    notes.note(
        &format!("consumer-heartbeat v1 {what}"),
        &format!("{} {share:?}", code(response.error_code)),
    );
    response
}

fn owning(
    notes: &mut Notes,
    request: ConsumerGroupHeartbeatRequest,
    partitions: &[i32],
) -> ConsumerGroupHeartbeatRequest {
    let topic = TopicPartitions {
        topic_id: notes.topic_id("orders"),
        partitions: partitions.to_vec(),
        ..Default::default()
    };
    ConsumerGroupHeartbeatRequest { topic_partitions: Some(vec![topic]), ..request }
}

pub fn run(notes: &mut Notes) {
    refusals(notes);
    let epoch = alone(notes);
    together(notes, epoch);
    static_members(notes);
    notes.begin_epochs(1);
    regex(notes);
    across_types(notes);
}

fn refusals(notes: &mut Notes) {
    let sound = first("c", ONE);
    let cases = [
        ("without a group", ConsumerGroupHeartbeatRequest { group_id: "".into(), ..sound.clone() }),
        (
            "without a member",
            ConsumerGroupHeartbeatRequest { member_id: "".into(), ..sound.clone() },
        ),
        (
            "without a time",
            ConsumerGroupHeartbeatRequest { rebalance_timeout_ms: -1, ..sound.clone() },
        ),
        (
            "without topics",
            ConsumerGroupHeartbeatRequest { subscribed_topic_names: None, ..sound.clone() },
        ),
        (
            "without what it owns",
            ConsumerGroupHeartbeatRequest { topic_partitions: None, ..sound.clone() },
        ),
        (
            "with an assignor that nobody has",
            ConsumerGroupHeartbeatRequest { server_assignor: Some("none".into()), ..sound.clone() },
        ),
        (
            "with an empty instance",
            ConsumerGroupHeartbeatRequest { instance_id: Some("".into()), ..sound.clone() },
        ),
        (
            "with an empty rack",
            ConsumerGroupHeartbeatRequest { rack_id: Some("".into()), ..sound.clone() },
        ),
        (
            "with a pattern that is none",
            ConsumerGroupHeartbeatRequest {
                subscribed_topic_names: None,
                subscribed_topic_regex: Some("(".into()),
                ..sound
            },
        ),
        ("of a group that is not there", later("c", ONE, 5)),
        ("leaving a group that is not there", later("c", ONE, -1)),
        ("in an impossible epoch", later("c", ONE, -7)),
    ];
    for (what, request) in cases {
        consumer_heartbeat(notes, 1, (what, &request));
    }
    consumer_describe(notes, 1, &["c", "absent"]);
}

/// Heartbeats until the share is the one that is meant, and nothing is to be given up; notes the last answer.
fn until_share(
    notes: &mut Notes,
    (group, member, mut epoch): (&str, &str, i32),
    (mut owned, wanted): (Vec<i32>, &[i32]),
) -> i32 {
    let response: ConsumerGroupHeartbeatResponse = notes.until("a share", |notes| {
        let request = owning(notes, later(group, member, epoch), &owned);
        let response = notes.call(1, &request);
        if response.error_code == 0 {
            epoch = response.member_epoch;
            if let Some(share) = share_of(&response) {
                owned = share;
            }
        }
        (owned == wanted).then_some(response)
    });
    let name = if member == ONE { "ONE" } else { "TWO" };
    notes.note(
        &format!("share of {name} in {group}"),
        &format!("{} {owned:?}", code(response.error_code)),
    );
    epoch
}

fn alone(notes: &mut Notes) -> i32 {
    for (id, alias) in [(ONE, "ONE"), (TWO, "TWO"), (THREE, "THREE")] {
        notes.call_it(id, alias);
    }
    let response = joining(notes, "joining", &first("c", ONE));
    let share = share_of(&response).unwrap_or_default();
    let epoch = until_share(notes, ("c", ONE, response.member_epoch), (share, &[0, 1, 2]));
    let owned = owning(notes, later("c", ONE, epoch), &[0, 1, 2]);
    consumer_heartbeat(notes, 1, ("with its share", &owned));
    consumer_heartbeat(notes, 1, ("with nothing new", &later("c", ONE, epoch)));
    consumer_heartbeat(notes, 1, ("in a later epoch", &later("c", ONE, epoch + 5)));
    consumer_heartbeat(notes, 1, ("of a stranger", &later("c", TWO, epoch)));
    consumer_heartbeat(notes, 0, ("in the first version", &later("c", ONE, epoch)));
    consumer_describe(notes, 0, &["c"]);
    consumer_describe(notes, 1, &["c"]);
    wire::describe(notes, 5, &["c"]);
    wire::describe(notes, 6, &["c"]);
    wire::list(notes, 5, &[], &["Consumer"]);
    let topics: &[(&str, &[i32])] = &[("orders", &[0, 1, 2])];
    for version in [7, 8, 9, 10] {
        wire::commit(notes, version, ("c", (ONE, epoch, None)), topics, (3, ""));
        wire::commit(notes, version, ("c", (ONE, epoch + 5, None)), topics, (3, ""));
        wire::commit(notes, version, ("c", (TWO, epoch, None)), topics, (3, ""));
        wire::commit(notes, version, ("c", ("", -1, None)), topics, (3, ""));
    }
    wire::fetch_as(notes, 9, ("c", (ONE, epoch)), Some(topics));
    wire::fetch_as(notes, 9, ("c", (ONE, epoch + 5)), Some(topics));
    wire::fetch_as(notes, 9, ("c", (TWO, epoch)), Some(topics));
    wire::fetch(notes, 9, "c", Some(topics));
    wire::delete_offsets(notes, "c", "orders", &[0]);
    wire::delete(notes, 2, &["c"]);
    epoch
}

fn together(notes: &mut Notes, epoch: i32) {
    // The second is in at once, and gets its share when the first has given it up.
    let request =
        ConsumerGroupHeartbeatRequest { server_assignor: Some("range".into()), ..first("c", TWO) };
    let response = notes.call(1, &request);
    notes.note("consumer-heartbeat v1 of a second", code(response.error_code));
    let mut second = response.member_epoch;
    let epoch = {
        let mut first_epoch = epoch;
        let mut owned = vec![0, 1, 2];
        notes.until("the first gives up", |notes| {
            let request = owning(notes, later("c", ONE, first_epoch), &owned);
            let response = notes.call(1, &request);
            first_epoch =
                if response.error_code == 0 { response.member_epoch } else { first_epoch };
            owned = share_of(&response).unwrap_or(owned.clone());
            (owned.len() < 3).then_some(())
        });
        notes.note("what the first keeps", &format!("{} partitions", owned.len()));
        let request = owning(notes, later("c", ONE, first_epoch), &owned);
        notes.call(1, &request).member_epoch.max(first_epoch)
    };
    let mut owned = Vec::new();
    notes.until("the second has a share", |notes| {
        let request = owning(notes, later("c", TWO, second), &owned);
        let response = notes.call(1, &request);
        second = if response.error_code == 0 { response.member_epoch } else { second };
        owned = share_of(&response).unwrap_or(owned.clone());
        (!owned.is_empty()).then_some(())
    });
    notes.note("what the second gets", &format!("{}", !owned.is_empty()));
    consumer_heartbeat(notes, 1, ("leaving", &later("c", TWO, -1)));
    consumer_heartbeat(notes, 1, ("leaving again", &later("c", TWO, -1)));
    consumer_heartbeat(notes, 1, ("after it left", &later("c", TWO, second)));
    let _ = until_share(notes, ("c", ONE, epoch), (vec![], &[0, 1, 2]));
    consumer_heartbeat(notes, 1, ("the last leaves", &later("c", ONE, -1)));
    consumer_describe(notes, 1, &["c"]);
    wire::list(notes, 5, &["Empty"], &["Consumer"]);
    wire::fetch(notes, 7, "c", None);
}

fn static_members(notes: &mut Notes) {
    let of = |member: &str| ConsumerGroupHeartbeatRequest {
        instance_id: Some(Str::from_static("i1")),
        ..first("c-static", member)
    };
    joining(notes, "joining as i1", &of(ONE));
    consumer_heartbeat(notes, 1, ("joining as i1 too", &of(TWO)));
    let leaving = |member: &str, epoch, instance: &'static str| ConsumerGroupHeartbeatRequest {
        instance_id: Some(Str::from_static(instance)),
        ..later("c-static", member, epoch)
    };
    consumer_heartbeat(notes, 1, ("leaving for a while", &leaving(ONE, -2, "i1")));
    consumer_describe(notes, 1, &["c-static"]);
    consumer_heartbeat(notes, 1, ("joining as i1 once more", &of(TWO)));
    consumer_heartbeat(notes, 1, ("of the one before", &leaving(ONE, 1, "i1")));
    consumer_heartbeat(notes, 1, ("of an unknown instance", &leaving(TWO, 1, "i9")));
    consumer_describe(notes, 1, &["c-static"]);
    consumer_heartbeat(notes, 1, ("leaving for good", &leaving(TWO, -1, "i1")));
    consumer_describe(notes, 1, &["c-static"]);
    wire::delete(notes, 2, &["c-static"]);
}

fn regex(notes: &mut Notes) {
    let request = ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some("ord.*".into()),
        ..first("c-regex", ONE)
    };
    let response = notes.call(1, &request);
    notes.note("consumer-heartbeat v1 with a pattern", code(response.error_code));
    let share = share_of(&response).unwrap_or_default();
    let _ = until_share(notes, ("c-regex", ONE, response.member_epoch), (share, &[0, 1, 2]));
    consumer_heartbeat(notes, 1, ("leaving the pattern", &later("c-regex", ONE, -1)));
}

/// What one type of group says to the requests of the other.
fn across_types(notes: &mut Notes) {
    let mut member = wire::Member::of("classic", &["orders"]);
    wire::join(notes, 4, &mut member, "CLASSIC");
    wire::join(notes, 4, &mut member, "CLASSIC");
    let id = member.id.clone();
    wire::sync(notes, 3, &member, &[(&id, wire::share("orders", &[0, 1, 2]))]);
    consumer_describe(notes, 1, &["classic"]);
    consumer_heartbeat(notes, 1, ("of a stranger in a classic group", &later("classic", TWO, 1)));
    wire::leave(notes, 3, "classic", &[(&id, None)]);
    let mut other = wire::Member::of("c", &["orders"]);
    wire::join(notes, 4, &mut other, "OTHER");
}
