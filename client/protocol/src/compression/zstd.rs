//! Zstandard, RFC 8878. Frames are decompressed in one go into a buffer that is surely large enough, so that no window
//! has to be kept: a frame can ask for 128 MiB of it.

use ::zstd::zstd_safe::{self, CCtx, CParameter, DCtx};

use crate::compression::{Failure, take, take_4};

const FRAME_MAGIC: u32 = 0xfd2f_b528;
const SKIPPABLE_MAGIC: std::ops::RangeInclusive<u32> = 0x184d_2a50..=0x184d_2a5f;

/// No block decompresses to more.
const BLOCK_LEN_MAX: u64 = 128 << 10;

/// What the library says when the output does not fit.
const TOO_SMALL: &str = "Destination buffer is too small";

#[derive(Default)]
pub(super) struct Context {
    compressor: Option<CCtx<'static>>,
    decompressor: Option<DCtx<'static>>,
}

impl Context {
    pub(super) fn compress(
        &mut self,
        level: i32,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let named = |code| zstd_safe::get_error_name(code).to_owned();
        let compressor = match &mut self.compressor {
            Some(made) => made,
            none => none.insert(CCtx::try_create().ok_or("out of memory")?),
        };
        compressor.set_parameter(CParameter::CompressionLevel(level)).map_err(named)?;
        let start = out.len();
        out.resize(start + zstd_safe::compress_bound(input.len()), 0);
        let len = compressor.compress2(&mut out[start..], input).map_err(named)?;
        out.truncate(start + len);
        Ok(())
    }

    pub(super) fn decompress(
        &mut self,
        input: &[u8],
        max_len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let bound = output_bound(input).ok_or(Failure::Corrupt("invalid or truncated frame"))?;
        let bound = usize::try_from(bound).unwrap_or(usize::MAX);
        out.reserve_exact(bound.min(max_len));
        let decompressor = match &mut self.decompressor {
            Some(made) => made,
            none => none.insert(DCtx::try_create().ok_or(Failure::Corrupt("out of memory"))?),
        };
        match decompressor.decompress(out, input) {
            Ok(len) if max_len < len => Err(Failure::TooLarge),
            Ok(_) => Ok(()),
            Err(code) if max_len < bound && zstd_safe::get_error_name(code) == TOO_SMALL => {
                Err(Failure::TooLarge)
            }
            Err(_) => Err(Failure::Corrupt("invalid zstd frame")),
        }
    }
}

/// Upper bound of what the frames in `input` decompress to, from their block headers; `None` if these are malformed.
fn output_bound(mut input: &[u8]) -> Option<u64> {
    let mut bound = 0;
    loop {
        let magic = u32::from_le_bytes(take_4(&mut input)?);
        if SKIPPABLE_MAGIC.contains(&magic) {
            let len = u32::from_le_bytes(take_4(&mut input)?);
            take(&mut input, len as usize)?;
        } else if magic == FRAME_MAGIC {
            bound += frame_bound(&mut input)?;
        } else {
            return None;
        }
        if input.is_empty() {
            return Some(bound);
        }
    }
}

/// Takes one frame behind its magic.
fn frame_bound(input: &mut &[u8]) -> Option<u64> {
    let &[descriptor] = take(input, 1)? else { return None };
    let single_segment = descriptor & 1 << 5 != 0;
    let window_len = if single_segment { 0 } else { 1 };
    let dictionary_id_len = [0, 1, 2, 4][usize::from(descriptor & 0b11)];
    let content_size_len = match descriptor >> 6 {
        0 if single_segment => 1,
        0 => 0,
        power => 1 << power,
    };
    take(input, window_len + dictionary_id_len + content_size_len)?;
    let mut bound = 0;
    loop {
        let &[a, b, c] = take(input, 3)? else { return None };
        let header = u32::from_le_bytes([a, b, c, 0]);
        let len = header >> 3;
        bound += match header >> 1 & 0b11 {
            0 => take(input, len as usize).map(|_| u64::from(len))?,
            1 => take(input, 1).map(|_| u64::from(len))?,
            2 => take(input, len as usize).map(|_| BLOCK_LEN_MAX)?,
            _ => return None,
        };
        if header & 1 != 0 {
            break;
        }
    }
    if descriptor & 1 << 2 != 0 {
        take_4(input)?;
    }
    Some(bound)
}
