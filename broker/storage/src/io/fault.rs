//! Real files whose power can be cut: for a build of the real broker that tests use, never for production.
//!
//! A process that is killed loses nothing that the kernel holds, and so proves nothing about disks. This wrapper remembers
//! how to undo whatever was not yet synced, and on [`FaultIo::cut_power`] undoes it: content back to the last sync of the
//! file, names back to the last sync of their folder. Afterwards every operation fails, as on a machine that is off; the
//! process should end and be started again with another boot id.
//!
//! The cut is the plain one: everything unsynced is lost, nothing is torn. [`super::SimIo`] is for the rest. Beside it a
//! folder's disk can be made to fail, see [`DiskFault`].

mod disk_faults;

use std::collections::HashMap;
use std::fs;
use std::io::{self, IoSlice};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use disk_faults::DiskFault;

use disk_faults::{DiskFaults, Request};

use super::{DirEntry, LogFile, LogIo, OpenMode, RealFile, RealIo, RealLock, Space, read_full};

/// The real file system, with a switch. Clones share the switch.
#[derive(Clone, Debug, Default)]
pub struct FaultIo {
    state: Arc<Mutex<State>>,
}

/// A real file that remembers what was not synced.
#[derive(Debug)]
pub struct FaultFile {
    file: Arc<RealFile>,
    /// As it was opened; folders above it may have been renamed since.
    path: PathBuf,
    inode: u64,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    off: bool,
    /// Files with unsynced content, by inode.
    files: HashMap<u64, Undo>,
    /// Unsynced changes of names, oldest first.
    names: Vec<NameChange>,
    trash: u64,
    faults: DiskFaults,
}

/// How to bring a file's content back.
#[derive(Debug)]
struct Undo {
    file: Arc<RealFile>,
    len: u64,
    /// What was overwritten or cut off, oldest first.
    old: Vec<(u64, Vec<u8>)>,
}

#[derive(Debug)]
enum NameChange {
    Created(PathBuf),
    /// What was under the new name, if anything, was kept under the third.
    Renamed(PathBuf, PathBuf, Option<PathBuf>),
    /// It was kept under the second name.
    Removed(PathBuf, PathBuf),
}

impl NameChange {
    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Created(path) | Self::Renamed(_, path, _) | Self::Removed(path, _) => {
                path.parent()
            }
        }
    }

    fn undo(self) -> io::Result<()> {
        match self {
            Self::Created(path) if path.is_dir() => fs::remove_dir_all(path),
            Self::Created(path) => fs::remove_file(path),
            Self::Renamed(from, to, replaced) => {
                fs::rename(&to, from)?;
                replaced.map_or(Ok(()), |kept| fs::rename(kept, to))
            }
            Self::Removed(path, kept) => fs::rename(kept, path),
        }
    }

    /// It is durable: what was kept is not needed any more.
    fn settle(self) -> io::Result<()> {
        match self {
            Self::Renamed(_, _, Some(kept)) | Self::Removed(_, kept) => fs::remove_file(kept),
            Self::Created(_) | Self::Renamed(_, _, None) => Ok(()),
        }
    }
}

const TRASH_PREFIX: &str = ".fault-";

impl FaultIo {
    /// The power fails: everything unsynced is undone, and every later operation fails.
    pub fn cut_power(&self) -> io::Result<()> {
        self.cut_power_then(|undone| undone)
    }

    /// As [`FaultIo::cut_power`]. Nobody gets as far as to see the disk fail before `then` has run, which may end the
    /// process.
    pub fn cut_power_then<T>(&self, then: impl FnOnce(io::Result<()>) -> T) -> T {
        let mut state = lock(&self.state);
        state.off = true;
        then(state.undo_all())
    }

    /// The disk of everything in `dir` fails from now on. Faults add up.
    pub fn inject(&self, dir: &Path, fault: DiskFault) {
        lock(&self.state).faults.add(dir, fault);
    }

    /// Ends the faults that were injected for `dir`.
    pub fn heal(&self, dir: &Path) {
        lock(&self.state).faults.clear(dir);
    }

    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        powered(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state, unless the power is off. Changes are made while it is held, so that none slips in after a cut.
fn powered(state: &Mutex<State>) -> io::Result<MutexGuard<'_, State>> {
    let state = lock(state);
    if state.off { Err(io::Error::other("the power was cut")) } else { Ok(state) }
}

impl State {
    fn trash(&mut self, path: &Path) -> PathBuf {
        self.trash += 1;
        path.with_file_name(format!("{TRASH_PREFIX}{}-{}", std::process::id(), self.trash))
    }

