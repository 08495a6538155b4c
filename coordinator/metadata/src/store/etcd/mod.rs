//! The store on etcd: every call has a deadline, a member that does not answer is left for the next one, and
//! only what is safe to repeat is repeated.

mod convert;
mod error;
mod members;
mod settings;
mod version;
mod watch;

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use etcd_client::{Client, LeaseGrantOptions};
use rand::Rng;
use tokio::time::Instant;

use self::error::{Failure, is_answer_too_long, is_lease_taken};
use self::members::{Member, Members};
pub use self::settings::SettingsError;
use self::version::Progress;
use self::watch::EtcdWatch;
use super::{
    BoxFuture, GuardedWrite, KeyRange, Lease, LeaseId, Limits, MetaStore, Outcome, Page,
    RangeRequest, RetryPolicy, Status, StoreError, Watch,
};

/// How to reach etcd.
#[derive(Clone)]
pub struct EtcdConfig {
    /// `etcd.endpoints`: members, as `host:port`, `http://…` or `https://…`.
    pub endpoints: Vec<String>,
    /// User and password, if etcd asks for them.
    pub user: Option<(String, String)>,
    /// Encryption; then every endpoint is reached by https.
    pub tls: Option<TlsConfig>,
    /// How long one member has for one answer. Default 1 s.
    pub call_timeout: Duration,
    /// How long a call that is safe to repeat is repeated, at least once per member. Default 3 s.
    pub retry_timeout: Duration,
    /// A connection with calls or watches on it is probed this often. Default 6 s; etcd closes connections
    /// that are probed more often than its `--grpc-keepalive-min-time`, 5 s by default.
    pub keep_alive_interval: Duration,
    /// A probe must be answered in this time, or the connection counts as dead. Default 2 s.
    pub keep_alive_timeout: Duration,
    /// A watch that is silent so long, although asked for progress, counts as broken. Default 3 s.
    pub watch_silence_max: Duration,
}

/// How connections to etcd are encrypted.
#[derive(Clone)]
pub struct TlsConfig {
    /// The certificates of the authorities that may have signed the members', PEM.
    pub ca_pem: Vec<u8>,
    /// Our own certificate and key, PEM, if etcd asks for them.
    pub identity_pem: Option<(Vec<u8>, Vec<u8>)>,
    /// The name in the members' certificates, if it is not the host of the endpoint.
    pub server_name: Option<String>,
}

impl EtcdConfig {
    /// The defaults for these members.
    pub fn new<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            user: None,
            tls: None,
            call_timeout: Duration::from_secs(1),
            retry_timeout: Duration::from_secs(3),
            keep_alive_interval: Duration::from_secs(6),
            keep_alive_timeout: Duration::from_secs(2),
            watch_silence_max: Duration::from_secs(3),
        }
    }
}

