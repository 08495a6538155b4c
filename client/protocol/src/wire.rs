//! The primitive types of Kafka's protocol: reading them from a frame, collecting them into one.

mod decoder;
mod encoder;
mod error;
mod pieces;
mod records;
mod tagged_fields;

pub use decoder::{Decoder, TagCursor};
pub use encoder::{Encoder, TagSection};
pub use error::{DecodeError, EncodeError};
pub use pieces::{Piece, Pieces};
pub use records::Records;
pub use tagged_fields::{TaggedField, TaggedFields};

#[cfg(test)]
mod tests;
