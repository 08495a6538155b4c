//! Bytes of a response that are still in a file.

use std::fmt;
use std::io;
use std::sync::Arc;

/// Part of a file that goes onto the wire as it is. The length is promised to the client before the
/// first byte is read, so a file that turns out shorter closes the connection.
#[derive(Clone)]
pub struct FileSlice {
    /// Id of the `Records::External` that this fills.
    pub id: u32,
    /// Where the bytes are read from.
    pub source: Arc<dyn SliceSource>,
    /// First byte.
    pub position: u64,
    /// Number of bytes.
    pub len: u32,
}

/// Something that can be read by position from several threads. Keeps its file open (and, where that
/// matters, undeleted) as long as it lives.
pub trait SliceSource: Send + Sync {
    /// Reads what is in memory already, at least one byte, and never waits for a disk:
    /// `ErrorKind::WouldBlock` if the first byte is not in memory, `Ok(0)` at the end of the file.
    fn read_cached(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Reads at least one byte and may wait for a disk, so it is called on the reader pool's threads only.
    fn read_cold(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl fmt::Debug for FileSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSlice")
            .field("id", &self.id)
            .field("position", &self.position)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
