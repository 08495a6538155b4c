//! Sparse indexes of a segment: offset → position, and timestamp → offset.
//!
//! Not mapped into memory. The newest entries are held in memory and written a block at a time; older ones are looked up in
//! the file with a few small reads. Files have no zero tail, unlike those of a running Kafka; a tail of Kafka's is
//! recognised and ignored.

use std::io::{self, IoSlice};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::file_cache::ReadMode;
use crate::io::LogFile;

/// An entry of an index file.
pub(crate) trait IndexEntry:
    Copy + PartialEq + std::fmt::Debug + Send + Sync + 'static
{
    /// Bytes in the file.
    const LEN: usize;
    fn write(self, out: &mut Vec<u8>);
    fn read(bytes: &[u8]) -> Self;
    /// Whether `self` may follow `before`. What does not is not part of the index: zeros, or garbage.
    fn follows(self, before: Self) -> bool;
}

/// Entry of `.index`: the batch at `position` ends with `relative_offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    /// Last offset of the batch, from the segment's base.
    pub relative_offset: u32,
    /// Where the batch begins in the file.
    pub position: u32,
}

impl IndexEntry for OffsetEntry {
    const LEN: usize = 8;

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.relative_offset.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Self {
        Self { relative_offset: u32_at(bytes, 0), position: u32_at(bytes, 4) }
    }

    fn follows(self, before: Self) -> bool {
        before.relative_offset < self.relative_offset && before.position < self.position
    }
}

/// Entry of `.timeindex`: no record up to `relative_offset` is younger than `timestamp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    /// The largest timestamp so far, Unix ms.
    pub timestamp: i64,
    /// Last offset of the batch that has it, from the segment's base.
    pub relative_offset: u32,
}

impl IndexEntry for TimeEntry {
    const LEN: usize = 12;

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.relative_offset.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Self {
        let timestamp = u64::from(u32_at(bytes, 0)) << 32 | u64::from(u32_at(bytes, 4));
        Self { timestamp: timestamp as i64, relative_offset: u32_at(bytes, 8) }
    }

    fn follows(self, before: Self) -> bool {
        before.timestamp < self.timestamp && before.relative_offset < self.relative_offset
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut out = [0; 4];
    out.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(out)
}

/// Entries kept in memory before they are written.
const TAIL_ENTRIES_MAX: usize = 512;

/// Entries read from the file at once, and the largest range that a search reads whole.
const BLOCK_ENTRIES: usize = 256;

/// An index of one segment. Written by the log's owner, searched by anybody.
#[derive(Debug)]
pub(crate) struct Index<E> {
    state: RwLock<State<E>>,
}

#[derive(Debug)]
struct State<E> {
    /// Entries in the file; `None` until the file was looked at.
    in_file: Option<u32>,
    /// The entries after those. Empty for a segment that is not written.
    tail: Vec<E>,
}

impl<E: IndexEntry> Index<E> {
    /// An index whose file is new.
    pub(crate) fn empty() -> Self {
        Self { state: RwLock::new(State { in_file: Some(0), tail: Vec::new() }) }
    }

    /// An index whose file exists; it is looked at when first needed.
    pub(crate) fn on_disk() -> Self {
        Self { state: RwLock::new(State { in_file: None, tail: Vec::new() }) }
    }

    // No lock is ever held over IO or over foreign code, so a poisoned one still holds a sound state.
    fn read(&self) -> RwLockReadGuard<'_, State<E>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State<E>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries in all.
    pub(crate) fn count<F: LogFile>(&self, file: &F, mode: ReadMode) -> io::Result<u32> {
        let in_file = self.in_file(file, mode)?;
        Ok(in_file + self.read().tail.len() as u32)
    }

    fn in_file<F: LogFile>(&self, file: &F, mode: ReadMode) -> io::Result<u32> {
        if let Some(count) = self.read().in_file {
            return Ok(count);
        }
        let count = count_in_file::<E, F>(file, mode)?;
        Ok(*self.write().in_file.get_or_insert(count))
    }

    /// Adds an entry. Returns whether the tail should now be written with [`Index::flush`].
    pub(crate) fn push(&self, entry: E) -> bool {
        let mut state = self.write();
        state.tail.push(entry);
        TAIL_ENTRIES_MAX <= state.tail.len()
    }

    /// Writes what is only in memory. Readers meanwhile find it there.
    pub(crate) fn flush<F: LogFile>(&self, file: &F) -> io::Result<()> {
        let in_file = self.in_file(file, ReadMode::Wait)?;
        let (bytes, entries) = {
            let state = self.read();
            let mut bytes = Vec::with_capacity(state.tail.len() * E::LEN);
            state.tail.iter().for_each(|entry| entry.write(&mut bytes));
            (bytes, state.tail.len())
        };
        if entries == 0 {
            return Ok(());
        }
        file.write_at(u64::from(in_file) * E::LEN as u64, &[IoSlice::new(&bytes)])?;
        let mut state = self.write();
        state.in_file = Some(in_file + entries as u32);
        state.tail.clear();
        Ok(())
    }

