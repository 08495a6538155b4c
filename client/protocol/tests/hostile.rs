//! Damaged messages against every decoder: typed errors only, and no more memory than a frame's size justifies.

mod support {
    pub mod counting;
    mod vectors;
    pub use vectors::*;
}

use bytes::Bytes;
use ottla_protocol::messages::RecodeError;
use ottla_protocol::wire::{DecodeError, Encoder};
use support::counting::counted;
use support::{codec, is_header, sample};

/// Decodes; what was decoded must encode. Returns the bytes allocated on the way.
fn feed(recode: fn(Bytes, i16) -> Result<Bytes, RecodeError>, bytes: &[u8], version: i16) -> usize {
    let frame = Bytes::copy_from_slice(bytes);
    let (result, allocated) = counted(|| recode(frame, version));
    if let Err(RecodeError::Encode(error)) = result {
        panic!("decoded, but not encoded: {error}, version {version}, {bytes:02x?}");
    }
    allocated.bytes
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
    // Three million empty names: 96 MB in memory if nobody counts, from a frame of 4 MB.
    let mut encoder = Encoder::new();
    encoder.put_length(Some(3_000_000), true).unwrap();
    encoder.put_raw(&vec![1; 4 << 20]);
    let frame = encoder.finish().into_contiguous().unwrap();
    let info = codec("ListGroupsRequest").unwrap();
    let (refused, allocated) = counted(|| (info.recode)(frame, 5));
    assert_eq!(refused, Err(RecodeError::Decode(DecodeError::OverBudget)));
    assert!(allocated.bytes <= 1024, "{allocated:?}");
}
