//! Batches that Kafka's own Java classes wrote, read record for record; and batches for them to read.
//!
//! The files come from `integration-tests/interop/java-golden-batches/run --write`. With `OTTLA_BATCHES_OUT` set to a
//! folder, the last test leaves Ottla's batches there for `run --verify`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use ottla_protocol::compression::{Codec, Compression};
use ottla_protocol::record_batch::{
    Batch, Builder, BuilderOptions, EndTransactionMarker, Header, Limits, NewRecord,
    TimestampPatch, TimestampType, ValidateOptions, batches, crc32c, patch_header, validate,
};
use ottla_protocol::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

const TIME: i64 = 1_700_000_000_000;

#[test]
fn java_batches_are_read_record_for_record() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/batches");
    let mut read = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "batch") {
            continue;
        }
        let expected = fs::read_to_string(path.with_extension("txt")).unwrap();
        assert_eq!(describe(&fs::read(&path).unwrap().into()), expected, "{}", path.display());
        read += 1;
    }
    assert_eq!(read, 17);
}

#[test]
fn java_batches_of_producers_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/batches");
    for name in
        ["small-gzip", "small-snappy", "large-lz4", "large-zstd", "idempotent", "transactional"]
    {
        let bytes = fs::read(folder.join(name).with_extension("batch")).unwrap();
        let batch = Batch::parse(&bytes.into()).unwrap();
        let summary = validate(&batch, &ValidateOptions::default(), &mut Vec::new()).unwrap();
        assert_eq!(summary.max_timestamp, batch.header.max_timestamp, "{name}");
    }
}

#[test]
fn batches_for_java_hold_what_their_text_says() {
    for (name, bytes) in ours() {
        let text = describe(&bytes);
        assert!(text.starts_with("batch offsets"), "{name}: {text}");
        if let Some(folder) = std::env::var_os("OTTLA_BATCHES_OUT") {
            let path = Path::new(&folder).join(name);
            fs::write(path.with_extension("batch"), &bytes).unwrap();
            fs::write(path.with_extension("txt"), text).unwrap();
        }
    }
}

fn ours() -> Vec<(String, Bytes)> {
    let mut made = Vec::new();
    for codec in Codec::ALL {
        let compression = Compression::new(codec);
        let small = odd_records(BuilderOptions { compression, ..BuilderOptions::default() });
        made.push((format!("ours-small-{codec}"), small.bytes.clone()));
        made.push((format!("ours-large-{codec}"), readings(compression).bytes));
        let patch = TimestampPatch::LogAppendTime(TIME + 99);
        let header = patch_header(&small, Offset(1 << 40), LeaderEpoch(8), patch);
        let stored = [&header[..], small.body()].concat();
        made.push((format!("ours-appended-{codec}"), stored.into()));
    }
    for (codec, level) in [(Codec::Gzip, 9), (Codec::Gzip, 1), (Codec::Zstd, 19), (Codec::Zstd, -7)]
    {
        let compression = Compression::with_level(codec, level).unwrap();
        made.push((format!("ours-level{level}-{codec}"), readings(compression).bytes));
    }
    let transactional = BuilderOptions {
        compression: Codec::Lz4.into(),
        producer_id: ProducerId(1 << 33),
        producer_epoch: ProducerEpoch(9),
        base_sequence: i32::MAX - 1,
        transactional: true,
        partition_leader_epoch: LeaderEpoch(3),
        ..BuilderOptions::default()
    };
    made.push(("ours-transactional".into(), odd_records(transactional).bytes));
    for committed in [true, false] {
        let marker = EndTransactionMarker { committed, coordinator_epoch: 77 };
        made.push((format!("ours-marker-{committed}"), control(marker).bytes));
    }
    made.push(("ours-compacted".into(), compacted().bytes));
    made
}

fn odd_records(options: BuilderOptions) -> Batch {
    let mut builder = Builder::new(options);
    let mut push = |timestamp, key, value, headers: &[Header<'_>]| {
        builder.push(&NewRecord { timestamp, key, value, headers }).unwrap();
    };
    push(TIME, Some(&b"key"[..]), Some(&b"value"[..]), &[]);
    push(TIME + 1000, None, Some(b"no key"), &[]);
    push(TIME - 1000, Some(b"tombstone"), None, &[]);
    push(-1, None, None, &[]);
    push(TIME, Some(b""), Some(b""), &[]);
    let header = |key, value| Header { key, value };
    let headers = [
        header(&b"b"[..], Some(&b"1"[..])),
        header(b"a", None),
        header(b"b", Some(b"2")),
        header(b"", Some(b"")),
        header("ключ".as_bytes(), Some(&[0, 255])),
    ];
    push(TIME, Some(b"headers"), Some("héllo".as_bytes()), &headers);
    push(0, Some(&[b'k'; 300]), Some(&[0x80, 0, 0x7f]), &[]);
    builder.build().unwrap()
}

