//! Memory for requests that are being read or handled.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::SMALL_FRAME_BYTES;

/// The bound on all request frames of the broker together. A reader takes a permit *before* it reads
/// the body, and it comes back when the last slice of the frame is dropped; while none is left the
/// socket is not read, so the sender waits.
///
/// Small frames have a reserve that large ones cannot use, so heartbeats live on under a flood of
/// records. Very large frames also pass a narrow lane while they are being received, so that many
/// slow senders of them cannot hold all the memory.
#[derive(Debug, Clone)]
pub struct FrameMemory {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    lane: Arc<Semaphore>,
    large_units: u32,
}

/// The right to hold one frame in memory.
#[derive(Debug)]
pub struct FramePermit {
    _memory: OwnedSemaphorePermit,
}

/// The right to receive one very large frame; dropped once it is complete.
#[derive(Debug)]
pub struct LanePermit {
    _lane: Option<OwnedSemaphorePermit>,
}

/// Permits are counted in units of this many bytes, as a semaphore counts to 2³² in one step.
const UNIT_BYTES: usize = 1024;
/// Memory for frames of at most [`SMALL_FRAME_BYTES`].
const SMALL_RESERVE_BYTES: usize = 64 * 1024 * 1024;
/// Frames longer than this pass the lane.
const LANE_FRAME_BYTES: usize = 1024 * 1024;
/// Frames in the lane at a time.
const LANE_WIDTH: usize = 16;
/// Least memory for frames that are not small, so that one of default size fits on any machine.
const LARGE_BYTES_MIN: usize = 128 * 1024 * 1024;

const _: () = assert!(SMALL_FRAME_BYTES < LANE_FRAME_BYTES);
const _: () = assert!(SMALL_FRAME_BYTES <= SMALL_RESERVE_BYTES);

impl FrameMemory {
    /// A quarter of `machine_bytes` for frames that are not small, and the reserve for small ones.
    pub fn of_machine(machine_bytes: u64) -> Self {
        let quarter = usize::try_from(machine_bytes / 4).unwrap_or(usize::MAX);
        Self::new(SMALL_RESERVE_BYTES, quarter.max(LARGE_BYTES_MIN))
    }

    /// Explicit bounds, bytes.
    pub fn new(small_bytes: usize, large_bytes: usize) -> Self {
        let large_units = units(large_bytes);
        Self {
            small: Arc::new(Semaphore::new(units(small_bytes) as usize)),
            large: Arc::new(Semaphore::new(large_units as usize)),
            lane: Arc::new(Semaphore::new(LANE_WIDTH)),
            large_units,
        }
    }

    /// Waits until a frame of `len` bytes may be held in memory. A frame longer than the whole bound
    /// is let in alone, when nothing else is held.
    pub async fn acquire(&self, len: usize) -> (FramePermit, LanePermit) {
        const NEVER_CLOSED: &str = "these semaphores are never closed";
        let lane = if LANE_FRAME_BYTES < len {
            Some(Arc::clone(&self.lane).acquire_owned().await.expect(NEVER_CLOSED))
        } else {
            None
        };
        let (pool, wanted) = if len <= SMALL_FRAME_BYTES {
            (&self.small, units(len))
        } else {
            (&self.large, units(len).min(self.large_units))
        };
        let memory = Arc::clone(pool).acquire_many_owned(wanted).await.expect(NEVER_CLOSED);
        (FramePermit { _memory: memory }, LanePermit { _lane: lane })
    }

    /// Bytes that are not held now: of small and of other frames.
    pub fn available_bytes(&self) -> (usize, usize) {
        (self.small.available_permits() * UNIT_BYTES, self.large.available_permits() * UNIT_BYTES)
    }
}

fn units(bytes: usize) -> u32 {
    // Semaphore::MAX_PERMITS is far above what fits in u32 on 64-bit machines.
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn small_frames_have_a_reserve_of_their_own() {
        let memory = FrameMemory::new(128 * 1024, 256 * 1024);
        let large = memory.acquire(256 * 1024).await;
        assert!(memory.acquire(100 * 1024).now_or_never().is_none(), "no large memory left");
        assert!(memory.acquire(64 * 1024).now_or_never().is_some(), "the reserve is untouched");
        drop(large);
        assert!(memory.acquire(100 * 1024).now_or_never().is_some());
    }

    #[tokio::test]
    async fn frame_above_the_bound_is_let_in_alone() {
        let memory = FrameMemory::new(1024, 4096 * 1024);
        let small = memory.acquire(1024 * 1024).await;
        assert!(memory.acquire(64 * 1024 * 1024).now_or_never().is_none());
        drop(small);
        assert!(memory.acquire(64 * 1024 * 1024).now_or_never().is_some());
    }

    #[tokio::test]
    async fn the_lane_admits_sixteen_very_large_frames() {
        let memory = FrameMemory::new(1024, 1024 * 1024 * 1024);
        let mut held = Vec::new();
        for _ in 0..LANE_WIDTH {
            held.push(memory.acquire(2 * 1024 * 1024).await);
        }
        assert!(memory.acquire(2 * 1024 * 1024).now_or_never().is_none());
        assert!(memory.acquire(1024 * 1024).now_or_never().is_some(), "others pass beside it");
        let (permit, lane) = held.pop().unwrap();
        drop(lane);
        assert!(memory.acquire(2 * 1024 * 1024).now_or_never().is_some());
        drop(permit);
    }
}