    fn undo_all(&mut self) -> io::Result<()> {
        for (_, undo) in self.files.drain() {
            for (position, bytes) in undo.old.into_iter().rev() {
                undo.file.write_at(position, &[IoSlice::new(&bytes)])?;
            }
            undo.file.set_len(undo.len)?;
        }
        let names = std::mem::take(&mut self.names);
        for change in names.into_iter().rev() {
            // Within a folder that is itself undone, or was renamed since, nothing may be left to undo.
            match change.undo() {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl LogIo for FaultIo {
    type File = FaultFile;
    type Lock = RealLock;

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<FaultFile> {
        let mut state = self.state()?;
        let is_new = !path.exists();
        if is_new {
            state.faults.check(path, Request::Create)?;
        }
        let plain = match mode {
            OpenMode::CreateOrTruncate if !is_new => OpenMode::ReadWrite,
            other => other,
        };
        let file = Arc::new(RealIo.open(path, plain)?);
        if is_new {
            state.names.push(NameChange::Created(path.to_owned()));
        }
        drop(state);
        let inode = fs::metadata(path)?.ino();
        let (path, state) = (path.to_owned(), Arc::clone(&self.state));
        let file = FaultFile { file, path, inode, state };
        if mode == OpenMode::CreateOrTruncate && !is_new {
            file.set_len(0)?;
        }
        Ok(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        let replaced = if to.exists() { Some(state.trash(to)) } else { None };
        if let Some(kept) = &replaced {
            fs::hard_link(to, kept)?;
        }
        fs::rename(from, to)?;
        state.names.push(NameChange::Renamed(from.to_owned(), to.to_owned(), replaced));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        let kept = state.trash(path);
        fs::rename(path, &kept)?;
        state.names.push(NameChange::Removed(path.to_owned(), kept));
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        state.faults.check(path, Request::Create)?;
        fs::create_dir(path)?;
        state.names.push(NameChange::Created(path.to_owned()));
        Ok(())
    }

    /// Lasts at once, with all that was removed in it.
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.sync_dir(path)?;
        fs::remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        state.faults.check(path, Request::Sync)?;
        RealIo.sync_dir(path)?;
        let names = std::mem::take(&mut state.names);
        let (durable, open) = names.into_iter().partition(|change| change.folder() == Some(path));
        state.names = open;
        Vec::into_iter(durable).try_for_each(NameChange::settle)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let _state = self.state()?;
        let mut entries = RealIo.list(dir)?;
        entries.retain(|entry| !entry.name.starts_with(TRASH_PREFIX));
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let space = RealIo.space(dir)?;
        Ok(lock(&self.state).faults.space(dir, space))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<RealLock>> {
        let _state = self.state()?;
        RealIo.lock(path)
    }
}

impl FaultFile {
    /// How to undo what is about to happen; begun at the first change since the last sync.
    fn undo<'a>(&self, state: &'a mut State) -> io::Result<&'a mut Undo> {
        let len = self.file.len()?;
        let file = &self.file;
        let undo = || Undo { file: Arc::clone(file), len, old: Vec::new() };
        Ok(state.files.entry(self.inode).or_insert_with(undo))
    }

    /// Keeps the bytes from `from` to `to`, as far as they are there.
    fn keep(&self, state: &mut State, from: u64, to: u64) -> io::Result<()> {
        let end = self.file.len()?.min(to);
        let undo = self.undo(state)?;
        if from < end {
            let mut old = vec![0; (end - from) as usize];
            read_full(&*undo.file, from, &mut old)?;
            undo.old.push((from, old));
        }
        Ok(())
    }
}

impl LogFile for FaultFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        drop(powered(&self.state)?);
        self.file.read_at(position, buf)
    }

    fn try_read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        drop(powered(&self.state)?);
        self.file.try_read_at(position, buf)
    }

