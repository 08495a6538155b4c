//! The messages of Kafka's protocol, generated from the descriptors in `messages/`.
//!
//! One module per message, named after it; its parts have Kafka's names. Fields that a version
//! lacks have their defaults after decoding. Encoding drops fields that a version lacks if the
//! protocol calls them ignorable, and fails for others that are set.

use bytes::Bytes;

use crate::wire::{DecodeError, EncodeError};
use crate::{ApiKey, Message};

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// Sent by a client.
    Request,
    /// Sent by a server.
    Response,
    /// Contents of a record, or of a field of another message.
    Data,
}

/// A message as data, for tools that treat all of them alike.
#[derive(Debug, Clone, Copy)]
pub struct MessageInfo {
    /// Kafka's name.
    pub name: &'static str,
    /// What it is for.
    pub kind: MessageKind,
    /// Its API, if it is a request or a response.
    pub key: Option<i16>,
    /// Lowest version.
    pub version_min: i16,
    /// Highest version.
    pub version_max: i16,
    /// First version with tagged fields; `i16::MAX` if there is none.
    pub flexible_from: i16,
    /// Decodes bytes, all of which must belong to the message, and encodes them again.
    pub recode: fn(Bytes, i16) -> Result<Bytes, RecodeError>,
}

/// Bytes could not be decoded and encoded again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecodeError {
    /// They are not such a message.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The message cannot be encoded, which after decoding it in the same version would be a defect.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl MessageInfo {
    const fn of<M: Message>(kind: MessageKind, key: Option<i16>) -> Self {
        Self {
            name: M::NAME,
            kind,
            key,
            version_min: M::MIN_VERSION,
            version_max: M::MAX_VERSION,
            flexible_from: M::FLEXIBLE_FROM,
            recode: recode::<M>,
        }
    }

    /// Its API, if it is a request or a response.
    pub fn api_key(&self) -> Option<ApiKey> {
        self.key.and_then(|key| ApiKey::try_from(key).ok())
    }
}

fn recode<M: Message>(bytes: Bytes, version: i16) -> Result<Bytes, RecodeError> {
    Ok(M::decode_all(bytes, version)?.encode_all(version)?)
}

fn check_decode<M: Message>(version: i16) -> Result<(), DecodeError> {
    if version < M::MIN_VERSION || M::MAX_VERSION < version {
        return Err(DecodeError::UnsupportedVersion { message: M::NAME, version });
    }
    Ok(())
}

fn check_encode<M: Message>(version: i16) -> Result<(), EncodeError> {
    if version < M::MIN_VERSION || M::MAX_VERSION < version {
        return Err(EncodeError::UnsupportedVersion { message: M::NAME, version });
    }
    Ok(())
}

/// For fields that may be null in some versions only.
fn allow_null<T>(value: Option<T>, is_allowed: bool) -> Result<Option<T>, DecodeError> {
    if value.is_none() && !is_allowed {
        return Err(DecodeError::NullNotAllowed);
    }
    Ok(value)
}

/// Names that the generated modules use.
mod prelude {
    pub(super) use bytes::Bytes;

    pub(super) use crate::wire::{
        DecodeError, Decoder, EncodeError, Encoder, Records, TaggedFields,
    };
    pub(super) use crate::{ApiKey, Message, Request, Str, Uuid};
}

mod generated {
    #![allow(
        unused_imports,
        unused_variables,
        unused_mut,
        clippy::all,
        clippy::too_many_lines,
        reason = "generated: one shape for all structs is easier to trust than the fewest tokens"
    )]
    use super::{MessageInfo, MessageKind, allow_null, check_decode, check_encode, prelude};

    include!(concat!(env!("OUT_DIR"), "/messages.rs"));
}

pub use generated::*;
