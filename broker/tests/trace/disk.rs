//! A real disk that takes its time, and notes what it has written and synced.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ottla_protocol::record_batch::{BatchHeader, HEADER_LEN};
use ottla_storage::io::{DirEntry, OpenMode, RealFile, RealLock, Space};
use ottla_storage::{LogFile, LogIo, RealIo};

use super::check::{Event, Trace};

/// Longer than an answer needs that does not wait.
const SYNC_DELAY: Duration = Duration::from_millis(8);
const WRITE_DELAY: Duration = Duration::from_millis(1);

/// The disk of one broker.
#[derive(Debug, Clone)]
pub struct TraceIo {
    broker: i32,
    trace: Trace,
    /// How far each log file was written.
    ends: Arc<Mutex<HashMap<PathBuf, i64>>>,
}

/// A file, and which part of which partition it holds if it is a log.
#[derive(Debug)]
pub struct TraceFile {
    file: RealFile,
    log: Option<LogPart>,
}

#[derive(Debug)]
struct LogPart {
    disk: TraceIo,
    path: PathBuf,
    partition: String,
    from: i64,
}

impl TraceIo {
    pub fn new(broker: i32, trace: &Trace) -> Self {
        Self { broker, trace: trace.clone(), ends: Arc::default() }
    }

    fn log_part(&self, path: &Path) -> Option<LogPart> {
        let from = path.file_name()?.to_str()?.strip_suffix(".log")?.parse().ok()?;
        let partition = path.parent()?.file_name()?.to_str()?.to_owned();
        Some(LogPart { disk: self.clone(), path: path.to_owned(), partition, from })
    }
}

impl LogPart {
    fn end(&self) -> i64 {
        let ends = self.disk.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.get(&self.path).copied().unwrap_or(self.from)
    }

    fn note_written(&self, pieces: &[IoSlice<'_>]) {
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let mut rest = &bytes[..];
        let mut to = None;
        while HEADER_LEN <= rest.len() {
            let header = BatchHeader::parse(rest).expect("whole batches are written");
            to = Some(header.next_offset().0);
            rest = &rest[header.total_len()..];
        }
        let Some(to) = to else { return };
        thread::sleep(WRITE_DELAY);
        let mut ends = self.disk.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.insert(self.path.clone(), to);
        drop(ends);
        let (broker, partition) = (self.disk.broker, self.partition.clone());
        self.disk.trace.note(Event::Written { broker, partition, from: self.from, to });
    }

    fn note_synced(&self, to: i64) {
        thread::sleep(SYNC_DELAY);
        let (broker, partition) = (self.disk.broker, self.partition.clone());
        self.disk.trace.note(Event::Synced { broker, partition, from: self.from, to });
    }
}

impl LogFile for TraceFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(position, buf)
    }

    fn try_read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.file.try_read_at(position, buf)
    }

    fn write_at(&self, position: u64, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        self.file.write_at(position, pieces)?;
        if let Some(log) = &self.log {
            log.note_written(pieces);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        // Only what was written before counts as synced.
        let to = self.log.as_ref().map(LogPart::end);
        self.file.sync()?;
        if let (Some(log), Some(to)) = (&self.log, to) {
            log.note_synced(to);
        }
        Ok(())
    }

    fn reserve(&self, position: u64, len: u64) -> io::Result<()> {
        self.file.reserve(position, len)
    }
}

impl LogIo for TraceIo {
    type File = TraceFile;
    type Lock = RealLock;

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<TraceFile> {
        Ok(TraceFile { file: RealIo.open(path, mode)?, log: self.log_part(path) })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealIo.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealIo.remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealIo.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealIo.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealIo.sync_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        RealIo.list(dir)
    }

    fn exists(&self, path: &Path) -> bool {
        RealIo.exists(path)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        RealIo.space(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<RealLock>> {
        RealIo.lock(path)
    }
}
