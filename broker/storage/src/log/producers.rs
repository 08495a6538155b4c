//! Producer state: expiry, and rebuilding it from snapshot and log.

use ottla_protocol::record_batch::{Batch, BatchHeader};
use ottla_protocol::time::Now;
use ottla_protocol::types::Offset;
use tracing::warn;

use super::Log;
use super::append::marker_of;
use crate::atomic_file::SMALL_FILE_LEN_MAX;
use crate::error::LoadError;
use crate::file_cache::ReadMode;
use crate::io::{LogFile, LogIo};
use crate::paths::{SegmentFileKind, segment_file};
use crate::producer_state::{self, ProducerStates};
use crate::scan::{Found, SCAN_BUFFER, ScanError, Scanner};
use crate::segment::SegmentRef;

impl<I: LogIo> Log<I> {
    /// Forgets producers that have written nothing for `producer.id.expiration.ms`; how many. To be called every few
    /// minutes.
    pub fn expire_producers(&mut self, now: Now) -> usize {
        let age = i64::try_from(self.config.producer_id_expiration.as_millis()).unwrap_or(i64::MAX);
        self.producers.expire(now.wall_ms.saturating_sub(age))
    }

    /// Rebuilds the producers' state as of the log's end: from the newest snapshot that is not beyond it and can be
    /// believed, then from the batches behind that one.
    pub(super) fn rebuild_producers(&mut self) -> Result<(), LoadError> {
        self.producers = ProducerStates::default();
        let mut from = self.log_start;
        while let Some(&offset) = self.snapshots.last() {
            if let Some(states) = self.read_snapshot(offset)? {
                self.producers = states;
                from = offset;
                break;
            }
            let path = segment_file(&self.path, offset, SegmentFileKind::Snapshot);
            self.dir.io.remove_file(&path).map_err(LoadError::io(&path))?;
            self.snapshots.pop();
            self.unsynced.on_created();
        }
        self.replay_producers(from)
    }

    fn read_snapshot(&self, offset: Offset) -> Result<Option<ProducerStates>, LoadError> {
        let path = segment_file(&self.path, offset, SegmentFileKind::Snapshot);
        let content =
            self.dir.io.read_small(&path, SMALL_FILE_LEN_MAX).map_err(LoadError::io(&path))?;
        match producer_state::decode(&content) {
            Ok(states) => Ok(Some(states)),
            Err(error) => {
                warn!(file = %path.display(), %error, "producer snapshot is not used");
                Ok(None)
            }
        }
    }

    fn replay_producers(&mut self, from: Offset) -> Result<(), LoadError> {
        if from == self.log_end {
            return Ok(());
        }
        let view = self.view();
        for segment in view.segments_from(from).filter(|segment| segment.size != 0) {
            let path = segment.files.log.path();
            let file = segment.files.log_file(ReadMode::Wait).map_err(LoadError::io(path))?;
            let start = segment.files.position_before(from, ReadMode::Wait);
            let start = start.map_err(LoadError::io(path))?;
            let mut scanner =
                Scanner::new(&*file, start..segment.size, SCAN_BUFFER, ReadMode::Wait);
            while let Some(found) = scanner.next().map_err(|error| load_error(segment, error))? {
                if from <= found.header.last_offset() && found.header.has_producer_id() {
                    let marker = read_control(&mut scanner, &found);
                    let marker = marker.map_err(|error| load_error(segment, error))?;
                    self.apply_producer(&found.header, marker.as_ref());
                }
            }
        }
        Ok(())
    }

    fn apply_producer(&mut self, header: &BatchHeader, control: Option<&Batch>) {
        match control.and_then(marker_of) {
            Some(marker) => drop(self.producers.apply_marker(header, &marker)),
            None => self.producers.apply(header),
        }
    }
}

/// A control batch, whole; they are small.
fn read_control<F: LogFile>(
    scanner: &mut Scanner<'_, F>,
    found: &Found,
) -> Result<Option<Batch>, ScanError> {
    if !found.header.attributes.is_control() {
        return Ok(None);
    }
    let bytes = scanner.bytes_of(found)?;
    Ok(bytes.and_then(|bytes| Batch::parse(&bytes::Bytes::copy_from_slice(bytes)).ok()))
}

pub(super) fn load_error<I: LogIo>(segment: &SegmentRef<I>, error: ScanError) -> LoadError {
    let path = segment.files.log.path().to_owned();
    match error {
        ScanError::Io(source) => LoadError::Io { path, source },
        ScanError::Invalid { position, reason } => {
            LoadError::Invalid { path, reason: format!("at position {position}: {reason}") }
        }
        ScanError::OldFormat { magic, .. } => LoadError::OldFormat { path, magic },
    }
}