    fn write_at(&self, position: u64, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        let mut state = powered(&self.state)?;
        let len: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        self.keep(&mut state, position, position + len)?;
        if let Err(error) = state.faults.check(&self.path, Request::Write) {
            // As a disk that fills up or breaks does: some of it is written.
            if let Some(first) = pieces.first() {
                self.file.write_at(position, &[IoSlice::new(&first[..first.len() / 2])])?;
            }
            return Err(error);
        }
        self.file.write_at(position, pieces)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = powered(&self.state)?;
        let request = if self.file.len()? < len { Request::Grow } else { Request::Cut };
        state.faults.check(&self.path, request)?;
        self.keep(&mut state, len, u64::MAX)?;
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = powered(&self.state)?;
        state.faults.check(&self.path, Request::Sync)?;
        self.file.sync()?;
        state.files.remove(&self.inode);
        Ok(())
    }

    fn reserve(&self, _position: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: &FaultFile, position: u64, bytes: &[u8]) {
        file.write_at(position, &[IoSlice::new(bytes)]).unwrap();
    }

    #[test]
    fn a_cut_brings_back_what_was_synced() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let io = FaultIo::default();
        let file = io.open(&path("f"), OpenMode::CreateNew).unwrap();
        write(&file, 0, b"durable content");
        file.sync().unwrap();
        io.open(&path("removed"), OpenMode::CreateNew).unwrap();
        io.open(&path("target"), OpenMode::CreateNew).unwrap();
        io.sync_dir(root.path()).unwrap();

        write(&file, 8, b"CONTENT and more");
        file.set_len(4).unwrap();
        write(&file, 4, b"xyz");
        let temp = io.open(&path("temp"), OpenMode::CreateNew).unwrap();
        write(&temp, 0, b"new");
        io.rename(&path("temp"), &path("target")).unwrap();
        io.remove_file(&path("removed")).unwrap();
        io.create_dir(&path("dir")).unwrap();
        io.open(&path("dir/inner"), OpenMode::CreateNew).unwrap();
        assert_eq!(io.list(root.path()).unwrap().len(), 3);
        io.cut_power().unwrap();

        assert!(io.open(&path("f"), OpenMode::Read).is_err(), "the machine is off");
        assert!(file.sync().is_err());
        assert_eq!(fs::read(path("f")).unwrap(), b"durable content");
        assert_eq!(fs::read(path("target")).unwrap(), b"");
        let mut names: Vec<_> = RealIo.list(root.path()).unwrap();
        let names: Vec<_> = names.drain(..).map(|entry| entry.name).collect();
        assert_eq!(names, ["f", "removed", "target"]);
    }

    #[test]
    fn a_failing_disk_fails_where_it_was_told_to_and_heals() {
        let root = tempfile::tempdir().unwrap();
        let io = FaultIo::default();
        let file = io.open(&root.path().join("f"), OpenMode::CreateNew).unwrap();
        write(&file, 0, b"before");
        io.sync_dir(root.path()).unwrap();
        io.inject(root.path(), DiskFault::Full);
        let full = file.write_at(6, &[IoSlice::new(b"more")]).unwrap_err();
        assert!(super::super::is_out_of_space(&full));
        assert_eq!(file.len().unwrap(), 8, "half of it was written");
        file.set_len(6).unwrap();
        file.sync().unwrap();
        assert_eq!(io.space(root.path()).unwrap().available, 0);
        assert!(io.open(&root.path().join("g"), OpenMode::CreateNew).is_err());
        io.heal(root.path());
        write(&file, 6, b" and after");
        io.inject(root.path(), DiskFault::Sync);
        assert!(file.sync().is_err());
        assert!(io.sync_dir(root.path()).is_err());
        io.cut_power_then(|undone| undone.unwrap());
        assert_eq!(
            fs::read(root.path().join("f")).unwrap(),
            b"before",
            "what did not sync is lost"
        );
    }

    #[test]
    fn synced_names_and_content_stay() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let io = FaultIo::default();
        crate::atomic_file::replace(&io, &path("a"), b"1").unwrap();
        crate::atomic_file::replace(&io, &path("a"), b"2").unwrap();
        io.create_dir(&path("d")).unwrap();
        io.sync_dir(root.path()).unwrap();
        crate::atomic_file::replace(&io, &path("d/b"), b"3").unwrap();
        crate::atomic_file::remove(&io, &path("a")).unwrap();
        io.cut_power().unwrap();
        assert_eq!(fs::read(path("d/b")).unwrap(), b"3");
        assert_eq!(RealIo.list(root.path()).unwrap().len(), 1);
    }
}
