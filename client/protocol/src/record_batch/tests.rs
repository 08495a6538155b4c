//! Batches built, read, cut, damaged and validated.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::ErrorCode;
use crate::compression::Codec;
use crate::types::{Offset, ProducerEpoch, ProducerId};

#[derive(Clone, Debug, PartialEq)]
struct Owned {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Owned {
    fn of(record: Record<'_>) -> Self {
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        Self {
            timestamp: record.timestamp,
            key: owned(record.key),
            value: owned(record.value),
            headers: record.headers.iter().map(|h| (h.key.to_vec(), owned(h.value))).collect(),
        }
    }

    fn push_to(&self, builder: &mut Builder) {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(key, value)| Header { key, value: value.as_deref() })
            .collect();
        let record = NewRecord {
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &headers,
        };
        let estimate = builder.estimated_len_with(&record);
        builder.push(&record).unwrap();
        assert_eq!(builder.estimated_len(), estimate);
    }
}

fn blob() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..40)
}

fn owned_record() -> impl Strategy<Value = Owned> {
    let nullable = || prop::option::of(blob());
    let headers = prop::collection::vec((blob(), nullable()), 0..4);
    (any::<i64>(), nullable(), nullable(), headers)
        .prop_map(|(timestamp, key, value, headers)| Owned { timestamp, key, value, headers })
}

fn codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(Codec::ALL.to_vec())
}

fn build(codec: Codec, records: &[Owned]) -> Batch {
    let options = BuilderOptions { compression: codec.into(), ..BuilderOptions::default() };
    let mut builder = Builder::new(options);
    records.iter().for_each(|record| record.push_to(&mut builder));
    builder.build().unwrap()
}

fn read(batch: &Batch) -> Result<Vec<Owned>, BatchError> {
    let mut scratch = Vec::new();
    batch.records(&mut scratch, Limits::default())?.map(|record| record.map(Owned::of)).collect()
}

fn valued(count: usize, codec: Codec) -> Batch {
    let record = Owned { timestamp: 5, key: None, value: Some(b"value".to_vec()), headers: vec![] };
    build(codec, &vec![record; count])
}

/// The batch with another header and a checksum that fits.
fn reheaded(batch: &Batch, change: impl FnOnce(&mut BatchHeader)) -> Batch {
    let mut header = batch.header;
    change(&mut header);
    header.crc = crc32c_of_two(&header.write()[21..], batch.body());
    Batch::parse(&Bytes::from([&header.write()[..], batch.body()].concat())).unwrap()
}

