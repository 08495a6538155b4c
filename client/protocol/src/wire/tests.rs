use bytes::Bytes;

use super::*;
use crate::Str;

fn decoder(bytes: &'static [u8]) -> Decoder {
    Decoder::new(Bytes::from_static(bytes))
}

fn contiguous(encoder: Encoder) -> Bytes {
    encoder.finish().into_contiguous().unwrap()
}

#[test]
fn unsigned_varints_round_trip_at_their_boundaries() {
    for value in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, i32::MAX as u32, u32::MAX] {
        let mut encoder = Encoder::new();
        encoder.put_uvarint(value);
        let mut decoder = Decoder::new(contiguous(encoder));
        assert_eq!(decoder.uvarint(), Ok(value));
        assert_eq!(decoder.finish(), Ok(()));
    }
}

#[test]
fn varint_beyond_32_bits_is_refused() {
    assert_eq!(decoder(b"\xff\xff\xff\xff\x1f").uvarint(), Err(DecodeError::VarintOverflow));
    assert_eq!(decoder(b"\xff\xff\xff\xff\x8f\x01").uvarint(), Err(DecodeError::VarintOverflow));
    assert_eq!(
        decoder(b"\xff\xff").uvarint(),
        Err(DecodeError::Truncated { needed: 1, remaining: 0 })
    );
}

#[test]
fn strings_and_bytes_round_trip_in_both_forms() {
    for flexible in [false, true] {
        let mut encoder = Encoder::new();
        encoder.put_string(Some("topic"), flexible).unwrap();
        encoder.put_string(None, flexible).unwrap();
        encoder.put_bytes(Some(b"xyz"), flexible).unwrap();
        encoder.put_bytes(None, flexible).unwrap();
        let mut decoder = Decoder::new(contiguous(encoder));
        assert_eq!(decoder.string(flexible), Ok(Str::from("topic")));
        assert_eq!(decoder.nullable_string(flexible), Ok(None));
        assert_eq!(decoder.bytes(flexible), Ok(Bytes::from_static(b"xyz")));
        assert_eq!(decoder.nullable_bytes(flexible), Ok(None));
        assert_eq!(decoder.finish(), Ok(()));
    }
}

#[test]
fn null_is_refused_where_a_value_is_required() {
    assert_eq!(decoder(b"\xff\xff").string(false), Err(DecodeError::NullNotAllowed));
    assert_eq!(decoder(b"\x00").string(true), Err(DecodeError::NullNotAllowed));
    assert_eq!(decoder(b"\xff\xff\xff\xff").array_length(false), Err(DecodeError::NullNotAllowed));
}

#[test]
fn lengths_below_minus_one_are_refused() {
    assert_eq!(decoder(b"\xff\xfe").nullable_string(false), Err(DecodeError::NegativeLength(-2)));
    let lowest = decoder(b"\x80\x00\x00\x00").nullable_bytes(false);
    assert_eq!(lowest, Err(DecodeError::NegativeLength(i32::MIN)));
    let compact = decoder(b"\xff\xff\xff\xff\x0f").nullable_bytes(true);
    assert_eq!(compact, Err(DecodeError::NegativeLength(-2)));
}

#[test]
fn text_must_be_utf8_and_short() {
    assert_eq!(decoder(b"\x00\x01\xff").string(false), Err(DecodeError::InvalidUtf8));
    let mut encoder = Encoder::new();
    let long = "x".repeat(32_768);
    assert_eq!(encoder.put_string(Some(&long), true), Err(EncodeError::TooLong(32_768)));
    encoder.put_bytes(Some(long.as_bytes()), true).unwrap();
    let read = Decoder::new(contiguous(encoder)).string(true);
    assert_eq!(read, Err(DecodeError::StringTooLong(32_768)));
}

#[test]
fn array_longer_than_the_frame_is_refused_before_memory_is_reserved() {
    let mut decoder = decoder(b"\x7f\xff\xff\xff1234");
    let count = decoder.array_length(false).unwrap();
    let refused = DecodeError::ArrayTooLong { count: i32::MAX as usize, remaining: 4 };
    assert_eq!(decoder.vec::<u64>(count, 1), Err(refused));
    assert_eq!(decoder.vec::<u64>(1, 5).map_err(|_| ()), Err(()));
}

#[test]
fn arrays_are_charged_to_the_budget() {
    let mut decoder = Decoder::with_budget(Bytes::from_static(&[0; 64]), 100);
    assert_eq!(decoder.vec::<u64>(12, 1).unwrap().capacity(), 12);
    assert_eq!(decoder.vec::<u64>(1, 1), Err(DecodeError::OverBudget));
}

