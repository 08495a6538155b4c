//! Kafka's checkpoint files: a version line, a count, then one line per entry.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use ottla_protocol::types::{LeaderEpoch, Offset};

use crate::atomic_file;
use crate::io::LogIo;
use crate::paths::TopicPartition;

const VERSION: &str = "0";

/// Offsets by partition, as `recovery-point-offset-checkpoint`, `log-start-offset-checkpoint` and
/// `replication-offset-checkpoint` hold them.
pub(crate) type Offsets = BTreeMap<TopicPartition, Offset>;

/// Reads offsets by partition. An absent file holds none.
pub(crate) fn read_offsets<I: LogIo>(io: &I, path: &Path) -> io::Result<Offsets> {
    let Some(content) = atomic_file::read_optional(io, path)? else {
        return Ok(Offsets::new());
    };
    parse(&content, parse_offset).map_err(|reason| invalid(path, &reason))
}

/// Replaces a file of offsets by partition; durable when this returns.
pub(crate) fn write_offsets<I: LogIo>(io: &I, path: &Path, offsets: &Offsets) -> io::Result<()> {
    let mut out = format!("{VERSION}\n{}\n", offsets.len());
    for (partition, offset) in offsets {
        let _ = writeln!(out, "{} {} {offset}", &*partition.topic, partition.partition);
    }
    atomic_file::replace(io, path, out.as_bytes())
}

/// Reads `leader-epoch-checkpoint`; `None` if it is absent.
pub(crate) fn read_epochs<I: LogIo>(
    io: &I,
    path: &Path,
) -> io::Result<Option<Vec<(LeaderEpoch, Offset)>>> {
    let Some(content) = atomic_file::read_optional(io, path)? else {
        return Ok(None);
    };
    parse(&content, parse_epoch).map(Some).map_err(|reason| invalid(path, &reason))
}

/// Replaces `leader-epoch-checkpoint`; durable when this returns.
pub(crate) fn write_epochs<I: LogIo>(
    io: &I,
    path: &Path,
    epochs: &[(LeaderEpoch, Offset)],
) -> io::Result<()> {
    let mut out = format!("{VERSION}\n{}\n", epochs.len());
    for (epoch, start) in epochs {
        let _ = writeln!(out, "{epoch} {start}");
    }
    atomic_file::replace(io, path, out.as_bytes())
}

fn parse_offset(line: &str) -> Option<(TopicPartition, Offset)> {
    let mut parts = line.split(' ');
    let (topic, partition, offset) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || topic.is_empty() {
        return None;
    }
    Some((TopicPartition::new(topic, partition.parse().ok()?), Offset(offset.parse().ok()?)))
}

fn parse_epoch(line: &str) -> Option<(LeaderEpoch, Offset)> {
    let (epoch, start) = line.split_once(' ')?;
    Some((LeaderEpoch(epoch.parse().ok()?), Offset(start.parse().ok()?)))
}

fn parse<T, C: FromIterator<T>>(
    content: &[u8],
    entry: impl Fn(&str) -> Option<T>,
) -> Result<C, String> {
    let text = std::str::from_utf8(content).map_err(|_| "not a text".to_owned())?;
    let mut lines = text.lines();
    match lines.next() {
        Some(VERSION) => {}
        version => return Err(format!("version {version:?}, expected {VERSION}")),
    }
    let count: usize = lines.next().and_then(|line| line.parse().ok()).ok_or("no count")?;
    let mut found = 0;
    let entries: Option<C> = lines.inspect(|_| found += 1).map(entry).collect();
    match entries {
        Some(entries) if found == count => Ok(entries),
        Some(_) => Err(format!("{found} entries, the file says {count}")),
        None => Err(format!("line {} is malformed", found + 2)),
    }
}

fn invalid(path: &Path, reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {reason}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;
    use crate::io::{LogFile, OpenMode, SimIo};

    #[test]
    fn offsets_are_written_as_kafka_writes_them() {
        let io = SimIo::new(0);
        let path = Path::new("/c");
        let offsets = Offsets::from([
            (TopicPartition::new("orders", 1), Offset(42)),
            (TopicPartition::new("orders", 0), Offset(7)),
        ]);
        write_offsets(&io, path, &offsets).unwrap();
        assert_eq!(io.read_small(path, 99).unwrap(), b"0\n2\norders 0 7\norders 1 42\n");
        assert_eq!(read_offsets(&io, path).unwrap(), offsets);
        assert_eq!(read_offsets(&io, Path::new("/absent")).unwrap(), Offsets::new());
    }

    #[test]
    fn epochs_are_written_as_kafka_writes_them() {
        let io = SimIo::new(0);
        let path = Path::new("/c");
        let epochs = [(LeaderEpoch(0), Offset(0)), (LeaderEpoch(3), Offset(120))];
        write_epochs(&io, path, &epochs).unwrap();
        assert_eq!(io.read_small(path, 99).unwrap(), b"0\n2\n0 0\n3 120\n");
        assert_eq!(read_epochs(&io, path).unwrap().unwrap(), epochs);
        assert_eq!(read_epochs(&io, Path::new("/absent")).unwrap(), None);
    }

    #[test]
    fn a_malformed_file_is_an_error_that_names_it() {
        for content in
            ["", "1\n0\n", "0\nx\n", "0\n2\nt 0 1\n", "0\n1\nt 0\n", "0\n1\nt 0 1 2\n", "0\n0\n\n"]
        {
            let io = SimIo::new(0);
            let file = io.open(Path::new("/c"), OpenMode::CreateNew).unwrap();
            file.write_at(0, &[IoSlice::new(content.as_bytes())]).unwrap();
            let error = read_offsets(&io, Path::new("/c")).unwrap_err();
            assert!(error.to_string().contains("/c"), "{content:?}: {error}");
        }
    }
}
