//! Open files, bounded: a partition that nobody reads or writes holds none.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwapOption;

use crate::io::{LogIo, OpenMode};

/// How a read treats data that is not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// Never wait for the disk: fail with `WouldBlock`. For network tasks.
    NoWait,
    /// Wait. For reader threads, recovery and tools.
    Wait,
}

/// One file of a segment, opened when needed.
pub(crate) struct FileSlot<I: LogIo> {
    path: PathBuf,
    open: ArcSwapOption<I::File>,
    used: AtomicBool,
}

impl<I: LogIo> FileSlot<I> {
    pub(crate) fn new(path: PathBuf) -> Arc<Self> {
        Arc::new(Self { path, open: ArcSwapOption::empty(), used: AtomicBool::new(false) })
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Closes the file once its users are done with it.
    pub(crate) fn close(&self) {
        self.open.store(None);
    }
}

impl<I: LogIo> fmt::Debug for FileSlot<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileSlot({})", self.path.display())
    }
}

/// The open files of a log dir, at most `max` besides those in use at the moment. The one not used for longest is closed
/// first, roughly: a second chance for each that was used since it was last looked at.
///
/// A file with unsynced data is also held by its log, so that its next sync is on the descriptor that wrote.
#[derive(Debug)]
pub(crate) struct FileCache<I: LogIo> {
    io: I,
    max: usize,
    clock: Mutex<VecDeque<Weak<FileSlot<I>>>>,
}

impl<I: LogIo> FileCache<I> {
    pub(crate) fn new(io: I, max: usize) -> Self {
        Self { io, max: max.max(1), clock: Mutex::new(VecDeque::new()) }
    }

    pub(crate) fn io(&self) -> &I {
        &self.io
    }

    /// The open file; opens it unless `mode` forbids to wait.
    pub(crate) fn file(&self, slot: &Arc<FileSlot<I>>, mode: ReadMode) -> io::Result<Arc<I::File>> {
        if let Some(file) = slot.open.load_full() {
            slot.used.store(true, Ordering::Relaxed);
            return Ok(file);
        }
        if mode == ReadMode::NoWait {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let file = Arc::new(self.io.open(&slot.path, OpenMode::ReadWrite)?);
        self.insert(slot, Arc::clone(&file));
        Ok(file)
    }

    /// Creates the file, which must not exist.
    pub(crate) fn create(&self, slot: &Arc<FileSlot<I>>) -> io::Result<Arc<I::File>> {
        let file = Arc::new(self.io.open(&slot.path, OpenMode::CreateNew)?);
        self.insert(slot, Arc::clone(&file));
        Ok(file)
    }

    fn insert(&self, slot: &Arc<FileSlot<I>>, file: Arc<I::File>) {
        slot.used.store(false, Ordering::Relaxed);
        slot.open.store(Some(file));
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        clock.push_back(Arc::downgrade(slot));
        // Each turn removes an entry or takes its second chance away, so this ends.
        while self.max < clock.len() {
            let Some(weak) = clock.pop_front() else {
                break;
            };
            let Some(oldest) = weak.upgrade() else {
                continue;
            };
            if oldest.used.swap(false, Ordering::Relaxed) {
                clock.push_back(weak);
            } else {
                oldest.close();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::SimIo;

    fn open_count(slots: &[Arc<FileSlot<SimIo>>]) -> usize {
        slots.iter().filter(|slot| slot.open.load().is_some()).count()
    }

    #[test]
    fn at_most_the_limit_stays_open_and_what_is_used_stays_longest() {
        let cache = FileCache::new(SimIo::new(0), 3);
        let slots: Vec<_> =
            (0..10).map(|i| FileSlot::<SimIo>::new(format!("/{i}").into())).collect();
        for slot in &slots {
            cache.create(slot).unwrap();
            // The first is used all the time.
            cache.file(&slots[0], ReadMode::Wait).unwrap();
            assert!(open_count(&slots) <= 3);
        }
        assert!(slots[0].open.load().is_some());
        assert!(cache.file(&slots[0], ReadMode::NoWait).is_ok());
        let error = cache.file(&slots[4], ReadMode::NoWait).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        cache.file(&slots[4], ReadMode::Wait).unwrap();
        assert!(open_count(&slots) <= 3);
    }
}
