//! What must hold for any bytes given to the readers of batches and to the decompressors. Run by the fuzz targets and,
//! over the kept corpus, by `cargo test`.

use bytes::Bytes;
use ottla_protocol::compression::{Codec, Compression, compress, decompress_bounded};
use ottla_protocol::record_batch::{
    Batch, BatchHeader, Builder, BuilderOptions, Limits, Origin, ValidateOptions, batches,
    crc32c_of_two, validate,
};

const LIMITS: Limits = Limits { decompressed_bytes_max: 1 << 16 };

/// Batches in a row. Each is read as it is, and again with a checksum that fits, so that what is behind the checksum
/// is reached.
pub fn read_batches(input: &[u8]) {
    let bytes = Bytes::copy_from_slice(input);
    let mut len = 0;
    for batch in batches(bytes) {
        let Ok(batch) = batch else { break };
        assert_eq!(batch.header.total_len(), batch.bytes.len());
        assert_eq!(BatchHeader::parse(&batch.header.write()).as_ref(), Ok(&batch.header));
        len += batch.bytes.len();
        check(&batch);
        check(&with_right_crc(&batch));
    }
    assert!(len <= input.len());
}

/// The first byte picks the codec, the rest is what it is to decompress.
pub fn decompress(input: &[u8]) {
    let [pick, input @ ..] = input else { return };
    let codec = Codec::ALL[usize::from(*pick) % Codec::ALL.len()];
    let limit = LIMITS.decompressed_bytes_max;
    let mut out = Vec::new();
    let result = decompress_bounded(codec, input, limit, &mut out);
    assert!(out.capacity() <= 4 * limit, "{codec} took {} bytes", out.capacity());
    if result.is_ok() {
        assert!(out.len() <= limit);
        let mut again = Vec::new();
        compress(Compression::new(codec), &out, &mut again).expect("anything compresses");
        let mut back = Vec::new();
        decompress_bounded(codec, &again, limit, &mut back).expect("what we compress is sound");
        assert_eq!(back, out);
    }
}

fn with_right_crc(batch: &Batch) -> Batch {
    let mut header = batch.header;
    header.crc = crc32c_of_two(&header.write()[21..], batch.body());
    let bytes = [&header.write()[..], batch.body()].concat().into();
    Batch { header, bytes }
}

fn check(batch: &Batch) {
    let mut scratch = Vec::new();
    if let Ok(records) = batch.records(&mut scratch, LIMITS) {
        for record in records.flatten() {
            assert_eq!(record.headers.iter().count(), record.headers.len());
        }
    }
    let options =
        ValidateOptions { origin: Origin::Internal, limits: LIMITS, ..ValidateOptions::default() };
    if let Ok(summary) = validate(batch, &options, &mut scratch) {
        assert!(summary.decompressed_len <= LIMITS.decompressed_bytes_max.max(batch.bytes.len()));
        check_copy(batch);
    }
}

/// A valid batch can be written anew and is the same then, record for record.
fn check_copy(batch: &Batch) {
    let header = &batch.header;
    let mut builder = Builder::new(BuilderOptions {
        base_offset: header.base_offset,
        bytes_max: usize::MAX,
        ..BuilderOptions::default()
    });
    let mut scratch = Vec::new();
    for record in batch.records(&mut scratch, LIMITS).expect("it was valid") {
        let record = record.expect("it was valid");
        builder.push_copy(&record).expect("offsets of a valid batch grow");
    }
    let copy = builder.build().expect("there is no codec to fail");
    let (mut scratch, mut copy_scratch) = (Vec::new(), Vec::new());
    let read = batch.records(&mut scratch, LIMITS).expect("it was valid");
    let copied = copy.records(&mut copy_scratch, LIMITS).expect("it was just built");
    assert!(read.map(Result::unwrap).eq(copied.map(Result::unwrap)));
}
