//! Opens, checks and, where the topic wants it so, rewrites one batch before it is queued.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_protocol::compression::{Codec, Compression};
use ottla_protocol::record_batch::{
    Attributes, Batch, BatchError, BuildError, Builder, BuilderOptions, Limits, RecordError,
    TimestampType, TimestampWindow, ValidateError, ValidateOptions, single_batch, validate,
};
use ottla_protocol::types::Offset;
use ottla_storage::LeaderBatch;

use crate::partition::TopicSettings;
use crate::pool::Pool;

/// What a batch is checked by.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub settings: Arc<TopicSettings>,
    /// When the request came, Unix ms.
    pub now_ms: i64,
    /// The log's first offset.
    pub log_start: Offset,
    /// From version 7 on.
    pub is_zstd_allowed: bool,
}

/// Why a batch is not appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rejected {
    pub error: ErrorCode,
    pub message: String,
    pub records: Vec<RecordError>,
    /// The log's first offset, where the batch was held against the topic's rules.
    pub log_start: Offset,
}

/// Work beyond this belongs on a pool thread: the connection's task shares its thread with others.
const INLINE_NS: u64 = 256_000;

/// Scratch memory that a thread keeps between batches, bytes.
const SCRATCH_KEPT: usize = 1 << 20;

thread_local! {
    /// Where compressed batches are opened.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Checks the one batch of a partition.
pub(super) async fn prepare(
    compute: &Pool,
    bytes: Bytes,
    rules: Rules,
) -> Result<LeaderBatch, Rejected> {
    let batch = single_batch(&bytes)?;
    if estimated_ns(&batch, &rules.settings) <= INLINE_NS {
        return prepare_batch(batch, &rules);
    }
    match compute.run(move || prepare_batch(batch, &rules)).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "a batch could not be validated");
            Err(Rejected::plain(ErrorCode::UnknownServerError, "validation failed"))
        }
    }
}

fn prepare_batch(batch: Batch, rules: &Rules) -> Result<LeaderBatch, Rejected> {
    SCRATCH.with_borrow_mut(|scratch| {
        let result = prepare_with(batch, rules, scratch);
        if SCRATCH_KEPT < scratch.capacity() {
            *scratch = Vec::new();
        }
        result
    })
}

fn prepare_with(
    mut batch: Batch,
    rules: &Rules,
    scratch: &mut Vec<u8>,
) -> Result<LeaderBatch, Rejected> {
    let settings = &rules.settings;
    let is_append_time = settings.log.timestamp_type == TimestampType::LogAppendTime;
    let window = TimestampWindow {
        now_ms: rules.now_ms,
        before_max_ms: settings.timestamp_before_max_ms,
        after_max_ms: settings.timestamp_after_max_ms,
    };
    let options = ValidateOptions {
        batch_bytes_max: settings.batch_bytes_max,
        keys_required: settings.is_compacted,
        timestamp_window: (!is_append_time).then_some(window),
        zstd_allowed: rules.is_zstd_allowed,
        ..ValidateOptions::default()
    };
    let summary = validate(&batch, &options, scratch)
        .map_err(|error| Rejected::from(error).by_the_rules(rules.log_start))?;
    if batch.header.attributes.is_transactional() {
        return Err(Rejected::plain(
            ErrorCode::InvalidTxnState,
            "the partition is not part of a transaction",
        ));
    }
    if let Some(compression) = settings.compression
        && Ok(compression.codec()) != batch.header.attributes.codec()
    {
        batch = recompress(&batch, compression, scratch)?;
        check_size(&batch, settings.batch_bytes_max)?;
    }
    Ok(LeaderBatch { batch, max_timestamp: summary.max_timestamp })
}

