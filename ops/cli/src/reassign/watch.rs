//! How far reassignments are, until they are done.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, IsTerminal},
    time::Duration,
};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use ottla_client::{
    Admin,
    admin::{LogDir, Reassignment},
    protocol::{
        Str,
        types::{BrokerId, PartitionId},
    },
};

type Key = (Str, PartitionId);
/// Bytes of each replica, as the brokers tell them.
type Sizes = BTreeMap<(Str, PartitionId, BrokerId), u64>;

const PAUSE: Duration = Duration::from_millis(500);

/// Shows the progress until nothing is under way any more; as a bar on a terminal, else a line for each change.
///
/// # Errors
/// When the cluster does not answer.
pub async fn watch(admin: &Admin) -> Result<()> {
    let mut progress = Progress::default();
    let terminal = io::stderr().is_terminal();
    let bar = if terminal { bar() } else { ProgressBar::hidden() };
    let mut told = None;
    loop {
        let ongoing = admin.list_reassignments().await?;
        let sizes = sizes(admin, &ongoing).await;
        progress.observe(&ongoing, &sizes);
        let (copied, total) = progress.bytes();
        let partitions = (progress.done(), progress.known());
        bar.set_length(total.max(1));
        bar.set_position(copied);
        bar.set_message(format!("{} of {} partitions", partitions.0, partitions.1));
        if !terminal && told != Some(partitions) {
            eprintln!("{} of {} partitions are done", partitions.0, partitions.1);
            told = Some(partitions);
        }
        if ongoing.is_empty() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    bar.finish_and_clear();
    match progress.known() {
        0 => println!("no reassignment is under way"),
        known => println!("all {known} reassignments are done"),
    }
    Ok(())
}

fn bar() -> ProgressBar {
    let template = "{bar:40} {percent:>3} %  {bytes} of {total_bytes}  {bytes_per_sec}  {msg}";
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(1).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A broker that does not answer only makes the bar stand still.
async fn sizes(admin: &Admin, ongoing: &[Reassignment]) -> Sizes {
    let brokers: BTreeSet<BrokerId> = ongoing.iter().flat_map(|it| &it.replicas).copied().collect();
    let brokers: Vec<BrokerId> = brokers.into_iter().collect();
    let described = admin.describe_log_dirs(&brokers).await;
    let mut sizes = Sizes::new();
    for (broker, dirs) in brokers.iter().zip(described) {
        let dirs: Vec<LogDir> = dirs.unwrap_or_default();
        for replica in dirs.iter().flat_map(|dir| &dir.replicas) {
            let size = u64::try_from(replica.size).unwrap_or(0);
            sizes.insert((replica.topic.clone(), replica.partition, *broker), size);
        }
    }
    sizes
}

/// What was seen under way, and how far it is.
#[derive(Debug, Default)]
struct Progress {
    partitions: BTreeMap<Key, Copying>,
}

#[derive(Debug, Default)]
struct Copying {
    copied: u64,
    total: u64,
    done: bool,
}

impl Progress {
    fn observe(&mut self, ongoing: &[Reassignment], sizes: &Sizes) {
        for copying in self.partitions.values_mut() {
            copying.done = true;
        }
        for it in ongoing {
            let size = |id: &BrokerId| {
                sizes.get(&(it.topic.clone(), it.partition, *id)).copied().unwrap_or(0)
            };
            let whole = it.replicas.iter().filter(|id| !it.adding.contains(id)).map(size).max();
            let whole = whole.unwrap_or(0);
            let copying = self.partitions.entry((it.topic.clone(), it.partition)).or_default();
            copying.done = false;
            copying.total = copying.total.max(whole.saturating_mul(it.adding.len() as u64));
            let copied = it.adding.iter().map(|id| size(id).min(whole)).sum();
            copying.copied = copying.copied.max(copied);
        }
        for copying in self.partitions.values_mut().filter(|copying| copying.done) {
            copying.copied = copying.total;
        }
    }

    fn done(&self) -> usize {
        self.partitions.values().filter(|copying| copying.done).count()
    }

    fn known(&self) -> usize {
        self.partitions.len()
    }

    /// Bytes that were copied, and those that have to be.
    fn bytes(&self) -> (u64, u64) {
        let copied = self.partitions.values().map(|copying| copying.copied).sum();
        (copied, self.partitions.values().map(|copying| copying.total).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moving(partition: i32, adding: &[i32]) -> Reassignment {
        let ids = |ids: &[i32]| ids.iter().map(|id| BrokerId(*id)).collect::<Vec<_>>();
        Reassignment {
            topic: "t".into(),
            partition: PartitionId(partition),
            replicas: ids(&[&[1, 2], adding].concat()),
            adding: ids(adding),
            removing: ids(&[1]),
        }
    }

    fn sizes(of: &[(i32, i32, u64)]) -> Sizes {
        let size = |(partition, broker, size): &(i32, i32, u64)| {
            (("t".into(), PartitionId(*partition), BrokerId(*broker)), *size)
        };
        of.iter().map(size).collect()
    }

    #[test]
    fn progress_counts_bytes_and_partitions() {
        let mut progress = Progress::default();
        let under_way = [moving(0, &[3]), moving(1, &[3, 4])];
        let known = [(0, 1, 100), (0, 2, 90), (0, 3, 30), (1, 1, 50), (1, 4, 10)];
        progress.observe(&under_way, &sizes(&known));
        assert_eq!((progress.done(), progress.known()), (0, 2));
        assert_eq!(progress.bytes(), (40, 200));

        progress.observe(&under_way[1..], &sizes(&[(1, 1, 50), (1, 4, 60)]));
        assert_eq!((progress.done(), progress.known()), (1, 2));
        assert_eq!(progress.bytes(), (150, 200), "a replica is never more than whole");

        progress.observe(&[], &Sizes::new());
        assert_eq!((progress.done(), progress.bytes()), (2, (200, 200)));
    }

    #[test]
    fn bar_never_goes_back_because_a_broker_is_silent() {
        let mut progress = Progress::default();
        let under_way = [moving(0, &[3])];
        progress.observe(&under_way, &sizes(&[(0, 1, 100), (0, 3, 30)]));
        progress.observe(&under_way, &sizes(&[(0, 3, 30)]));
        assert_eq!(progress.bytes(), (30, 100));
    }
}