/// The batch with another body, uncompressed, and length and checksum that fit.
fn rebodied(batch: &Batch, body: &[u8]) -> Batch {
    let mut header = batch.header;
    header.batch_length = (HEADER_LEN - LENGTH_PREFIX_LEN + body.len()) as i32;
    header.crc = crc32c_of_two(&header.write()[21..], body);
    Batch::parse(&Bytes::from([&header.write()[..], body].concat())).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_built_is_read(
        records in prop::collection::vec(owned_record(), 1..30),
        codec in codec(),
    ) {
        let batch = build(codec, &records);
        batch.verify_crc().unwrap();
        prop_assert_eq!(read(&batch).unwrap(), records.clone());
        let payload = batch.payload(Limits::default()).unwrap();
        prop_assert_eq!(Records::new(&batch.header, &payload).count(), records.len());
        let max = records.iter().map(|record| record.timestamp).max().unwrap_or(-1).max(-1);
        prop_assert_eq!(batch.header.max_timestamp, max);
    }

    #[test]
    fn batches_in_a_row_are_told_apart(
        all in prop::collection::vec(prop::collection::vec(owned_record(), 1..5), 1..5),
        cut in any::<prop::sample::Index>(),
    ) {
        let made: Vec<_> = all.iter().map(|records| build(Codec::None, records)).collect();
        let mut joined = BytesMut::new();
        made.iter().for_each(|batch| joined.put_slice(&batch.bytes));
        let joined = joined.freeze();
        let found: Result<Vec<_>, _> = batches(joined.clone()).collect();
        prop_assert_eq!(found.unwrap(), made.clone());

        let cut = cut.index(joined.len());
        let mut whole = 0;
        let mut end = 0;
        while end + made[whole].bytes.len() <= cut {
            end += made[whole].bytes.len();
            whole += 1;
        }
        let found: Vec<_> = batches(joined.slice(..cut)).collect();
        prop_assert_eq!(found.iter().filter(|batch| batch.is_ok()).count(), whole);
        if end < cut {
            let last = found.last().unwrap();
            let expected = cut - end;
            let truncated = matches!(
                last,
                Err(BatchError::Truncated { available, .. }) if *available == expected
            );
            prop_assert!(truncated);
        }
    }

    #[test]
    fn every_flipped_bit_under_the_checksum_is_found(
        records in prop::collection::vec(owned_record(), 1..4),
        codec in codec(),
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
    ) {
        let batch = build(codec, &records);
        let mut bytes = batch.bytes.to_vec();
        let at = 17 + at.index(bytes.len() - 17);
        bytes[at] ^= 1 << bit;
        let damaged = Batch::parse(&bytes.into()).unwrap();
        let mismatch = matches!(damaged.verify_crc(), Err(BatchError::CrcMismatch { .. }));
        prop_assert!(mismatch);
        let refused = validate(&damaged, &ValidateOptions::default(), &mut Vec::new());
        prop_assert_eq!(refused.unwrap_err().error_code(), ErrorCode::CorruptMessage);
        // Reading without the check may give anything, but ends.
        let _ = read(&damaged);
    }

    #[test]
    fn arbitrary_bodies_under_a_right_checksum_do_no_harm(
        body in prop::collection::vec(any::<u8>(), 0..200),
        attributes in 0..8i16,
        count in -1..50i32,
    ) {
        let batch = reheaded(&rebodied(&valued(1, Codec::None), &body), |header| {
            header.attributes = Attributes(attributes);
            header.records_count = count;
            header.last_offset_delta = count.wrapping_sub(1);
        });
        let options = ValidateOptions {
            limits: Limits { decompressed_bytes_max: 10_000 },
            ..ValidateOptions::default()
        };
        let mut scratch = Vec::new();
        let _ = validate(&batch, &options, &mut scratch);
        prop_assert!(scratch.capacity() <= 20_000);
    }

    #[test]
    fn copies_keep_offset_time_and_headers(
        records in prop::collection::vec(owned_record(), 1..20),
        keep in any::<u32>(),
        codec in codec(),
    ) {
        let source = build(codec, &records);
        let mut builder = Builder::new(BuilderOptions::default());
        let mut scratch = Vec::new();
        let kept = |record: &Record<'_>| keep >> record.offset.0 & 1 == 1;
        for record in source.records(&mut scratch, Limits::default()).unwrap() {
            let record = record.unwrap();
            if kept(&record) {
                builder.push_copy(&record).unwrap();
            }
        }
        builder.set_last_offset_delta(source.header.last_offset_delta);
        let copy = builder.build().unwrap();
        prop_assert_eq!(copy.header.last_offset(), source.header.last_offset());
        let mut scratch = Vec::new();
        for record in copy.records(&mut scratch, Limits::default()).unwrap() {
            let record = record.unwrap();
            prop_assert!(kept(&record));
            prop_assert_eq!(&Owned::of(record), &records[record.offset.0 as usize]);
        }
    }
}

#[test]
fn records_are_slices_of_the_frame() {
    let frame = valued(3, Codec::None).bytes;
    let batch = batches(frame.clone()).next().unwrap().unwrap();
    assert_eq!(batch.bytes.as_ptr(), frame.as_ptr());
    let payload = batch.payload(Limits::default()).unwrap();
    assert_eq!(payload.as_ptr(), frame[HEADER_LEN..].as_ptr());
    let mut scratch = Vec::new();
    for record in batch.records(&mut scratch, Limits::default()).unwrap() {
        let value = record.unwrap().value.unwrap();
        assert!(frame.as_ptr_range().contains(&value.as_ptr()));
        assert_eq!(frame.slice_ref(value), &b"value"[..]);
    }
    assert_eq!(scratch.capacity(), 0);
}

