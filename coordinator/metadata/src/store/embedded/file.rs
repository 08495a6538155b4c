//! The files of an embedded store: a log of records and a snapshot that replaces its beginning.
//!
//! A frame is length (u32), CRC-32C of the payload (u32), payload: sequence number (u64) and record. An
//! append is written and synced before it is applied, so only the last frame of the log can be torn; it is cut
//! off. Damage anywhere else is an error. A snapshot is written beside and renamed; frames of the log that it
//! covers are skipped by their sequence number, so that a crash between the two steps loses nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes};
use crc_fast::{CrcAlgorithm, checksum};

use super::record::Record;

/// Why the files of an embedded store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file cannot be read or written.
    #[error("cannot use the metadata folder {path}: {source}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process uses the folder.
    #[error(
        "the metadata folder {path} is in use by another process: stop it, or use another folder"
    )]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// Not a torn end, but damage.
    #[error(
        "{path} is damaged at byte {position}: restore it from a copy, or remove the folder to start anew"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        position: u64,
    },
}

/// The open log, locked against other processes.
#[derive(Debug)]
pub(super) struct LogFile {
    dir: PathBuf,
    file: File,
    /// Where the next frame goes.
    end: u64,
    next_sequence: u64,
    /// Held for its lock.
    lock: File,
}

/// What the files hold.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) snapshot: Vec<Record>,
    pub(super) log: Vec<Record>,
}

impl LogFile {
    /// Opens or creates the files in `dir`.
    pub(super) fn open(dir: &Path) -> Result<(Self, Recovered), OpenError> {
        let failed = |source| OpenError::Io { path: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(failed)?;
        let lock = open_file(&dir.join(LOCK)).map_err(failed)?;
        lock.try_lock().map_err(|_| OpenError::Locked { path: dir.to_owned() })?;

        let (snapshot, covered) = read_snapshot(&dir.join(SNAPSHOT))?;
        let path = dir.join(LOG);
        let mut file = open_file(&path).map_err(failed)?;
        let frames = read_frames(&mut file, &path, true)?;
        file.set_len(frames.end).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        sync_dir(dir).map_err(failed)?;

        let next_sequence = frames.last_sequence.max(covered) + 1;
        let log = frames.records.into_iter().filter(|(sequence, _)| covered < *sequence);
        let recovered = Recovered { snapshot, log: log.map(|(_, record)| record).collect() };
        let (end, dir) = (frames.end, dir.to_owned());
        Ok((Self { dir, file, end, next_sequence, lock }, recovered))
    }

    /// Writes and syncs one record. After an error the file is not usable: whether the record is in it is
    /// found out by opening it again.
    pub(super) fn append(&mut self, record: &Record) -> io::Result<()> {
        let frame = frame(self.next_sequence, record);
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(&frame)?;
        self.file.sync_data()?;
        self.end += frame.len() as u64;
        self.next_sequence += 1;
        Ok(())
    }

    /// True when the log is long enough to be replaced by a snapshot.
    pub(super) fn wants_snapshot(&self) -> bool {
        LOG_BYTES_MAX < self.end
    }

    /// Replaces everything so far by `records`.
    pub(super) fn snapshot(&mut self, records: impl Iterator<Item = Record>) -> io::Result<()> {
        let beside = self.dir.join(SNAPSHOT_BESIDE);
        let mut file = io::BufWriter::new(File::create(&beside)?);
        let covered = self.next_sequence - 1;
        let mut count = 0;
        for record in records {
            file.write_all(&frame(covered, &record))?;
            count += 1;
        }
        file.write_all(&frame(covered, &Record::End(count)))?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&beside, self.dir.join(SNAPSHOT))?;
        sync_dir(&self.dir)?;
        self.file.set_len(0)?;
        self.file.sync_all()?;
        self.end = 0;
        Ok(())
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        // Not left to the end of the descriptor: a child process that is just being started has a copy of it.
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "the metadata folder could not be unlocked");
        }
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn frame(sequence: u64, record: &Record) -> Vec<u8> {
    let mut frame = vec![0; FRAME_HEADER_LEN];
    frame.extend_from_slice(&sequence.to_le_bytes());
    record.encode(&mut frame);
    let payload = &frame[FRAME_HEADER_LEN..];
    let length = u32::try_from(payload.len()).expect("a request is at most 1.5 MiB");
    let crc = crc(payload);
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
    frame
}

