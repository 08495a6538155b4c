//! Kafka's wire protocol: framing, headers, messages, record batches and compression; opens no socket.

mod api_key;
pub mod compression;
mod error_code;
pub mod frame;
mod header;
mod message;
pub mod messages;
pub mod record_batch;
mod string;
pub mod time;
pub mod types;
mod uuid;
pub mod wire;

pub use api_key::{ApiKey, UnknownApiKey};
pub use error_code::ErrorCode;
pub use header::{RequestHeader, ResponseHeader};
pub use message::{Message, Request};
pub use string::Str;
pub use uuid::{ParseUuidError, Uuid};