#[test]
fn a_builder_without_codec_copies_records_once() {
    let mut builder = Builder::with_buffer(BuilderOptions::default(), Vec::with_capacity(4096));
    let record = NewRecord { value: Some(&[7; 1000]), ..NewRecord::default() };
    builder.push(&record).unwrap();
    let buffer = builder.estimated_len();
    let batch = builder.build().unwrap();
    assert_eq!(batch.bytes.len(), buffer, "the estimate is exact without a codec");
}

#[test]
fn a_builder_stops_at_its_limit_but_takes_one_record() {
    let options = BuilderOptions { bytes_max: 200, ..BuilderOptions::default() };
    let large = NewRecord { value: Some(&[0; 500]), ..NewRecord::default() };
    let small = NewRecord { value: Some(&[0; 50]), ..NewRecord::default() };
    let mut builder = Builder::new(options.clone());
    assert!(builder.has_room_for(&large));
    assert_eq!(builder.push(&large), Ok(0));
    assert!(!builder.has_room_for(&small));

    let mut builder = Builder::new(options);
    assert_eq!((builder.push(&small), builder.push(&small)), (Ok(0), Ok(1)));
    let would_be = builder.estimated_len_with(&small);
    assert_eq!(builder.push(&small), Err(BuildError::Full { would_be, max: 200 }));
    assert_eq!(builder.build().unwrap().header.records_count, 2);
}

#[test]
fn a_compressed_batch_is_bounded_by_its_estimate() {
    let with_ratio = |compression_ratio| BuilderOptions {
        compression: Codec::Zstd.into(),
        bytes_max: 10_000,
        compression_ratio,
        ..BuilderOptions::default()
    };
    let record = NewRecord { value: Some(&[b'x'; 1000]), ..NewRecord::default() };
    let fill = |options| {
        let mut builder = Builder::new(options);
        while builder.has_room_for(&record) {
            builder.push(&record).unwrap();
        }
        builder.records_count()
    };
    assert_eq!(fill(with_ratio(1.0)), 9);
    assert_eq!(fill(with_ratio(0.5)), 19);
}

#[test]
fn copies_must_go_forward() {
    let source = valued(2, Codec::None);
    let mut scratch = Vec::new();
    let records: Vec<_> = source.records(&mut scratch, Limits::default()).unwrap().collect();
    let second = records[1].clone().unwrap();
    let mut builder = Builder::new(BuilderOptions::default());
    builder.push_copy(&second).unwrap();
    let refused = builder.push_copy(&second);
    assert!(matches!(refused, Err(BuildError::OffsetOrder { offset: Offset(1), .. })));
    let options = BuilderOptions { base_offset: Offset(2), ..BuilderOptions::default() };
    assert!(Builder::new(options).push_copy(&second).is_err());
}

#[test]
fn an_impossible_length_is_corrupt_and_not_truncated() {
    for length in [-1, 0, 48] {
        let mut bytes = valued(1, Codec::None).bytes.to_vec();
        bytes[8..12].copy_from_slice(&i32::to_be_bytes(length));
        for len in [12, 61, bytes.len()] {
            let bytes = Bytes::copy_from_slice(&bytes[..len]);
            let found: Vec<_> = batches(bytes.clone()).collect();
            assert_eq!(found, [Err(BatchError::InvalidLength(length))]);
        }
    }
}

#[test]
fn old_formats_are_refused_everywhere() {
    for magic in [0u8, 1] {
        let mut bytes = valued(1, Codec::None).bytes.to_vec();
        bytes[16] = magic;
        let bytes = Bytes::from(bytes);
        let error = BatchError::UnsupportedMagic(magic as i8);
        assert_eq!(Batch::parse(&bytes), Err(error.clone()));
        assert_eq!(batches(bytes.clone()).collect::<Vec<_>>(), [Err(error.clone())]);
        let refused = single_batch(&bytes).unwrap_err();
        assert_eq!(refused.error_code(), ErrorCode::InvalidRecord);
        assert_eq!(magic_at(&bytes), Some(magic as i8));
    }
}

#[test]
fn a_produce_request_carries_one_batch() {
    let batch = valued(1, Codec::None);
    assert_eq!(single_batch(&batch.bytes).unwrap(), batch);
    let two = Bytes::from([&batch.bytes[..], &batch.bytes].concat());
    assert_eq!(single_batch(&two), Err(ValidateError::NotOneBatch));
    assert_eq!(single_batch(&Bytes::new()), Err(ValidateError::NotOneBatch));
    let cut = batch.bytes.slice(..batch.bytes.len() - 1);
    assert_eq!(single_batch(&cut).unwrap_err().error_code(), ErrorCode::InvalidRecord);
}

