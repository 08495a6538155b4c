//! Reads the protocol's primitive types from a frame, copying nothing.

use bytes::Bytes;

use super::{DecodeError, Records, TaggedFields};
use crate::{Str, Uuid};

/// Longest text that the protocol allows, bytes.
const STRING_MAX: usize = i16::MAX as usize;

/// Memory that any frame may take for its arrays, bytes; see [`Decoder::new`].
const BUDGET_BASE: usize = 64 * 1024;

/// Memory for arrays per byte of frame. The dearest honest element is a two-byte name in an array,
/// which takes 32 bytes as a `Str`.
const BUDGET_PER_BYTE: usize = 16;

/// A position in a frame. Text, bytes and records that it returns are slices of the frame.
///
/// Nothing a peer sends can make it allocate more than its budget: lengths are compared with what
/// is left of the frame first, and arrays are charged before memory for them is reserved.
#[derive(Debug, Clone)]
pub struct Decoder {
    frame: Bytes,
    position: usize,
    budget: usize,
}

/// Progress through the tagged fields of one struct; see [`Decoder::begin_tags`].
#[derive(Debug)]
pub struct TagCursor {
    left: u32,
    floor: u32,
    tag: u32,
    end: usize,
}

impl Decoder {
    /// Starts at the first byte, with a budget for arrays of 64 KiB and 16 times the frame.
    pub fn new(frame: Bytes) -> Self {
        let budget = frame.len().saturating_mul(BUDGET_PER_BYTE).saturating_add(BUDGET_BASE);
        Self::with_budget(frame, budget)
    }

