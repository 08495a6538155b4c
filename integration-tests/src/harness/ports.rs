//! Ports that no other test uses: a block is claimed by a file lock and given back when its owner ends, however it ends.

use std::{env, fs, fs::File, net::TcpListener};

use rustix::fs::{FlockOperation, flock};

/// Below the range that the kernel hands out for outgoing connections.
const FIRST: u16 = 20_000;
const BLOCK: u16 = 20;
const BLOCKS: u16 = 600;

/// Twenty neighbouring ports of 127.0.0.1.
#[derive(Debug)]
pub struct PortBlock {
    first: u16,
    _lock: File,
}

impl PortBlock {
    /// Claims a block in which every port is free.
    ///
    /// # Panics
    /// When none is left, or the folder for temporary files cannot be written.
    #[must_use]
    pub fn claim() -> Self {
        let folder = env::temp_dir().join("ottla-test-ports");
        fs::create_dir_all(&folder).expect("a folder for the locks of ports");
        // Start at a place of our own, so that test processes seldom meet.
        let start = u16::try_from(std::process::id() % u32::from(BLOCKS)).expect("below 600");
        for step in 0..BLOCKS {
            let number = (start + step) % BLOCKS;
            let lock = File::create(folder.join(number.to_string())).expect("a lock file");
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            let first = FIRST + number * BLOCK;
            if (first..first + BLOCK).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
                return Self { first, _lock: lock };
            }
        }
        panic!("no block of free ports is left");
    }

    /// The port at `index`, from 0 to 19.
    ///
    /// # Panics
    /// When `index` is past the block.
    #[must_use]
    pub fn port(&self, index: u16) -> u16 {
        assert!(index < BLOCK, "a block has {BLOCK} ports");
        self.first + index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_blocks_never_overlap() {
        let (one, other) = (PortBlock::claim(), PortBlock::claim());
        assert_ne!(one.port(0), other.port(0));
    }
}
