//! Snappy in the framing of Java's snappy library ("xerial"): a 16-byte header, then blocks of 32 KiB, each with its
//! compressed length. Bare snappy, as some clients send it, is read too.

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use crate::compression::{Failure, take, take_4};

/// Magic, then version and oldest compatible version, both 1.
const HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
const MAGIC_LEN: usize = 8;

/// Uncompressed bytes per block, as Java writes them.
const BLOCK_LEN: usize = 32 << 10;

/// No element of a snappy block makes more output than this per byte of input: a copy of 64 bytes takes three.
const EXPANSION_MAX: usize = 22;

#[derive(Default)]
pub(super) struct Context {
    encoder: Option<Encoder>,
    decoder: Decoder,
}

impl Context {
    pub(super) fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let encoder = self.encoder.get_or_insert_with(Encoder::new);
        out.extend_from_slice(&HEADER);
        for block in input.chunks(BLOCK_LEN) {
            let length_at = out.len();
            let block_at = length_at + 4;
            out.resize(block_at + max_compress_len(block.len()), 0);
            let compressed = encoder.compress(block, &mut out[block_at..]);
            let len = compressed.map_err(|error| error.to_string())?;
            out.truncate(block_at + len);
            out[length_at..block_at].copy_from_slice(&(len as u32).to_be_bytes());
        }
        Ok(())
    }

    pub(super) fn decompress(
        &mut self,
        mut input: &[u8],
        max_len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        if !input.starts_with(&HEADER[..MAGIC_LEN]) {
            return self.decompress_block(input, max_len, out);
        }
        let cut_short = Failure::Corrupt("a block is cut short");
        while !input.is_empty() {
            // Streams may have been joined: a header can stand between blocks.
            if input.starts_with(&HEADER[..MAGIC_LEN]) {
                take(&mut input, HEADER.len()).ok_or(cut_short)?;
                continue;
            }
            let len = u32::from_be_bytes(take_4(&mut input).ok_or(cut_short)?);
            let block = take(&mut input, len as usize).ok_or(cut_short)?;
            self.decompress_block(block, max_len, out)?;
        }
        Ok(())
    }

    fn decompress_block(
        &mut self,
        block: &[u8],
        max_len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let invalid = |_| Failure::Corrupt("invalid snappy block");
        let len = decompress_len(block).map_err(invalid)?;
        if block.len().saturating_mul(EXPANSION_MAX) < len {
            return Err(Failure::Corrupt("a block claims more than it can hold"));
        }
        if max_len - out.len() < len {
            return Err(Failure::TooLarge);
        }
        let start = out.len();
        out.resize(start + len, 0);
        self.decoder.decompress(block, &mut out[start..]).map_err(invalid)?;
        Ok(())
    }
}