impl fmt::Debug for EtcdConfig {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdConfig")
            .field("endpoints", &self.endpoints)
            .field("user", &self.user.as_ref().map(|(user, _)| user))
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsConfig {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// A client of etcd. It connects at the first call, so etcd need not be there yet.
pub struct EtcdStore {
    members: Members,
    config: EtcdConfig,
    no_space: AtomicBool,
    in_trouble: AtomicBool,
}

impl EtcdStore {
    /// A client; fails only for a configuration that can never work.
    pub fn new(config: EtcdConfig) -> Result<Self, StoreError> {
        let members = Members::new(&config)?;
        let (no_space, in_trouble) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { members, config, no_space, in_trouble })
    }

    /// Sends a call to one member, once.
    async fn call_once<T, F, R>(&self, call: &F) -> Result<T, Failure>
    where
        F: Fn(Client) -> R,
        R: Future<Output = Result<T, Failure>>,
    {
        let member = match self.members.current().await {
            Ok(member) => member,
            Err((at, failure)) => return Err(self.note_failure(at, failure)),
        };
        self.call_member(member, call).await
    }

    async fn call_member<T, F, R>(&self, member: Member, call: &F) -> Result<T, Failure>
    where
        F: Fn(Client) -> R,
        R: Future<Output = Result<T, Failure>>,
    {
        match tokio::time::timeout(self.config.call_timeout, call(member.client)).await {
            Ok(Ok(answer)) => {
                self.note_success(member.at);
                Ok(answer)
            }
            Ok(Err(failure)) => Err(self.note_failure(member.at, failure)),
            Err(_) => {
                let timeout = self.config.call_timeout;
                self.members.note_silence(member.at);
                let failure = Failure::Ambiguous(format!("no answer within {timeout:?}"));
                Err(self.note_failure(member.at, failure))
            }
        }
    }

    /// Repeats a call that may be executed any number of times.
    async fn call<T, F, R>(&self, call: F) -> Result<T, StoreError>
    where
        F: Fn(Client) -> R,
        R: Future<Output = Result<T, Failure>>,
    {
        let pauses = RetryPolicy::default();
        let deadline = Instant::now() + self.config.retry_timeout;
        let mut attempt = 0;
        loop {
            let failure = match self.call_once(&call).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Definite(error)) => return Err(error),
                Err(failure) => failure,
            };
            attempt += 1;
            let tried_all = self.members.len() <= attempt as usize;
            if tried_all && deadline <= Instant::now() {
                return Err(failure.into_error());
            }
            if tried_all {
                tokio::time::sleep(pauses.pause_before(attempt)).await;
            }
        }
    }

    /// Sends a transaction, again only while it certainly did not reach a member.
    async fn send(&self, write: GuardedWrite) -> Result<Outcome, StoreError> {
        write.check()?;
        let transaction = convert::transaction(&write);
        let call = |client: Client| {
            let transaction = transaction.clone();
            async move {
                let mut kv = client.kv_client().max_decoding_message_size(ANSWER_BYTES_MAX);
                Ok(convert::outcome(&kv.txn(transaction).await?))
            }
        };
        let mut reason = String::new();
        for _ in 0..self.members.len() {
            match self.call_once(&call).await {
                Ok(outcome) => {
                    if matches!(outcome, Outcome::Committed { .. }) && !write.puts.is_empty() {
                        self.note_space(false);
                    }
                    return Ok(outcome);
                }
                Err(Failure::Unsent(why)) => reason = why,
                Err(Failure::Ambiguous(reason)) => return Ok(Outcome::Unknown { reason }),
                Err(Failure::Definite(error)) => return Err(error),
            }
        }
        Err(StoreError::Unavailable { reason })
    }

    async fn read(&self, request: RangeRequest) -> Result<Page, StoreError> {
        let mut limit = request.limit.clamp(1, Limits::PAGE_ITEMS_MAX);
        loop {
            let request = &request;
            let answer = self.call(move |client: Client| async move {
                let options = convert::range_options(request, limit);
                let mut kv = client.kv_client();
                match kv.get(request.keys.start.to_vec(), Some(options)).await {
                    Ok(response) => Ok(Some(convert::page(response))),
                    Err(error) => match Failure::from(error) {
                        failure if is_answer_too_long(&failure) => Ok(None),
                        failure => Err(failure),
                    },
                }
            });
            match answer.await? {
                Some(page) => return Ok(page),
                // One value fits into an answer, whatever its size.
                None if limit == 1 => {
                    return Err(StoreError::Invalid { reason: "a value is too long".into() });
                }
                None => limit = limit.div_ceil(4),
            }
        }
    }

    async fn open_watch(&self, keys: KeyRange, from: i64) -> Result<Box<dyn Watch>, StoreError> {
        let from = from.max(1);
        let keys = &keys;
        let silence_max = self.config.watch_silence_max;
        let watch = self.call(move |mut client: Client| async move {
            let progress = progress_of(&mut client).await?;
            let options = convert::watch_options(keys, (from - 1).max(1));
            let mut watch = client.watch_client().max_decoding_message_size(ANSWER_BYTES_MAX);
            let stream = watch.watch(keys.start.to_vec(), Some(options)).await?;
            let (requests, mut responses) = stream.split();
            let first = responses.message().await?;
            let first =
                first.ok_or_else(|| Failure::Unsent("the member closed the watch".into()))?;
            watch::created(&first).map_err(|error| match error {
                StoreError::Unavailable { reason } => Failure::Unsent(reason),
                error => Failure::Definite(error),
            })?;
            Ok(EtcdWatch {
                requests,
                responses,
                progress,
                from,
                delivered: from - 1,
                heard_at: Instant::now(),
                asked: false,
                silence_max,
                ended: false,
            })
        });
        Ok(Box::new(watch.await?))
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        let seconds = ttl.as_secs() + u64::from(0 < ttl.subsec_nanos());
        let seconds = i64::try_from(seconds.max(1)).unwrap_or(i64::MAX);
        // The id is chosen here, so that the call can be repeated: the second time it is taken.
        let id = rand::rng().random_range(1..i64::MAX);
        let granted = self.call(move |mut client: Client| async move {
            let options = LeaseGrantOptions::new().with_id(id);
            match client.lease_grant(seconds, Some(options)).await {
                Ok(response) => Ok(response.ttl()),
                Err(error) => match Failure::from(error) {
                    failure if is_lease_taken(&failure) => Ok(seconds),
                    failure => Err(failure),
                },
            }
        });
        Ok(Lease { id: LeaseId(id), ttl: in_seconds(granted.await?) })
    }

    async fn keep_alive(&self, id: LeaseId) -> Result<Duration, StoreError> {
        let renewed = self.call(move |mut client: Client| async move {
            // The client hides the first answer, so the time that is left comes with a second one.
            let (mut keeper, mut answers) = client.lease_keep_alive(id.0).await?;
            keeper.keep_alive().await?;
            let answer = answers.message().await?;
            answer.map(|answer| answer.ttl()).ok_or_else(|| Failure::Unsent("stream closed".into()))
        });
        match renewed.await {
            Ok(ttl) if 0 < ttl => Ok(in_seconds(ttl)),
            Ok(_) | Err(StoreError::LeaseNotFound(_)) => Err(StoreError::LeaseNotFound(id)),
            Err(error) => Err(error),
        }
    }

    async fn read_status(&self) -> Result<Status, StoreError> {
        let status = self.call(|mut client: Client| async move { Ok(client.status().await?) });
        let status = status.await?;
        let header = status.header();
        let bytes = |size: i64| u64::try_from(size).unwrap_or(0);
        let no_space = status.errors().iter().any(|error| error.contains("NOSPACE"));
        self.note_space(no_space);
        Ok(Status {
            store_id: header.map_or(0, etcd_client::ResponseHeader::cluster_id),
            revision: header.map_or(0, etcd_client::ResponseHeader::revision),
            version: status.version().to_owned(),
            size: bytes(status.db_size()),
            size_in_use: bytes(status.raft_used_db_size()),
            quota: Some(bytes(status.db_size_quota())).filter(|quota| 0 < *quota),
            no_space,
        })
    }

    fn note_success(&self, at: usize) {
        self.members.note_answer(at);
        if self.in_trouble.swap(false, Ordering::Relaxed) {
            tracing::info!(member = self.members.endpoint(at), "etcd answers again");
        }
    }

    /// Leaves a member that did not answer, and says so once per trouble.
    fn note_failure(&self, at: usize, failure: Failure) -> Failure {
        match &failure {
            Failure::Definite(StoreError::NoSpace) => self.note_space(true),
            Failure::Definite(_) => {}
            Failure::Unsent(reason) | Failure::Ambiguous(reason) => {
                self.members.leave(at);
                if !self.in_trouble.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        member = self.members.endpoint(at),
                        %reason,
                        members = self.members.len(),
                        "etcd member does not answer, trying the next one: check that etcd runs and is reachable"
                    );
                }
            }
        }
        failure
    }

    fn note_space(&self, no_space: bool) {
        let before = self.no_space.swap(no_space, Ordering::Relaxed);
        if no_space && !before {
            tracing::error!(
                "etcd is out of space and takes no writes: compact and defragment it or raise \
                 --quota-backend-bytes, then run `etcdctl alarm disarm`"
            );
        } else if before && !no_space {
            tracing::info!("etcd takes writes again");
        }
    }
}

