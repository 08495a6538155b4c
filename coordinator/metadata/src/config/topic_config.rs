//! A topic's configs as the types that code works with.

use std::time::Duration;

use super::def::ConfigType;
use super::resolve::{Layers, topic_value};
use super::table;
use super::value::{ConfigValue, ValueError};

/// Every config of a topic, resolved. Where Kafka writes -1 for «no limit», and where it writes the
/// largest number for «never», the field is `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    /// What happens to old data.
    pub cleanup_policy: CleanupPolicy,
    /// How batches are stored.
    pub compression_type: CompressionType,
    /// Level for gzip: 1 to 9, or -1 for the codec's own.
    pub compression_gzip_level: i32,
    /// Level for lz4: 1 to 17.
    pub compression_lz4_level: i32,
    /// Level for zstd: -131072 to 22.
    pub compression_zstd_level: i32,
    /// How long marks of deletion are kept in a compacted topic.
    pub delete_retention: Duration,
    /// How long removed files stay on disk.
    pub file_delete_delay: Duration,
    /// Records after which to sync; `None` = never for their number. At least 1.
    pub flush_messages: Option<u64>,
    /// Time after which to sync; `None` = never for time.
    pub flush: Option<Duration>,
    /// Replicas whose fetching is slowed.
    pub follower_replication_throttled_replicas: Vec<String>,
    /// Bytes of log between two entries of the offset index.
    pub index_interval_bytes: u32,
    /// Replicas towards which sending is slowed.
    pub leader_replication_throttled_replicas: Vec<String>,
    /// Local bytes once in tiered storage; `None` = no limit, -2 has become `retention_bytes`.
    pub local_retention_bytes: Option<u64>,
    /// Local time once in tiered storage; `None` = no limit, -2 has become `retention`.
    pub local_retention: Option<Duration>,
    /// Age at which compaction is due; `None` = never for age.
    pub max_compaction_lag: Option<Duration>,
    /// Largest record batch in bytes.
    pub max_message_bytes: u32,
    /// How far in the future a timestamp may be; `None` = any.
    pub message_timestamp_after_max: Option<Duration>,
    /// How far in the past a timestamp may be; `None` = any.
    pub message_timestamp_before_max: Option<Duration>,
    /// Whose clock timestamps show.
    pub message_timestamp_type: TimestampType,
    /// Dirty share at which compaction begins, 0 to 1.
    pub min_cleanable_dirty_ratio: f64,
    /// Age before which nothing is compacted.
    pub min_compaction_lag: Duration,
    /// Replicas in sync that acks=all needs. At least 1.
    pub min_insync_replicas: u32,
    /// Whether a new segment's space is reserved.
    pub preallocate: bool,
    /// Whether copying to tiered storage is paused.
    pub remote_log_copy_disable: bool,
    /// Whether tiered data goes when tiered storage is switched off.
    pub remote_log_delete_on_disable: bool,
    /// Whether older segments move to tiered storage.
    pub remote_storage_enable: bool,
    /// Bytes a partition keeps; `None` = no limit.
    pub retention_bytes: Option<u64>,
    /// Time for which records are kept; `None` = for ever.
    pub retention: Option<Duration>,
    /// Size at which a new segment is begun.
    pub segment_bytes: u32,
    /// Largest index of a segment, in bytes.
    pub segment_index_bytes: u32,
    /// Largest random shortening of `segment`.
    pub segment_jitter: Duration,
    /// Age at which a new segment is begun; `None` = never for age.
    pub segment: Option<Duration>,
    /// Whether a replica not in sync may lead when no other is left.
    pub unclean_leader_election_enable: bool,
}

/// What happens to old data; neither means that everything is kept for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Segments past the retention limits are deleted.
    pub delete: bool,
    /// The newest record of each key is kept.
    pub compact: bool,
}

/// How batches are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionType {
    /// As the producer sent them.
    Producer,
    /// Not compressed.
    Uncompressed,
    /// With gzip.
    Gzip,
    /// With snappy.
    Snappy,
    /// With lz4.
    Lz4,
    /// With zstd.
    Zstd,
}

/// Whose clock a record's timestamp shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at the append.
    LogAppendTime,
}

