//! `ottla groups reset`: other committed offsets for a group that has no members.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use ottla_client::{
    Admin, OffsetAt,
    consumer::TopicPartition,
    protocol::{Str, types::Offset},
};
use serde::Serialize;

use super::ends;
use crate::{
    names::Named,
    output::{Output, number, words},
};

/// Where to put committed offsets.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ottla groups reset billing --to-earliest --dry-run
  ottla groups reset billing --topic orders --to-latest
  ottla groups reset billing --topic orders:3 --to-offset 4711
  ottla groups reset billing --by-duration 2h             where it was two hours ago

Without --topic, every partition that the group has committed. What lies outside of a partition is put to its begin
or end.")]
pub struct Reset {
    /// The group.
    group: String,
    /// Only TOPIC or TOPIC:PARTITION; repeat for more.
    #[arg(long, value_name = "TOPIC[:PARTITION]")]
    topic: Vec<Named>,
    /// Show what would be done.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    to: To,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct To {
    /// To the first record there is.
    #[arg(long)]
    to_earliest: bool,
    /// To the next record to be written.
    #[arg(long)]
    to_latest: bool,
    /// To where they are, which also commits partitions anew that are about to expire.
    #[arg(long)]
    to_current: bool,
    /// To this offset.
    #[arg(long, value_name = "OFFSET")]
    to_offset: Option<i64>,
    /// To the first record of this time or later, Unix milliseconds.
    #[arg(long, value_name = "MS")]
    to_timestamp: Option<i64>,
    /// To the first record that is no older: 30s, 15m, 2h, 7d.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    by_duration: Option<i64>,
    /// So many records on, or back.
    #[arg(long, value_name = "RECORDS", allow_negative_numbers = true)]
    shift_by: Option<i64>,
}

#[derive(Debug, Serialize)]
struct Line {
    topic: String,
    partition: i32,
    /// Null where nothing was committed.
    from: Option<i64>,
    to: i64,
}

impl Reset {
    /// Moves the offsets, or shows how.
    pub async fn run(&self, admin: &Admin, output: Output) -> Result<()> {
        let group = Str::from(self.group.as_str());
        let committed = admin.group_offsets(&group).await?;
        let committed: BTreeMap<TopicPartition, i64> =
            committed.into_iter().map(|(key, found)| (key, found.offset.0)).collect();
        let partitions = self.partitions(admin, &committed).await?;
        if partitions.is_empty() {
            bail!("group {group} has committed nothing; name what to set with --topic");
        }
        let targets = self.targets(admin, &partitions, &committed).await?;
        if !self.dry_run {
            let offsets: Vec<_> =
                targets.iter().map(|(key, to)| (key.clone(), Offset(*to))).collect();
            let results = admin.set_group_offsets(&group, &offsets).await?;
            for ((key, _), result) in offsets.iter().zip(results) {
                result.with_context(|| {
                    format!("{}-{} was not set: does the group have members?", key.0, key.1)
                })?;
            }
        }
        let rows: Vec<Line> = targets
            .iter()
            .map(|(key, to)| Line {
                topic: key.0.to_string(),
                partition: key.1.0,
                from: committed.get(key).copied(),
                to: *to,
            })
            .collect();
        let columns = [words("TOPIC"), number("PARTITION"), number("FROM"), number("TO")];
        output.print(&columns, &rows, |row| {
            let from = row.from.map_or_else(|| "-".to_owned(), |from| from.to_string());
            vec![row.topic.clone(), row.partition.to_string(), from, row.to.to_string()]
        })
    }

    async fn partitions(
        &self,
        admin: &Admin,
        committed: &BTreeMap<TopicPartition, i64>,
    ) -> Result<Vec<TopicPartition>> {
        if self.topic.is_empty() {
            return Ok(committed.keys().cloned().collect());
        }
        let metadata = admin.client().all_topics().await?;
        let mut partitions = Vec::new();
        for named in &self.topic {
            let topic = metadata.topic(&named.topic);
            let topic = topic.ok_or_else(|| anyhow!("there is no topic {}", named.topic))?;
            let meant = topic.partitions.iter().filter(|one| named.means(&topic.name, one.id));
            let before = partitions.len();
            partitions.extend(meant.map(|one| (topic.name.clone(), one.id)));
            if partitions.len() == before {
                bail!("topic {} has no such partition", named.topic);
            }
        }
        partitions.sort();
        partitions.dedup();
        Ok(partitions)
    }

