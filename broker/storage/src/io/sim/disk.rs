//! The state of a simulated disk: what is in memory, what has reached the platter.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use super::{Fault, SimOp};
use crate::io::{DirEntry, EntryKind, OpenMode};

const PAGE: usize = 4096;
const ROOT: u64 = 0;

/// A file or a folder.
#[derive(Debug)]
enum Inode {
    File(FileNode),
    Dir(DirNode),
}

#[derive(Debug, Default)]
struct FileNode {
    /// What every reader sees.
    now: Vec<u8>,
    /// What survives for certain.
    durable: Vec<u8>,
    /// Pages written since the last sync, by number.
    dirty: BTreeSet<usize>,
    /// The least length since the last sync: what was durable beyond it has been cut off.
    len_min: usize,
}

impl FileNode {
    /// What a successful sync leaves on the platter. Pages that an earlier, failed sync dropped stay lost.
    fn persist(&mut self) {
        self.durable.truncate(self.len_min);
        self.durable.resize(self.now.len(), 0);
        for page in std::mem::take(&mut self.dirty) {
            let start = (page * PAGE).min(self.now.len());
            let end = (start + PAGE).min(self.now.len());
            self.durable[start..end].copy_from_slice(&self.now[start..end]);
        }
        self.len_min = self.now.len();
    }
}

#[derive(Debug, Default)]
struct DirNode {
    now: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    /// Changes since the last sync, in order.
    pending: Vec<NameChange>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(String, u64),
    Unlink(String),
    Rename { from: String, to: String, inode: u64 },
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Link(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Unlink(name) => {
                names.remove(name);
            }
            Self::Rename { from, to, inode } => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

/// See [`super::SimIo`].
#[derive(Debug)]
pub(super) struct Disk {
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    random: u64,
    faults: Vec<Fault>,
    pub(super) operations: u64,
    pub(super) off: bool,
    /// Counts crashes: a file handle of an earlier life is dead.
    pub(super) life: u64,
    pub(super) capacity: Option<u64>,
    pub(super) cold: bool,
    pub(super) is_ignoring_syncs: bool,
    pub(super) locks: BTreeSet<PathBuf>,
}

impl Disk {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            inodes: BTreeMap::from([(ROOT, Inode::Dir(DirNode::default()))]),
            next_inode: ROOT + 1,
            random: seed,
            faults: Vec::new(),
            operations: 0,
            off: false,
            life: 0,
            capacity: None,
            cold: false,
            is_ignoring_syncs: false,
            locks: BTreeSet::new(),
        }
    }

    pub(super) fn inject(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(super) fn used(&self) -> u64 {
        let len = |inode: &Inode| match inode {
            Inode::File(file) => file.now.len() as u64,
            Inode::Dir(_) => 0,
        };
        self.inodes.values().map(len).sum()
    }

    /// splitmix64: small, and the same on every machine.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.random() % bound.max(1) as u64) as usize
    }

    /// Counts an operation; the error with which it fails, if it is to.
    fn step(&mut self, op: SimOp) -> Result<(), io::Error> {
        if self.off {
            return Err(io::Error::other("the simulated machine lost power"));
        }
        self.operations += 1;
        let mut outcome = Ok(());
        for fault in &mut self.faults {
            match fault {
                Fault::PowerOff { at } => {
                    *at = at.wrapping_sub(1);
                    if *at == 0 {
                        self.off = true;
                        outcome = Err(io::Error::other("the simulated machine loses power"));
                    }
                }
                Fault::Fail { op: kind, nth, error } if *kind == op => {
                    *nth = nth.wrapping_sub(1);
                    if *nth == 0 {
                        outcome = Err(io::Error::new(*error, "injected"));
                    }
                }
                Fault::Fail { .. } => {}
            }
        }
        outcome
    }

    // === names ===

