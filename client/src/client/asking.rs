//! Questions of which no single silent broker may hold up the answer.

use std::cmp::Reverse;
use std::collections::{HashSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use ottla_protocol::ErrorCode;
use ottla_protocol::types::BrokerId;
use rand::seq::SliceRandom;

use crate::client::Client;
use crate::connection::{Address, CallError};
use crate::error::ClientError;
use crate::metadata_cache::Metadata;
use crate::node::{Link, Node, PATIENCE};

/// Between questions for a silent leader's successor.
pub(crate) const SUCCESSOR_PAUSE: Duration = Duration::from_millis(200);

impl Client {
    /// Asks one broker after the other until one answers: the next at once when one fails, and after a while beside one
    /// that is silent. `ask` may so be done several times.
    pub(super) async fn ask_any<T, F>(&self, ask: impl Fn(Link) -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let timeout = self.config().request_timeout;
        match tokio::time::timeout(timeout, self.ask_in_turn(ask)).await {
            Ok(result) => result,
            Err(_) => Err(CallError::TimedOut(timeout).into()),
        }
    }

    async fn ask_in_turn<T, F>(&self, ask: impl Fn(Link) -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let mut waiting = self.candidates();
        let mut untried = waiting.len();
        let mut asked = FuturesUnordered::new();
        let mut is_due = true;
        loop {
            if is_due && let Some(node) = waiting.pop_front() {
                untried = untried.saturating_sub(1);
                let ask = &ask;
                asked.push(async move {
                    let result = match node.link().await {
                        Ok(link) => ask(link).await,
                        Err(error) => Err(ClientError::NoBroker(Box::new(error))),
                    };
                    (node, result)
                });
            }
            match tokio::time::timeout(PATIENCE, asked.next()).await {
                Err(_) => is_due = true,
                Ok(Some((_, Ok(answer)))) => return Ok(answer),
                Ok(Some((_, Err(error)))) if untried == 0 && asked.is_empty() => return Err(error),
                Ok(Some((node, Err(error)))) => {
                    tracing::debug!(address = %node.address, %error, "asking another broker");
                    waiting.push_back(node);
                    // Those that failed are tried again as long as the others are silent, but without hurry.
                    is_due = 0 < untried;
                }
                Ok(None) => {
                    let none = ClientError::UnknownBroker(BrokerId::NONE);
                    return Err(ClientError::NoBroker(Box::new(none)));
                }
            }
        }
    }

    /// Whom to ask, each address once: first who has answered last, then who is not connected, last who is silent.
    fn candidates(&self) -> VecDeque<Arc<Node>> {
        let known: Vec<_> = self.state().nodes.values().cloned().collect();
        let bootstrap = self.shared.bootstrap.iter().cloned().map(|node| (node, true));
        let mut nodes: Vec<_> =
            known.into_iter().map(|node| (node, false)).chain(bootstrap).collect();
        nodes.shuffle(&mut rand::rng());
        let silent: HashSet<Address> = nodes
            .iter()
            .filter(|(node, _)| node.ready().is_some_and(|link| link.is_silent()))
            .map(|(node, _)| node.address.clone())
            .collect();
        nodes.sort_by_cached_key(|(node, is_bootstrap)| {
            let answered_at = node.ready().and_then(|link| link.connection.answered_at());
            (silent.contains(&node.address), Reverse(answered_at), *is_bootstrap)
        });
        let mut seen = HashSet::new();
        nodes.retain(|(node, _)| seen.insert(node.address.clone()));
        nodes.into_iter().map(|(node, _)| node).collect()
    }

    /// Awaits a call to a leader. When it takes longer than `patience`, asks who leads, and gives the call up once
    /// `has_moved` says so of the answer.
    pub(crate) async fn unless_moved<T>(
        &self,
        patience: Duration,
        call: impl Future<Output = Result<T, ClientError>>,
        has_moved: impl Fn(&Metadata) -> bool,
    ) -> Result<T, ClientError> {
        let mut call = pin!(call);
        let mut pause = patience;
        loop {
            if let Ok(result) = tokio::time::timeout(pause, &mut call).await {
                return result;
            }
            pause = SUCCESSOR_PAUSE;
            let refreshed = tokio::select! {
                result = &mut call => return result,
                refreshed = self.refresh_metadata(&[]) => refreshed,
            };
            if refreshed.is_ok_and(|metadata| has_moved(&metadata)) {
                let message = "the leader was silent, and by now another one leads";
                return Err(ClientError::server(ErrorCode::NotLeaderOrFollower, Some(message)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::testing::{FakeCluster, Reaction};

    fn cluster() -> FakeCluster {
        FakeCluster::new(1, Box::new(|_, _, _| Reaction::Silence))
    }

    #[tokio::test(start_paused = true)]
    async fn metadata_comes_from_another_broker_when_one_is_silent() {
        for _ in 0..10 {
            let cluster = cluster();
            let client = Client::new(cluster.config_through(&[1, 2]));
            cluster.pause(1);
            let began = Instant::now();
            client.refresh_metadata(&[]).await.unwrap();
            assert!(began.elapsed() <= PATIENCE, "{:?}", began.elapsed());
            // Whoever has answered is asked again.
            let began = Instant::now();
            client.refresh_metadata(&[]).await.unwrap();
            assert_eq!(began.elapsed(), Duration::ZERO);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_falls_silent_is_not_asked_again_before_others() {
        let cluster = cluster();
        let client = Client::new(cluster.config());
        client.refresh_metadata(&[]).await.unwrap();
        cluster.pause(1);
        let began = Instant::now();
        client.refresh_metadata(&[]).await.unwrap();
        assert_eq!(began.elapsed(), PATIENCE);
        let began = Instant::now();
        client.refresh_metadata(&[]).await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
        // The controller is the silent one.
        client.controller().await.unwrap();
        assert!(began.elapsed() <= PATIENCE, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_away_is_tried_again_while_the_other_is_silent() {
        let cluster = cluster();
        cluster.refuse(2, 2);
        cluster.pause(1);
        let client = Client::new(cluster.config_through(&[1, 2]));
        let began = Instant::now();
        client.refresh_metadata(&[]).await.unwrap();
        assert!(began.elapsed() < 5 * PATIENCE, "{:?}", began.elapsed());
    }
}
