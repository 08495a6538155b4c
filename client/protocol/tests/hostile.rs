//! Damaged messages against every decoder: typed errors only, and no more memory than a frame's size justifies.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use ottla_protocol::messages::RecodeError;
use support::{codec, is_header, sample};

struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

fn count(bytes: usize) {
    ALLOCATED.with(|allocated| allocated.set(allocated.get() + bytes));
}

// SAFETY: passes every call on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Decodes; what was decoded must encode. Returns the bytes allocated on the way.
fn feed(recode: fn(Bytes, i16) -> Result<Bytes, RecodeError>, bytes: &[u8], version: i16) -> usize {
    let frame = Bytes::copy_from_slice(bytes);
    let before = ALLOCATED.with(Cell::get);
    let result = recode(frame, version);
    let allocated = ALLOCATED.with(Cell::get) - before;
    if let Err(RecodeError::Encode(error)) = result {
        panic!("decoded, but not encoded: {error}, version {version}, {bytes:02x?}");
    }
    allocated
}

/// The documented budget of a decoder, and as much again as the encoder's buffer may take by doubling.
fn bound(length: usize) -> usize {
    64 * 1024 + 16 * length + 4 * length + 1024
}

#[test]
fn truncated_messages_are_refused_within_bounds() {
    for vector in sample() {
        let Some(info) = codec(&vector.name) else { continue };
        for length in 0..vector.bytes.len() {
            let allocated = feed(info.recode, &vector.bytes[..length], vector.version);
            assert!(allocated <= bound(length), "{} {allocated}", vector.name);
        }
    }
}

#[test]
fn damaged_messages_are_refused_or_read_within_bounds() {
    // xorshift: the same damage on every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    for vector in sample().iter().filter(|v| !v.bytes.is_empty() && !is_header(&v.name)) {
        let Some(info) = codec(&vector.name) else { continue };
        for _ in 0..60 {
            let mut bytes = vector.bytes.to_vec();
            for _ in 0..=random() % 3 {
                let at = random() % bytes.len();
                match random() % 3 {
                    0 => bytes[at] ^= 1 << (random() % 8),
                    1 => bytes[at] = 0xff,
                    _ => {
                        for (byte, hostile) in bytes[at..].iter_mut().zip([0x7f, 0xff, 0xff, 0xff])
                        {
                            *byte = hostile;
                        }
                    }
                }
            }
            let allocated = feed(info.recode, &bytes, vector.version);
            assert!(allocated <= bound(bytes.len()), "{} {allocated}", vector.name);
        }
    }
}

#[test]
fn the_largest_lengths_cost_nothing() {
    let lengths =
        [&b"\x7f\xff\xff\xff"[..], b"\xff\xff\xff\xff\x07", b"\xff\xff\xff\xff\x0f", b"\x7f\xff"];
    for info in ottla_protocol::messages::ALL {
        for version in info.version_min..=info.version_max {
            for prefix in 0..40 {
                for length in lengths {
                    let mut bytes = vec![0; prefix];
                    bytes.extend_from_slice(length);
                    bytes.extend_from_slice(&[1; 8]);
                    let allocated = feed(info.recode, &bytes, version);
                    assert!(allocated <= 16 * 1024, "{} {version}: {allocated}", info.name);
                }
            }
        }
    }
}

#[test]
fn versions_that_do_not_exist_are_refused() {
    for info in ottla_protocol::messages::ALL {
        for version in [i16::MIN, -1, info.version_min - 1, info.version_max + 1, i16::MAX] {
            let refused = (info.recode)(Bytes::from_static(&[0; 64]), version);
            assert!(matches!(refused, Err(RecodeError::Decode(_))), "{} {version}", info.name);
        }
    }
}

#[test]
fn array_of_cheap_elements_in_a_large_frame_is_held_to_the_budget() {
    // Four million empty names: 128 MiB in memory if nobody counts.
    let mut bytes = vec![0; 4 << 20];
    bytes[..4].copy_from_slice(&[0xff, 0xff, 0xff, 0x01]);
    let info = codec("ListGroupsRequest").unwrap();
    let allocated = feed(info.recode, &bytes, 5);
    assert!(allocated <= 16 * 1024, "{allocated}");
}
