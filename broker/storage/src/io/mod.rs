//! The disk as a parameter: what the storage needs of a file system, the real one and a simulated one.
//!
//! Everything is positional and synchronous. Writers are log workers and the sync pool; readers may call
//! [`LogFile::try_read_at`] from anywhere, because it never waits for the disk.

#[cfg(any(test, feature = "fault-injection"))]
mod fault;
mod real;
mod sim;

use std::fmt;
use std::io::{self, IoSlice};
use std::path::Path;

#[cfg(any(test, feature = "fault-injection"))]
pub use fault::{DiskFault, FaultFile, FaultIo};
pub use real::{RealFile, RealIo, RealLock};
pub use sim::{Fault, SimFile, SimIo, SimLock, SimOp};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It exists; reading only.
    Read,
    /// It exists; reading and writing.
    ReadWrite,
    /// It must not exist yet; reading and writing.
    CreateNew,
    /// Made if absent, emptied if present; reading and writing.
    CreateOrTruncate,
}

/// What a name in a folder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A plain file.
    File,
    /// A folder.
    Dir,
    /// A link, a socket or the like: never touched.
    Other,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The last part of the path. Names that are not UTF-8 are not ours and are left out of listings.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes, for a file.
    pub len: u64,
}

/// Room on the file system that holds a folder, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Size of the file system.
    pub total: u64,
    /// What an unprivileged process may still write.
    pub available: u64,
}

/// A file system. Clones share it.
pub trait LogIo: Clone + Send + Sync + fmt::Debug + 'static {
    /// An open file.
    type File: LogFile;
    /// A held lock, released when dropped.
    type Lock: Send + Sync + fmt::Debug + 'static;

    /// Opens or creates a file. A new name lasts only after [`LogIo::sync_dir`] of its folder.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Self::File>;

    /// Renames a file or a folder, replacing a file of the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Makes a folder; its parent must exist. `AlreadyExists` if it does.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty folder.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder last: without it, files created, renamed or removed may be forgotten in a power cut.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a folder, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Whether something of this name is there.
    fn exists(&self, path: &Path) -> bool;

    /// Room on the file system of a folder.
    fn space(&self, dir: &Path) -> io::Result<Space>;

    /// Takes the exclusive lock on a file, made if absent; `None` while somebody else holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<Self::Lock>>;

    /// Reads a small file whole; `InvalidData` if it is larger than `max` bytes.
    fn read_small(&self, path: &Path, max: usize) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
        if max < len {
            let message = format!("{} has {len} bytes, at most {max} expected", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let mut out = vec![0; len];
        let read = read_full(&file, 0, &mut out)?;
        out.truncate(read);
        Ok(out)
    }
}

/// An open file. All methods take `&self`: positions are arguments, and the owner of the log is the only writer.
pub trait LogFile: Send + Sync + fmt::Debug + 'static {
    /// Bytes in the file.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads at most `buf.len()` bytes at `position`; 0 at the end of the file. May wait for the disk.
    fn read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// As [`LogFile::read_at`], but fails with `WouldBlock` instead of waiting for the disk. May return fewer bytes than
    /// asked for where only these are in memory.
    fn try_read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes all pieces one after the other at `position`. On an error any part may have been written.
    fn write_at(&self, position: u64, pieces: &[IoSlice<'_>]) -> io::Result<()>;

    /// Cuts the file, or lengthens it with zeros. Space that was reserved beyond the new end is given back.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes content and length last. After an error the content is unknown: never call it again and believe it.
    fn sync(&self) -> io::Result<()>;

    /// Reserves space without changing the length. An optimisation: callers ignore errors.
    fn reserve(&self, position: u64, len: u64) -> io::Result<()>;
}

/// Reads until `buf` is full or the file ends; the number of bytes read.
pub fn read_full<F: LogFile>(file: &F, position: u64, buf: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(position + done as u64, &mut buf[done..]) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Whether the disk, or the quota on it, is full.
pub fn is_out_of_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
