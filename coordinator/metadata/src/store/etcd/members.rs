//! The members of an etcd cluster, one client each.
//!
//! The client's own balancer goes on giving calls to a dead member, and a paused one swallows each call for
//! its whole deadline. So there is one client per member, all calls go to one of them while it answers, and
//! the next one is taken when it does not.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};

use super::error::Failure;
use super::{EtcdConfig, TlsConfig};
use crate::store::StoreError;

/// A member that calls can be sent to.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) client: Client,
    pub(super) at: usize,
}

pub(super) struct Members {
    endpoints: Vec<String>,
    options: ConnectOptions,
    call_timeout: Duration,
    /// Made at first use; a client reconnects by itself.
    clients: Vec<Mutex<Option<Client>>>,
    /// Calls that ended without an answer since one was answered.
    silences: Vec<AtomicU32>,
    /// The member that is used now.
    current: AtomicUsize,
}

impl Members {
    pub(super) fn new(config: &EtcdConfig) -> Result<Self, StoreError> {
        if config.endpoints.is_empty() {
            return Err(StoreError::Invalid { reason: "no endpoint of etcd is configured".into() });
        }
        Ok(Self {
            endpoints: config.endpoints.clone(),
            options: options(config)?,
            call_timeout: config.call_timeout,
            clients: config.endpoints.iter().map(|_| Mutex::new(None)).collect(),
            silences: config.endpoints.iter().map(|_| AtomicU32::new(0)).collect(),
            current: AtomicUsize::new(0),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.endpoints.len()
    }

    pub(super) fn endpoint(&self, at: usize) -> &str {
        self.endpoints.get(at).map_or("", String::as_str)
    }

    /// The member in use.
    pub(super) async fn current(&self) -> Result<Member, (usize, Failure)> {
        let at = self.current.load(Ordering::Relaxed) % self.endpoints.len();
        let slot = &self.clients[at];
        let made = slot.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(client) = made {
            return Ok(Member { client, at });
        }
        let options = Some(self.options.clone());
        let connect = Client::connect([self.endpoints[at].as_str()], options);
        let client = match tokio::time::timeout(self.call_timeout, connect).await {
            Ok(Ok(client)) => client,
            // Whatever happened to the log-in, the call itself was not sent.
            Ok(Err(error)) => {
                let failure = match Failure::from(error) {
                    Failure::Ambiguous(reason) => Failure::Unsent(reason),
                    other => other,
                };
                return Err((at, failure));
            }
            Err(_) => return Err((at, Failure::Unsent("no answer to the log-in".into()))),
        };
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
        Ok(Member { client, at })
    }

    /// An answer came.
    pub(super) fn note_answer(&self, at: usize) {
        self.silences[at].store(0, Ordering::Relaxed);
    }

    /// A call had no answer within its deadline. The second in a row gives the connection up: it may lead
    /// nowhere, which takes the probes of the connection much longer to find out. Not the first, because a
    /// member that is merely slow gets slower by log-ins.
    pub(super) fn note_silence(&self, at: usize) {
        if 1 <= self.silences[at].fetch_add(1, Ordering::Relaxed) {
            self.silences[at].store(0, Ordering::Relaxed);
            *self.clients[at].lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Goes on to the next member, unless somebody else already left the one at `failed`.
    pub(super) fn leave(&self, failed: usize) {
        let next = (failed + 1) % self.endpoints.len();
        let _ = self.current.compare_exchange(failed, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

fn options(config: &EtcdConfig) -> Result<ConnectOptions, StoreError> {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(config.call_timeout)
        .with_keep_alive(config.keep_alive_interval, config.keep_alive_timeout)
        // Etcd counts a probe of a connection without calls as an offence.
        .with_keep_alive_while_idle(false)
        // A member that lost its cluster says so instead of answering late.
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    if let Some((user, password)) = &config.user {
        options = options.with_user(user, password);
    }
    let encrypted = |endpoint: &String| endpoint.starts_with("https://");
    match &config.tls {
        Some(tls) => {
            if config.endpoints.iter().any(|endpoint| endpoint.starts_with("http://")) {
                return Err(StoreError::Invalid {
                    reason: "TLS is configured, so every endpoint of etcd must start with https://"
                        .into(),
                });
            }
            options = options.with_tls(tls_options(tls));
        }
        None if config.endpoints.iter().any(encrypted) => {
            return Err(StoreError::Invalid {
                reason:
                    "an endpoint of etcd starts with https:// but no CA certificate is configured"
                        .into(),
            });
        }
        None => {}
    }
    Ok(options)
}

fn tls_options(tls: &TlsConfig) -> TlsOptions {
    let mut options = TlsOptions::new().ca_certificate(Certificate::from_pem(&tls.ca_pem));
    if let Some((certificate, key)) = &tls.identity_pem {
        options = options.identity(Identity::from_pem(certificate, key));
    }
    if let Some(name) = &tls.server_name {
        options = options.domain_name(name);
    }
    options
}
