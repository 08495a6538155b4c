//! What the disks of a broker that does not run tell `ottla cluster recover`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ottla_metadata::highest_seen::{HighestSeen, HighestSeenError};
use ottla_metadata::model::{Recovery, Rest};
use ottla_metadata::recovery::{BrokerFacts, LogFacts};
use ottla_protocol::Uuid;
use ottla_storage::{
    DirInspection, LogInspection, LogIo, OpenDirError, TopicPartition, inspect_dir,
};

use crate::broker::claimed_life;
use crate::data::worst_life;

/// Why the facts cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A directory cannot be looked into.
    #[error(transparent)]
    Dir(#[from] OpenDirError),
    /// What was remembered of the store cannot be read.
    #[error(transparent)]
    Seen(#[from] HighestSeenError),
    /// The directory belongs to nobody.
    #[error("{} belongs to no broker: it has no meta.properties with a node.id, cluster.id and directory.id", .0.display())]
    NoIdentity(PathBuf),
    /// Two directories of one broker belong to different clusters.
    #[error("the directories of broker {broker} belong to the clusters {one} and {other}")]
    TwoClusters {
        /// The broker.
        broker: i32,
        /// A cluster.
        one: String,
        /// Another.
        other: String,
    },
}

/// Looks into log directories, of one broker or of several, and tells what each broker has. No broker may run
/// in them; nothing in them is changed. `boot_id`: the machine's, as it is now. Waits for the disk.
///
/// # Errors
/// When a directory is in use, is none, or cannot be read. A single log that cannot be read is a fact.
pub fn collect<I: LogIo>(
    io: &I,
    dirs: &[PathBuf],
    boot_id: &str,
) -> Result<Vec<BrokerFacts>, CollectError> {
    let mut by_broker: BTreeMap<i32, Vec<(PathBuf, DirInspection)>> = BTreeMap::new();
    for dir in dirs {
        let inspected = inspect_dir(io, dir, boot_id)?;
        let broker = inspected.node_id.ok_or_else(|| CollectError::NoIdentity(dir.clone()))?;
        by_broker.entry(broker).or_default().push((dir.clone(), inspected));
    }
    by_broker.into_iter().map(|(broker, dirs)| facts(broker, &dirs)).collect()
}

fn facts(broker: i32, dirs: &[(PathBuf, DirInspection)]) -> Result<BrokerFacts, CollectError> {
    let mut facts = BrokerFacts {
        broker,
        cluster_id: String::new(),
        previous: claimed_life(worst_life(dirs.iter().map(|(_, dir)| dir.previous_life))),
        recovery: None,
        dirs: BTreeMap::new(),
        logs: Vec::new(),
        rest: Rest::new(),
    };
    for (path, dir) in dirs {
        let nobodys = || CollectError::NoIdentity(path.clone());
        let cluster = dir.cluster_id.clone().ok_or_else(nobodys)?;
        let id = dir.directory_id.ok_or_else(nobodys)?;
        if !facts.cluster_id.is_empty() && facts.cluster_id != cluster {
            let one = facts.cluster_id;
            return Err(CollectError::TwoClusters { broker, one, other: cluster });
        }
        facts.cluster_id = cluster;
        facts.dirs.insert(id.to_string(), path.display().to_string());
        facts.logs.extend(dir.logs.iter().map(|(name, log)| log_facts(id, name, log)));
        // Only the first directory of a broker has it.
        let seen = HighestSeen::read(path)?;
        facts.recovery = Recovery::later(facts.recovery, seen.and_then(|seen| seen.recovery));
    }
    Ok(facts)
}

fn log_facts(dir: Uuid, name: &TopicPartition, log: &Result<LogInspection, String>) -> LogFacts {
    let mut facts = LogFacts {
        topic: name.topic.to_string(),
        topic_id: Uuid::ZERO,
        partition: name.partition.0,
        dir,
        log_start: 0,
        log_end: 0,
        leader_epoch: -1,
        high_watermark: 0,
        synced_end: 0,
        max_producer_id: -1,
        unreadable: None,
    };
    match log {
        Err(reason) => facts.unreadable = Some(reason.clone()),
        Ok(log) => {
            facts.topic_id = log.topic_id;
            facts.log_start = log.log_start.0;
            facts.log_end = log.log_end.0;
            facts.leader_epoch = log.leader_epoch.0;
            facts.high_watermark = log.high_watermark.0;
            facts.synced_end = log.synced_end.0;
            facts.max_producer_id = log.max_producer_id.0;
        }
    }
    facts
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ottla_metadata::model::PreviousLife;
    use ottla_storage::{DirIdentity, LogDir, RealIo};

    use super::*;

    fn dir_of(path: &Path, broker: i32, id: u8) {
        let identity = DirIdentity {
            cluster_id: "c".to_owned(),
            node_id: broker,
            boot_id: "boot".to_owned(),
            new_directory_id: Uuid::from_bytes([id; 16]),
            open_files_max: 10,
        };
        let dir = LogDir::open(RealIo, path, &identity).unwrap();
        let log = dir.create_log(&TopicPartition::new("t", 0), Uuid::ONE, Default::default());
        dir.close(vec![log.unwrap()], 70 + i64::from(broker)).unwrap();
    }

    #[test]
    fn dirs_are_told_apart_by_the_broker_that_they_belong_to() {
        let temp = tempfile::tempdir().unwrap();
        let dirs: Vec<PathBuf> = ["a", "b", "c"].map(|name| temp.path().join(name)).to_vec();
        for (path, broker, id) in [(&dirs[0], 1, 1), (&dirs[1], 2, 2), (&dirs[2], 1, 3)] {
            dir_of(path, broker, id);
        }
        let recovery = Some(Recovery { number: 4, id: Uuid::ONE });
        let seen = HighestSeen {
            store_id: 1,
            revision: 9,
            controller_term: 3,
            recovery,
            rest: Rest::new(),
        };
        seen.write(&dirs[0]).unwrap();
        let facts = collect(&RealIo, &dirs, "later boot").unwrap();
        let [one, two] = &facts[..] else { panic!("{facts:?}") };
        assert_eq!((one.broker, one.dirs.len(), one.logs.len()), (1, 2, 2));
        assert_eq!((one.recovery, two.recovery), (recovery, None));
        assert_eq!(two.previous, PreviousLife::Clean { broker_epoch: 72 });
        assert_eq!((two.broker, two.cluster_id.as_str()), (2, "c"));
        assert_eq!(two.logs[0].topic_id, Uuid::ONE);

        let nobodys = temp.path().join("d");
        std::fs::create_dir(&nobodys).unwrap();
        let error = collect(&RealIo, &[nobodys], "boot").unwrap_err();
        assert!(matches!(error, CollectError::NoIdentity(_)), "{error}");
    }
}