mod validation {
    use super::*;

    fn check(batch: &Batch, options: &ValidateOptions) -> Result<Summary, ValidateError> {
        validate(batch, options, &mut Vec::new())
    }

    fn code(batch: &Batch, options: &ValidateOptions) -> ErrorCode {
        check(batch, options).unwrap_err().error_code()
    }

    fn default_code(batch: &Batch) -> ErrorCode {
        code(batch, &ValidateOptions::default())
    }

    #[test]
    fn the_summary_says_what_was_found() {
        for codec in Codec::ALL {
            let record = |timestamp| Owned { timestamp, key: None, value: None, headers: vec![] };
            let batch = build(codec, &[record(3), record(9), record(9), record(1)]);
            let summary = check(&batch, &ValidateOptions::default()).unwrap();
            let expected = Summary {
                records_count: 4,
                max_timestamp: 9,
                max_timestamp_offset_delta: 1,
                decompressed_len: summary.decompressed_len,
            };
            assert_eq!(summary, expected);
            assert_eq!(summary.decompressed_len, batch.payload(Limits::default()).unwrap().len());
        }
    }

    #[test]
    fn a_header_that_lies_about_the_time_is_found_out() {
        let batch = reheaded(&valued(2, Codec::Gzip), |header| header.max_timestamp = 1 << 50);
        let summary = check(&batch, &ValidateOptions::default()).unwrap();
        assert_eq!(summary.max_timestamp, 5);
    }

    #[test]
    fn clients_follow_their_rules() {
        let good = valued(2, Codec::None);
        let bad: [fn(&mut BatchHeader); 5] = [
            |header| header.base_offset = Offset(1),
            |header| header.attributes = header.attributes.control(),
            |header| header.producer_id = ProducerId(1),
            |header| header.records_count = 1,
            |header| header.last_offset_delta = 7,
        ];
        for change in bad {
            assert_eq!(default_code(&reheaded(&good, change)), ErrorCode::InvalidRecord);
        }
        let append_time = reheaded(&good, |header| {
            header.attributes = header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
        });
        assert_eq!(default_code(&append_time), ErrorCode::InvalidTimestamp);
        let idempotent = reheaded(&good, |header| {
            header.producer_id = ProducerId(1);
            header.producer_epoch = ProducerEpoch(0);
            header.base_sequence = 0;
        });
        assert!(check(&idempotent, &ValidateOptions::default()).is_ok());
    }

    #[test]
    fn markers_are_internal() {
        let batch = reheaded(&valued(1, Codec::None), |header| {
            header.attributes = header.attributes.control().transactional();
            header.producer_id = ProducerId(1);
        });
        let internal = ValidateOptions { origin: Origin::Internal, ..ValidateOptions::default() };
        assert!(check(&batch, &internal).is_ok());
        assert_eq!(default_code(&batch), ErrorCode::InvalidRecord);
    }

    #[test]
    fn empty_batches_are_for_nobody_outside() {
        let empty = Builder::new(BuilderOptions::default()).build().unwrap();
        assert_eq!(default_code(&empty), ErrorCode::InvalidRecord);
        let internal = ValidateOptions { origin: Origin::Internal, ..ValidateOptions::default() };
        assert_eq!(check(&empty, &internal).unwrap().max_timestamp, NO_TIMESTAMP);
    }

    #[test]
    fn sizes_and_codecs_have_limits() {
        let batch = valued(1000, Codec::Zstd);
        let len = batch.bytes.len();
        let options = |change: fn(&mut ValidateOptions)| {
            let mut options = ValidateOptions::default();
            change(&mut options);
            options
        };
        let mut tight = ValidateOptions { batch_bytes_max: len, ..ValidateOptions::default() };
        assert!(check(&batch, &tight).is_ok());
        tight.batch_bytes_max = len - 1;
        assert_eq!(code(&batch, &tight), ErrorCode::MessageTooLarge);
        let no_zstd = options(|options| options.zstd_allowed = false);
        assert_eq!(code(&batch, &no_zstd), ErrorCode::UnsupportedCompressionType);
        let small = options(|options| options.limits.decompressed_bytes_max = 5000);
        assert_eq!(code(&batch, &small), ErrorCode::MessageTooLarge);
        let unknown = reheaded(&batch, |header| header.attributes = Attributes(6));
        assert_eq!(default_code(&unknown), ErrorCode::UnsupportedCompressionType);
    }