/// The same records in another codec, with the same producer and sequence.
fn recompress(
    batch: &Batch,
    compression: Compression,
    scratch: &mut Vec<u8>,
) -> Result<Batch, Rejected> {
    let header = &batch.header;
    let mut builder = Builder::new(BuilderOptions {
        compression,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        transactional: header.attributes.is_transactional(),
        bytes_max: usize::MAX,
        ..BuilderOptions::default()
    });
    for record in batch.records(scratch, Limits::default()).map_err(ValidateError::from)? {
        builder.push_copy(&record.map_err(ValidateError::from)?)?;
    }
    Ok(builder.build()?)
}

fn check_size(batch: &Batch, max: usize) -> Result<(), Rejected> {
    let len = batch.bytes.len();
    if len <= max { Ok(()) } else { Err(ValidateError::BatchTooLarge { len, max }.into()) }
}

/// A rough idea of how long [`prepare_batch`] takes.
fn estimated_ns(batch: &Batch, settings: &TopicSettings) -> u64 {
    let codec = codec_of(batch.header.attributes);
    let bytes = batch.bytes.len() as u64;
    // Tenths of a nanosecond per byte on the wire, of which compressed ones stand for several.
    let open = match codec {
        Codec::None => 4,
        Codec::Lz4 | Codec::Snappy => 40,
        Codec::Zstd => 80,
        Codec::Gzip => 150,
    };
    let rewrite = match settings.compression.map(Compression::codec) {
        Some(target) if target != codec => 200,
        _ => 0,
    };
    bytes.saturating_mul(open + rewrite) / 10
}

fn codec_of(attributes: Attributes) -> Codec {
    // An unknown codec is refused before anything is opened.
    attributes.codec().unwrap_or(Codec::None)
}

impl Rejected {
    pub(super) fn plain(error: ErrorCode, message: impl Into<String>) -> Self {
        Self { error, message: message.into(), records: Vec::new(), log_start: Offset::NONE }
    }

    /// What breaks a rule of the topic is told where the log starts; what is no batch at all is not.
    fn by_the_rules(self, log_start: Offset) -> Self {
        match self.error {
            ErrorCode::InvalidRecord | ErrorCode::InvalidTimestamp => Self { log_start, ..self },
            _ => self,
        }
    }
}

impl From<ValidateError> for Rejected {
    fn from(error: ValidateError) -> Self {
        Self {
            error: error.error_code(),
            message: error.to_string(),
            records: error.record_errors().to_vec(),
            log_start: Offset::NONE,
        }
    }
}

impl From<BatchError> for Rejected {
    fn from(error: BatchError) -> Self {
        ValidateError::from(error).into()
    }
}