#[test]
fn tags_must_ascend() {
    for tags in [&b"\x02\x03\x00\x03\x00"[..], b"\x02\x03\x00\x02\x00"] {
        let refused = Decoder::new(Bytes::copy_from_slice(tags)).tagged_fields();
        assert!(matches!(refused, Err(DecodeError::TagOrder { .. })), "{refused:?}");
    }
    let mut unsorted = TaggedFields::new();
    unsorted.push(5, Bytes::new());
    unsorted.push(5, Bytes::new());
    let refused = Encoder::new().put_tagged_fields(&unsorted);
    assert_eq!(refused, Err(EncodeError::TagOrder { tag: 5 }));
}

#[test]
fn unknown_tags_keep_their_place_among_known_ones() {
    let mut unknown = TaggedFields::new();
    unknown.push(1, Bytes::from_static(b"one"));
    unknown.push(9, Bytes::from(vec![7; 200]));
    let mut encoder = Encoder::new();
    let mut section = encoder.begin_tags();
    for tag in [0, 4] {
        encoder.begin_tag(&mut section, &unknown, tag).unwrap();
        encoder.put_i16(0x0102);
        encoder.end_tag(&mut section).unwrap();
    }
    encoder.end_tags(section, &unknown).unwrap();
    let fields = Decoder::new(contiguous(encoder)).tagged_fields().unwrap();
    let tags: Vec<_> = fields.as_slice().iter().map(|f| (f.tag, f.data.len())).collect();
    assert_eq!(tags, [(0, 2), (1, 3), (4, 2), (9, 200)]);
}

#[test]
fn unknown_tag_that_is_also_known_is_refused() {
    let mut unknown = TaggedFields::new();
    unknown.push(4, Bytes::new());
    let mut encoder = Encoder::new();
    let mut section = encoder.begin_tags();
    let refused = encoder.begin_tag(&mut section, &unknown, 4);
    assert_eq!(refused, Err(EncodeError::TagOrder { tag: 4 }));
}

#[test]
fn sizes_of_long_tagged_fields_count_their_records() {
    let records = Records::Memory(Bytes::from(vec![1; 300]));
    let mut encoder = Encoder::new();
    let mut section = encoder.begin_tags();
    encoder.begin_tag(&mut section, &TaggedFields::new(), 0).unwrap();
    encoder.put_records(Some(&records), true).unwrap();
    encoder.put_i8(9);
    encoder.end_tag(&mut section).unwrap();
    encoder.end_tags(section, &TaggedFields::new()).unwrap();
    let mut decoder = Decoder::new(contiguous(encoder));
    let mut cursor = decoder.begin_tags().unwrap();
    assert_eq!(decoder.next_tag(&mut cursor), Ok(Some(0)));
    assert_eq!(decoder.records(true), Ok(records));
    assert_eq!(decoder.i8(), Ok(9));
    assert_eq!(decoder.end_tag(&cursor), Ok(()));
    assert_eq!(decoder.next_tag(&mut cursor), Ok(None));
    assert_eq!(decoder.finish(), Ok(()));
}

#[test]
fn tagged_field_read_short_of_its_size_is_refused() {
    let mut decoder = decoder(b"\x01\x00\x02\x01\x02");
    let mut cursor = decoder.begin_tags().unwrap();
    assert_eq!(decoder.next_tag(&mut cursor), Ok(Some(0)));
    decoder.i8().unwrap();
    assert_eq!(decoder.end_tag(&cursor), Err(DecodeError::TagSize { tag: 0 }));
}

#[test]
fn records_are_pieces_by_reference_and_external_ones_are_promises() {
    let memory = Bytes::from(vec![1; 1000]);
    let mut encoder = Encoder::new();
    encoder.put_i32(7);
    encoder.put_records(Some(&Records::Memory(memory.clone())), false).unwrap();
    encoder.put_records(Some(&Records::External { id: 3, len: 500 }), false).unwrap();
    encoder.put_records(Some(&Records::default()), false).unwrap();
    encoder.put_records(None, false).unwrap();
    let pieces = encoder.finish();
    assert_eq!(pieces.len(), 4 + 4 + 1000 + 4 + 500 + 4 + 4);
    let all: Vec<_> = pieces.iter().collect();
    let [_, Piece::Memory(second), _, Piece::External { id: 3, len: 500 }, Piece::Memory(last)] =
        all.as_slice()
    else {
        panic!("unexpected pieces: {all:?}");
    };
    assert_eq!(second.as_ptr(), memory.as_ptr());
    assert_eq!(&last[..], b"\x00\x00\x00\x00\xff\xff\xff\xff");
    assert_eq!(pieces.into_contiguous(), Err(EncodeError::External { id: 3 }));
}

#[test]
fn bytes_left_after_a_message_are_reported() {
    let mut decoder = decoder(b"\x00\x01\x02");
    decoder.i16().unwrap();
    assert_eq!(decoder.finish(), Err(DecodeError::TrailingBytes(1)));
}