impl TopicConfig {
    /// What holds for a topic. `layers.own` is what is set on it.
    ///
    /// # Errors
    /// When a layer holds a value that is not allowed, which none that was checked when it was set does.
    pub fn resolve(layers: &Layers<'_>) -> Result<Self, ValueError> {
        let read = Reader { layers };
        let retention_bytes = read.limit("retention.bytes")?;
        let retention = read.limit("retention.ms")?.map(Duration::from_millis);
        Ok(Self {
            cleanup_policy: read.cleanup_policy()?,
            compression_type: read.compression_type()?,
            compression_gzip_level: read.int("compression.gzip.level")?,
            compression_lz4_level: read.int("compression.lz4.level")?,
            compression_zstd_level: read.int("compression.zstd.level")?,
            delete_retention: read.millis("delete.retention.ms")?,
            file_delete_delay: read.millis("file.delete.delay.ms")?,
            flush_messages: read.limit("flush.messages")?,
            flush: read.limit("flush.ms")?.map(Duration::from_millis),
            follower_replication_throttled_replicas: read
                .list("follower.replication.throttled.replicas")?,
            index_interval_bytes: read.size("index.interval.bytes")?,
            leader_replication_throttled_replicas: read
                .list("leader.replication.throttled.replicas")?,
            local_retention_bytes: read.local("local.retention.bytes", retention_bytes)?,
            local_retention: read
                .local("local.retention.ms", retention.map(millis_of))?
                .map(Duration::from_millis),
            max_compaction_lag: read.limit("max.compaction.lag.ms")?.map(Duration::from_millis),
            max_message_bytes: read.size("max.message.bytes")?,
            message_timestamp_after_max: read
                .limit("message.timestamp.after.max.ms")?
                .map(Duration::from_millis),
            message_timestamp_before_max: read
                .limit("message.timestamp.before.max.ms")?
                .map(Duration::from_millis),
            message_timestamp_type: read.timestamp_type()?,
            min_cleanable_dirty_ratio: read.ratio("min.cleanable.dirty.ratio")?,
            min_compaction_lag: read.millis("min.compaction.lag.ms")?,
            min_insync_replicas: read.size("min.insync.replicas")?,
            preallocate: read.flag("preallocate")?,
            remote_log_copy_disable: read.flag("remote.log.copy.disable")?,
            remote_log_delete_on_disable: read.flag("remote.log.delete.on.disable")?,
            remote_storage_enable: read.flag("remote.storage.enable")?,
            retention_bytes,
            retention,
            segment_bytes: read.size("segment.bytes")?,
            segment_index_bytes: read.size("segment.index.bytes")?,
            segment_jitter: read.millis("segment.jitter.ms")?,
            segment: read.limit("segment.ms")?.map(Duration::from_millis),
            unclean_leader_election_enable: read.flag("unclean.leader.election.enable")?,
        })
    }
}

impl Default for TopicConfig {
    /// What holds where nobody set anything.
    fn default() -> Self {
        Self::resolve(&Layers::default()).expect("every default passes its own check")
    }
}

struct Reader<'a> {
    layers: &'a Layers<'a>,
}

impl Reader<'_> {
    fn value(&self, name: &'static str) -> Result<ConfigValue, ValueError> {
        let def = table::lookup_topic(name).expect("only names of the table are read");
        let text = topic_value(def, self.layers).unwrap_or_default();
        def.parse(&text)
    }

    fn number(&self, name: &'static str) -> Result<i64, ValueError> {
        Ok(match self.value(name)? {
            ConfigValue::Int(value) => value.into(),
            ConfigValue::Long(value) => value,
            other => unreachable!("{name} is a number, not {other:?}"),
        })
    }

    fn int(&self, name: &'static str) -> Result<i32, ValueError> {
        Ok(i32::try_from(self.number(name)?).expect("an int config holds 32 bits"))
    }

    /// A number that its validator keeps from being negative.
    fn size(&self, name: &'static str) -> Result<u32, ValueError> {
        Ok(u32::try_from(self.number(name)?).expect("the validator refuses negative numbers"))
    }

    fn millis(&self, name: &'static str) -> Result<Duration, ValueError> {
        let millis = self.number(name)?;
        Ok(Duration::from_millis(u64::try_from(millis).unwrap_or_default()))
    }

    /// A number of which negative values and the largest one set no limit.
    fn limit(&self, name: &'static str) -> Result<Option<u64>, ValueError> {
        let number = self.number(name)?;
        Ok(u64::try_from(number).ok().filter(|_| number != i64::MAX))
    }

    /// A limit of which -2 means another one.
    fn local(&self, name: &'static str, total: Option<u64>) -> Result<Option<u64>, ValueError> {
        if self.number(name)? == -2 { Ok(total) } else { self.limit(name) }
    }

    fn flag(&self, name: &'static str) -> Result<bool, ValueError> {
        match self.value(name)? {
            ConfigValue::Boolean(value) => Ok(value),
            other => unreachable!("{name} is a truth value, not {other:?}"),
        }
    }

    fn ratio(&self, name: &'static str) -> Result<f64, ValueError> {
        match self.value(name)? {
            ConfigValue::Double(value) => Ok(value),
            other => unreachable!("{name} is a {}, not {other:?}", ConfigType::Double.name()),
        }
    }

    fn list(&self, name: &'static str) -> Result<Vec<String>, ValueError> {
        match self.value(name)? {
            ConfigValue::List(items) => Ok(items),
            other => unreachable!("{name} is a list, not {other:?}"),
        }
    }

    fn cleanup_policy(&self) -> Result<CleanupPolicy, ValueError> {
        let words = self.list("cleanup.policy")?;
        let has = |word: &str| words.iter().any(|known| known == word);
        Ok(CleanupPolicy { delete: has("delete"), compact: has("compact") })
    }

    fn compression_type(&self) -> Result<CompressionType, ValueError> {
        Ok(match self.value("compression.type")?.to_string().as_str() {
            "uncompressed" => CompressionType::Uncompressed,
            "gzip" => CompressionType::Gzip,
            "snappy" => CompressionType::Snappy,
            "lz4" => CompressionType::Lz4,
            "zstd" => CompressionType::Zstd,
            _ => CompressionType::Producer,
        })
    }

    fn timestamp_type(&self) -> Result<TimestampType, ValueError> {
        Ok(match self.value("message.timestamp.type")?.to_string().as_str() {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        })
    }
}