impl From<BuildError> for Rejected {
    fn from(error: BuildError) -> Self {
        Self::plain(ErrorCode::UnknownServerError, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::record_batch::NewRecord;
    use ottla_storage::LogConfig;

    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn batch_of(compression: Codec, keys: &[Option<&[u8]>]) -> Batch {
        let compression = Compression::new(compression);
        let mut builder = Builder::new(BuilderOptions { compression, ..BuilderOptions::default() });
        for key in keys {
            let record =
                NewRecord { timestamp: NOW, key: *key, value: Some(&[7; 500]), headers: &[] };
            builder.push(&record).unwrap();
        }
        builder.build().unwrap()
    }

    fn rules(settings: TopicSettings) -> Rules {
        Rules {
            settings: Arc::new(settings),
            now_ms: NOW,
            log_start: Offset(0),
            is_zstd_allowed: true,
        }
    }

    async fn check(batch: &Batch, rules: Rules) -> Result<LeaderBatch, Rejected> {
        prepare(&Pool::new("test", 1), batch.bytes.clone(), rules).await
    }

    #[tokio::test]
    async fn sound_batch_is_the_very_same_memory() {
        let batch = batch_of(Codec::Lz4, &[None, Some(b"k")]);
        let prepared = check(&batch, rules(TopicSettings::default())).await.unwrap();
        assert_eq!(prepared.batch.bytes.as_ptr(), batch.bytes.as_ptr());
        assert_eq!(prepared.batch.header, batch.header);
    }

    #[tokio::test]
    async fn true_max_timestamp_goes_with_the_batch() {
        let batch = batch_of(Codec::None, &[None]);
        let prepared = check(&batch, rules(TopicSettings::default())).await.unwrap();
        assert_eq!(prepared.max_timestamp, NOW);
    }

    #[tokio::test]
    async fn append_time_has_no_window() {
        let log =
            LogConfig { timestamp_type: TimestampType::LogAppendTime, ..LogConfig::default() };
        let settings = TopicSettings { log: Arc::new(log), ..TopicSettings::default() };
        let late = Rules { now_ms: 0, ..rules(settings) };
        check(&batch_of(Codec::None, &[None]), late).await.unwrap();
    }

    #[tokio::test]
    async fn topics_codec_replaces_the_producers() {
        let compression = Some(Compression::new(Codec::Zstd));
        let settings = TopicSettings { compression, ..TopicSettings::default() };
        let batch = batch_of(Codec::Gzip, &[Some(b"a"), Some(b"b")]);
        let prepared = check(&batch, rules(settings)).await.unwrap();
        assert_eq!(prepared.batch.header.attributes.codec(), Ok(Codec::Zstd));
        let mut scratch = Vec::new();
        let records = prepared.batch.records(&mut scratch, Limits::default()).unwrap();
        let keys: Vec<_> = records.map(|record| record.unwrap().key.map(<[u8]>::to_vec)).collect();
        assert_eq!(keys, [Some(b"a".to_vec()), Some(b"b".to_vec())]);
    }

    #[tokio::test]
    async fn recompressed_batch_must_fit_as_well() {
        let compression = Some(Compression::new(Codec::None));
        let settings =
            TopicSettings { compression, batch_bytes_max: 600, ..TopicSettings::default() };
        let batch = batch_of(Codec::Zstd, &[None, None]);
        let rejected = check(&batch, rules(settings)).await.unwrap_err();
        assert_eq!(rejected.error, ErrorCode::MessageTooLarge);
    }

    #[tokio::test]
    async fn compacted_topic_names_the_records_without_key() {
        let settings = TopicSettings { is_compacted: true, ..TopicSettings::default() };
        let batch = batch_of(Codec::None, &[Some(b"k"), None, Some(b"k"), None]);
        let rejected = check(&batch, rules(settings)).await.unwrap_err();
        assert_eq!(rejected.error, ErrorCode::InvalidRecord);
        let indices: Vec<_> = rejected.records.iter().map(|record| record.index).collect();
        assert_eq!(indices, [1, 3]);
    }

    #[tokio::test]
    async fn each_broken_rule_has_its_error() {
        let batch = batch_of(Codec::Zstd, &[None]);
        let old = Rules { is_zstd_allowed: false, ..rules(TopicSettings::default()) };
        let error = check(&batch, old).await.unwrap_err().error;
        assert_eq!(error, ErrorCode::UnsupportedCompressionType);

        let late = Rules { now_ms: NOW - 3_600_001, ..rules(TopicSettings::default()) };
        assert_eq!(check(&batch, late).await.unwrap_err().error, ErrorCode::InvalidTimestamp);

        let options = BuilderOptions { transactional: true, ..BuilderOptions::default() };
        let mut builder = Builder::new(options);
        builder.push(&NewRecord { timestamp: NOW, ..NewRecord::default() }).unwrap();
        let transactional = builder.build().unwrap();
        let rejected = check(&transactional, rules(TopicSettings::default())).await.unwrap_err();
        assert_eq!(rejected.error, ErrorCode::InvalidTxnState);

        let mut bytes = batch.bytes.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        let pool = Pool::new("test", 1);
        let broken = prepare(&pool, bytes.into(), rules(TopicSettings::default())).await;
        assert_eq!(broken.unwrap_err().error, ErrorCode::CorruptMessage);
    }
}