    fn dir(&self, inode: u64) -> io::Result<&DirNode> {
        match self.inodes.get(&inode) {
            Some(Inode::Dir(dir)) => Ok(dir),
            Some(Inode::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn dir_mut(&mut self, inode: u64) -> io::Result<&mut DirNode> {
        match self.inodes.get_mut(&inode) {
            Some(Inode::Dir(dir)) => Ok(dir),
            Some(Inode::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<u64> {
        let mut at = ROOT;
        for part in path.components() {
            let std::path::Component::Normal(name) = part else {
                continue;
            };
            let name = name.to_str().ok_or(io::ErrorKind::InvalidInput)?;
            at = *self.dir(at)?.now.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    fn split(&self, path: &Path) -> io::Result<(u64, String)> {
        let parent = self.find(path.parent().unwrap_or(Path::new("/")))?;
        let name =
            path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
        self.dir(parent)?;
        Ok((parent, name.to_owned()))
    }

    fn change(&mut self, dir: u64, change: NameChange) -> io::Result<()> {
        let dir = self.dir_mut(dir)?;
        change.apply(&mut dir.now);
        dir.pending.push(change);
        Ok(())
    }

    fn add(&mut self, parent: u64, name: String, inode: Inode) -> io::Result<u64> {
        let number = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(number, inode);
        self.change(parent, NameChange::Link(name, number))?;
        Ok(number)
    }

    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<u64> {
        let found = self.find(path);
        match (mode, found) {
            (OpenMode::CreateNew, Ok(_)) => Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::CreateNew | OpenMode::CreateOrTruncate, Err(_)) => {
                let (parent, name) = self.split(path)?;
                self.step(SimOp::Create)?;
                self.add(parent, name, Inode::File(FileNode::default()))
            }
            (OpenMode::CreateOrTruncate, Ok(inode)) => {
                self.set_len(inode, 0)?;
                Ok(inode)
            }
            (OpenMode::Read | OpenMode::ReadWrite, Ok(inode)) => match self.inodes.get(&inode) {
                _ if self.off => Err(io::Error::other("the simulated machine lost power")),
                Some(Inode::File(_)) => Ok(inode),
                _ => Err(io::ErrorKind::IsADirectory.into()),
            },
            (OpenMode::Read | OpenMode::ReadWrite, Err(error)) => Err(error),
        }
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        if self.find(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (parent, name) = self.split(path)?;
        self.step(SimOp::Create)?;
        self.add(parent, name, Inode::Dir(DirNode::default()))?;
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find(from)?;
        let (parent, from) = self.split(from)?;
        let (to_parent, to) = self.split(to)?;
        if parent != to_parent {
            return Err(io::Error::other("the simulated disk renames within one folder only"));
        }
        self.step(SimOp::Rename)?;
        self.change(parent, NameChange::Rename { from, to, inode })
    }

    pub(super) fn remove(&mut self, path: &Path, is_dir: bool) -> io::Result<()> {
        let inode = self.find(path)?;
        match self.inodes.get(&inode) {
            Some(Inode::Dir(dir)) if is_dir && dir.now.is_empty() => {}
            Some(Inode::Dir(_)) if is_dir => return Err(io::ErrorKind::DirectoryNotEmpty.into()),
            Some(Inode::File(_)) if !is_dir => {}
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
        let (parent, name) = self.split(path)?;
        self.step(SimOp::Remove)?;
        self.change(parent, NameChange::Unlink(name))
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.find(path)?;
        self.step(SimOp::SyncDir)?;
        let dir = self.dir_mut(inode)?;
        dir.durable = dir.now.clone();
        dir.pending.clear();
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        if self.off {
            return Err(io::Error::other("the simulated machine lost power"));
        }
        let dir = self.dir(self.find(path)?)?;
        let entry = |(name, inode): (&String, &u64)| match self.inodes.get(inode)? {
            Inode::File(file) => Some(DirEntry {
                name: name.clone(),
                kind: EntryKind::File,
                len: file.now.len() as u64,
            }),
            Inode::Dir(_) => Some(DirEntry { name: name.clone(), kind: EntryKind::Dir, len: 0 }),
        };
        Ok(dir.now.iter().filter_map(entry).collect())
    }

    // === content ===

    fn file_mut(&mut self, inode: u64) -> io::Result<&mut FileNode> {
        match self.inodes.get_mut(&inode) {
            Some(Inode::File(file)) => Ok(file),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn content(&self, inode: u64) -> &[u8] {
        match self.inodes.get(&inode) {
            Some(Inode::File(file)) => &file.now,
            _ => &[],
        }
    }

    pub(super) fn write(
        &mut self,
        inode: u64,
        position: u64,
        pieces: &[IoSlice<'_>],
    ) -> io::Result<()> {
        let mut bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let mut outcome = self.step(SimOp::Write);
        if outcome.is_err() {
            let torn = self.below(bytes.len() + 1);
            bytes.truncate(torn);
        }
        let start = usize::try_from(position).map_err(io::Error::other)?;
        let grows = (start + bytes.len()).saturating_sub(self.content(inode).len()) as u64;
        let room = self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()));
        if room < grows {
            bytes.truncate(bytes.len() - (grows - room) as usize);
            outcome = Err(io::ErrorKind::StorageFull.into());
        }
        let file = self.file_mut(inode)?;
        let end = start + bytes.len();
        if file.now.len() < end && !bytes.is_empty() {
            file.now.resize(end, 0);
        }
        if !bytes.is_empty() {
            file.now[start..end].copy_from_slice(&bytes);
            file.dirty.extend(start / PAGE..=(end - 1) / PAGE);
        }
        outcome
    }

    pub(super) fn set_len(&mut self, inode: u64, len: u64) -> io::Result<()> {
        self.step(SimOp::SetLen)?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let file = self.file_mut(inode)?;
        let cut = file.now.len().min(len);
        file.now.resize(len, 0);
        file.len_min = file.len_min.min(len);
        // The page at the cut has changed, and so has everything that a later write puts behind it.
        file.dirty.insert(cut / PAGE);
        Ok(())
    }

    pub(super) fn sync(&mut self, inode: u64) -> io::Result<()> {
        let outcome = self.step(SimOp::Sync);
        if self.off {
            return outcome;
        }
        let is_ignoring = self.is_ignoring_syncs;
        let file = self.file_mut(inode)?;
        if is_ignoring {
            return outcome;
        }
        if outcome.is_ok() {
            file.persist();
        }
        file.dirty.clear();
        outcome
    }

    // === crashes ===

    pub(super) fn process_crash(&mut self) {
        self.life += 1;
        self.off = false;
        self.faults.clear();
        self.locks.clear();
    }

    pub(super) fn power_cut(&mut self) {
        self.process_crash();
        let numbers: Vec<u64> = self.inodes.keys().copied().collect();
        // How much survives differs from cut to cut: nothing, everything, or by chance.
        let mood = self.below(4);
        for number in numbers {
            let Some(mut inode) = self.inodes.remove(&number) else {
                continue;
            };
            match &mut inode {
                Inode::File(file) => self.cut_file(file, mood),
                Inode::Dir(dir) => self.cut_dir(dir, mood),
            }
            self.inodes.insert(number, inode);
        }
    }

    fn survives(&mut self, mood: usize) -> bool {
        match mood {
            0 => false,
            1 => true,
            _ => self.below(2) == 0,
        }
    }

    fn cut_file(&mut self, file: &mut FileNode, mood: usize) {
        let len = match (self.survives(mood), self.below(3)) {
            (true, _) => file.now.len(),
            (false, 0) if mood != 0 => {
                let (low, high) = (
                    file.now.len().min(file.durable.len()),
                    file.now.len().max(file.durable.len()),
                );
                low + self.below(high - low + 1)
            }
            (false, _) => file.durable.len(),
        };
        let mut after = file.durable.clone();
        after.resize(len, 0);
        let dirty: Vec<usize> = file.dirty.iter().copied().collect();
        for page in dirty {
            let start = page * PAGE;
            let end = (start + PAGE).min(len).min(file.now.len());
            if end <= start {
                continue;
            }
            let kept = match (self.survives(mood), self.below(4)) {
                (true, 0) if mood != 1 => start + self.below(end - start),
                (true, _) => end,
                (false, _) => start,
            };
            after[start..kept].copy_from_slice(&file.now[start..kept]);
        }
        file.now.clone_from(&after);
        file.len_min = after.len();
        file.durable = after;
        file.dirty.clear();
    }

    fn cut_dir(&mut self, dir: &mut DirNode, mood: usize) {
        let mut after = dir.durable.clone();
        for change in std::mem::take(&mut dir.pending) {
            if self.survives(mood) {
                change.apply(&mut after);
            }
        }
        dir.now.clone_from(&after);
        dir.durable = after;
    }
}
