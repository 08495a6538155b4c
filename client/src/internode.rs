//! What both ends of a link between nodes share: the secret of the cluster, and how each proves to the other
//! that it knows it.
//!
//! The connecting node greets with a nonce; the other answers with one of its own; the first greets again
//! with a proof over both and over all that it says of itself; the other checks it, and proves itself over
//! the same and over its whole answer. The secret never travels, and a proof is of no use on any other
//! connection. The proofs say who is there when the connection begins and no more: what follows is neither
//! encrypted nor protected, unless the connection itself is ([`crate::tls`]).

mod proof;
mod secret;

pub use proof::{NONCE_LEN, Nonce, Proofs};
pub use secret::{ClusterSecret, SecretError};
