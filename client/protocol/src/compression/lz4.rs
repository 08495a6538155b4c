//! LZ4 frames as Kafka writes them: independent blocks of 64 KiB, no checksums but the descriptor's.

use lz4_flex::block::{
    CompressTable, DecompressError, compress_into_with_table, decompress_into,
    get_maximum_output_size,
};
use twox_hash::XxHash32;

use crate::compression::{Failure, take, take_4};

const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();

/// Version 1, independent blocks; block size 4 (64 KiB); and the second byte of the two bytes' XXH32.
const DESCRIPTOR: [u8; 3] = [0x60, 0x40, 0x82];
const BLOCK_LEN: usize = 64 << 10;
const END_MARK: [u8; 4] = [0; 4];

/// Bit of a block's length: stored as it is.
const UNCOMPRESSED: u32 = 1 << 31;

const FLAG_VERSION: u8 = 0b1100_0000;
const VERSION_1: u8 = 0b0100_0000;
const FLAG_INDEPENDENT: u8 = 1 << 5;
const FLAG_BLOCK_CHECKSUM: u8 = 1 << 4;
const FLAG_CONTENT_SIZE: u8 = 1 << 3;
const FLAGS_UNSUPPORTED: u8 = 0b11;

/// A byte of a compressed block makes at most 255 bytes of output.
const EXPANSION_MAX: usize = 255;

#[derive(Default)]
pub(super) struct Context {
    table: CompressTable,
}

impl Context {
    pub(super) fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&DESCRIPTOR);
        for block in input.chunks(BLOCK_LEN) {
            let length_at = out.len();
            let block_at = length_at + 4;
            out.resize(block_at + get_maximum_output_size(block.len()), 0);
            let compressed = compress_into_with_table(block, &mut out[block_at..], &mut self.table);
            let len = compressed.map_err(|error| error.to_string())?;
            let length = if len < block.len() {
                out.truncate(block_at + len);
                len as u32
            } else {
                out.truncate(block_at);
                out.extend_from_slice(block);
                block.len() as u32 | UNCOMPRESSED
            };
            out[length_at..block_at].copy_from_slice(&length.to_le_bytes());
        }
        out.extend_from_slice(&END_MARK);
        Ok(())
    }
}

/// As in Kafka, whatever follows the frame is ignored, and so is the checksum of its content: the batch has its own.
pub(super) fn decompress(
    mut input: &[u8],
    max_len: usize,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let frame = Frame::take(&mut input)?;
    let cut_short = Failure::Corrupt("the frame is cut short");
    loop {
        let length = u32::from_le_bytes(take_4(&mut input).ok_or(cut_short)?);
        if length == 0 {
            return Ok(());
        }
        let len = (length & !UNCOMPRESSED) as usize;
        if frame.block_len_max < len {
            return Err(Failure::Corrupt("a block is larger than the frame allows"));
        }
        let block = take(&mut input, len).ok_or(cut_short)?;
        if frame.block_checksum {
            let stored = u32::from_le_bytes(take_4(&mut input).ok_or(cut_short)?);
            if XxHash32::oneshot(0, block) != stored {
                return Err(Failure::Corrupt("a block's checksum does not match"));
            }
        }
        if length & UNCOMPRESSED == 0 {
            decompress_block(block, frame.block_len_max, max_len, out)?;
        } else if max_len - out.len() < len {
            return Err(Failure::TooLarge);
        } else {
            out.extend_from_slice(block);
        }
    }
}

fn decompress_block(
    block: &[u8],
    block_len_max: usize,
    max_len: usize,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let start = out.len();
    let possible = block_len_max.min(block.len() * EXPANSION_MAX);
    let allowed = possible.min(max_len - start);
    out.resize(start + allowed, 0);
    match decompress_into(block, &mut out[start..]) {
        Ok(len) => {
            out.truncate(start + len);
            Ok(())
        }
        Err(DecompressError::OutputTooSmall { .. }) if allowed < possible => Err(Failure::TooLarge),
        Err(_) => Err(Failure::Corrupt("invalid lz4 block")),
    }
}

/// What a frame's descriptor says.
struct Frame {
    block_len_max: usize,
    block_checksum: bool,
}

impl Frame {
    fn take(input: &mut &[u8]) -> Result<Self, Failure> {
        let cut_short = Failure::Corrupt("the frame's header is cut short");
        if take_4(input).ok_or(cut_short)? != MAGIC {
            return Err(Failure::Corrupt("not an lz4 frame"));
        }
        let descriptor_from = *input;
        let &[flags, block] = take(input, 2).ok_or(cut_short)? else { return Err(cut_short) };
        if flags & FLAG_VERSION != VERSION_1 || flags & FLAGS_UNSUPPORTED != 0 {
            return Err(Failure::Corrupt("unsupported lz4 frame version or flag"));
        }
        if flags & FLAG_INDEPENDENT == 0 {
            return Err(Failure::Corrupt("lz4 blocks depend on each other"));
        }
        let block_len_max = match block {
            0x40 => 64 << 10,
            0x50 => 256 << 10,
            0x60 => 1 << 20,
            0x70 => 4 << 20,
            _ => return Err(Failure::Corrupt("unsupported lz4 block size")),
        };
        if flags & FLAG_CONTENT_SIZE != 0 {
            take(input, 8).ok_or(cut_short)?;
        }
        let descriptor = &descriptor_from[..descriptor_from.len() - input.len()];
        let &[checksum] = take(input, 1).ok_or(cut_short)? else { return Err(cut_short) };
        if (XxHash32::oneshot(0, descriptor) >> 8) as u8 != checksum {
            return Err(Failure::Corrupt("the frame header's checksum does not match"));
        }
        Ok(Self { block_len_max, block_checksum: flags & FLAG_BLOCK_CHECKSUM != 0 })
    }
}
