use proptest::prelude::*;

use super::*;

const KNOWN: &str = "a text of some length, with a text of some length in it, to be found again";

fn compressed(codec: Codec, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compress(codec.into(), input, &mut out).unwrap();
    out
}

fn decompressed(codec: Codec, input: &[u8], max: usize) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    decompress_bounded(codec, input, max, &mut out)?;
    Ok(out)
}

/// Compressible and not, below and above the codecs' block sizes.
fn contents() -> impl Strategy<Value = Vec<u8>> {
    let random = prop::collection::vec(any::<u8>(), 0..300);
    let repeated = (prop::collection::vec(any::<u8>(), 1..60), 1..4000usize)
        .prop_map(|(piece, times)| piece.repeat(times));
    prop_oneof![random, repeated]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn everything_comes_back_and_the_limit_is_exact(input in contents()) {
        for codec in Codec::ALL {
            let bytes = compressed(codec, &input);
            prop_assert_eq!(&decompressed(codec, &bytes, input.len()).unwrap(), &input);
            if !input.is_empty() {
                let limit = input.len() - 1;
                let refused = decompressed(codec, &bytes, limit);
                prop_assert_eq!(refused, Err(DecompressError::TooLarge { limit }), "{}", codec);
            }
        }
    }

    #[test]
    fn flipped_and_missing_bytes_do_no_harm(
        input in contents(),
        at: prop::sample::Index,
        bit in 0..8u8,
    ) {
        for codec in Codec::ALL {
            let mut bytes = compressed(codec, &input);
            if bytes.is_empty() {
                continue;
            }
            let at = at.index(bytes.len());
            let cut = decompressed(codec, &bytes[..at], 1 << 20);
            // Bare snappy, and nothing at all, may well be valid when cut.
            let detects = matches!(codec, Codec::Gzip | Codec::Lz4 | Codec::Zstd);
            prop_assert!(!detects || cut.is_err());
            bytes[at] ^= 1 << bit;
            if let Ok(out) = decompressed(codec, &bytes, 1 << 20) {
                prop_assert!(out.len() <= 1 << 20);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_bounded(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for codec in Codec::ALL {
            if let Ok(out) = decompressed(codec, &bytes, 1000) {
                prop_assert!(out.len() <= 1000);
            }
        }
    }
}

#[test]
fn every_level_works() {
    let levels = [
        (Codec::Gzip, vec![-1, 1, 6, 9]),
        (Codec::Lz4, vec![1, 9, 17]),
        (Codec::Zstd, vec![-131_072, -5, 1, 3, 19, 22]),
    ];
    for (codec, levels) in levels {
        for level in levels {
            let mut bytes = Vec::new();
            let compression = Compression::with_level(codec, level).unwrap();
            compress(compression, KNOWN.as_bytes(), &mut bytes).unwrap();
            assert_eq!(decompressed(codec, &bytes, 1000).unwrap(), KNOWN.as_bytes());
        }
    }
    for (codec, level) in [(Codec::Gzip, 0), (Codec::Gzip, 10), (Codec::Lz4, 0), (Codec::Zstd, 23)]
    {
        let refused = Compression::with_level(codec, level);
        assert_eq!(refused, Err(InvalidLevel { codec, level }));
    }
    assert!(Compression::with_level(Codec::Snappy, 1).is_err());
}

#[test]
fn levels_differ() {
    let input: Vec<u8> =
        (0..40_000u32).flat_map(|i| (i * i % 977).to_string().into_bytes()).collect();
    let len_at = |codec, level| {
        let mut out = Vec::new();
        compress(Compression::with_level(codec, level).unwrap(), &input, &mut out).unwrap();
        out.len()
    };
    assert!(len_at(Codec::Gzip, 9) < len_at(Codec::Gzip, 1));
    assert!(len_at(Codec::Zstd, 19) < len_at(Codec::Zstd, -50));
    assert_eq!(len_at(Codec::Gzip, 6), len_at(Codec::Gzip, -1));
}

#[test]
fn compressing_appends_and_decompressing_replaces() {
    for codec in Codec::ALL {
        let mut bytes = b"header".to_vec();
        compress(codec.into(), KNOWN.as_bytes(), &mut bytes).unwrap();
        assert_eq!(&bytes[..6], b"header");
        let mut out = vec![7; 10_000];
        decompress_bounded(codec, &bytes[6..], 1000, &mut out).unwrap();
        assert_eq!(out, KNOWN.as_bytes());
    }
}

#[test]
fn names_and_numbers_are_kafkas() {
    for (number, codec) in Codec::ALL.into_iter().enumerate() {
        assert_eq!(Codec::try_from(number as u8), Ok(codec));
        assert_eq!(codec.name().parse(), Ok(codec));
    }
    assert_eq!(Codec::try_from(5), Err(UnknownCodec(5)));
    assert_eq!("LZ4".parse::<Codec>(), Err(UnknownCodecName("LZ4".into())));
}

#[test]
fn snappy_is_framed_as_java_frames_it_and_read_bare() {
    let input = vec![b'x'; 70_000];
    let framed = compressed(Codec::Snappy, &input);
    assert_eq!(&framed[..16], b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01");
    let mut rest = &framed[16..];
    let mut blocks = Vec::new();
    while let Some(len) = take_4(&mut rest) {
        let block = take(&mut rest, u32::from_be_bytes(len) as usize).unwrap();
        blocks.push(snap::raw::decompress_len(block).unwrap());
    }
    assert_eq!(blocks, [32 << 10, 32 << 10, 70_000 - (64 << 10)]);

    let bare = snap::raw::Encoder::new().compress_vec(&input).unwrap();
    assert_eq!(decompressed(Codec::Snappy, &bare, 70_000).unwrap(), input);
    let joined = [&framed[..], &framed[..]].concat();
    assert_eq!(decompressed(Codec::Snappy, &joined, 140_000).unwrap().len(), 140_000);
}

#[test]
fn a_snappy_block_cannot_claim_more_than_it_holds() {
    // A length of 2³²−1, and no data.
    let liar = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
    let refused = decompressed(Codec::Snappy, &liar, usize::MAX);
    assert!(matches!(refused, Err(DecompressError::Corrupt { .. })), "{refused:?}");
}

#[test]
fn lz4_frames_are_what_any_reader_reads() {
    let input: Vec<u8> = (0..200_000u32).map(|i| (i / 3) as u8).collect();
    let frame = compressed(Codec::Lz4, &input);
    assert_eq!(&frame[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
    let mut out = Vec::new();
    let mut decoder = lz4_flex::frame::FrameDecoder::new(&frame[..]);
    std::io::Read::read_to_end(&mut decoder, &mut out).unwrap();
    assert_eq!(out, input);
}

#[test]
fn lz4_frames_of_other_writers_are_read() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let input = KNOWN.repeat(20_000);
    let write = |info: FrameInfo| {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        std::io::Write::write_all(&mut encoder, input.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
        let info = FrameInfo::new().block_size(size).block_checksums(true).content_checksum(true);
        let frame = write(info.content_size(Some(input.len() as u64)));
        assert_eq!(decompressed(Codec::Lz4, &frame, input.len()).unwrap(), input.as_bytes());
    }
    let linked = write(FrameInfo::new().block_mode(BlockMode::Linked));
    assert!(matches!(
        decompressed(Codec::Lz4, &linked, input.len()),
        Err(DecompressError::Corrupt { reason: "lz4 blocks depend on each other", .. })
    ));
}

#[test]
fn lz4_header_and_block_checksums_are_checked() {
    use lz4_flex::frame::{FrameEncoder, FrameInfo};
    let mut frame = compressed(Codec::Lz4, KNOWN.as_bytes());
    frame[6] ^= 1;
    assert!(decompressed(Codec::Lz4, &frame, 1000).is_err());

    let info = FrameInfo::new().block_checksums(true);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    std::io::Write::write_all(&mut encoder, &[1, 2, 3, 4, 5]).unwrap();
    let mut frame = encoder.finish().unwrap();
    frame[12] ^= 1;
    assert!(matches!(
        decompressed(Codec::Lz4, &frame, 1000),
        Err(DecompressError::Corrupt { reason: "a block's checksum does not match", .. })
    ));
}

#[test]
fn gzip_members_with_every_header_field_and_several_in_a_row_are_read() {
    use std::io::Write;
    let mut member = Vec::new();
    let mut encoder = flate2::GzBuilder::new()
        .filename("name")
        .comment("comment")
        .extra(vec![1, 2, 3])
        .write(&mut member, flate2::Compression::new(9));
    encoder.write_all(KNOWN.as_bytes()).unwrap();
    encoder.finish().unwrap();
    let two = [&member[..], &member[..]].concat();
    assert_eq!(decompressed(Codec::Gzip, &two, 1000).unwrap(), KNOWN.repeat(2).as_bytes());
    let trailing = [&member[..], b"rest"].concat();
    assert_eq!(decompressed(Codec::Gzip, &trailing, 1000).unwrap(), KNOWN.as_bytes());
}

#[test]
fn zstd_frames_without_a_content_size_and_skippable_ones_are_read() {
    let input = KNOWN.repeat(9000);
    let streamed = ::zstd::encode_all(input.as_bytes(), 19).unwrap();
    assert_eq!(decompressed(Codec::Zstd, &streamed, input.len()).unwrap(), input.as_bytes());
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    let several = [&skippable[..], &streamed, &streamed, &skippable].concat();
    let read = decompressed(Codec::Zstd, &several, 2 * input.len()).unwrap();
    assert_eq!(read.len(), 2 * input.len());
}

#[test]
fn a_gigabyte_of_zeros_is_refused_with_little_memory() {
    const LIMIT: usize = 1 << 20;
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bomb = bomb(codec);
        assert!(bomb.len() < 64 << 20, "{codec}: {}", bomb.len());
        let mut out = Vec::new();
        let refused = decompress_bounded(codec, &bomb, LIMIT, &mut out);
        assert_eq!(refused, Err(DecompressError::TooLarge { limit: LIMIT }), "{codec}");
        assert!(out.capacity() <= 2 * LIMIT, "{codec}: {}", out.capacity());
    }
}

/// A gigabyte of zeros, compressed, without ever holding it.
fn bomb(codec: Codec) -> Vec<u8> {
    const PIECE: usize = 4 << 20;
    const PIECES: usize = 256;
    let piece = vec![0; PIECE];
    let one = compressed(codec, &piece);
    match codec {
        Codec::None => piece.repeat(PIECES),
        // Members, streams and frames can be joined.
        Codec::Gzip | Codec::Snappy | Codec::Zstd => one.repeat(PIECES),
        Codec::Lz4 => {
            let blocks = &one[7..one.len() - 4];
            [&one[..7], &blocks.repeat(PIECES), &one[one.len() - 4..]].concat()
        }
    }
}