fn crc(payload: &[u8]) -> u32 {
    // The algorithm is 32 bits wide, the interface 64.
    u32::try_from(checksum(CrcAlgorithm::Crc32Iscsi, payload)).unwrap_or_default()
}

struct Frames {
    records: Vec<(u64, Record)>,
    last_sequence: u64,
    end: u64,
}

fn read_snapshot(path: &Path) -> Result<(Vec<Record>, u64), OpenError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(source) => return Err(OpenError::Io { path: path.to_owned(), source }),
    };
    let frames = read_frames(&mut file, path, false)?;
    let mut records: Vec<Record> = frames.records.into_iter().map(|(_, record)| record).collect();
    match records.pop() {
        Some(Record::End(count)) if count == records.len() as u64 => {
            Ok((records, frames.last_sequence))
        }
        _ => Err(OpenError::Damaged { path: path.to_owned(), position: frames.end }),
    }
}

fn read_frames(file: &mut File, path: &Path, may_be_torn: bool) -> Result<Frames, OpenError> {
    let mut all = Vec::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_end(&mut all))
        .map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
    let all = Bytes::from(all);
    let mut frames = Frames { records: Vec::new(), last_sequence: 0, end: 0 };
    while frames.end < all.len() as u64 {
        let start = usize::try_from(frames.end).expect("the file was read into memory");
        let rest = all.slice(start..);
        match read_frame(&rest) {
            Ok((sequence, record, len)) => {
                frames.records.push((sequence, record));
                frames.last_sequence = sequence;
                frames.end += len as u64;
            }
            Err(Broken::Torn) if may_be_torn => {
                tracing::warn!(path = %path.display(), position = frames.end, "torn end of the metadata log is cut off");
                break;
            }
            Err(_) => {
                return Err(OpenError::Damaged { path: path.to_owned(), position: frames.end });
            }
        }
    }
    Ok(frames)
}

enum Broken {
    /// An append that did not finish: the frame is the last one.
    Torn,
    Damaged,
}

fn read_frame(rest: &Bytes) -> Result<(u64, Record, usize), Broken> {
    if rest.len() < FRAME_HEADER_LEN || rest.iter().all(|byte| *byte == 0) {
        return Err(Broken::Torn);
    }
    let mut header = rest.slice(..FRAME_HEADER_LEN);
    let (length, expected) = (header.get_u32_le() as usize, header.get_u32_le());
    let end = FRAME_HEADER_LEN + length;
    if rest.len() < end {
        // A damaged length looks the same, unless it is longer than any record.
        return Err(if length <= FRAME_BYTES_MAX { Broken::Torn } else { Broken::Damaged });
    }
    let mut payload = rest.slice(FRAME_HEADER_LEN..end);
    if length < 8 || crc(&payload) != expected {
        // Zeros behind it are room that the file got before its bytes.
        let last = rest[end..].iter().all(|byte| *byte == 0);
        return Err(if last { Broken::Torn } else { Broken::Damaged });
    }
    let sequence = payload.get_u64_le();
    let record = Record::decode(payload).map_err(|_| Broken::Damaged)?;
    Ok((sequence, record, end))
}

const LOCK: &str = "lock";
const LOG: &str = "log";
const SNAPSHOT: &str = "snapshot";
const SNAPSHOT_BESIDE: &str = "snapshot.new";
const FRAME_HEADER_LEN: usize = 8;
const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
const LOG_BYTES_MAX: u64 = 8 * 1024 * 1024;
