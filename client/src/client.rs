//! A cluster, reached through whichever of its brokers is right.

mod asking;

pub(crate) use asking::SUCCESSOR_PAUSE;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ottla_protocol::messages::MetadataRequest;
use ottla_protocol::messages::metadata_request::MetadataRequestTopic;
use ottla_protocol::types::{BrokerId, PartitionId};
use ottla_protocol::{ErrorCode, Request, Str};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::config::ClientConfig;
use crate::error::ClientError;
use crate::metadata_cache::{Broker, LeaderHint, Metadata, Topic};
use crate::node::{Link, Node, PATIENCE};

/// A cluster. Cloning gives another handle on the same connections and metadata. Nothing is sent before it is needed,
/// and no task runs but those of the connections.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Arc<ClientConfig>,
    bootstrap: Vec<Arc<Node>>,
    state: Mutex<State>,
    /// Held by the one caller that fetches metadata; the others wait for what it gets.
    refresh_gate: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    metadata: Arc<Metadata>,
    fetched_at: Option<Instant>,
    nodes: HashMap<BrokerId, Arc<Node>>,
    /// Topics that somebody asked for, fetched again at every refresh.
    topics: BTreeSet<Str>,
}

/// Lowest version of Metadata that can ask for no topic at all.
const METADATA_VERSION_MIN: i16 = 1;

impl Client {
    /// A client of the cluster that `config` names.
    pub fn new(config: ClientConfig) -> Self {
        let config = Arc::new(config);
        let node = |address: &_| Arc::new(Node::new(Clone::clone(address), config.clone()));
        let bootstrap = config.bootstrap_servers.iter().map(node).collect();
        let shared =
            Shared { bootstrap, config, state: Mutex::default(), refresh_gate: Semaphore::new(1) };
        Self { shared: Arc::new(shared) }
    }

    /// What the client was made with.
    pub fn config(&self) -> &ClientConfig {
        &self.shared.config
    }

    /// What is known of the cluster now, without asking it.
    pub fn metadata(&self) -> Arc<Metadata> {
        self.state().metadata.clone()
    }

    /// Fetches metadata, of all topics asked for so far and of `topics`. Callers at the same time share one request.
    pub async fn refresh_metadata(&self, topics: &[Str]) -> Result<Arc<Metadata>, ClientError> {
        let asked_at = Instant::now();
        let anything_new = {
            let mut state = self.state();
            let before = state.topics.len();
            state.topics.extend(topics.iter().cloned());
            before < state.topics.len()
        };
        // The semaphore is never closed.
        let _permit = self.shared.refresh_gate.acquire().await;
        {
            let state = self.state();
            let known = |topic: &Str| state.metadata.topic(topic).is_some();
            let fetched_since = state.fetched_at.is_some_and(|at| asked_at < at);
            if fetched_since && (!anything_new || topics.iter().all(known)) {
                return Ok(state.metadata.clone());
            }
        }
        let topics: Vec<Str> = self.state().topics.iter().cloned().collect();
        self.fetch_metadata(Some(&topics)).await
    }

    /// Fetches metadata of every topic in the cluster.
    pub async fn all_topics(&self) -> Result<Arc<Metadata>, ClientError> {
        self.fetch_metadata(None).await
    }

    /// Metadata not older than its maximum age in which `topic` has partitions. Waits for a topic that is about to
    /// exist, but not longer than `timeout`.
    pub async fn topic(
        &self,
        topic: &Str,
        timeout: Duration,
    ) -> Result<Arc<Metadata>, ClientError> {
        if let Some(metadata) = self.fresh_metadata(topic) {
            return Ok(metadata);
        }
        self.retry("fetching metadata", timeout, || async move {
            let metadata = self.refresh_metadata(std::slice::from_ref(topic)).await?;
            match metadata.topic(topic) {
                Some(Topic { error: ErrorCode::None, partitions, .. })
                    if !partitions.is_empty() =>
                {
                    Ok(metadata)
                }
                Some(known) if known.error != ErrorCode::None => {
                    Err(ClientError::server(known.error, None))
                }
                _ => Err(ClientError::server(ErrorCode::UnknownTopicOrPartition, None)),
            }
        })
        .await
    }

    /// A connection to a broker, made if need be.
    pub async fn broker(&self, id: BrokerId) -> Result<Link, ClientError> {
        let node = self.state().nodes.get(&id).cloned();
        node.ok_or(ClientError::UnknownBroker(id))?.link().await
    }

    /// The connection to a broker, if there is one.
    pub(crate) fn ready(&self, id: BrokerId) -> Option<Link> {
        let node = self.state().nodes.get(&id).cloned();
        node?.ready()
    }

    /// A connection to any broker that has answered lately, or does so now.
    pub async fn any_broker(&self) -> Result<Link, ClientError> {
        let software = &self.config().software;
        self.ask_any(|link| async move { link.proven(software).await }).await
    }

