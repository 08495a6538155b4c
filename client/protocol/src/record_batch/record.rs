//! Records inside a batch, borrowed from its (decompressed) bytes.

use std::str::Utf8Error;

use crate::record_batch::header::BatchHeader;
use crate::record_batch::{BatchError, TimestampType, varint};
use crate::types::Offset;

/// A record. Keys and values may be absent, which is not the same as empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Position in the partition.
    pub offset: Offset,
    /// The offset less the batch's base offset.
    pub offset_delta: i32,
    /// Unix ms; −1 without one. With LogAppendTime the batch's max timestamp.
    pub timestamp: i64,
    /// What the record is about.
    pub key: Option<&'a [u8]>,
    /// What it says; absent in a tombstone.
    pub value: Option<&'a [u8]>,
    /// Application headers.
    pub headers: Headers<'a>,
}

/// A record's headers, in order, duplicates kept. Read anew at each iteration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    count: u32,
    bytes: &'a [u8],
}

/// One header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name, as stored.
    pub key: &'a [u8],
    /// Its value, possibly absent.
    pub value: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    /// The name as text. Brokers do not check that it is.
    pub fn name(&self) -> Result<&'a str, Utf8Error> {
        std::str::from_utf8(self.key)
    }
}

impl<'a> Headers<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each in turn.
    pub fn iter(&self) -> HeadersIter<'a> {
        HeadersIter { left: self.count, rest: self.bytes }
    }

    /// The headers as stored, without their count.
    pub(super) fn encoded(&self) -> &'a [u8] {
        self.bytes
    }

    /// Checks that `bytes` hold exactly `count` headers, so that iterating cannot fail.
    fn parse(bytes: &'a [u8], count: i32) -> Result<Self, &'static str> {
        let count = u32::try_from(count).map_err(|_| "negative number of headers")?;
        let mut rest = bytes;
        for _ in 0..count {
            take_header(&mut rest).ok_or("a header ends outside its record")?;
        }
        if rest.is_empty() { Ok(Self { count, bytes }) } else { Err("bytes after the last header") }
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = Header<'a>;
    type IntoIter = HeadersIter<'a>;
    fn into_iter(self) -> HeadersIter<'a> {
        self.iter()
    }
}

/// Iterator over [`Headers`].
#[derive(Clone, Debug)]
pub struct HeadersIter<'a> {
    left: u32,
    rest: &'a [u8],
}

impl<'a> Iterator for HeadersIter<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.left = self.left.checked_sub(1)?;
        take_header(&mut self.rest)
    }
}

/// Iterator over the records of a batch. Ends after the first error; after the last record it checks that no bytes
/// are left over.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    next_index: i32,
    count: i32,
    base_offset: Offset,
    base_timestamp: i64,
    /// Every record's timestamp, with LogAppendTime.
    append_time: Option<i64>,
    done: bool,
}

impl<'a> Records<'a> {
    /// The records in `payload`, the decompressed bytes behind `header`.
    pub fn new(header: &BatchHeader, payload: &'a [u8]) -> Self {
        let append_time = match header.attributes.timestamp_type() {
            TimestampType::LogAppendTime => Some(header.max_timestamp),
            TimestampType::CreateTime => None,
        };
        Self {
            rest: payload,
            next_index: 0,
            count: header.records_count,
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            append_time,
            done: false,
        }
    }

    /// How many bytes have not been read.
    pub fn bytes_left(&self) -> usize {
        self.rest.len()
    }

    fn finish(&mut self) -> Option<Result<Record<'a>, BatchError>> {
        self.done = true;
        let declared = self.count;
        if declared < 0 {
            return Some(Err(BatchError::RecordCount { declared, reason: "negative" }));
        }
        if !self.rest.is_empty() {
            let reason = "bytes are left after that many";
            return Some(Err(BatchError::RecordCount { declared, reason }));
        }
        None
    }

    fn take_record(&mut self) -> Result<Record<'a>, &'static str> {
        let length = varint::take_i32(&mut self.rest).ok_or("its length is cut short")?;
        let length = usize::try_from(length).map_err(|_| "negative length")?;
        let (mut body, rest) =
            self.rest.split_at_checked(length).ok_or("it ends outside its batch")?;
        self.rest = rest;
        // The record's own attributes are unused.
        let (_, after_attributes) = body.split_first().ok_or("it is empty")?;
        body = after_attributes;
        let timestamp_delta = varint::take_i64(&mut body).ok_or("its timestamp is cut short")?;
        let offset_delta = varint::take_i32(&mut body).ok_or("its offset is cut short")?;
        let key = take_nullable(&mut body).ok_or("its key ends outside it")?;
        let value = take_nullable(&mut body).ok_or("its value ends outside it")?;
        let headers = varint::take_i32(&mut body).ok_or("its header count is cut short")?;
        Ok(Record {
            offset: self.base_offset + i64::from(offset_delta),
            offset_delta,
            timestamp: self
                .append_time
                .unwrap_or_else(|| self.base_timestamp.wrapping_add(timestamp_delta)),
            key,
            value,
            headers: Headers::parse(body, headers)?,
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if self.count <= self.next_index {
            return self.finish();
        }
        let index = self.next_index;
        self.next_index += 1;
        if self.rest.is_empty() {
            self.done = true;
            let reason = "there are fewer";
            return Some(Err(BatchError::RecordCount { declared: self.count, reason }));
        }
        let record = self.take_record();
        self.done = record.is_err();
        Some(record.map_err(|reason| BatchError::InvalidRecord { index, reason }))
    }
}

fn take_header<'a>(rest: &mut &'a [u8]) -> Option<Header<'a>> {
    let key = take_nullable(rest)??;
    let value = take_nullable(rest)?;
    Some(Header { key, value })
}

/// Length-prefixed bytes, absent when the length is −1; `None` when they do not fit. Other negative lengths count as
/// absent, as in Kafka.
#[inline]
fn take_nullable<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = varint::take_i32(rest)?;
    let Ok(length) = usize::try_from(length) else {
        return Some(None);
    };
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(Some(bytes))
}
