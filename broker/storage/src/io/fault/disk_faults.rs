//! What a disk refuses, folder by folder.

use std::io;
use std::path::{Path, PathBuf};

use super::super::Space;

/// How a disk fails from the moment on that it is told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// No room: writes, new names and growing files fail with `ENOSPC`, and no space is reported. Reading, cutting and
    /// removing go on.
    Full,
    /// Writes and changes of length fail with `EIO`.
    Write,
    /// Syncs of files and folders fail with `EIO`.
    Sync,
}

/// Something that a disk is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Write,
    /// A file or folder is to be made.
    Create,
    /// A file is to become longer without a write.
    Grow,
    Cut,
    Sync,
}

/// The faults that are in force.
#[derive(Debug, Default)]
pub(super) struct DiskFaults {
    below: Vec<(PathBuf, DiskFault)>,
}

impl DiskFaults {
    pub(super) fn add(&mut self, dir: &Path, fault: DiskFault) {
        self.below.push((dir.to_owned(), fault));
    }

    pub(super) fn clear(&mut self, dir: &Path) {
        self.below.retain(|(below, _)| below != dir);
    }

    /// The error with which the disk that holds `path` answers.
    pub(super) fn check(&self, path: &Path, request: Request) -> io::Result<()> {
        let mut faults = self.of(path);
        let error = faults.find_map(|fault| match (fault, request) {
            (DiskFault::Full, Request::Write | Request::Create | Request::Grow) => {
                Some(io::ErrorKind::StorageFull.into())
            }
            (DiskFault::Write, Request::Write | Request::Grow | Request::Cut)
            | (DiskFault::Sync, Request::Sync) => Some(rustix::io::Errno::IO.into()),
            _ => None,
        });
        error.map_or(Ok(()), Err)
    }

    /// What the file system of `dir` says of its room.
    pub(super) fn space(&self, dir: &Path, real: Space) -> Space {
        let is_full = self.of(dir).any(|fault| fault == DiskFault::Full);
        if is_full { Space { available: 0, ..real } } else { real }
    }

    fn of(&self, path: &Path) -> impl Iterator<Item = DiskFault> {
        self.below.iter().filter(|(below, _)| path.starts_with(below)).map(|(_, fault)| *fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_of_its_folder_and_its_kind_until_it_is_cleared() {
        let (one, other) = (Path::new("/disk-1"), Path::new("/disk-2"));
        let mut faults = DiskFaults::default();
        faults.add(one, DiskFault::Sync);
        faults.add(other, DiskFault::Full);
        assert!(faults.check(&one.join("t-0/0.log"), Request::Sync).is_err());
        assert!(faults.check(&one.join("t-0/0.log"), Request::Write).is_ok());
        let full = faults.check(&other.join("t-0"), Request::Create).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert!(faults.check(&other.join("t-0"), Request::Cut).is_ok());
        assert!(faults.check(Path::new("/disk-11/t-0"), Request::Sync).is_ok());
        let room = Space { total: 10, available: 5 };
        assert_eq!(faults.space(other, room), Space { total: 10, available: 0 });
        assert_eq!(faults.space(one, room), room);
        faults.clear(other);
        assert!(faults.check(&other.join("t-0"), Request::Write).is_ok());
        assert!(faults.check(&one.join("t-0"), Request::Sync).is_err());
    }
}
