//! Gzip, RFC 1952. Members are read by hand around raw deflate, because only a raw inflater can be reset and reused.

use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};

use crate::compression::{Failure, take, take_4};

/// What zlib itself uses: a 32 KiB window.
const WINDOW_BITS: u8 = 15;

/// Least room to give the inflater at a time.
const ROOM_MIN: usize = 4 << 10;

const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
const FLAGS_RESERVED: u8 = 0b1110_0000;

#[derive(Default)]
pub(super) struct Context {
    /// With the level that it was made for.
    deflate: Option<(i32, Compress)>,
    inflate: Option<Decompress>,
}

impl Context {
    pub(super) fn compress(
        &mut self,
        level: i32,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        if self.deflate.as_ref().is_none_or(|(made_for, _)| *made_for != level) {
            let level_for_zlib =
                u32::try_from(level).map_or(Compression::default(), Compression::new);
            self.deflate = Some((level, Compress::new_gzip(level_for_zlib, WINDOW_BITS)));
        }
        let Some((_, deflate)) = &mut self.deflate else { return Err("no compressor".into()) };
        deflate.reset();
        out.reserve(input.len() / 2 + 64);
        loop {
            let consumed = deflate.total_in() as usize;
            let rest = &input[consumed..];
            let status = deflate.compress_vec(rest, out, FlushCompress::Finish);
            match status.map_err(|error| error.to_string())? {
                Status::StreamEnd => return Ok(()),
                Status::Ok | Status::BufError => out.reserve(ROOM_MIN.max(rest.len() / 2)),
            }
        }
    }

    pub(super) fn decompress(
        &mut self,
        mut input: &[u8],
        max_len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let inflate = self.inflate.get_or_insert_with(|| Decompress::new(false));
        loop {
            skip_member_header(&mut input).ok_or(Failure::Corrupt("invalid gzip header"))?;
            let member_start = out.len();
            inflate_member(inflate, &mut input, max_len, out)?;
            check_member_trailer(&mut input, &out[member_start..])?;
            // As in Java, whatever follows is another member if it looks like one, and else ignored.
            if !input.starts_with(&[0x1f, 0x8b]) {
                return Ok(());
            }
        }
    }
}

fn inflate_member(
    inflate: &mut Decompress,
    input: &mut &[u8],
    max_len: usize,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    inflate.reset(false);
    loop {
        // One byte more than allowed, to see whether there is more.
        let room_left = max_len.saturating_add(1).saturating_sub(out.len());
        if room_left == 0 {
            return Err(Failure::TooLarge);
        }
        if out.capacity() == out.len() {
            let room = (input.len() * 4).max(out.len()).max(ROOM_MIN);
            out.reserve_exact(room.min(room_left));
        }
        let before = (inflate.total_in(), out.len());
        let status = inflate
            .decompress_vec(input, out, FlushDecompress::None)
            .map_err(|_| Failure::Corrupt("invalid deflate stream"))?;
        let consumed = (inflate.total_in() - before.0) as usize;
        *input = &input[consumed..];
        if max_len < out.len() {
            return Err(Failure::TooLarge);
        }
        if status == Status::StreamEnd {
            return Ok(());
        }
        if consumed == 0 && out.len() == before.1 {
            return Err(Failure::Corrupt("deflate stream is cut short"));
        }
    }
}

/// Skips a member's header; `None` if it is not one.
fn skip_member_header(input: &mut &[u8]) -> Option<()> {
    let &[0x1f, 0x8b, 8, flags, _, _, _, _, _, _] = take(input, 10)? else {
        return None;
    };
    if flags & FLAGS_RESERVED != 0 {
        return None;
    }
    if flags & FLAG_EXTRA != 0 {
        let &[low, high] = take(input, 2)? else { return None };
        take(input, usize::from(u16::from_le_bytes([low, high])))?;
    }
    for text in [FLAG_NAME, FLAG_COMMENT] {
        if flags & text != 0 {
            let len = input.iter().position(|&byte| byte == 0)?;
            take(input, len + 1)?;
        }
    }
    if flags & FLAG_HEADER_CRC != 0 {
        take(input, 2)?;
    }
    Some(())
}

fn check_member_trailer(input: &mut &[u8], member: &[u8]) -> Result<(), Failure> {
    let cut_short = Failure::Corrupt("gzip trailer is cut short");
    let stored_crc = u32::from_le_bytes(take_4(input).ok_or(cut_short)?);
    let stored_len = u32::from_le_bytes(take_4(input).ok_or(cut_short)?);
    let mut crc = Crc::new();
    crc.update(member);
    if crc.sum() == stored_crc && crc.amount() == stored_len {
        Ok(())
    } else {
        Err(Failure::Corrupt("gzip checksum or length does not match"))
    }
}