fn readings(compression: Compression) -> Batch {
    let mut builder = Builder::new(BuilderOptions { compression, ..BuilderOptions::default() });
    for i in 0..3000i64 {
        let value = format!("{{\"station\":{},\"depth\":{}}}", i % 17, i * i % 601);
        let value = Some(value.as_bytes());
        builder.push(&NewRecord { timestamp: TIME + i, value, ..NewRecord::default() }).unwrap();
    }
    builder.build().unwrap()
}

fn control(marker: EndTransactionMarker) -> Batch {
    let mut builder = Builder::new(BuilderOptions {
        base_offset: Offset(99),
        producer_id: ProducerId(5),
        producer_epoch: ProducerEpoch(1),
        transactional: true,
        control: true,
        ..BuilderOptions::default()
    });
    let (key, value) = (marker.key(), marker.value());
    let record = NewRecord { timestamp: TIME, key: Some(&key), value: Some(&value), headers: &[] };
    builder.push(&record).unwrap();
    builder.build().unwrap()
}

fn compacted() -> Batch {
    let source = readings(Codec::Zstd.into());
    let mut builder = Builder::new(BuilderOptions {
        compression: Codec::Snappy.into(),
        delete_horizon: Some(TIME + 86_400_000),
        ..BuilderOptions::default()
    });
    let mut scratch = Vec::new();
    for record in source.records(&mut scratch, Limits::default()).unwrap() {
        let record = record.unwrap();
        if record.offset.0 % 700 == 3 {
            builder.push_copy(&record).unwrap();
        }
    }
    builder.set_last_offset_delta(source.header.last_offset_delta);
    builder.build().unwrap()
}

/// What is in the bytes, as `GoldenBatches.java` says it.
fn describe(bytes: &Bytes) -> String {
    let full = describe_records(bytes);
    if full.len() <= 16_384 {
        return full;
    }
    let mut short = String::new();
    for line in full.lines().filter(|line| line.starts_with("batch")) {
        writeln!(short, "{line}").unwrap();
    }
    writeln!(short, "records with crc {}", crc32c(full.as_bytes())).unwrap();
    short
}

fn describe_records(bytes: &Bytes) -> String {
    let mut out = String::new();
    let mut scratch = Vec::new();
    for batch in batches(bytes.clone()) {
        let batch = batch.unwrap();
        batch.verify_crc().unwrap();
        describe_header(&batch, &mut out);
        for record in batch.records(&mut scratch, Limits::default()).unwrap() {
            let record = record.unwrap();
            write!(out, "{} {}", record.offset, record.timestamp).unwrap();
            write!(out, " {} {}", hex(record.key), hex(record.value)).unwrap();
            for header in record.headers {
                write!(out, " {}={}", hex(Some(header.key)), hex(header.value)).unwrap();
            }
            out.push('\n');
        }
    }
    out
}

fn describe_header(batch: &Batch, out: &mut String) {
    let header = &batch.header;
    let attributes = header.attributes;
    write!(
        out,
        "batch offsets {}..{} epoch {} crc {} codec {}",
        header.base_offset,
        header.last_offset(),
        header.partition_leader_epoch,
        header.crc,
        attributes.codec().unwrap()
    )
    .unwrap();
    let flags = [
        (attributes.timestamp_type() == TimestampType::LogAppendTime, " append-time"),
        (attributes.is_transactional(), " transactional"),
        (attributes.is_control(), " control"),
    ];
    for (_, flag) in flags.iter().filter(|(set, _)| *set) {
        out.push_str(flag);
    }
    if attributes.has_delete_horizon() {
        write!(out, " horizon {}", header.base_timestamp).unwrap();
    }
    writeln!(
        out,
        " base-time {} max-time {} producer {}/{} sequences {}..{} count {}",
        header.base_timestamp,
        header.max_timestamp,
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        header.last_sequence(),
        header.records_count
    )
    .unwrap();
}

fn hex(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "null".into() };
    let mut out = String::from("'");
    for byte in bytes {
        write!(out, "{byte:02x}").unwrap();
    }
    out.push('\'');
    out
}
