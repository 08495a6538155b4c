//! Names of files and folders, as Kafka has them.

use std::fmt;
use std::path::{Path, PathBuf};

use ottla_protocol::types::{Offset, PartitionId};
use ottla_protocol::{Str, Uuid};

/// A partition of a topic, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Str,
    /// The partition's number.
    pub partition: PartitionId,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<Str>, partition: i32) -> Self {
        Self { topic: topic.into(), partition: PartitionId(partition) }
    }

    /// The name of its folder: `topic-0`.
    pub fn dir_name(&self) -> String {
        format!("{}-{}", &*self.topic, self.partition)
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", &*self.topic, self.partition)
    }
}

/// What a folder in a log dir holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogDirEntry {
    /// A partition's log.
    Partition(TopicPartition),
    /// A deleted partition, to be removed file by file.
    Deleted,
    /// A partition that the cluster does not know; kept, never opened.
    Stray,
    /// A copy that was being moved here from another log dir.
    Future,
    /// Not ours.
    Unknown,
}

pub(crate) const DELETE_SUFFIX: &str = "-delete";
pub(crate) const STRAY_SUFFIX: &str = "-stray";
pub(crate) const FUTURE_SUFFIX: &str = "-future";

impl LogDirEntry {
    /// Reads the name of a folder.
    pub(crate) fn parse(name: &str) -> Self {
        if name.ends_with(DELETE_SUFFIX) {
            return Self::Deleted;
        }
        if name.ends_with(STRAY_SUFFIX) {
            return Self::Stray;
        }
        if name.ends_with(FUTURE_SUFFIX) {
            return Self::Future;
        }
        match name.rsplit_once('-') {
            Some((topic, partition)) if !topic.is_empty() => match partition.parse::<i32>() {
                Ok(number) if 0 <= number && number.to_string() == partition => {
                    Self::Partition(TopicPartition::new(topic, number))
                }
                _ => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }
}

/// The name for a folder that is put aside: `topic-0.<32 hex digits>-delete`, at most 255 bytes, so that a long topic name
/// is cut. The id keeps two lives of one topic apart.
pub(crate) fn aside_name(partition: &TopicPartition, id: Uuid, suffix: &str) -> String {
    let hex: String = id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let tail = format!("-{}.{hex}{suffix}", partition.partition);
    let mut topic = partition.topic.to_string();
    let room = NAME_LEN_MAX - tail.len();
    while room < topic.len() {
        topic.pop();
    }
    topic + &tail
}

/// Bytes in a file's name.
const NAME_LEN_MAX: usize = 255;

/// A kind of file that belongs to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentFileKind {
    Log,
    OffsetIndex,
    TimeIndex,
    TxnIndex,
    Snapshot,
}

impl SegmentFileKind {
    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::OffsetIndex => ".index",
            Self::TimeIndex => ".timeindex",
            Self::TxnIndex => ".txnindex",
            Self::Snapshot => ".snapshot",
        }
    }

    /// Reads a name such as `00000000000000000042.log`.
    pub(crate) fn parse(name: &str) -> Option<(Offset, Self)> {
        let (digits, suffix) = name.split_at_checked(OFFSET_DIGITS)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let offset = Offset(digits.parse().ok()?);
        let kinds = [Self::Log, Self::OffsetIndex, Self::TimeIndex, Self::TxnIndex, Self::Snapshot];
        let kind = kinds.into_iter().find(|kind| kind.suffix() == suffix)?;
        Some((offset, kind))
    }
}

const OFFSET_DIGITS: usize = 20;

/// `00000000000000000042.log` and the like, within a partition's folder.
pub(crate) fn segment_file(dir: &Path, base: Offset, kind: SegmentFileKind) -> PathBuf {
    dir.join(format!("{:020}{}", base.0, kind.suffix()))
}

/// Marks a file that is to be removed.
pub(crate) const DELETED_FILE_SUFFIX: &str = ".deleted";
/// What compaction is writing; dropped at start.
pub(crate) const CLEANED_FILE_SUFFIX: &str = ".cleaned";
/// What compaction has written and is putting in place; finished at start.
pub(crate) const SWAP_FILE_SUFFIX: &str = ".swap";
/// What an atomic replacement is writing; dropped at start.
pub(crate) const TEMP_FILE_SUFFIX: &str = ".tmp";

pub(crate) const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
pub(crate) const PARTITION_METADATA: &str = "partition.metadata";
pub(crate) const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
pub(crate) const HIGH_WATERMARK_CHECKPOINT: &str = "replication-offset-checkpoint";
pub(crate) const LOG_START_CHECKPOINT: &str = "log-start-offset-checkpoint";
pub(crate) const META_PROPERTIES: &str = "meta.properties";
pub(crate) const LOCK: &str = ".lock";
pub(crate) const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
pub(crate) const RUNNING: &str = ".running";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_told_apart_by_name() {
        let partition =
            |topic: &str, number| LogDirEntry::Partition(TopicPartition::new(topic, number));
        assert_eq!(LogDirEntry::parse("orders-0"), partition("orders", 0));
        assert_eq!(LogDirEntry::parse("my-topic-12"), partition("my-topic", 12));
        assert_eq!(
            LogDirEntry::parse("__consumer_offsets-49"),
            partition("__consumer_offsets", 49)
        );
        for unknown in ["lost+found", "-1", "t-", "t-01", "snapshots", "t-1x"] {
            assert_eq!(LogDirEntry::parse(unknown), LogDirEntry::Unknown, "{unknown}");
        }
        assert_eq!(LogDirEntry::parse("t-0.0123-delete"), LogDirEntry::Deleted);
        assert_eq!(LogDirEntry::parse("t-0.0123-stray"), LogDirEntry::Stray);
        assert_eq!(LogDirEntry::parse("t-0.0123-future"), LogDirEntry::Future);
    }

    #[test]
    fn a_long_topic_name_still_fits_when_put_aside() {
        let id = Uuid::from_bytes([0xab; 16]);
        let name = aside_name(&TopicPartition::new("t".repeat(249), 123), id, DELETE_SUFFIX);
        assert_eq!(name.len(), 255);
        assert!(name.ends_with(&format!("-123.{}-delete", "ab".repeat(16))));
        assert_eq!(LogDirEntry::parse(&name), LogDirEntry::Deleted);
    }

    #[test]
    fn segment_files_are_named_by_their_first_offset() {
        let path = segment_file(Path::new("/d/t-0"), Offset(42), SegmentFileKind::TimeIndex);
        assert_eq!(path, Path::new("/d/t-0/00000000000000000042.timeindex"));
        assert_eq!(
            SegmentFileKind::parse("00000000000000000042.snapshot"),
            Some((Offset(42), SegmentFileKind::Snapshot))
        );
        for other in ["42.log", "00000000000000000042.log.deleted", "0000000000000000004x.log", ""]
        {
            assert_eq!(SegmentFileKind::parse(other), None, "{other}");
        }
    }
}
