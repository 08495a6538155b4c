//! Ports that no other test uses: a block is claimed by file locks and given back when its owner ends, however it ends.

use std::{env, fs, fs::File, net::TcpListener, path::Path};

use rustix::fs::{FlockOperation, flock};

/// Below the range that the kernel hands out for outgoing connections.
const FIRST: u16 = 20_000;
/// Ports behind one lock.
const BLOCK: u16 = 20;
const BLOCKS: u16 = 600;

/// Neighbouring ports of 127.0.0.1.
#[derive(Debug)]
pub struct PortBlock {
    first: u16,
    len: u16,
    _locks: Vec<File>,
}

impl PortBlock {
    /// Claims twenty ports that are all free.
    ///
    /// # Panics
    /// When none are left, or the folder for temporary files cannot be written.
    #[must_use]
    pub fn claim() -> Self {
        Self::of(BLOCK)
    }

    /// Claims at least `len` ports that are all free.
    ///
    /// # Panics
    /// When none are left, or the folder for temporary files cannot be written.
    #[must_use]
    pub fn of(len: u16) -> Self {
        let folder = env::temp_dir().join("ottla-test-ports");
        fs::create_dir_all(&folder).expect("a folder for the locks of ports");
        let width = len.div_ceil(BLOCK).max(1);
        let starts = BLOCKS + 1 - width;
        // Start at a place of our own, so that test processes seldom meet.
        let start = u16::try_from(std::process::id() % u32::from(starts)).expect("below 600");
        for step in 0..starts {
            let number = (start + step) % starts;
            let Some(locks) = lock(&folder, number, width) else { continue };
            let (first, len) = (FIRST + number * BLOCK, width * BLOCK);
            if (first..first + len).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
                return Self { first, len, _locks: locks };
            }
        }
        panic!("no block of free ports is left");
    }

    /// The port at `index`, from 0 on.
    ///
    /// # Panics
    /// When `index` is past the block.
    #[must_use]
    pub fn port(&self, index: u16) -> u16 {
        assert!(index < self.len, "the block has {} ports", self.len);
        self.first + index
    }
}

/// The locks of `width` neighbours from `number` on, or none of them.
fn lock(folder: &Path, number: u16, width: u16) -> Option<Vec<File>> {
    let one = |number: u16| {
        let lock = File::create(folder.join(number.to_string())).expect("a lock file");
        flock(&lock, FlockOperation::NonBlockingLockExclusive).ok().map(|()| lock)
    };
    (number..number + width).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_blocks_never_overlap() {
        let (one, other) = (PortBlock::of(60), PortBlock::claim());
        let ports = |block: &PortBlock| block.first..block.first + block.len;
        assert!(ports(&one).all(|port| !ports(&other).contains(&port)));
        assert_eq!(one.port(59), one.port(0) + 59);
    }
}
