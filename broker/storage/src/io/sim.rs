//! A disk in memory, from a seed, that behaves as badly as a real one may.
//!
//! What was not synced is at the mercy of [`SimIo::power_cut`]: dirty pages survive, vanish or are torn at any byte, a
//! file keeps its old or its new length, and names made, moved or removed since the last sync of their folder are kept or
//! forgotten one by one. A sync that fails drops the dirty pages, as Linux does, so that the next one "succeeds".

mod disk;

use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{DirEntry, LogFile, LogIo, OpenMode, Space};
use disk::Disk;

/// An operation that changes the disk, as counted and failed by [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SimOp {
    /// [`LogFile::write_at`].
    Write,
    /// [`LogFile::set_len`].
    SetLen,
    /// [`LogFile::sync`].
    Sync,
    /// Creating a file or a folder.
    Create,
    /// [`LogIo::rename`].
    Rename,
    /// [`LogIo::remove_file`] and [`LogIo::remove_dir`].
    Remove,
    /// [`LogIo::sync_dir`].
    SyncDir,
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The power fails in the `at`-th operation from now on (1 = the next): a write in progress is torn, everything
    /// afterwards fails until [`SimIo::power_cut`].
    PowerOff {
        /// Which operation.
        at: u64,
    },
    /// The `nth` operation of a kind from now on (1 = the next) fails with an error of the disk; a write is torn first.
    Fail {
        /// The kind of operation.
        op: SimOp,
        /// Which of them.
        nth: u64,
        /// `Other` stands for EIO, `StorageFull` for ENOSPC.
        error: io::ErrorKind,
    },
}

/// A simulated disk. Clones are handles to the same disk, so that it can be opened again after a power cut.
#[derive(Clone)]
pub struct SimIo {
    disk: Arc<Mutex<Disk>>,
}

/// An open file of a simulated disk.
pub struct SimFile {
    disk: Arc<Mutex<Disk>>,
    inode: u64,
    /// Files opened before a power cut are dead.
    life: u64,
}

/// A lock on a simulated file; released when dropped, and by a power cut.
pub struct SimLock {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
    life: u64,
}

impl SimIo {
    /// An empty disk with the folder `/` that behaves as the seed says.
    pub fn new(seed: u64) -> Self {
        Self { disk: Arc::new(Mutex::new(Disk::new(seed))) }
    }

    /// Arranges for something to go wrong.
    pub fn inject(&self, fault: Fault) {
        self.disk().inject(fault);
    }

    /// Changing operations so far.
    pub fn operations(&self) -> u64 {
        self.disk().operations
    }

    /// The power fails and comes back: unsynced data and names are lost as the seed has it, open files are dead, faults
    /// are forgotten.
    pub fn power_cut(&self) {
        self.disk().power_cut();
    }

    /// The process dies and another one starts: locks are released and open files are dead, data stays.
    pub fn process_crash(&self) {
        self.disk().process_crash();
    }

    /// Bounds the disk; writes beyond it are torn and fail with `StorageFull`. `None`: no bound, the start.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.disk().capacity = bytes;
    }

    /// While set, syncs of files succeed and do nothing: for tests that show what a sync is for.
    pub fn set_ignoring_syncs(&self, is_ignoring: bool) {
        self.disk().is_ignoring_syncs = is_ignoring;
    }

    /// While cold, [`LogFile::try_read_at`] fails with `WouldBlock`.
    pub fn set_cold(&self, cold: bool) {
        self.disk().cold = cold;
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.disk)
    }
}

fn lock(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for SimIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimIo")
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimFile({})", self.inode)
    }
}

impl fmt::Debug for SimLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimLock({})", self.path.display())
    }
}

impl LogIo for SimIo {
    type File = SimFile;
    type Lock = SimLock;

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<SimFile> {
        let mut disk = self.disk();
        let inode = disk.open(path, mode)?;
        Ok(SimFile { disk: Arc::clone(&self.disk), inode, life: disk.life })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk().rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk().remove(path, false)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk().create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk().remove(path, true)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk().sync_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk().list(dir)
    }

    fn exists(&self, path: &Path) -> bool {
        self.disk().find(path).is_ok()
    }

    fn space(&self, _dir: &Path) -> io::Result<Space> {
        let disk = self.disk();
        let total = disk.capacity.unwrap_or(1 << 50);
        Ok(Space { total, available: total.saturating_sub(disk.used()) })
    }

    fn lock(&self, path: &Path) -> io::Result<Option<SimLock>> {
        let mut disk = self.disk();
        if disk.find(path).is_err() {
            disk.open(path, OpenMode::CreateNew)?;
        }
        if !disk.locks.insert(path.to_owned()) {
            return Ok(None);
        }
        let life = disk.life;
        Ok(Some(SimLock { disk: Arc::clone(&self.disk), path: path.to_owned(), life }))
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut disk = lock(&self.disk);
        if disk.life == self.life {
            disk.locks.remove(&self.path);
        }
    }
}

impl SimFile {
    fn disk(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = lock(&self.disk);
        if disk.life != self.life || disk.off {
            return Err(io::Error::other("the simulated machine lost power"));
        }
        Ok(disk)
    }
}

impl LogFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk()?.content(self.inode).len() as u64)
    }

    fn read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        let disk = self.disk()?;
        let content = disk.content(self.inode);
        let start = usize::try_from(position).unwrap_or(usize::MAX).min(content.len());
        let read = buf.len().min(content.len() - start);
        buf[..read].copy_from_slice(&content[start..start + read]);
        Ok(read)
    }

    fn try_read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        if self.disk()?.cold {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.read_at(position, buf)
    }

    fn write_at(&self, position: u64, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        self.disk()?.write(self.inode, position, pieces)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk()?.set_len(self.inode, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk()?.sync(self.inode)
    }

    fn reserve(&self, _position: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
