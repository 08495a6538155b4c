//! Classic groups: who is let in, who is told what in which state, static members.

use bytes::Bytes;
use ottla_protocol::Str;

use crate::{
    notes::Notes,
    wire::{self, Member, heartbeat, join, leave, note_join, park, share, sync},
};

pub fn run(notes: &mut Notes) {
    refusals(notes);
    one_member(notes);
    two_members(notes);
    static_members(notes);
    old_versions(notes);
}

fn refusals(notes: &mut Notes) {
    join(notes, 5, &mut Member::of("", &["orders"]), "nobody");
    join(notes, 5, &mut Member { session_ms: 5, ..Member::of("refused", &["orders"]) }, "nobody");
    let endless = Member { session_ms: 3_600_000, ..Member::of("refused", &["orders"]) };
    join(notes, 5, &mut endless.clone(), "nobody");
    let mut unknown = Member { id: "unknown".into(), ..Member::of("refused", &["orders"]) };
    join(notes, 5, &mut unknown, "nobody");
    join(notes, 9, &mut unknown, "nobody");
    join(notes, 3, &mut Member { protocols: vec![], ..Member::of("refused", &[]) }, "nobody");
    let stranger = Member { id: "stranger".into(), generation: 1, ..Member::of("absent", &[]) };
    for version in [0, 4] {
        heartbeat(notes, version, &stranger);
    }
    for version in [0, 5] {
        sync(notes, version, &stranger, &[]);
    }
    for version in [0, 2, 3, 5] {
        leave(notes, version, "absent", &[("stranger", None)]);
    }
    wire::describe(notes, 5, &["absent"]);
    wire::describe(notes, 6, &["absent", "refused"]);
    wire::delete(notes, 2, &["absent"]);
    // Kafka keeps a group to which nobody was let in.
    wire::delete(notes, 2, &["refused"]);
}

fn one_member(notes: &mut Notes) {
    let mut member = Member::of("one", &["orders"]);
    // The first answer names it, with the second it is in.
    join(notes, 4, &mut member, "MEMBER-1");
    wire::describe(notes, 5, &["one"]);
    join(notes, 4, &mut member, "MEMBER-1");
    wire::describe(notes, 5, &["one"]);
    heartbeat(notes, 3, &member);
    wire::commit(
        notes,
        7,
        ("one", (&member.id, member.generation, None)),
        &[("orders", &[0])],
        (1, ""),
    );
    let early = Member { generation: 7, ..member.clone() };
    sync(notes, 3, &early, &[]);
    sync(notes, 3, &Member { id: "other".into(), ..member.clone() }, &[]);
    let id = member.id.clone();
    let shares = [(id.as_str(), share("orders", &[0, 1, 2]))];
    sync(notes, 5, &member, &shares);
    sync(notes, 5, &member, &[]);
    for (generation, id) in [(member.generation, member.id.as_str()), (7, &member.id), (1, "other")]
    {
        let asking = Member { generation, id: id.to_owned(), ..member.clone() };
        heartbeat(notes, 3, &asking);
    }
    for version in [0, 3, 4, 5, 6] {
        wire::describe(notes, version, &["one", "absent"]);
    }
    for version in 0..=5 {
        wire::list(notes, version, &[], &[]);
    }
    wire::list(notes, 5, &["Stable"], &["Classic"]);
    wire::list(notes, 5, &["stable"], &["classic"]);
    wire::list(notes, 5, &["Empty"], &[]);
    wire::list(notes, 5, &["No such state"], &[]);
    wire::list(notes, 5, &[], &["no such type"]);
    // What cannot be understood with what others understand.
    let mut other = Member::of("one", &["orders"]);
    other.protocols = vec![("unheard-of", Bytes::from_static(b"x"))];
    join(notes, 3, &mut other, "nobody");
    let mut connect = Member::of("one", &["orders"]).join();
    connect.protocol_type = Str::from_static("connect");
    let response = notes.call(3, &connect);
    note_join(notes, 3, &mut other, (&response, "nobody"));
    // A leader that joins again wants a rebalance, whatever it says of itself.
    join(notes, 4, &mut member, "MEMBER-1");
    sync(notes, 3, &member, &shares);
    wire::delete(notes, 1, &["one"]);
    leave(notes, 1, "one", &[("other", None)]);
    leave(notes, 1, "one", &[(&member.id, None)]);
    wire::describe(notes, 5, &["one"]);
    heartbeat(notes, 3, &member);
    wire::list(notes, 5, &["Empty"], &[]);
    wire::delete(notes, 1, &["one", "absent", ""]);
    wire::describe(notes, 5, &["one"]);
}

