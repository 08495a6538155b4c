//! TLS of links between nodes: each side shows a certificate that an authority of the cluster signed, and
//! the connecting side also checks that the other's names the host it wanted.
//!
//! Who has a certificate of the authority is a node: the authority must sign for this cluster only.

mod connector;
mod explain;
mod identity;

pub use connector::{Protected, TlsConnector};
pub use identity::{NodeTls, PemFiles, TlsError};