    /// Starts at the first byte; arrays may take `budget` bytes of memory altogether, beyond which
    /// decoding fails with [`DecodeError::OverBudget`].
    pub fn with_budget(frame: Bytes, budget: usize) -> Self {
        Self { frame, position: 0, budget }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.frame.len() - self.position
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Takes everything that is left, by reference.
    pub fn rest(&mut self) -> Bytes {
        let rest = self.frame.slice(self.position..);
        self.position = self.frame.len();
        rest
    }

    /// Ends decoding; fails if bytes are left.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(DecodeError::TrailingBytes(left)),
        }
    }

    /// One byte, any value but zero meaning true, as in Kafka.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    /// A signed byte.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.fixed()?))
    }

    /// Two bytes, signed.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.fixed()?))
    }

    /// Two bytes, unsigned.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.fixed()?))
    }

    /// Four bytes, signed.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.fixed()?))
    }

    /// Four bytes, unsigned.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.fixed()?))
    }

    /// Eight bytes, signed.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.fixed()?))
    }

    /// Eight bytes, IEEE 754.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_be_bytes(self.fixed()?))
    }

    /// 16 bytes.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid::from_bytes(self.fixed()?))
    }

    /// An unsigned variable-length integer of at most 32 bits.
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.fixed::<1>()?;
            if shift == 28 && byte > 0x0f {
                return Err(DecodeError::VarintOverflow);
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        Ok(value)
    }

    /// Text that must be there. `flexible` selects the compact form.
    pub fn string(&mut self, flexible: bool) -> Result<Str, DecodeError> {
        self.nullable_string(flexible)?.ok_or(DecodeError::NullNotAllowed)
    }

    /// Text or null. `flexible` selects the compact form.
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<Str>, DecodeError> {
        let length = if flexible { self.compact_length()? } else { nullable(self.i16()?.into())? };
        let Some(length) = length else { return Ok(None) };
        if STRING_MAX < length {
            return Err(DecodeError::StringTooLong(length));
        }
        let text = self.take(length)?;
        Ok(Some(Str::from_utf8(text).map_err(|_| DecodeError::InvalidUtf8)?))
    }

    /// Bytes that must be there. `flexible` selects the compact form.
    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes, DecodeError> {
        self.nullable_bytes(flexible)?.ok_or(DecodeError::NullNotAllowed)
    }

    /// Bytes or null. `flexible` selects the compact form.
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        match self.length(flexible)? {
            Some(length) => Ok(Some(self.take(length)?)),
            None => Ok(None),
        }
    }

    /// Records that must be there. `flexible` selects the compact form.
    pub fn records(&mut self, flexible: bool) -> Result<Records, DecodeError> {
        Ok(Records::Memory(self.bytes(flexible)?))
    }

    /// Records or null. `flexible` selects the compact form.
    pub fn nullable_records(&mut self, flexible: bool) -> Result<Option<Records>, DecodeError> {
        Ok(self.nullable_bytes(flexible)?.map(Records::Memory))
    }

    /// The number of elements of an array that must be there; then read exactly that many.
    pub fn array_length(&mut self, flexible: bool) -> Result<usize, DecodeError> {
        self.length(flexible)?.ok_or(DecodeError::NullNotAllowed)
    }

    /// The number of elements of an array, or `None` for null.
    pub fn nullable_array_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        self.length(flexible)
    }

    /// An empty vector with room for `count` elements, of which each takes at least
    /// `wire_size_min` bytes of the frame. Fails if the frame cannot hold them or the budget is spent.
    pub fn vec<T>(&mut self, count: usize, wire_size_min: usize) -> Result<Vec<T>, DecodeError> {
        let remaining = self.remaining();
        if remaining / wire_size_min.max(1) < count {
            return Err(DecodeError::ArrayTooLong { count, remaining });
        }
        self.charge(count.saturating_mul(size_of::<T>()))?;
        Ok(Vec::with_capacity(count))
    }

    /// True if a nullable struct follows, false if it is null.
    pub fn is_present(&mut self) -> Result<bool, DecodeError> {
        Ok(0 <= self.i8()?)
    }

    /// Reads the number of tagged fields; then call [`Self::next_tag`] until it returns `None`, and
    /// [`Self::end_tag`] after reading each field.
    pub fn begin_tags(&mut self) -> Result<TagCursor, DecodeError> {
        Ok(TagCursor { left: self.uvarint()?, floor: 0, tag: 0, end: 0 })
    }

    /// The next tag, whose contents follow.
    pub fn next_tag(&mut self, cursor: &mut TagCursor) -> Result<Option<u32>, DecodeError> {
        if cursor.left == 0 {
            return Ok(None);
        }
        cursor.left -= 1;
        let tag = self.uvarint()?;
        if tag < cursor.floor {
            return Err(DecodeError::TagOrder { tag });
        }
        // No tag is above the highest, so after that one every further tag is out of order.
        match tag.checked_add(1) {
            Some(floor) => cursor.floor = floor,
            None if cursor.left == 0 => {}
            None => return Err(DecodeError::TagOrder { tag }),
        }
        let size = self.uvarint()? as usize;
        if self.remaining() < size {
            return Err(DecodeError::Truncated { needed: size, remaining: self.remaining() });
        }
        cursor.tag = tag;
        cursor.end = self.position + size;
        Ok(Some(tag))
    }

    /// Keeps the field at the cursor as an unknown one.
    pub fn unknown_tag(
        &mut self,
        cursor: &TagCursor,
        unknown: &mut TaggedFields,
    ) -> Result<(), DecodeError> {
        // Twice, because the vector grows by doubling.
        self.charge(2 * size_of::<super::TaggedField>())?;
        unknown.push(cursor.tag, self.take(cursor.end - self.position)?);
        Ok(())
    }

    /// Checks that the field at the cursor was read to its end.
    pub fn end_tag(&mut self, cursor: &TagCursor) -> Result<(), DecodeError> {
        if self.position == cursor.end {
            return Ok(());
        }
        Err(DecodeError::TagSize { tag: cursor.tag })
    }

    /// The tagged fields of a struct that defines none.
    pub fn tagged_fields(&mut self) -> Result<TaggedFields, DecodeError> {
        let mut cursor = self.begin_tags()?;
        let mut unknown = TaggedFields::new();
        while self.next_tag(&mut cursor)?.is_some() {
            self.unknown_tag(&cursor, &mut unknown)?;
        }
        Ok(unknown)
    }

    fn charge(&mut self, memory: usize) -> Result<(), DecodeError> {
        self.budget = self.budget.checked_sub(memory).ok_or(DecodeError::OverBudget)?;
        Ok(())
    }

    fn length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible { self.compact_length() } else { nullable(self.i32()?) }
    }

    /// Compact lengths are one more than the length, zero being null. Like Kafka, lengths are 31 bits.
    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        match self.uvarint()?.checked_sub(1) {
            None => Ok(None),
            Some(length) => match i32::try_from(length) {
                Ok(_) => Ok(Some(length as usize)),
                Err(_) => Err(DecodeError::NegativeLength(length as i32)),
            },
        }
    }

    fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        let remaining = self.remaining();
        if remaining < length {
            return Err(DecodeError::Truncated { needed: length, remaining });
        }
        let start = self.position;
        self.position += length;
        Ok(self.frame.slice(start..self.position))
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.frame[self.position..].first_chunk::<N>() {
            Some(bytes) => {
                self.position += N;
                Ok(*bytes)
            }
            None => Err(DecodeError::Truncated { needed: N, remaining: self.remaining() }),
        }
    }
}

fn nullable(length: i32) -> Result<Option<usize>, DecodeError> {
    match length {
        -1 => Ok(None),
        _ => usize::try_from(length).map(Some).map_err(|_| DecodeError::NegativeLength(length)),
    }
}
