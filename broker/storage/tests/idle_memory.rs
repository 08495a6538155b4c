//! What an idle partition costs: less than 4 KiB of memory, and no open file beyond the bounded cache.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla_protocol::types::LeaderEpoch;
use ottla_storage::{LogConfig, RealIo, TopicPartition};
use support::*;

struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands everything to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn an_idle_partition_costs_less_than_four_kib_and_no_open_file() {
    const LOGS: usize = 40;
    let root = tempfile::tempdir().unwrap();
    let config = Arc::new(LogConfig::default());
    let path = root.path().join("d");
    let (dir, recovered) = open(&RealIo, &path, "b", &config).unwrap();
    drop(recovered);
    let mut logs: Vec<_> = (0..LOGS as i32)
        .map(|number| {
            let partition = TopicPartition::new("a-topic-with-an-ordinary-name", number);
            dir.create_log(&partition, TOPIC_ID, Arc::clone(&config)).unwrap()
        })
        .collect();
    for log in &mut logs {
        for _ in 0..50 {
            let batch = producer_batch(&[&[1; 200]], 1, None);
            log.append_as_leader(&[batch], LeaderEpoch(0), now_ms(0)).unwrap();
        }
    }
    dir.close(logs, 1).unwrap();
    drop(dir);
    let (memory, files) = (ALLOCATED.load(Ordering::Relaxed), open_files());
    let (dir, recovered) = open(&RealIo, &path, "b", &config).unwrap();
    let per_log = (ALLOCATED.load(Ordering::Relaxed) - memory) / LOGS;
    assert_eq!(recovered.logs.len(), LOGS);
    assert!(per_log < 4096, "{per_log} bytes");
    // Eight by the test's setting, and the lock.
    assert!(open_files() <= files + 9, "{} files", open_files() - files);
    println!("{per_log} bytes per idle partition, its view not counted");
    drop(dir);
}