    async fn targets(
        &self,
        admin: &Admin,
        partitions: &[TopicPartition],
        committed: &BTreeMap<TopicPartition, i64>,
    ) -> Result<Vec<(TopicPartition, i64)>> {
        let begins = ends(admin, partitions, OffsetAt::Earliest).await;
        let latest = ends(admin, partitions, OffsetAt::Latest).await;
        let since = self.to.since()?;
        let found = match since {
            Some(at_ms) => ends(admin, partitions, OffsetAt::Timestamp(at_ms)).await,
            None => latest.clone(),
        };
        let mut targets = Vec::new();
        for (index, key) in partitions.iter().enumerate() {
            let at = |list: &[Result<Offset, _>]| {
                let found: Result<Offset, ottla_client::ClientError> = list[index].clone();
                found.with_context(|| format!("{}-{}", key.0, key.1))
            };
            let (begin, end) = (at(&begins)?.0, at(&latest)?.0);
            let current = committed.get(key).copied();
            let timed = since.map(|_| at(&found)).transpose()?.map(|offset| offset.0);
            let wanted = self.to.offset((begin, end), current, timed);
            let wanted = wanted.ok_or_else(|| {
                anyhow!("the group has committed nothing for {}-{} to go from", key.0, key.1)
            })?;
            targets.push((key.clone(), wanted.clamp(begin, end)));
        }
        Ok(targets)
    }
}

impl To {
    /// The time that is asked for, Unix ms.
    fn since(&self) -> Result<Option<i64>> {
        let Some(back_ms) = self.by_duration else { return Ok(self.to_timestamp) };
        Ok(Some(now_ms()? - back_ms))
    }

    /// The offset that is asked for; none if it needs a committed one and there is none. `found` is what a time led
    /// to, negative where no record is that late.
    fn offset(
        &self,
        (begin, end): (i64, i64),
        current: Option<i64>,
        found: Option<i64>,
    ) -> Option<i64> {
        if let Some(found) = found {
            return Some(if found < 0 { end } else { found });
        }
        match self {
            Self { to_earliest: true, .. } => Some(begin),
            Self { to_latest: true, .. } => Some(end),
            Self { to_offset: Some(offset), .. } => Some(*offset),
            Self { shift_by: Some(records), .. } => Some(current?.saturating_add(*records)),
            _ => current,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a command asks once what time it is")]
fn now_ms() -> Result<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is wrong")?;
    Ok(i64::try_from(since.as_millis())?)
}

/// Parses `30s`, `15m`, `2h`, `7d` into milliseconds.
fn duration(text: &str) -> Result<i64, String> {
    let wrong = || "expected a time such as 30s, 15m, 2h or 7d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number: i64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds * 1000).filter(|ms| 0 <= *ms).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to() -> To {
        To {
            to_earliest: false,
            to_latest: false,
            to_current: false,
            to_offset: None,
            to_timestamp: None,
            by_duration: None,
            shift_by: None,
        }
    }

    #[test]
    fn each_way_to_say_where() {
        let range = (10, 90);
        assert_eq!(To { to_earliest: true, ..to() }.offset(range, None, None), Some(10));
        assert_eq!(To { to_latest: true, ..to() }.offset(range, Some(50), None), Some(90));
        assert_eq!(To { to_current: true, ..to() }.offset(range, Some(50), None), Some(50));
        assert_eq!(To { to_offset: Some(7), ..to() }.offset(range, None, None), Some(7));
        assert_eq!(To { shift_by: Some(-20), ..to() }.offset(range, Some(50), None), Some(30));
        assert_eq!(To { shift_by: Some(5), ..to() }.offset(range, None, None), None);
        let timed = To { to_timestamp: Some(1), ..to() };
        assert_eq!(timed.offset(range, None, Some(33)), Some(33));
        assert_eq!(timed.offset(range, None, Some(-1)), Some(90));
    }

    #[test]
    fn durations() {
        assert_eq!(duration("90s"), Ok(90_000));
        assert_eq!(duration("2h"), Ok(7_200_000));
        for wrong in ["", "h", "-1s", "5", "5y", "9999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
