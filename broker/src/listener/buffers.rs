//! Buffers for pieces of files on their way to a socket.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Size of one buffer: where `pread` and `write` stop getting cheaper per byte.
pub const BUFFER_BYTES: usize = 256 * 1024;

/// A fixed number of buffers, made when first needed and kept. A fetch of 55 MiB holds one of them at
/// a time, so many fetches at once cost no more memory than the pool.
#[derive(Debug, Clone)]
pub struct BufferPool {
    shared: Arc<Shared>,
}

/// One buffer of [`BUFFER_BYTES`]; goes back to the pool when dropped.
#[derive(Debug)]
pub struct PooledBuffer {
    bytes: Vec<u8>,
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Shared {
    free: Mutex<Vec<Vec<u8>>>,
    available: Arc<Semaphore>,
}

impl BufferPool {
    /// A pool of at most `count` buffers.
    pub fn new(count: usize) -> Self {
        let available = Arc::new(Semaphore::new(count));
        Self { shared: Arc::new(Shared { free: Mutex::default(), available }) }
    }

    /// Waits for a buffer. What it contains is left over from its last use.
    pub async fn acquire(&self) -> PooledBuffer {
        let available = Arc::clone(&self.shared.available);
        let permit = available.acquire_owned().await.expect("the semaphore is never closed");
        let reused = self.shared.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = reused.unwrap_or_else(|| vec![0; BUFFER_BYTES]);
        PooledBuffer { bytes, shared: Arc::clone(&self.shared), _permit: permit }
    }

    /// Buffers that nobody holds.
    pub fn available(&self) -> usize {
        self.shared.available.available_permits()
    }
}

impl std::ops::Deref for PooledBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::ops::DerefMut for PooledBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.shared.free.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}
