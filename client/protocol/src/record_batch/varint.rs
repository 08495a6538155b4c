//! Zig-zag variable-length integers, as records use them.

/// Bytes that [`put`] writes for `value`.
pub(super) fn len(value: i64) -> usize {
    let zigzag = encode_zigzag(value);
    (64 - (zigzag | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends `value`.
pub(super) fn put(out: &mut Vec<u8>, value: i64) {
    let mut rest = encode_zigzag(value);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Takes a 32-bit integer off the front; `None` when cut short or longer than five bytes.
#[inline]
pub(super) fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    let zigzag = take(bytes, 5)? as u32;
    Some((zigzag >> 1) as i32 ^ -((zigzag & 1) as i32))
}

/// Takes a 64-bit integer off the front; `None` when cut short or longer than ten bytes.
#[inline]
pub(super) fn take_i64(bytes: &mut &[u8]) -> Option<i64> {
    let zigzag = take(bytes, 10)?;
    Some((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
}

#[inline]
fn take(bytes: &mut &[u8], max_len: usize) -> Option<u64> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(u64::from(first));
    }
    let mut value = u64::from(first & 0x7f);
    for (index, &byte) in rest.iter().take(max_len - 1).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * (index + 1));
        if byte < 0x80 {
            *bytes = &rest[index + 1..];
            return Some(value);
        }
    }
    None
}

fn encode_zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_number_comes_back(value: i64) {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            prop_assert_eq!(bytes.len(), len(value));
            let mut rest = &bytes[..];
            prop_assert_eq!(take_i64(&mut rest), Some(value));
            prop_assert!(rest.is_empty());
            if let Ok(small) = i32::try_from(value) {
                prop_assert_eq!(take_i32(&mut &bytes[..]), Some(small));
            }
            prop_assert_eq!(take_i64(&mut &bytes[..bytes.len() - 1]), None);
        }

        #[test]
        fn small_numbers_come_back(value: i32) {
            let mut bytes = Vec::new();
            put(&mut bytes, i64::from(value));
            prop_assert_eq!(bytes.len(), len(i64::from(value)));
            prop_assert_eq!(take_i32(&mut &bytes[..]), Some(value));
        }
    }

    #[test]
    fn more_bytes_than_the_type_can_need_are_refused() {
        assert_eq!(take_i32(&mut &[0x80, 0x80, 0x80, 0x80, 0x80, 0x01][..]), None);
        assert_eq!(take_i32(&mut &[0xff, 0xff, 0xff, 0xff, 0x0f][..]), Some(i32::MIN));
        assert_eq!(take_i64(&mut &[0x80; 11][..]), None);
    }
}
