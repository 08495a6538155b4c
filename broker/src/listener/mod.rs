//! Connections of Kafka clients: accepting, framing, and the stages around every handler.
//!
//! One task serves one connection. Its reader half takes frames off the socket and runs the stages
//! up to the ordered part; its writer half drives the parallel parts and sends the answers in the
//! order of the requests. Everything that a client can make the broker hold is bounded: frames by
//! [`FrameMemory`], requests in flight and answers not yet read by [`Limits`], pieces of files by
//! [`BufferPool`].

mod accept;
mod acl;
mod buffers;
mod cold_reads;
mod connection;
mod frame;
mod limits;
mod memory;
mod per_address;
mod quota;
mod router;
mod sasl;
mod tls;
mod writer;

#[cfg(test)]
mod tests;

pub use accept::{AcceptError, BACKLOG, Endpoint, Listener, Network};
pub use buffers::{BufferPool, PooledBuffer};
pub use cold_reads::ColdReads;
pub use frame::{FrameReadError, FrameReader};
pub use limits::Limits;
pub use memory::{FrameMemory, FramePermit};
pub use per_address::AddressLimits;
pub use router::{Refusal, Route, Router, Served};
pub use tls::SecurityProtocol;
