//! One lane's machine with its connection.

use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::types::BrokerId;
use tokio_util::task::AbortOnDropHandle;

use super::answer::Answer;
use super::figures::LaneFigures;
use super::follower::{Effect, Follower, Moment};
use super::link::{Link, LinkError, Transport};

/// A lane of a fetcher.
#[derive(Debug)]
pub(super) struct Lane {
    pub machine: Follower,
    pub figures: LaneFigures,
    leader: BrokerId,
    link: Option<Arc<Link>>,
    /// The fetch in flight: reading and checking its answer is work for another task.
    call: Option<AbortOnDropHandle<Exchange>>,
    /// Failures in a row, of which the first is logged.
    failures: u32,
}

type Exchange = (Option<Arc<Link>>, Result<Answer, LinkError>);

impl Lane {
    pub fn new(leader: BrokerId, machine: Follower, figures: LaneFigures) -> Self {
        Self { machine, figures, leader, link: None, call: None, failures: 0 }
    }

    /// Sends the next fetch, if one is due.
    pub fn poll(&mut self, transport: &Transport, now: Duration, effects: &mut Vec<Effect>) {
        let Some(request) = self.machine.poll_request(now, effects) else { return };
        self.figures.requests.inc();
        let transport = transport.clone();
        let (leader, link) = (self.leader, self.link.take());
        let exchange = async move {
            let link = match link.filter(|link| !link.is_closed()) {
                Some(link) => link,
                None => match transport.connect(leader).await {
                    Ok(link) => Arc::new(link),
                    Err(error) => return (None, Err(error)),
                },
            };
            match transport.fetch(&link, request).await {
                Ok(answer) => (Some(link), Ok(answer)),
                Err(error) => (None, Err(error)),
            }
        };
        self.call = Some(AbortOnDropHandle::new(tokio::spawn(exchange)));
    }

    /// Waits for the answer to the fetch in flight; for ever if there is none. Cancel-safe.
    pub async fn answer(&mut self) -> Option<Result<Answer, LinkError>> {
        let Some(call) = &mut self.call else { return std::future::pending().await };
        let ended = call.await;
        self.call = None;
        match ended {
            Ok((link, result)) => {
                self.link = link;
                Some(result)
            }
            // Reading the answer panicked: as if there was none.
            Err(_) => None,
        }
    }

    /// Takes what [`Lane::answer`] returned.
    pub fn handle(
        &mut self,
        answered: Option<Result<Answer, LinkError>>,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let moment = Moment { now, random: rand::random() };
        match answered {
            Some(Ok(answer)) => {
                if 0 < std::mem::take(&mut self.failures) {
                    tracing::info!(leader = %self.leader, "leader answers again");
                }
                self.figures.bytes.inc_by(answer.bytes);
                self.machine.handle_answer(answer, moment, effects);
            }
            Some(Err(error)) => {
                self.failures = self.failures.saturating_add(1);
                self.figures.failures.inc();
                if self.failures == 1 {
                    tracing::warn!(leader = %self.leader, %error, "leader does not answer");
                }
                self.machine.handle_failure(moment);
            }
            None => self.machine.handle_failure(moment),
        }
    }

    /// The connection, if there is one.
    pub fn link(&self) -> Option<Arc<Link>> {
        self.link.clone()
    }

    /// Brings the figures up to date.
    pub fn count(&self) {
        self.figures.show(&self.machine);
    }
}
