//! The operating system's files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::ReadWriteFlags;

use super::{DirEntry, EntryKind, LogFile, LogIo, OpenMode, Space};

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealIo;

/// A real file.
#[derive(Debug)]
pub struct RealFile(File);

/// A lock on a real file, released when dropped.
#[derive(Debug)]
pub struct RealLock {
    _file: File,
}

/// Bytes per write call. Larger writes into fresh page cache are several times slower on some machines, and a worker
/// should not be in one call for long.
const WRITE_BYTES_MAX: usize = 256 << 10;

/// Pieces per write call; Linux takes 1024. The array is on the stack.
const WRITE_PIECES_MAX: usize = 128;

impl LogIo for RealIo {
    type File = RealFile;
    type Lock = RealLock;

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<RealFile> {
        let mut options = OpenOptions::new();
        match mode {
            OpenMode::Read => options.read(true),
            OpenMode::ReadWrite => options.read(true).write(true),
            OpenMode::CreateNew => options.read(true).write(true).create_new(true),
            OpenMode::CreateOrTruncate => {
                options.read(true).write(true).create(true).truncate(true)
            }
        };
        options.open(path).map(RealFile)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut out = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let kind = entry.file_type()?;
            let (kind, len) = if kind.is_file() {
                (EntryKind::File, entry.metadata()?.len())
            } else if kind.is_dir() {
                (EntryKind::Dir, 0)
            } else {
                (EntryKind::Other, 0)
            };
            out.push(DirEntry { name, kind, len });
        }
        out.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(out)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let found = rustix::fs::statvfs(dir)?;
        Ok(Space {
            total: found.f_blocks.saturating_mul(found.f_frsize),
            available: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }

    /// Two kinds of lock on one file: `flock` excludes a second process of ours and a second open in this process, the
    /// POSIX record lock excludes a Kafka broker on the same folder, whose Java lock is of that kind.
    fn lock(&self, path: &Path) -> io::Result<Option<RealLock>> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        if !granted(rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive))? {
            return Ok(None);
        }
        if !granted(rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive))? {
            return Ok(None);
        }
        Ok(Some(RealLock { _file: file }))
    }
}

fn granted(result: rustix::io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::ACCESS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl LogFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buf, position)
    }

    fn try_read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        let buffers = &mut [IoSliceMut::new(buf)];
        match rustix::io::preadv2(&self.0, buffers, position, ReadWriteFlags::NOWAIT) {
            Ok(read) => Ok(read),
            // A file system that cannot promise not to wait (tmpfs before Linux 6.x, some network ones): data in memory is
            // the usual case there, and waiting is better than never reading.
            Err(rustix::io::Errno::OPNOTSUPP) => self.0.read_at(buf, position),
            Err(error) => Err(error.into()),
        }
    }

    fn write_at(&self, position: u64, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        let mut cursor = Cursor { index: 0, skip: 0 };
        let mut position = position;
        loop {
            let mut stack = [IoSlice::new(&[]); WRITE_PIECES_MAX];
            let count = cursor.fill(pieces, &mut stack);
            if count == 0 {
                return Ok(());
            }
            match rustix::io::pwritev(&self.0, &stack[..count], position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    cursor.advance(pieces, written);
                    position += written as u64;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn reserve(&self, position: u64, len: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(&self.0, FallocateFlags::KEEP_SIZE, position, len)?)
    }
}

/// Where in a list of pieces the next write begins.
#[derive(Debug)]
struct Cursor {
    index: usize,
    skip: usize,
}

impl Cursor {
    /// The next call's pieces, cut to its limits; how many there are.
    fn fill<'p>(
        &self,
        pieces: &'p [IoSlice<'_>],
        out: &mut [IoSlice<'p>; WRITE_PIECES_MAX],
    ) -> usize {
        let (mut count, mut room, mut skip) = (0, WRITE_BYTES_MAX, self.skip);
        for piece in pieces.iter().skip(self.index) {
            let part: &'p [u8] = &piece[skip..];
            skip = 0;
            if part.is_empty() {
                continue;
            }
            if count == WRITE_PIECES_MAX || room == 0 {
                break;
            }
            let part = &part[..part.len().min(room)];
            room -= part.len();
            out[count] = IoSlice::new(part);
            count += 1;
        }
        count
    }

    fn advance(&mut self, pieces: &[IoSlice<'_>], written: usize) {
        let mut left = written;
        while let Some(piece) = pieces.get(self.index) {
            let here = piece.len() - self.skip;
            if left < here {
                self.skip += left;
                return;
            }
            left -= here;
            self.index += 1;
            self.skip = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_and_large_pieces_are_written_whole_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealIo.open(&dir.path().join("f"), OpenMode::CreateNew).unwrap();
        let bytes: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        for len in (0..700).chain([700_000]) {
            let (piece, tail) = rest.split_at(len.min(rest.len()));
            pieces.push(IoSlice::new(piece));
            rest = tail;
        }
        pieces.push(IoSlice::new(rest));
        file.write_at(3, &pieces).unwrap();
        let mut back = vec![0; bytes.len() + 10];
        let read = super::super::read_full(&file, 3, &mut back).unwrap();
        assert_eq!(read, bytes.len());
        assert!(back[..read] == bytes[..]);
    }

    #[test]
    fn reserved_space_does_not_lengthen_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealIo.open(&dir.path().join("f"), OpenMode::CreateNew).unwrap();
        file.write_at(0, &[IoSlice::new(b"abc")]).unwrap();
        file.reserve(3, 1 << 20).unwrap();
        assert_eq!(file.len().unwrap(), 3);
        let mut buf = [0; 8];
        assert_eq!(file.try_read_at(0, &mut buf).unwrap(), 3);
        assert_eq!(&buf[..3], b"abc");
    }

    #[test]
    fn a_lock_is_exclusive_until_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        let held = RealIo.lock(&path).unwrap();
        assert!(held.is_some());
        assert!(RealIo.lock(&path).unwrap().is_none());
        drop(held);
        assert!(RealIo.lock(&path).unwrap().is_some());
    }
}