impl MetaStore for EtcdStore {
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<Page, StoreError>> {
        Box::pin(self.read(request))
    }

    fn txn(&self, write: GuardedWrite) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        Box::pin(self.send(write))
    }

    fn watch(
        &self,
        keys: KeyRange,
        from_revision: i64,
    ) -> BoxFuture<'_, Result<Box<dyn Watch>, StoreError>> {
        Box::pin(self.open_watch(keys, from_revision))
    }

    fn lease_grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, StoreError>> {
        Box::pin(self.grant(ttl))
    }

    fn lease_keep_alive(&self, id: LeaseId) -> BoxFuture<'_, Result<Duration, StoreError>> {
        Box::pin(self.keep_alive(id))
    }

    fn lease_revoke(&self, id: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let revoked = self.call(move |mut client: Client| async move {
                client.lease_revoke(id.0).await?;
                Ok(())
            });
            match revoked.await {
                Ok(()) | Err(StoreError::LeaseNotFound(_)) => Ok(()),
                Err(error) => Err(error),
            }
        })
    }

    fn compact(&self, revision: i64) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let compacted = self.call(move |mut client: Client| async move {
                client.compact(revision, None).await?;
                Ok(())
            });
            match compacted.await {
                Ok(()) | Err(StoreError::Compacted { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        })
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, StoreError>> {
        Box::pin(self.read_status())
    }
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Newer etcds tell their version to the root user only. Then nothing is taken for granted.
async fn progress_of(client: &mut Client) -> Result<Progress, Failure> {
    match client.status().await.map_err(Failure::from) {
        Ok(status) => Ok(Progress::of(status.version())),
        Err(Failure::Definite(StoreError::Denied { .. })) => Ok(Progress::Unreliable),
        Err(failure) => Err(failure),
    }
}

fn in_seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// A watch that catches up gets up to 1000 revisions in one answer, a refused transaction up to 128 values.
const ANSWER_BYTES_MAX: usize = 512 * 1024 * 1024;

#[cfg(test)]
mod tests;