fn millis_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigMap, validate_topic_configs};
    use proptest::prelude::*;

    fn with(pairs: &[(&str, &str)]) -> TopicConfig {
        let own: ConfigMap =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        TopicConfig::resolve(&Layers { own: &own, ..Layers::default() }).unwrap()
    }

    #[test]
    fn the_defaults_are_kafkas() {
        let config = TopicConfig::default();
        assert_eq!(config.retention, Some(Duration::from_secs(7 * 24 * 3600)));
        assert_eq!(config.retention_bytes, None);
        assert_eq!(config.local_retention, config.retention);
        assert_eq!(config.segment_bytes, 1 << 30);
        assert_eq!(config.flush_messages, None);
        assert_eq!(config.flush, None);
        assert_eq!(config.cleanup_policy, CleanupPolicy { delete: true, compact: false });
        assert_eq!(config.message_timestamp_after_max, Some(Duration::from_secs(3600)));
        assert_eq!(config.message_timestamp_before_max, None);
        assert_eq!(config.max_message_bytes, 1_048_588);
    }

    #[test]
    fn what_is_set_holds() {
        let config = with(&[
            ("retention.ms", "-1"),
            ("retention.bytes", "7"),
            ("flush.messages", "1"),
            ("cleanup.policy", "compact"),
            ("compression.type", "zstd"),
            ("message.timestamp.type", "LogAppendTime"),
        ]);
        assert_eq!(config.retention, None);
        assert_eq!(config.retention_bytes, Some(7));
        assert_eq!(config.local_retention_bytes, Some(7));
        assert_eq!(config.flush_messages, Some(1));
        assert_eq!(config.cleanup_policy, CleanupPolicy { delete: false, compact: true });
        assert_eq!(config.compression_type, CompressionType::Zstd);
        assert_eq!(config.message_timestamp_type, TimestampType::LogAppendTime);
    }

    #[test]
    fn a_value_that_nobody_checked_is_an_error() {
        let own = ConfigMap::from([("segment.bytes".to_owned(), "7".to_owned())]);
        let error = TopicConfig::resolve(&Layers { own: &own, ..Layers::default() }).unwrap_err();
        assert_eq!(error.name, "segment.bytes");
    }

    proptest! {
        #[test]
        fn whatever_passes_the_check_resolves(
            index in 0_usize..33,
            text in prop_oneof![any::<i64>().prop_map(|n| n.to_string()), Just("true".to_owned()),
                Just("compact".to_owned()), Just("0.3".to_owned()), ".{0,6}"],
        ) {
            let own = ConfigMap::from([(table::TOPIC[index].name.to_owned(), text)]);
            let is_valid = validate_topic_configs(&own).is_ok();
            let resolved = TopicConfig::resolve(&Layers { own: &own, ..Layers::default() });
            prop_assert!(!is_valid || resolved.is_ok());
        }
    }
}
