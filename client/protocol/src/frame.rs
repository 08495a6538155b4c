//! Frames: four bytes of length, a header, a body.

use crate::header::{RequestHeader, ResponseHeader};
use crate::wire::{EncodeError, Encoder, Pieces};
use crate::{ApiKey, Message, Request, Str};

/// Room for the small fields of most messages, bytes.
const CAPACITY: usize = 256;

/// The length of a frame, without the four bytes that hold it; checked against a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameLength(u32);

/// The four bytes are no acceptable length; the connection must be closed, as nothing after them
/// can be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Below zero.
    #[error("frame of negative length {0}")]
    Negative(i32),
    /// Above the limit.
    #[error("frame of {length} bytes, the limit is {limit}")]
    TooLong { length: u32, limit: u32 },
}

impl FrameLength {
    /// Reads a length, which may be at most `limit` bytes.
    pub fn parse(prefix: [u8; 4], limit: u32) -> Result<Self, FrameError> {
        let length = i32::from_be_bytes(prefix);
        let length = u32::try_from(length).map_err(|_| FrameError::Negative(length))?;
        if limit < length {
            return Err(FrameError::TooLong { length, limit });
        }
        Ok(Self(length))
    }

    /// Bytes that follow the prefix.
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

/// A whole frame with a request in it.
pub fn encode_request<R: Request>(
    correlation_id: i32,
    client_id: Option<&Str>,
    version: i16,
    request: &R,
) -> Result<Pieces, EncodeError> {
    let header = RequestHeader {
        api_key: R::KEY.code(),
        api_version: version,
        correlation_id,
        client_id: client_id.cloned(),
        ..RequestHeader::default()
    };
    let mut encoder = Encoder::with_capacity(CAPACITY);
    encoder.put_i32(0);
    header.encode(&mut encoder)?;
    request.encode(&mut encoder, version)?;
    encoder.finish_frame()
}

/// A whole frame with the answer to version `version` of `key` in it.
pub fn encode_response<M: Message>(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &M,
) -> Result<Pieces, EncodeError> {
    let header = ResponseHeader { correlation_id, ..ResponseHeader::default() };
    let mut encoder = Encoder::with_capacity(CAPACITY);
    encoder.put_i32(0);
    header.encode(&mut encoder, key, version)?;
    response.encode(&mut encoder, version)?;
    encoder.finish_frame()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_checked_against_its_limit() {
        assert_eq!(FrameLength::parse([0, 0, 1, 0], 256).map(FrameLength::get), Ok(256));
        assert_eq!(
            FrameLength::parse([0, 0, 1, 1], 256),
            Err(FrameError::TooLong { length: 257, limit: 256 })
        );
        assert_eq!(FrameLength::parse([0xff; 4], u32::MAX), Err(FrameError::Negative(-1)));
    }
}