fn two_members(notes: &mut Notes) {
    let mut first = Member::of("two", &["orders"]);
    join(notes, 4, &mut first, "MEMBER-A");
    join(notes, 4, &mut first, "MEMBER-A");
    let alone = [(first.id.clone(), share("orders", &[0, 1, 2]))];
    sync(notes, 3, &first, &[(&alone[0].0, alone[0].1.clone())]);
    let mut second = Member::of("two", &["orders"]);
    join(notes, 4, &mut second, "MEMBER-B");
    let (mut waiting, sent) = park(notes, 4, &second, &first);
    wire::describe(notes, 5, &["two"]);
    sync(notes, 3, &first, &[]);
    wire::commit(
        notes,
        7,
        ("two", (&first.id, first.generation, None)),
        &[("orders", &[0, 1])],
        (1, "while others wait"),
    );
    join(notes, 4, &mut first, "MEMBER-A");
    let response = waiting.receive::<ottla_protocol::messages::JoinGroupRequest>(4, sent);
    note_join(notes, 4, &mut second, (&response, "MEMBER-B"));
    wire::describe(notes, 5, &["two"]);
    heartbeat(notes, 3, &second);
    // The second waits for what the first, the leader, sends.
    let mut waiting = notes.connect();
    let sent = waiting.send(3, &second.sync(&[]));
    let (a, b) = (first.id.clone(), second.id.clone());
    sync(notes, 3, &first, &[(&a, share("orders", &[0, 1])), (&b, share("orders", &[2]))]);
    let response = waiting.receive::<ottla_protocol::messages::SyncGroupRequest>(3, sent);
    notes.note("sync v3 two MEMBER-B", &format!("{} bytes", response.assignment.len()));
    heartbeat(notes, 3, &first);
    heartbeat(notes, 3, &second);
    // One that follows and says what it said before changes nothing.
    join(notes, 4, &mut second, "MEMBER-B");
    heartbeat(notes, 3, &first);
    wire::describe(notes, 5, &["two"]);
    leave(notes, 4, "two", &[(&b, None), ("stranger", None)]);
    heartbeat(notes, 3, &first);
    join(notes, 4, &mut first, "MEMBER-A");
    leave(notes, 4, "two", &[(&a, None)]);
    wire::describe(notes, 5, &["two"]);
}

fn static_members(notes: &mut Notes) {
    let mut first = Member { instance: Some("i1"), ..Member::of("static", &["orders"]) };
    join(notes, 5, &mut first, "STATIC-1");
    let shares = [(first.id.clone(), share("orders", &[0, 1, 2]))];
    sync(notes, 3, &first, &[(&shares[0].0, shares[0].1.clone())]);
    heartbeat(notes, 3, &first);
    wire::describe(notes, 5, &["static"]);
    // A new process of the same instance: nobody is disturbed, and the old one is out.
    let mut again = Member { instance: Some("i1"), ..Member::of("static", &["orders"]) };
    join(notes, 9, &mut again, "STATIC-2");
    sync(notes, 5, &again, &[(&again.id.clone(), share("orders", &[0, 1, 2]))]);
    heartbeat(notes, 3, &first);
    heartbeat(notes, 3, &again);
    join(notes, 5, &mut first.clone(), "STATIC-1");
    wire::commit(
        notes,
        7,
        ("static", (&first.id, first.generation, Some("i1"))),
        &[("orders", &[0])],
        (1, ""),
    );
    wire::commit(
        notes,
        7,
        ("static", (&again.id, again.generation, Some("i1"))),
        &[("orders", &[0])],
        (2, ""),
    );
    let unknown = Member { instance: Some("i9"), ..again.clone() };
    heartbeat(notes, 3, &unknown);
    leave(notes, 3, "static", &[("", Some("i9"))]);
    leave(notes, 3, "static", &[(&first.id, Some("i1"))]);
    leave(notes, 3, "static", &[("", Some("i1"))]);
    wire::describe(notes, 5, &["static"]);
    wire::fetch(notes, 5, "static", None);
}

/// Up to version 3 a member is in at once, and up to 0 there is one time for all.
fn old_versions(notes: &mut Notes) {
    for version in 0..=3 {
        let mut member = Member::of("old", &["orders"]);
        let alias = format!("OLD-{version}");
        join(notes, version, &mut member, &alias);
        let id = member.id.clone();
        sync(notes, version.min(2), &member, &[(&id, share("orders", &[0]))]);
        heartbeat(notes, version.min(2), &member);
        leave(notes, version.min(2), "old", &[(&id, None)]);
    }
    wire::describe(notes, 0, &["old"]);
    wire::delete(notes, 0, &["old"]);
}
