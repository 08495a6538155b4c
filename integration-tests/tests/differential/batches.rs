//! Record batches, right and wrong, made by hand.

use bytes::Bytes;
use ottla_protocol::{
    compression::{Codec, Compression},
    record_batch::{BatchHeader, Builder, BuilderOptions, HEADER_LEN, NewRecord, crc32c},
    types::{ProducerEpoch, ProducerId},
};

/// A time in the past that no timestamp rule minds.
pub const TIME: i64 = 1_700_000_000_000;

/// A batch of records with these values and the key `k`.
pub fn batch(values: &[&str]) -> Bytes {
    with_codec(values, Codec::None)
}

/// The same, compressed.
pub fn with_codec(values: &[&str], codec: Codec) -> Bytes {
    build(values, Some(b"k"), codec, None)
}

/// A batch whose records have no key.
pub fn without_keys(values: &[&str]) -> Bytes {
    build(values, None, Codec::None, None)
}

/// A batch of an idempotent producer.
pub fn idempotent(values: &[&str], producer: (i64, i16, i32)) -> Bytes {
    build(values, Some(b"k"), Codec::None, Some(producer))
}

fn build(
    values: &[&str],
    key: Option<&[u8]>,
    codec: Codec,
    producer: Option<(i64, i16, i32)>,
) -> Bytes {
    let options =
        BuilderOptions { compression: Compression::new(codec), ..BuilderOptions::default() };
    let mut builder = Builder::new(options);
    for (index, value) in (0..).zip(values) {
        let record =
            NewRecord { timestamp: TIME + index, key, value: Some(value.as_bytes()), headers: &[] };
        builder.push(&record).expect("a small record");
    }
    if let Some((id, epoch, sequence)) = producer {
        builder.set_producer(ProducerId(id), ProducerEpoch(epoch), sequence);
    }
    builder.build().expect("a batch").bytes
}

/// The batch with its header changed and its checksum made right again.
pub fn altered(batch: &Bytes, alter: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = BatchHeader::parse(batch).expect("a batch of ours");
    alter(&mut header);
    let mut bytes = header.write().to_vec();
    bytes.extend_from_slice(&batch[HEADER_LEN..]);
    sealed(bytes)
}

/// The batch with one of its bytes changed, checksum included or not.
pub fn flipped(batch: &Bytes, position: usize, seal: bool) -> Bytes {
    let mut bytes = batch.to_vec();
    bytes[position] ^= 0x55;
    if seal { sealed(bytes) } else { bytes.into() }
}

/// The batch with one bit of its attributes turned over.
pub fn flipped_attribute(batch: &Bytes, bit: u8) -> Bytes {
    let mut bytes = batch.to_vec();
    bytes[22] ^= 1 << bit;
    sealed(bytes)
}

/// The batch with another codec in its attributes.
pub fn flipped_codec(batch: &Bytes, codec: u8) -> Bytes {
    let mut bytes = batch.to_vec();
    bytes[22] = (bytes[22] & !7) | codec;
    sealed(bytes)
}

/// The batch with another magic byte.
pub fn flipped_magic(batch: &Bytes, magic: u8) -> Bytes {
    let mut bytes = batch.to_vec();
    bytes[16] = magic;
    bytes.into()
}

/// Two batches in one partition's records.
pub fn joined(one: &Bytes, other: &Bytes) -> Bytes {
    [&one[..], &other[..]].concat().into()
}

/// The checksum covers all from the attributes on.
fn sealed(mut bytes: Vec<u8>) -> Bytes {
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}
