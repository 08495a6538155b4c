//! The stage that encrypts. TLS is not built: a listener that asks for it is refused when the
//! configuration is read, so only plain sockets come here.

pub use ottla_metadata::config::listeners::SecurityProtocol;
