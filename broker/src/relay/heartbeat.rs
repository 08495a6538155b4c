//! Tells the active coordinator once a second that the broker lives.

use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::image::ImageReader;
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::{ErrorCode, Uuid};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Relay;
use crate::identity::Identity;

/// What the broker says of itself with each heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerState {
    /// It wants to stop, and hands over what it leads.
    pub wants_shutdown: bool,
    /// Log directories that failed.
    pub offline_log_dirs: Vec<Uuid>,
}

/// What the coordinator thinks of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Heartbeats that were answered, so that a waiter can tell a new answer from an old one.
    pub answers: u64,
    /// True as long as it may not lead.
    pub is_fenced: bool,
    /// It has handed over everything and may stop.
    pub may_shut_down: bool,
}

/// The task that sends heartbeats.
#[derive(Debug)]
pub struct Heartbeat {
    relay: Relay,
    identity: Arc<Identity>,
    image: ImageReader,
    state: watch::Receiver<BrokerState>,
    interval: Duration,
    standing: watch::Sender<Standing>,
    /// Heartbeats in a row that were not answered.
    unanswered: u32,
}

impl Default for Standing {
    /// Before the first answer: not known, so not let in.
    fn default() -> Self {
        Self { answers: 0, is_fenced: true, may_shut_down: false }
    }
}

/// Unanswered heartbeats after which the link is given up: then this broker neither names itself to clients nor keeps
/// them waiting, and they find another.
const UNANSWERED_MAX: u32 = 3;
/// Time from one heartbeat to the next while the broker waits for the coordinator to decide something.
const WAITING_INTERVAL: Duration = Duration::from_millis(100);

impl Heartbeat {
    /// Reports `state` every `interval` (`broker.heartbeat.interval.ms`), and at once when it changes.
    pub fn new(
        relay: Relay,
        identity: Arc<Identity>,
        image: ImageReader,
        (state, interval): (watch::Receiver<BrokerState>, Duration),
    ) -> (Self, watch::Receiver<Standing>) {
        let (standing, standings) = watch::channel(Standing::default());
        (Self { relay, identity, image, state, interval, standing, unanswered: 0 }, standings)
    }

    /// Sends heartbeats until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.beat() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.pause()) => {}
                changed = self.state.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Who waits to be let in, to be let go, or for any answer, asks more often.
    fn pause(&self) -> Duration {
        let standing = *self.standing.borrow();
        let is_waiting =
            standing.is_fenced || self.state.borrow().wants_shutdown || 0 < self.unanswered;
        if is_waiting { self.interval.min(WAITING_INTERVAL) } else { self.interval }
    }

    async fn beat(&mut self) {
        let Ok(link) = self.relay.link(self.interval).await else { return };
        let state = self.state.borrow_and_update().clone();
        let request = BrokerHeartbeatRequest {
            broker_id: self.identity.broker_id.0,
            broker_epoch: self.identity.broker_epoch(),
            current_metadata_offset: self.image.load().revision(),
            want_shut_down: state.wants_shutdown,
            offline_log_dirs: state.offline_log_dirs,
            ..BrokerHeartbeatRequest::default()
        };
        let answer = match link.heartbeat(request, self.interval).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(%error, "heartbeat without an answer");
                self.unanswered += 1;
                if self.unanswered.is_multiple_of(UNANSWERED_MAX) {
                    tracing::warn!("the coordinator answers no heartbeats, connecting anew");
                    self.relay.give_up_link();
                }
                return;
            }
        };
        self.unanswered = 0;
        let code = ErrorCode::from_code(answer.error_code);
        if code != ErrorCode::None {
            tracing::warn!(
                error = code.name(),
                "the coordinator does not accept this broker's heartbeat"
            );
            return;
        }
        self.standing.send_modify(|standing| {
            standing.answers += 1;
            standing.is_fenced = answer.is_fenced;
            standing.may_shut_down = answer.should_shut_down;
        });
    }
}
