//! Brokers and coordinators that prove to each other who they are: over real sockets, with a secret of the
//! cluster, with certificates made here, and with whatever does not fit.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod certificates;
mod retry;
mod secret;
mod support;
mod tls;