    /// A connection to the controller, or where none is known or it is silent to any broker, which passes administrative
    /// requests on.
    pub async fn controller(&self) -> Result<Link, ClientError> {
        if self.state().fetched_at.is_none() {
            self.refresh_metadata(&[]).await?;
        }
        let controller = self.metadata().controller;
        let proven = async { self.broker(controller).await?.proven(&self.config().software).await };
        match tokio::time::timeout(PATIENCE, proven).await {
            Ok(Ok(link)) => Ok(link),
            Ok(Err(_)) | Err(_) => self.any_broker().await,
        }
    }

    /// A partition's leader, after a refresh if none is known.
    pub async fn leader(
        &self,
        topic: &Str,
        partition: PartitionId,
    ) -> Result<BrokerId, ClientError> {
        let mut leader = self.metadata().leader(topic, partition);
        if leader.is_none() {
            let metadata = self.topic(topic, self.config().api_timeout).await?;
            if metadata.partition(topic, partition).is_none() {
                return Err(ClientError::server(ErrorCode::UnknownTopicOrPartition, None));
            }
            leader = metadata.leader(topic, partition);
        }
        let (id, _) = leader.ok_or(ClientError::server(ErrorCode::LeaderNotAvailable, None))?;
        Ok(id)
    }

    /// Sends `request` to any broker, with retries.
    pub async fn call_any<R: Request>(&self, request: &R) -> Result<R::Response, ClientError> {
        let timeout = self.config().api_timeout;
        self.retry(
            "the call",
            timeout,
            || async move { self.any_broker().await?.call(request).await },
        )
        .await
    }

    /// Tries `attempt` until it succeeds, fails for good, or `timeout` has passed.
    pub async fn retry<T, F>(
        &self,
        what: &'static str,
        timeout: Duration,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let deadline = Instant::now() + timeout;
        let mut last = String::from("no answer");
        for failures in 1u32.. {
            let error = match tokio::time::timeout_at(deadline, attempt()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => error,
                Err(_) => break,
            };
            if !error.is_retriable() {
                return Err(error);
            }
            let delay = self.config().retry_backoff.delay(failures, rand::random());
            if deadline <= Instant::now() + delay {
                return Err(error);
            }
            last = error.to_string();
            tokio::time::sleep(delay).await;
        }
        Err(ClientError::TimedOut { what, after: timeout, last })
    }

    /// Asks no more for this topic. Without it a deleted topic would be asked for, and so perhaps created, again.
    pub fn forget_topic(&self, topic: &str) {
        self.state().topics.remove(topic);
    }

    fn fresh_metadata(&self, topic: &str) -> Option<Arc<Metadata>> {
        let state = self.state();
        let age = state.fetched_at?.elapsed();
        let known = state.metadata.topic(topic)?;
        let usable = known.error == ErrorCode::None && !known.partitions.is_empty();
        (usable && age < self.config().metadata_max_age).then(|| state.metadata.clone())
    }

    async fn fetch_metadata(&self, topics: Option<&[Str]>) -> Result<Arc<Metadata>, ClientError> {
        let request = MetadataRequest {
            topics: topics.map(|topics| topics.iter().map(wanted).collect()),
            // Asking for every topic creates none.
            allow_auto_topic_creation: self.config().allow_auto_create_topics && topics.is_some(),
            ..MetadataRequest::default()
        };
        let request = &request;
        let ask = |link: Link| async move {
            link.call_from(METADATA_VERSION_MIN, |_| request.clone()).await
        };
        let response = self.ask_any(ask).await?;
        let mut state = self.state();
        let metadata = state.metadata.updated(&response);
        state.fetched_at = Some(Instant::now());
        Ok(state.install(metadata, &self.shared.config))
    }

    /// Believes what brokers say of other leaders, where that is news.
    pub(crate) fn adopt(&self, hints: &[LeaderHint], brokers: &[Broker]) {
        let mut state = self.state();
        if let Some(metadata) = state.metadata.hinted(hints, brokers) {
            tracing::debug!(?hints, "leaders have moved");
            state.install(metadata, &self.shared.config);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, and every change is complete in itself.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn install(&mut self, metadata: Metadata, config: &Arc<ClientConfig>) -> Arc<Metadata> {
        for broker in metadata.brokers.values() {
            let current = self.nodes.get(&broker.id);
            if current.is_none_or(|node| node.address != broker.address) {
                let node = Node::new(broker.address.clone(), config.clone());
                self.nodes.insert(broker.id, Arc::new(node));
            }
        }
        self.nodes.retain(|id, _| metadata.brokers.contains_key(id));
        self.metadata = Arc::new(metadata);
        self.metadata.clone()
    }
}

fn wanted(topic: &Str) -> MetadataRequestTopic {
    MetadataRequestTopic { name: Some(topic.clone()), ..MetadataRequestTopic::default() }
}
