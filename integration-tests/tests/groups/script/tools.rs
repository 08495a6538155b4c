//! Kafka's own tools.

use bytes::Bytes;

use crate::{
    notes::Notes,
    wire::{self, Member, join, leave, share, sync},
};

const GROUPS: &str = "kafka-consumer-groups";

pub fn run(notes: &mut Notes) {
    let few = |line: &str| line.contains("PartitionCount") || line.contains("Partition: 7\t");
    notes.tool_lines("kafka-topics --describe --topic __consumer_offsets", few);
    notes.tool_lines("kafka-features describe", |line| line.starts_with("Feature: group.version"));
    let (member, id) = working(notes);
    listing(notes);
    describing(notes);
    notes.tool(&format!(
        "{GROUPS} --reset-offsets --group busy --topic orders --to-earliest --execute"
    ));
    notes.tool(&format!("{GROUPS} --delete --group busy"));
    notes.tool(&format!("{GROUPS} --delete-offsets --group busy --topic orders"));
    leave(notes, 3, member.group, &[(&id, None)]);
    resetting(notes);
    deleting(notes);
    configs(notes);
}

/// A member that has the whole of `orders`, as the tools shall see it.
fn working(notes: &mut Notes) -> (Member, String) {
    let mut member = Member::of("busy", &["orders"]);
    join(notes, 4, &mut member, "BUSY");
    join(notes, 4, &mut member, "BUSY");
    let id = member.id.clone();
    sync(notes, 3, &member, &[(&id, share("orders", &[0, 1, 2]))]);
    let by = ("busy", (id.as_str(), member.generation, None));
    wire::commit(notes, 7, by, &[("orders", &[0, 1])], (1, ""));
    (member, id)
}

fn listing(notes: &mut Notes) {
    for form in [
        "--list",
        "--list --state",
        "--list --state Stable",
        "--list --state Empty,Stable",
        "--list --type",
        "--list --type classic",
        "--list --type consumer",
        "--list --state --type",
        "--list --state nonsense",
    ] {
        notes.tool(&format!("{GROUPS} {form}"));
    }
    for form in
        ["--list", "--list --consumer", "--list --group-type classic", "--list --protocol consumer"]
    {
        notes.tool(&format!("kafka-groups {form}"));
    }
}

fn describing(notes: &mut Notes) {
    for form in [
        "--group busy",
        "--group busy --offsets",
        "--group busy --offsets --verbose",
        "--group busy --members",
        "--group busy --members --verbose",
        "--group busy --state",
        "--group busy --state --verbose",
        "--group working",
        "--group working --members",
        "--group working --state",
        "--group c",
        "--group c --state",
        "--group absent",
        "--group busy --group working --state",
        "--all-groups --state",
        "--all-groups --members",
        "--all-groups --offsets",
    ] {
        notes.tool(&format!("{GROUPS} --describe {form}"));
    }
}

fn resetting(notes: &mut Notes) {
    let reset = format!("{GROUPS} --reset-offsets --group busy");
    for form in [
        "--topic orders --to-earliest",
        "--topic orders --to-earliest --dry-run",
        "--topic orders --to-latest --execute",
        "--topic orders --to-earliest --execute",
        "--topic orders:0,2 --to-offset 2 --execute",
        "--topic orders --shift-by 1 --execute",
        "--topic orders --shift-by -1 --execute",
        "--topic orders --shift-by 100 --execute",
        "--topic orders --to-offset 99 --execute",
        "--topic orders --to-current --execute",
        "--topic orders --by-duration PT1H --execute",
        "--topic orders --by-duration P3650D --execute",
        "--topic orders --to-datetime 2000-01-01T00:00:00.000 --execute",
        "--topic orders --to-datetime 2100-01-01T00:00:00.000 --dry-run",
        "--all-topics --to-latest --execute",
        "--topic users --to-earliest --execute",
        "--topic nothing --to-earliest --execute",
        "--topic orders --to-earliest --export --dry-run",
        "--to-earliest --execute",
        "--topic orders --execute",
    ] {
        notes.tool(&format!("{reset} {form}"));
    }
    notes.tool(&format!("{GROUPS} --describe --group busy --offsets"));
    notes.tool(&format!(
        "{GROUPS} --reset-offsets --all-groups --all-topics --to-earliest --dry-run"
    ));
    notes.tool(&format!(
        "{GROUPS} --reset-offsets --group fresh --topic orders --to-latest --execute"
    ));
    notes.tool(&format!("{GROUPS} --describe --group fresh"));
}

fn deleting(notes: &mut Notes) {
    let delete = format!("{GROUPS} --delete-offsets");
    notes.tool(&format!("{delete} --group busy --topic orders:0"));
    notes.tool(&format!("{delete} --group busy --topic orders"));
    notes.tool(&format!("{delete} --group busy --topic nothing"));
    notes.tool(&format!("{delete} --group absent --topic orders"));
    notes.tool(&format!("{GROUPS} --describe --group busy"));
    notes.tool(&format!("{GROUPS} --delete --group fresh"));
    notes.tool(&format!("{GROUPS} --delete --group absent"));
    notes.tool(&format!("{GROUPS} --delete --group busy --group absent"));
    // One that is alive, among all.
    let mut member = Member::of("alive", &["users"]);
    member.protocols = vec![("range", Bytes::from_static(b"\x00"))];
    join(notes, 3, &mut member, "ALIVE");
    notes.tool(&format!("{GROUPS} --delete --all-groups"));
    leave(notes, 1, "alive", &[(&member.id.clone(), None)]);
    notes.tool(&format!("{GROUPS} --list"));
}

fn configs(notes: &mut Notes) {
    let tool = "kafka-configs --entity-type groups --entity-name tuned";
    let is_consumer = |line: &str| !line.contains("share.") && !line.contains("streams.");
    notes.tool_lines(&format!("{tool} --describe --all"), is_consumer);
    notes.tool(&format!("{tool} --alter --add-config consumer.session.timeout.ms=50000"));
    notes.until("the broker has heard of it", |notes| {
        let run = notes.run(&format!("{tool} --describe"));
        run.text.contains("50000").then_some(())
    });
    notes.tool(&format!("{tool} --describe"));
    notes.tool(&format!("{tool} --alter --add-config consumer.session.timeout.ms=1"));
    notes.tool(&format!("{tool} --alter --add-config no.such.config=1"));
    notes.tool(&format!("{tool} --alter --delete-config consumer.session.timeout.ms"));
}
