//! What a shard stores of a group. Every value is JSON that a person can read; a long one is compressed.

mod binary;
mod classic;
mod consumer;
mod offsets;

use std::borrow::Cow;
use std::io::Read;

use bytes::Bytes;

use super::value::{ModelError, Value, decode, encode};

pub use classic::{
    ClassicGroupAssignment, ClassicGroupMember, ClassicGroupMeta, ClassicGroupProtocol,
};
pub use consumer::{
    ClassicMember, ConsumerAssignment, ConsumerMember, ConsumerMeta, PartitionRun,
    ReconciliationState,
};
pub use offsets::{CommittedOffset, OffsetChunk};

/// The bytes to store for `value`, compressed with zstd if they are more than 4 KiB.
pub fn encode_value<T: Value>(value: &T) -> Bytes {
    let plain = encode(value);
    if plain.len() <= COMPRESS_ABOVE {
        return plain;
    }
    match zstd::bulk::compress(&plain, COMPRESSION_LEVEL) {
        Ok(compressed) if compressed.len() < plain.len() => compressed.into(),
        // Stored as it is: whoever reads it tells one from the other by the first bytes.
        Ok(_) | Err(_) => plain,
    }
}

/// Reads the bytes that `key` holds; the key is only for the error.
///
/// # Errors
/// The value is of a later version, or not what any Ottla writes.
pub fn decode_value<T: Value>(key: &str, bytes: &[u8]) -> Result<T, ModelError> {
    decode(key, &plain(key, bytes)?)
}

fn plain<'a>(key: &str, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, ModelError> {
    if !bytes.starts_with(&ZSTD_MAGIC) {
        return Ok(Cow::Borrowed(bytes));
    }
    let malformed = |reason: String| ModelError::Malformed { key: key.to_owned(), reason };
    let failed = |error: std::io::Error| malformed(format!("cannot be decompressed: {error}"));
    let decoder = zstd::stream::read::Decoder::new(bytes).map_err(failed)?;
    let mut plain = Vec::new();
    decoder.take(PLAIN_BYTES_MAX + 1).read_to_end(&mut plain).map_err(failed)?;
    if PLAIN_BYTES_MAX < plain.len() as u64 {
        return Err(malformed(format!("it decompresses to more than {PLAIN_BYTES_MAX} bytes")));
    }
    Ok(Cow::Owned(plain))
}

/// Values up to this size are stored as they are.
const COMPRESS_ABOVE: usize = 4096;
/// Quick; what members bring compresses well at any level.
const COMPRESSION_LEVEL: i32 = 1;
/// How a compressed value begins. JSON never does.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Nothing that is stored is longer: a store takes 1.5 MiB of it, compressed.
const PLAIN_BYTES_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Rest;

    fn chunk(partitions: i32) -> OffsetChunk {
        let offset = |partition: i32| CommittedOffset {
            partition,
            offset: i64::from(partition) * 1000,
            leader_epoch: Some(3),
            metadata: "m".repeat(partition as usize * 50),
            committed_at: 1_700_000_000_000,
            expires_at: None,
            rest: Rest::new(),
        };
        let offsets = (0..partitions).map(offset).collect();
        OffsetChunk { offsets, rest: Rest::new() }
    }

    #[test]
    fn long_values_are_compressed_and_short_ones_can_be_read() {
        let short = encode_value(&chunk(1));
        assert_eq!(
            std::str::from_utf8(&short).unwrap(),
            r#"{"v":1,"offsets":[{"partition":0,"offset":0,"leader_epoch":3,"at":1700000000000}]}"#
        );
        let long = encode_value(&chunk(32));
        assert!(long.len() < COMPRESS_ABOVE && long.starts_with(&ZSTD_MAGIC));
        for (value, bytes) in [(chunk(1), short), (chunk(32), long)] {
            assert_eq!(decode_value::<OffsetChunk>("k", &bytes), Ok(value));
        }
    }

    #[test]
    fn damaged_value_is_an_error_that_names_the_key() {
        let long = encode_value(&chunk(32));
        for bytes in [&long[..long.len() - 1], &long[..4], b"", b"\x28\xb5\x2f\xfdgarbage"] {
            let error = decode_value::<OffsetChunk>("/shards/1/x", bytes).unwrap_err();
            assert!(error.to_string().contains("/shards/1/x"), "{error}");
        }
    }

    #[test]
    fn what_a_compressed_value_takes_in_memory_is_bounded() {
        let bomb = zstd::bulk::compress(&vec![b' '; (PLAIN_BYTES_MAX + 1) as usize], 1).unwrap();
        let error = decode_value::<OffsetChunk>("k", &bomb).unwrap_err();
        assert!(error.to_string().contains("more than"), "{error}");
    }

    #[test]
    fn fields_of_later_versions_survive_in_offsets() {
        let text =
            br#"{"v":1,"offsets":[{"partition":7,"offset":1,"at":2,"note":"x"}],"more":[1]}"#;
        let read: OffsetChunk = decode_value("k", text).unwrap();
        assert_eq!(read.offsets[0].offset, 1);
        let again: serde_json::Value = serde_json::from_slice(&encode_value(&read)).unwrap();
        let before: serde_json::Value = serde_json::from_slice(text).unwrap();
        assert_eq!(again, before);
    }
}
