//! `ottla log dump`: what is in a segment, batch by batch, without a server.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Args;
use ottla_protocol::record_batch::{Batch, BatchHeader, HEADER_LEN, Limits};
use serde::Serialize;
use serde_json::json;

use crate::output::Output;

/// A batch that claims more than this is garbage; Kafka's frames end at 100 MiB.
const BATCH_BYTES_MAX: usize = 128 << 20;

/// What to dump.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ottla log dump data/orders-0/00000000000000000000.log
  ottla log dump data/orders-0 --records          every segment of a partition, with its records
  ottla -o json log dump segment.log | jq .       one JSON object a batch")]
pub struct LogDump {
    /// Segment files (.log), or folders of partitions.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Print the records too.
    #[arg(long)]
    records: bool,
}

/// One batch, as it is printed.
#[derive(Debug, Serialize)]
struct BatchLine {
    position: u64,
    base_offset: i64,
    last_offset: i64,
    records: i32,
    bytes: usize,
    leader_epoch: i32,
    max_timestamp: i64,
    codec: String,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    transactional: bool,
    control: bool,
    checksum: &'static str,
}

impl LogDump {
    /// Dumps every segment that was named.
    ///
    /// # Errors
    /// When a file cannot be read, or holds what is no batch; all before that has been printed.
    pub fn run(&self, output: Output) -> Result<()> {
        let mut out = io::stdout().lock();
        for path in &self.paths {
            for segment in segments(path)? {
                let place = segment.display().to_string();
                if output == Output::Table {
                    writeln!(out, "{place}")?;
                }
                dump(&segment, self.records, output, &mut out).with_context(|| place)?;
            }
        }
        Ok(())
    }
}

/// The file itself, or a folder's segments in order of their offsets.
fn segments(path: &Path) -> Result<Vec<PathBuf>> {
    let metadata = path.metadata().with_context(|| path.display().to_string())?;
    if metadata.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in path.read_dir()? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            found.push(path);
        }
    }
    if found.is_empty() {
        bail!("{}: no segment (.log) in this folder", path.display());
    }
    found.sort();
    Ok(found)
}

fn dump(path: &Path, records: bool, output: Output, out: &mut impl Write) -> Result<()> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut position = 0;
    let mut scratch = Vec::new();
    while let Some(batch) = next_batch(&mut reader).with_context(|| format!("at {position}"))? {
        let line = describe(position, &batch);
        match output {
            Output::Json => serde_json::to_writer(&mut *out, &line)?,
            Output::Table => write_line(&line, out)?,
        }
        writeln!(out)?;
        if records {
            write_records(&batch, &mut scratch, output, out)?;
        }
        position += batch.bytes.len() as u64;
    }
    Ok(())
}

/// The next batch; None at the end of the file.
fn next_batch(reader: &mut impl Read) -> Result<Option<Batch>> {
    let mut bytes = vec![0; HEADER_LEN];
    let mut filled = 0;
    while filled < HEADER_LEN {
        match reader.read(&mut bytes[filled..])? {
            0 if filled == 0 => return Ok(None),
            0 => bail!("the file ends inside a batch header"),
            count => filled += count,
        }
    }
    let total = BatchHeader::parse(&bytes)?.total_len();
    if BATCH_BYTES_MAX < total {
        bail!("a batch of {total} bytes is garbage");
    }
    bytes.resize(total, 0);
    reader.read_exact(&mut bytes[HEADER_LEN..]).context("the file ends inside a batch")?;
    Ok(Some(Batch::parse(&Bytes::from(bytes))?))
}

fn describe(position: u64, batch: &Batch) -> BatchLine {
    let header = &batch.header;
    let codec = match header.attributes.codec() {
        Ok(codec) => codec.name().to_owned(),
        Err(unknown) => unknown.to_string(),
    };
    BatchLine {
        position,
        base_offset: header.base_offset.0,
        last_offset: header.last_offset().0,
        records: header.records_count,
        bytes: batch.bytes.len(),
        leader_epoch: header.partition_leader_epoch.0,
        max_timestamp: header.max_timestamp,
        codec,
        producer_id: header.producer_id.0,
        producer_epoch: header.producer_epoch.0,
        base_sequence: header.base_sequence,
        transactional: header.attributes.is_transactional(),
        control: header.attributes.is_control(),
        checksum: if batch.verify_crc().is_ok() { "ok" } else { "WRONG" },
    }
}

fn write_line(line: &BatchLine, out: &mut impl Write) -> io::Result<()> {
    write!(
        out,
        "  {:>10}  offsets {}–{}  records {}  bytes {}  epoch {}  time {}  {}",
        line.position,
        line.base_offset,
        line.last_offset,
        line.records,
        line.bytes,
        line.leader_epoch,
        line.max_timestamp,
        line.codec,
    )?;
    if line.producer_id != -1 {
        let (id, epoch) = (line.producer_id, line.producer_epoch);
        write!(out, "  producer {id}/{epoch} sequence {}", line.base_sequence)?;
    }
    if line.transactional {
        write!(out, "  transactional")?;
    }
    if line.control {
        write!(out, "  control")?;
    }
    write!(out, "  checksum {}", line.checksum)
}

fn write_records(
    batch: &Batch,
    scratch: &mut Vec<u8>,
    output: Output,
    out: &mut impl Write,
) -> Result<()> {
    let text =
        |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    for record in batch.records(scratch, Limits::default())? {
        let record = record?;
        let (key, value) = (text(record.key), text(record.value));
        if output == Output::Json {
            let headers: Vec<_> =
                record.headers.iter().map(|h| (text(Some(h.key)), text(h.value))).collect();
            let json = json!({
                "offset": record.offset.0, "timestamp": record.timestamp,
                "key": key, "value": value, "headers": headers,
            });
            writeln!(out, "{json}")?;
        } else {
            let shown = |text: Option<String>| text.unwrap_or_else(|| "null".to_owned());
            let (key, value) = (shown(key), shown(value));
            writeln!(out, "    {}  time {}  {key} = {value}", record.offset, record.timestamp)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ottla_protocol::record_batch::{Builder, BuilderOptions, NewRecord};

    use super::*;

    fn segment() -> Vec<u8> {
        let mut builder = Builder::new(BuilderOptions::default());
        let record = NewRecord { timestamp: 5, key: Some(b"k"), value: None, headers: &[] };
        builder.push(&record).unwrap();
        builder.build().unwrap().bytes.to_vec()
    }

    fn dump_of(content: &[u8], output: Output) -> (String, Result<()>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let mut out = Vec::new();
        let result = dump(file.path(), true, output, &mut out);
        (String::from_utf8(out).unwrap(), result)
    }

    #[test]
    fn batches_and_records_print() {
        let (text, result) = dump_of(&segment(), Output::Table);
        result.unwrap();
        assert!(text.contains("offsets 0–0  records 1"), "{text}");
        assert!(text.contains("checksum ok"), "{text}");
        assert!(text.contains("k = null"), "{text}");
    }

    #[test]
    fn torn_tail_is_said_after_what_is_whole() {
        let mut content = segment();
        content.extend_from_slice(&segment()[..65]);
        let (text, result) = dump_of(&content, Output::Json);
        assert!(text.contains(r#""checksum":"ok""#), "{text}");
        assert!(format!("{:#}", result.unwrap_err()).contains("ends inside a batch"));
    }
}