    #[test]
    fn broken_compression_is_an_invalid_record() {
        let batch = rebodied(&valued(3, Codec::None), b"these are not compressed records");
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let batch = reheaded(&batch, |header| {
                header.attributes = header.attributes.with_codec(codec);
            });
            assert_eq!(default_code(&batch), ErrorCode::InvalidRecord, "{codec}");
        }
    }

    #[test]
    fn records_without_key_are_listed_for_a_compacted_topic() {
        let record = |key: Option<&[u8]>| Owned {
            timestamp: 0,
            key: key.map(<[u8]>::to_vec),
            value: None,
            headers: vec![],
        };
        let batch =
            build(Codec::Lz4, &[record(Some(b"k")), record(None), record(Some(b"")), record(None)]);
        let options = ValidateOptions { keys_required: true, ..ValidateOptions::default() };
        let error = check(&batch, &options).unwrap_err();
        assert_eq!(error.error_code(), ErrorCode::InvalidRecord);
        let indexes: Vec<_> = error.record_errors().iter().map(|error| error.index).collect();
        assert_eq!(indexes, [1, 3]);
        assert!(check(&batch, &ValidateOptions::default()).is_ok());
    }

    #[test]
    fn timestamps_outside_the_window_are_listed() {
        let record = |timestamp| Owned { timestamp, key: None, value: None, headers: vec![] };
        let batch =
            build(Codec::None, &[record(900), record(899), record(-1), record(1101), record(1100)]);
        let window = TimestampWindow { now_ms: 1000, before_max_ms: 100, after_max_ms: 100 };
        let options =
            ValidateOptions { timestamp_window: Some(window), ..ValidateOptions::default() };
        let error = check(&batch, &options).unwrap_err();
        assert_eq!(error.error_code(), ErrorCode::InvalidTimestamp);
        let indexes: Vec<_> = error.record_errors().iter().map(|error| error.index).collect();
        assert_eq!(indexes, [1, 3]);
        let open = TimestampWindow { before_max_ms: i64::MAX, after_max_ms: i64::MAX, ..window };
        let options = ValidateOptions { timestamp_window: Some(open), ..options };
        assert!(check(&batch, &options).is_ok());
    }

    #[test]
    fn listed_errors_are_bounded() {
        let batch = valued(5000, Codec::None);
        let options = ValidateOptions { keys_required: true, ..ValidateOptions::default() };
        assert_eq!(check(&batch, &options).unwrap_err().record_errors().len(), 100);
    }

    #[test]
    fn offsets_inside_must_count_up() {
        let batch = valued(3, Codec::None);
        let mut body = batch.body().to_vec();
        let record_len = body.len() / 3;
        // The second record's offset delta, behind length, attributes and timestamp: 1 becomes 2.
        body[record_len + 3] = 4;
        let error = check(&rebodied(&batch, &body), &ValidateOptions::default()).unwrap_err();
        assert_eq!(error.error_code(), ErrorCode::InvalidRecord);
        assert_eq!(error.record_errors()[0].index, 1);
    }

    #[test]
    fn the_count_must_be_that_of_the_records() {
        let batch = valued(3, Codec::None);
        for count in [2, 4] {
            let lying = reheaded(&batch, |header| {
                header.records_count = count;
                header.last_offset_delta = count - 1;
            });
            let error = check(&lying, &ValidateOptions::default()).unwrap_err();
            assert!(matches!(error, ValidateError::Batch(BatchError::RecordCount { .. })));
            assert_eq!(error.error_code(), ErrorCode::InvalidRecord);
        }
        let body = [batch.body(), b"more"].concat();
        assert_eq!(default_code(&rebodied(&batch, &body)), ErrorCode::InvalidRecord);
    }
}
