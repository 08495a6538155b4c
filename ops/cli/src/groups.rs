//! `ottla groups`: who reads what, how far behind, and from where on.

mod reset;

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use ottla_client::{
    Admin, ClientError, OffsetAt,
    admin::{CommittedOffset, GroupDescription, GroupMember},
    consumer::TopicPartition,
    protocol::{Str, types::Offset},
};
use serde::Serialize;

use crate::{
    connect,
    output::{Output, number, table, words},
};
use reset::Reset;

/// What to do with groups.
#[derive(Debug, Subcommand)]
pub enum Groups {
    /// List the groups.
    List,
    /// Show members, committed offsets, and how far they are behind.
    Describe(Names),
    /// Move the committed offsets of a group that has no members.
    Reset(Reset),
    /// Delete groups that have no members, with their offsets.
    Delete(Names),
}

/// Groups by id.
#[derive(Debug, Args)]
pub struct Names {
    /// The groups.
    #[arg(required = true)]
    names: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ListLine {
    group: String,
    #[serde(rename = "type")]
    group_type: String,
    state: String,
    protocol_type: String,
}

#[derive(Debug, Serialize)]
struct GroupInfo {
    group: String,
    #[serde(rename = "type")]
    group_type: String,
    state: String,
    assignor: String,
    coordinator: i32,
    members: Vec<MemberLine>,
    partitions: Vec<PartitionLine>,
    /// Of all partitions that have a committed offset.
    lag: i64,
}

#[derive(Debug, Serialize)]
struct MemberLine {
    member: String,
    instance: Option<String>,
    client: String,
    host: String,
    partitions: usize,
}

#[derive(Debug, Serialize)]
struct PartitionLine {
    topic: String,
    partition: i32,
    /// Null where nothing is committed.
    committed: Option<i64>,
    /// Null where nobody leads the partition.
    end: Option<i64>,
    lag: Option<i64>,
    member: Option<String>,
    client: Option<String>,
}

impl Groups {
    /// Runs the command.
    ///
    /// # Errors
    /// When the cluster does not answer, or refuses.
    pub async fn run(&self, bootstrap: &str, output: Output) -> Result<()> {
        let admin = connect::admin(bootstrap)?;
        match self {
            Self::List => list(&admin, output).await,
            Self::Describe(names) => describe(&admin, &names.ids(), output).await,
            Self::Reset(reset) => reset.run(&admin, output).await,
            Self::Delete(names) => delete(&admin, &names.ids()).await,
        }
    }
}

impl Names {
    fn ids(&self) -> Vec<Str> {
        self.names.iter().map(|name| name.as_str().into()).collect()
    }
}

async fn list(admin: &Admin, output: Output) -> Result<()> {
    let groups = admin.list_groups().await?;
    let rows: Vec<ListLine> = groups
        .iter()
        .map(|group| ListLine {
            group: group.group_id.to_string(),
            group_type: group.group_type.to_string(),
            state: group.state.to_string(),
            protocol_type: group.protocol_type.to_string(),
        })
        .collect();
    let columns = [words("GROUP"), words("TYPE"), words("STATE"), words("PROTOCOL")];
    output.print(&columns, &rows, |row| {
        vec![
            row.group.clone(),
            row.group_type.clone(),
            row.state.clone(),
            row.protocol_type.clone(),
        ]
    })
}

async fn describe(admin: &Admin, groups: &[Str], output: Output) -> Result<()> {
    let mut described = Vec::new();
    for (group, description) in groups.iter().zip(admin.describe_groups(groups).await) {
        let description = description.map_err(|error| anyhow!("group {group}: {error}"))?;
        described.push(info(admin, &description).await?);
    }
    output.print_one(&described, |groups| groups.iter().map(text).collect::<Vec<_>>().join("\n\n"))
}

async fn info(admin: &Admin, group: &GroupDescription) -> Result<GroupInfo> {
    let committed = admin.group_offsets(&group.group_id).await?;
    let mut owners: BTreeMap<TopicPartition, Option<&GroupMember>> =
        committed.keys().map(|key| (key.clone(), None)).collect();
    for member in &group.members {
        owners.extend(member.assignment.iter().map(|key| (key.clone(), Some(member))));
    }
    let keys: Vec<TopicPartition> = owners.keys().cloned().collect();
    let ends = ends(admin, &keys, OffsetAt::Latest).await;
    let partitions: Vec<PartitionLine> = owners
        .iter()
        .zip(ends)
        .map(|((key, owner), end)| line(key, *owner, committed.get(key), end.ok()))
        .collect();
    Ok(GroupInfo {
        group: group.group_id.to_string(),
        group_type: group.group_type.to_string(),
        state: group.state.to_string(),
        assignor: group.assignor.to_string(),
        coordinator: group.coordinator.0,
        members: group.members.iter().map(member_line).collect(),
        lag: partitions.iter().filter_map(|line| line.lag).sum(),
        partitions,
    })
}

/// Where partitions begin or end, in their order.
async fn ends(
    admin: &Admin,
    partitions: &[TopicPartition],
    at: OffsetAt,
) -> Vec<Result<Offset, ClientError>> {
    let queries: Vec<_> = partitions.iter().map(|(topic, id)| (topic.clone(), *id, at)).collect();
    let found = admin.list_offsets(&queries).await;
    found.into_iter().map(|found| found.map(|found| found.offset)).collect()
}

fn line(
    (topic, partition): &TopicPartition,
    owner: Option<&GroupMember>,
    committed: Option<&CommittedOffset>,
    end: Option<Offset>,
) -> PartitionLine {
    let committed = committed.map(|committed| committed.offset.0);
    let end = end.map(|end| end.0);
    PartitionLine {
        topic: topic.to_string(),
        partition: partition.0,
        committed,
        end,
        lag: committed.zip(end).map(|(committed, end)| (end - committed).max(0)),
        member: owner.map(|owner| owner.member_id.to_string()),
        client: owner.map(|owner| owner.client_id.to_string()),
    }
}

fn member_line(member: &GroupMember) -> MemberLine {
    MemberLine {
        member: member.member_id.to_string(),
        instance: member.instance_id.as_ref().map(ToString::to_string),
        client: member.client_id.to_string(),
        host: member.host.trim_start_matches('/').to_owned(),
        partitions: member.assignment.len(),
    }
}

fn text(group: &GroupInfo) -> String {
    let mut text = format!(
        "group {}: {}, {}{}, coordinator {}, {} members, lag {}",
        group.group,
        group.state,
        group.group_type.to_lowercase(),
        if group.assignor.is_empty() { String::new() } else { format!(" ({})", group.assignor) },
        group.coordinator,
        group.members.len(),
        group.lag
    );
    if !group.members.is_empty() {
        let columns = [
            words("MEMBER"),
            words("INSTANCE"),
            words("CLIENT"),
            words("HOST"),
            number("PARTITIONS"),
        ];
        let rows = group.members.iter().map(|member| {
            vec![
                member.member.clone(),
                member.instance.clone().unwrap_or_else(|| "-".to_owned()),
                member.client.clone(),
                member.host.clone(),
                member.partitions.to_string(),
            ]
        });
        text.push_str(&format!("\n\n{}", table(&columns, rows)));
    }
    if !group.partitions.is_empty() {
        let columns = [
            words("TOPIC"),
            number("PARTITION"),
            number("COMMITTED"),
            number("END"),
            number("LAG"),
            words("MEMBER"),
        ];
        let shown = |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |it| it.to_string());
        let rows = group.partitions.iter().map(|line| {
            vec![
                line.topic.clone(),
                line.partition.to_string(),
                shown(line.committed),
                shown(line.end),
                shown(line.lag),
                line.member.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        });
        text.push_str(&format!("\n\n{}", table(&columns, rows)));
    }
    text
}

async fn delete(admin: &Admin, groups: &[Str]) -> Result<()> {
    let mut failed = Vec::new();
    for (group, result) in groups.iter().zip(admin.delete_groups(groups).await) {
        match result {
            Ok(()) => println!("deleted group {group}"),
            Err(error) => failed.push(format!("group {group} was not deleted: {error}")),
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!(failed.join("\n")) }
}

#[cfg(test)]
mod tests {
    use ottla_client::protocol::types::{LeaderEpoch, PartitionId};

    use super::*;

    #[test]
    fn lag_needs_a_committed_offset_and_an_end_and_is_never_negative() {
        let key = ("t".into(), PartitionId(1));
        let at = |offset| CommittedOffset {
            offset: Offset(offset),
            leader_epoch: LeaderEpoch::NONE,
            metadata: Str::new(),
        };
        let lag = |committed: Option<i64>, end: Option<i64>| {
            line(&key, None, committed.map(at).as_ref(), end.map(Offset)).lag
        };
        assert_eq!(lag(Some(3), Some(10)), Some(7));
        // The end was asked for before the commit.
        assert_eq!(lag(Some(11), Some(10)), Some(0));
        assert_eq!(lag(None, Some(10)), None);
        assert_eq!(lag(Some(3), None), None);
    }
}