    /// Gives the memory of an idle tail back.
    pub(crate) fn shrink(&self) {
        self.write().tail.shrink_to_fit();
    }

    /// Keeps the first `count` entries, in memory and in the file.
    pub(crate) fn truncate<F: LogFile>(&self, file: &F, count: u32) -> io::Result<()> {
        let in_file = self.in_file(file, ReadMode::Wait)?;
        {
            let mut state = self.write();
            state.in_file = Some(in_file.min(count));
            state.tail.truncate(count.saturating_sub(in_file) as usize);
        }
        let len = u64::from(in_file.min(count)) * E::LEN as u64;
        if file.len()? == len { Ok(()) } else { file.set_len(len) }
    }

    /// The entry number `at`, if there is one.
    pub(crate) fn get<F: LogFile>(
        &self,
        file: &F,
        at: u32,
        mode: ReadMode,
    ) -> io::Result<Option<E>> {
        let in_file = self.in_file(file, mode)?;
        if at < in_file {
            return read_entry(file, at, mode).map(Some);
        }
        Ok(self.read().tail.get((at - in_file) as usize).copied())
    }

    /// The newest entry.
    pub(crate) fn last<F: LogFile>(&self, file: &F, mode: ReadMode) -> io::Result<Option<E>> {
        match self.count(file, mode)? {
            0 => Ok(None),
            count => self.get(file, count - 1, mode),
        }
    }

