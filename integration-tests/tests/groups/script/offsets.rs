//! Offsets: commits of members and of nobody, in every version; what is found again; what is forgotten.

use crate::{
    notes::Notes,
    wire::{self, Member, join, leave, share, sync},
};

pub fn run(notes: &mut Notes) {
    of_nobody(notes);
    of_members(notes);
    forgotten(notes);
}

const NOBODY: wire::Committer<'static> = ("", -1, None);

fn of_nobody(notes: &mut Notes) {
    for version in 1..=10 {
        wire::fetch(notes, version, "simple", Some(&[("orders", &[0, 1]), ("users", &[0])]));
        if 2 <= version {
            wire::fetch(notes, version, "simple", None);
        }
    }
    for version in 2..=10 {
        let offset = i64::from(version);
        wire::commit(notes, version, ("simple", NOBODY), &[("orders", &[0, 2])], (offset, "text"));
        wire::fetch(notes, version, "simple", Some(&[("orders", &[0, 1, 2])]));
    }
    wire::fetch(notes, 5, "simple", None);
    wire::fetch(notes, 9, "simple", None);
    wire::describe(notes, 5, &["simple"]);
    wire::list(notes, 5, &["Empty"], &[]);
    wire::commit(notes, 7, ("", NOBODY), &[("orders", &[0])], (1, ""));
    wire::fetch(notes, 7, "", None);
    wire::commit(notes, 7, ("simple", NOBODY), &[("nothing", &[0]), ("orders", &[7])], (1, ""));
    wire::commit(notes, 7, ("simple", NOBODY), &[("orders", &[1])], (1, &"x".repeat(4096)));
    wire::commit(notes, 7, ("simple", NOBODY), &[("orders", &[1])], (2, &"x".repeat(4097)));
    wire::fetch(notes, 7, "simple", Some(&[("nothing", &[0])]));
    for (version, by) in [
        (7, ("", 3, None)),
        (7, ("somebody", 3, None)),
        (7, ("somebody", -1, None)),
        (9, ("somebody", 3, None)),
        (9, ("somebody", -1, None)),
    ] {
        wire::commit(notes, version, ("simple", by), &[("orders", &[1])], (3, ""));
        wire::commit(notes, version, ("absent", by), &[("orders", &[1])], (3, ""));
    }
    // From version 9 on a member may say who it is.
    wire::fetch_as(notes, 9, ("simple", ("somebody", 3)), Some(&[("orders", &[0])]));
    wire::fetch_as(notes, 9, ("absent", ("somebody", 3)), Some(&[("orders", &[0])]));
}

fn of_members(notes: &mut Notes) {
    let mut member = Member::of("working", &["orders"]);
    join(notes, 4, &mut member, "WORKER");
    join(notes, 4, &mut member, "WORKER");
    let id = member.id.clone();
    sync(notes, 3, &member, &[(&id, share("orders", &[0, 1, 2]))]);
    let topics: &[(&str, &[i32])] = &[("orders", &[0, 1, 2])];
    for version in 2..=9 {
        wire::commit(
            notes,
            version,
            ("working", (&id, member.generation, None)),
            topics,
            (i64::from(version), ""),
        );
    }
    wire::commit(notes, 7, ("working", (&id, 9, None)), topics, (99, ""));
    wire::commit(notes, 9, ("working", (&id, 9, None)), topics, (99, ""));
    wire::commit(notes, 7, ("working", ("other", member.generation, None)), topics, (99, ""));
    wire::commit(notes, 7, ("working", NOBODY), topics, (99, ""));
    wire::commit(notes, 7, ("working", (&id, member.generation, Some("i1"))), topics, (99, ""));
    wire::fetch(notes, 7, "working", None);
    wire::fetch_as(notes, 9, ("working", (&id, member.generation)), None);
    wire::fetch_as(notes, 9, ("working", (&id, 9)), None);
    wire::fetch_as(notes, 9, ("working", ("other", 1)), None);
    wire::delete_offsets(notes, "working", "orders", &[0]);
    wire::delete_offsets(notes, "working", "users", &[0]);
    leave(notes, 3, "working", &[(&id, None)]);
    wire::commit(notes, 7, ("working", NOBODY), topics, (10, "set from outside"));
    wire::fetch(notes, 7, "working", None);
}

fn forgotten(notes: &mut Notes) {
    wire::delete_offsets(notes, "absent", "orders", &[0]);
    wire::delete_offsets(notes, "simple", "orders", &[0]);
    wire::delete_offsets(notes, "simple", "orders", &[1, 7]);
    wire::delete_offsets(notes, "simple", "nothing", &[0]);
    wire::fetch(notes, 7, "simple", None);
    wire::delete(notes, 2, &["simple"]);
    wire::delete(notes, 2, &[""]);
    wire::fetch(notes, 7, "simple", None);
    wire::list(notes, 5, &[], &[]);
}
