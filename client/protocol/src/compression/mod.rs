//! The five codecs of record batches. Working memory is kept per thread and reused; output is always bounded.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;

/// How the records of a batch are compressed; the numbers are those of the attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// Not at all.
    #[default]
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// Snappy blocks in the framing of Java's snappy ("xerial").
    Snappy = 2,
    /// An LZ4 frame of independent blocks.
    Lz4 = 3,
    /// Zstandard, RFC 8878.
    Zstd = 4,
}

/// A codec number that is not assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression codec {0}")]
pub struct UnknownCodec(pub u8);

/// A codec name that Kafka does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression type {0:?}; known are none, gzip, snappy, lz4 and zstd")]
pub struct UnknownCodecName(pub String);

/// A level outside a codec's range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("level {level} is not one of {codec}")]
pub struct InvalidLevel {
    /// The codec.
    pub codec: Codec,
    /// What was asked for.
    pub level: i32,
}

/// A codec and how hard it tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Compression {
    codec: Codec,
    level: Option<i32>,
}

/// Why bytes could not be compressed; with a buffer that grows, only a codec's own limits remain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{codec} cannot compress {len} bytes: {reason}")]
pub struct CompressError {
    /// The codec.
    pub codec: Codec,
    /// Bytes of input.
    pub len: usize,
    /// What the codec says.
    pub reason: String,
}

/// Why bytes could not be decompressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// The output would be larger than allowed.
    #[error("decompressed records are larger than {limit} bytes")]
    TooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// The input is not what the codec makes.
    #[error("malformed {codec} data: {reason}")]
    Corrupt {
        /// The codec.
        codec: Codec,
        /// What does not fit.
        reason: &'static str,
    },
}

impl Codec {
    /// Every codec, by number.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Its name in `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl TryFrom<u8> for Codec {
    type Error = UnknownCodec;
    fn try_from(number: u8) -> Result<Self, UnknownCodec> {
        Self::ALL.get(usize::from(number)).copied().ok_or(UnknownCodec(number))
    }
}

impl FromStr for Codec {
    type Err = UnknownCodecName;
    fn from_str(name: &str) -> Result<Self, UnknownCodecName> {
        let known = Self::ALL.into_iter().find(|codec| codec.name() == name);
        known.ok_or_else(|| UnknownCodecName(name.to_owned()))
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Compression {
    /// `codec` at Kafka's default level: gzip −1 (which is 6), lz4 9, zstd 3.
    pub fn new(codec: Codec) -> Self {
        Self { codec, level: None }
    }

    /// At a level of `compression.gzip.level` (−1, 1–9), `compression.lz4.level` (1–17) or `compression.zstd.level`
    /// (−131072–22). LZ4 accepts its levels and compresses at one speed.
    pub fn with_level(codec: Codec, level: i32) -> Result<Self, InvalidLevel> {
        let allowed = match codec {
            Codec::None | Codec::Snappy => false,
            Codec::Gzip => level == -1 || (1..=9).contains(&level),
            Codec::Lz4 => (1..=17).contains(&level),
            Codec::Zstd => (-131_072..=22).contains(&level),
        };
        if allowed {
            Ok(Self { codec, level: Some(level) })
        } else {
            Err(InvalidLevel { codec, level })
        }
    }

    /// The codec.
    pub fn codec(self) -> Codec {
        self.codec
    }
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        Self::new(codec)
    }
}

/// Appends `input`, compressed, to `out`.
pub fn compress(
    compression: Compression,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CompressError> {
    let failed =
        |reason: String| CompressError { codec: compression.codec, len: input.len(), reason };
    CONTEXTS.with_borrow_mut(|contexts| match compression.codec {
        Codec::None => {
            out.extend_from_slice(input);
            Ok(())
        }
        Codec::Gzip => {
            let level = compression.level.unwrap_or(-1);
            contexts.gzip.compress(level, input, out).map_err(failed)
        }
        Codec::Snappy => contexts.snappy.compress(input, out).map_err(failed),
        Codec::Lz4 => contexts.lz4.compress(input, out).map_err(failed),
        Codec::Zstd => {
            let level = compression.level.unwrap_or(3);
            contexts.zstd.compress(level, input, out).map_err(failed)
        }
    })
}

/// Replaces the content of `out` by `input`, decompressed. Fails rather than make more than `max_len` bytes, and
/// never reserves more than it could need; after an error the content of `out` means nothing.
pub fn decompress_bounded(
    codec: Codec,
    input: &[u8],
    max_len: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    out.clear();
    let result = CONTEXTS.with_borrow_mut(|contexts| match codec {
        Codec::None if max_len < input.len() => Err(Failure::TooLarge),
        Codec::None => {
            out.extend_from_slice(input);
            Ok(())
        }
        Codec::Gzip => contexts.gzip.decompress(input, max_len, out),
        Codec::Snappy => contexts.snappy.decompress(input, max_len, out),
        Codec::Lz4 => lz4::decompress(input, max_len, out),
        Codec::Zstd => contexts.zstd.decompress(input, max_len, out),
    });
    result.map_err(|failure| match failure {
        Failure::TooLarge => DecompressError::TooLarge { limit: max_len },
        Failure::Corrupt(reason) => DecompressError::Corrupt { codec, reason },
    })
}

/// A codec's part of [`DecompressError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    TooLarge,
    Corrupt(&'static str),
}

/// Working memory of the codecs, made at first use.
#[derive(Default)]
struct Contexts {
    gzip: gzip::Context,
    snappy: snappy::Context,
    lz4: lz4::Context,
    zstd: zstd::Context,
}

thread_local! {
    static CONTEXTS: RefCell<Contexts> = RefCell::default();
}

/// Takes a big- or little-endian length off the front of `rest`.
fn take_4(rest: &mut &[u8]) -> Option<[u8; 4]> {
    let (&bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(bytes)
}

/// Takes `len` bytes off the front of `rest`.
fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (bytes, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(bytes)
}

#[cfg(test)]
mod tests;