    /// How many entries fulfil `before`, which holds for a prefix of the index; and the last of these.
    pub(crate) fn partition_point<F: LogFile>(
        &self,
        file: &F,
        mode: ReadMode,
        before: impl Fn(E) -> bool,
    ) -> io::Result<(u32, Option<E>)> {
        let in_file = self.in_file(file, mode)?;
        {
            let state = self.read();
            // Somebody may have flushed or cut in between; then the file is the place to look.
            if state.in_file == Some(in_file) && state.tail.first().is_some_and(|&e| before(e)) {
                let found = state.tail.partition_point(|&entry| before(entry));
                return Ok((in_file + found as u32, Some(state.tail[found - 1])));
            }
        }
        let (mut low, mut high) = (0, in_file);
        while BLOCK_ENTRIES < (high - low) as usize {
            let middle = low + (high - low) / 2;
            if before(read_entry(file, middle, mode)?) {
                low = middle;
            } else {
                high = middle;
            }
        }
        let mut buf = [0; BLOCK_ENTRIES * MAX_ENTRY_LEN];
        let block = &mut buf[..(high - low) as usize * E::LEN];
        read_exact(file, u64::from(low) * E::LEN as u64, block, mode)?;
        let entries = block.chunks_exact(E::LEN).map(E::read);
        let (mut count, mut last) = (low, None);
        for entry in entries.take_while(|&entry| before(entry)) {
            count += 1;
            last = Some(entry);
        }
        Ok((count, last))
    }
}

const MAX_ENTRY_LEN: usize = 12;

fn read_entry<E: IndexEntry, F: LogFile>(file: &F, at: u32, mode: ReadMode) -> io::Result<E> {
    let mut buf = [0; MAX_ENTRY_LEN];
    read_exact(file, u64::from(at) * E::LEN as u64, &mut buf[..E::LEN], mode)?;
    Ok(E::read(&buf))
}

/// Reads exactly `buf.len()` bytes; `UnexpectedEof` if the file ends before.
pub(crate) fn read_exact<F: LogFile>(
    file: &F,
    position: u64,
    buf: &mut [u8],
    mode: ReadMode,
) -> io::Result<()> {
    let mut done = 0;
    while done < buf.len() {
        let at = position + done as u64;
        let read = match mode {
            ReadMode::NoWait => file.try_read_at(at, &mut buf[done..])?,
            ReadMode::Wait => file.read_at(at, &mut buf[done..])?,
        };
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        done += read;
    }
    Ok(())
}

/// The entries of a file: whole ones, without the zeros that Kafka preallocates.
fn count_in_file<E: IndexEntry, F: LogFile>(file: &F, mode: ReadMode) -> io::Result<u32> {
    let whole = u32::try_from(file.len()? / E::LEN as u64).unwrap_or(u32::MAX);
    let is_zero = |at: u32| -> io::Result<bool> {
        let mut buf = [0; MAX_ENTRY_LEN];
        read_exact(file, u64::from(at) * E::LEN as u64, &mut buf[..E::LEN], mode)?;
        Ok(buf.iter().all(|&byte| byte == 0))
    };
    if whole == 0 || !is_zero(whole - 1)? {
        return Ok(whole);
    }
    // Zeros are a tail: no entry but perhaps the first can be all zero.
    let (mut low, mut high) = (0, whole - 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_zero(middle)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

/// How many entries from the front of a file can be believed by themselves: each follows the one before it, and `valid`
/// holds. Reads the whole file.
pub(crate) fn valid_prefix<E: IndexEntry, F: LogFile>(
    file: &F,
    valid: impl Fn(E) -> bool,
) -> io::Result<u32> {
    let count = count_in_file::<E, F>(file, ReadMode::Wait)?;
    let mut buf = vec![0; BLOCK_ENTRIES * E::LEN];
    let (mut at, mut before) = (0, None);
    while at < count {
        let block = ((count - at) as usize).min(BLOCK_ENTRIES);
        let bytes = &mut buf[..block * E::LEN];
        read_exact(file, u64::from(at) * E::LEN as u64, bytes, ReadMode::Wait)?;
        for entry in bytes.chunks_exact(E::LEN).map(E::read) {
            if !valid(entry) || before.is_some_and(|before| !entry.follows(before)) {
                return Ok(at);
            }
            before = Some(entry);
            at += 1;
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::io::{LogIo, OpenMode, SimFile, SimIo};

    fn file() -> SimFile {
        SimIo::new(0).open(Path::new("/i"), OpenMode::CreateNew).unwrap()
    }

    fn entry(i: u32) -> OffsetEntry {
        OffsetEntry { relative_offset: 10 * i + 9, position: 100 * i }
    }

    fn push(index: &Index<OffsetEntry>, entries: std::ops::Range<u32>) {
        for i in entries {
            index.push(entry(i));
        }
    }

    fn floor(
        index: &Index<OffsetEntry>,
        file: &SimFile,
        offset: u32,
    ) -> (u32, Option<OffsetEntry>) {
        index.partition_point(file, ReadMode::Wait, |e| e.relative_offset <= offset).unwrap()
    }

    #[test]
    fn entries_are_found_in_memory_and_in_the_file() {
        let (file, index) = (file(), Index::empty());
        for i in 0..3000 {
            if index.push(entry(i)) {
                index.flush(&file).unwrap();
            }
        }
        assert_eq!(index.count(&file, ReadMode::Wait).unwrap(), 3000);
        assert_eq!(file.len().unwrap(), 512 * 5 * 8);
        let check = |index: &Index<OffsetEntry>| {
            assert_eq!(floor(index, &file, 8), (0, None));
            for i in 0..3000 {
                assert_eq!(floor(index, &file, 10 * i + 9), (i + 1, Some(entry(i))));
                assert_eq!(floor(index, &file, 10 * i + 18), (i + 1, Some(entry(i))));
            }
            assert_eq!(index.last(&file, ReadMode::Wait).unwrap(), Some(entry(2999)));
        };
        check(&index);
        index.flush(&file).unwrap();
        check(&index);
        check(&Index::on_disk());
    }

    #[test]
    fn cutting_works_in_memory_and_in_the_file() {
        for (flushed, keep) in [(3, 7), (7, 3), (5, 5), (0, 0), (9, 9)] {
            let (file, index) = (file(), Index::empty());
            push(&index, 0..flushed);
            index.flush(&file).unwrap();
            push(&index, flushed..10);
            index.truncate(&file, keep).unwrap();
            assert_eq!(index.count(&file, ReadMode::Wait).unwrap(), keep);
            assert_eq!(index.last(&file, ReadMode::Wait).unwrap(), keep.checked_sub(1).map(entry));
            index.push(entry(keep));
            index.flush(&file).unwrap();
            assert_eq!(Index::on_disk().last(&file, ReadMode::Wait).unwrap(), Some(entry(keep)));
        }
    }

    #[test]
    fn a_zero_tail_as_kafka_preallocates_it_is_ignored() {
        for entries in [0, 1, 2, 100] {
            let (file, index) = (file(), Index::empty());
            push(&index, 0..entries);
            index.flush(&file).unwrap();
            file.set_len(10 << 10).unwrap();
            let loaded = Index::<OffsetEntry>::on_disk();
            assert_eq!(loaded.count(&file, ReadMode::Wait).unwrap(), entries);
            assert_eq!(valid_prefix::<OffsetEntry, _>(&file, |_| true).unwrap(), entries);
        }
    }

    #[test]
    fn entries_out_of_order_are_not_believed() {
        let (file, index) = (file(), Index::empty());
        for i in [0, 1, 2, 3, 3, 4, 5] {
            index.push(entry(i));
        }
        index.flush(&file).unwrap();
        assert_eq!(valid_prefix::<OffsetEntry, _>(&file, |_| true).unwrap(), 4);
        assert_eq!(valid_prefix::<OffsetEntry, _>(&file, |e| e.position < 200).unwrap(), 2);
    }

    #[test]
    fn a_file_that_is_not_whole_entries_long_is_read_up_to_the_last_whole_one() {
        let (file, index) = (file(), Index::empty());
        push(&index, 0..4);
        index.flush(&file).unwrap();
        file.set_len(4 * 8 - 3).unwrap();
        assert_eq!(Index::<OffsetEntry>::on_disk().count(&file, ReadMode::Wait).unwrap(), 3);
    }
}
