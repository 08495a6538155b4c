//! Reading and validating records allocates nothing per record. Alone in its process, so that nothing else counts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ottla_protocol::compression::Codec;
use ottla_protocol::record_batch::{
    Batch, Builder, BuilderOptions, Header, Limits, NewRecord, ValidateOptions, batches, validate,
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the pointer came from `alloc` above.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

fn thousand_records(codec: Codec) -> Batch {
    let options = BuilderOptions { compression: codec.into(), ..BuilderOptions::default() };
    let mut builder = Builder::new(options);
    let headers =
        [Header { key: b"name", value: Some(b"value") }, Header { key: b"k", value: None }];
    for i in 0..1000i64 {
        let value = i.to_be_bytes().repeat(10);
        let record =
            NewRecord { timestamp: i, key: Some(b"key"), value: Some(&value), headers: &headers };
        builder.push(&record).unwrap();
    }
    builder.build().unwrap()
}

fn read_all(batch: &Batch, scratch: &mut Vec<u8>) -> usize {
    let records = batch.records(scratch, Limits::default()).unwrap();
    records
        .map(|record| {
            let record = record.unwrap();
            record.value.unwrap().len() + record.headers.iter().count()
        })
        .sum()
}

#[test]
fn a_thousand_records_cost_no_allocation() {
    for codec in Codec::ALL {
        let batch = thousand_records(codec);
        let options = ValidateOptions::default();
        let mut scratch = Vec::new();
        // The first time the codec's working memory and the scratch buffer are made.
        validate(&batch, &options, &mut scratch).unwrap();
        let count = allocations(|| {
            validate(&batch, &options, &mut scratch).unwrap();
            assert_eq!(read_all(&batch, &mut scratch), 1000 * 82);
        });
        assert_eq!(count, 0, "{codec}");
    }
}

#[test]
fn a_batch_of_a_frame_costs_a_handful_of_allocations() {
    let frame = thousand_records(Codec::None).bytes;
    let count = allocations(|| {
        for batch in batches(frame.clone()) {
            batch.unwrap().verify_crc().unwrap();
        }
    });
    assert!(count <= 2, "{count}");
}

#[test]
fn pushing_records_allocates_only_to_grow() {
    let mut builder = Builder::with_buffer(BuilderOptions::default(), Vec::with_capacity(200_000));
    let record = NewRecord { key: Some(b"key"), value: Some(&[1; 100]), ..NewRecord::default() };
    let count = allocations(|| {
        for _ in 0..1000 {
            builder.push(&record).unwrap();
        }
    });
    assert_eq!(count, 0);
}
