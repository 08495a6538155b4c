//! What every generated message can do.

use std::fmt::Debug;

use bytes::Bytes;

use crate::ApiKey;
use crate::wire::{DecodeError, Decoder, EncodeError, Encoder};

/// A message of the protocol, in all its versions at once: fields that a version lacks have their
/// defaults.
pub trait Message: Sized + Default + Clone + Debug + PartialEq {
    /// Kafka's name, such as `FetchRequest`.
    const NAME: &'static str;
    /// Lowest version that can be decoded and encoded.
    const MIN_VERSION: i16;
    /// Highest version that can be decoded and encoded.
    const MAX_VERSION: i16;
    /// First version with compact lengths and tagged fields; `i16::MAX` if there is none.
    const FLEXIBLE_FROM: i16;

    /// Reads one message and leaves the decoder behind it.
    fn decode(decoder: &mut Decoder, version: i16) -> Result<Self, DecodeError>;

    /// Writes the message. Fails if a field that must not be lost is set and the version lacks it.
    fn encode(&self, encoder: &mut Encoder, version: i16) -> Result<(), EncodeError>;

    /// Reads one message that must take up all of `bytes`.
    fn decode_all(bytes: Bytes, version: i16) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let message = Self::decode(&mut decoder, version)?;
        decoder.finish()?;
        Ok(message)
    }

    /// Writes one message into a buffer of its own; records are copied, so it is for small ones.
    fn encode_all(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut encoder = Encoder::new();
        self.encode(&mut encoder, version)?;
        encoder.finish().into_contiguous()
    }
}

/// A message that is sent as a request, and what answers it.
pub trait Request: Message {
    /// The key in its header.
    const KEY: ApiKey;
    /// The message that answers it, in the same version.
    type Response: Message;
}
