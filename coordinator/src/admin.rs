//! The one place where topics are created, deleted and grown and configs are changed: requests that
//! brokers relay and requests to the REST API end here alike.
//!
//! [`Admin`] only carries requests to the writer of the active coordinator and waits; what is allowed
//! and what is written is decided in `controller`.

mod command;
mod error;
mod request;
pub(crate) mod stages;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::leadership::Leadership;

pub(crate) use command::{Command, IsrAnswer, IsrWork, Work};
pub use error::{AdminError, Unavailable};
pub use request::{
    BrokerDrain, Caller, ConfigAlteration, ConfigChange, ConfigOp, ConfigReplacement,
    ConfigResource, CreatedTopic, DeletedTopic, EffectiveConfig, ElectionKind, FeatureLevel,
    FeatureUpdates, LeaderElection, LevelChange, NewPartitions, NewTopic, Options, Reassignment,
    TopicRef,
};

/// The answer to a request: one result for each item, in the order of the items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// One result for each item of the request.
    pub results: Vec<Result<T, AdminError>>,
    /// Revision of the store at which everything that succeeded is visible. Whoever waits until an
    /// image has reached it reads what was written.
    pub revision: i64,
}

/// Asks the active coordinator's writer for changes; cheap to clone.
///
/// Every method answers one result per item, in order, once what succeeded is durable. On a node
/// that is not active every method answers [`Unavailable::NotActive`], which names the node to ask.
#[derive(Debug, Clone)]
pub struct Admin {
    commands: mpsc::Sender<Command>,
    leadership: watch::Receiver<Leadership>,
}

impl Admin {
    pub(crate) fn new(
        commands: mpsc::Sender<Command>,
        leadership: watch::Receiver<Leadership>,
    ) -> Self {
        Self { commands, leadership }
    }

    /// Creates topics. Each is created as a whole or not at all, and they are created independently
    /// of each other.
    pub async fn create_topics(
        &self,
        caller: &Caller,
        topics: Vec<NewTopic>,
        options: Options,
    ) -> Result<Answer<CreatedTopic>, Unavailable> {
        self.ask(caller, topics, options, Command::CreateTopics).await
    }

    /// Deletes topics. Once answered they no longer exist for anybody; their data is removed later.
    pub async fn delete_topics(
        &self,
        caller: &Caller,
        topics: Vec<TopicRef>,
        options: Options,
    ) -> Result<Answer<DeletedTopic>, Unavailable> {
        self.ask(caller, topics, options, Command::DeleteTopics).await
    }

    /// Adds partitions to topics.
    pub async fn create_partitions(
        &self,
        caller: &Caller,
        topics: Vec<NewPartitions>,
        options: Options,
    ) -> Result<Answer<()>, Unavailable> {
        self.ask(caller, topics, options, Command::CreatePartitions).await
    }

    /// Changes single configs of resources and leaves the others as they are.
    pub async fn alter_configs(
        &self,
        caller: &Caller,
        alterations: Vec<ConfigAlteration>,
        options: Options,
    ) -> Result<Answer<()>, Unavailable> {
        self.ask(caller, alterations, options, Command::AlterConfigs).await
    }

    /// Replaces the whole config sets of resources: what is not named is forgotten.
    pub async fn replace_configs(
        &self,
        caller: &Caller,
        replacements: Vec<ConfigReplacement>,
        options: Options,
    ) -> Result<Answer<()>, Unavailable> {
        self.ask(caller, replacements, options, Command::ReplaceConfigs).await
    }

    /// Elects leaders as asked for. One that leads already is answered with `ELECTION_NOT_NEEDED`.
    pub async fn elect_leaders(
        &self,
        caller: &Caller,
        elections: Vec<LeaderElection>,
        options: Options,
    ) -> Result<Answer<()>, Unavailable> {
        self.ask(caller, elections, options, Command::ElectLeaders).await
    }

    /// Starts, redirects or cancels reassignments. Answered when they are under way, not when they are done.
    pub async fn reassign_partitions(
        &self,
        caller: &Caller,
        reassignments: Vec<Reassignment>,
        options: Options,
    ) -> Result<Answer<()>, Unavailable> {
        self.ask(caller, reassignments, options, Command::ReassignPartitions).await
    }

    /// Forgets brokers that are gone for good. They stay replicas of what they had, and one that is alive is
    /// registered anew.
    pub async fn unregister_brokers(
        &self,
        caller: &Caller,
        brokers: Vec<i32>,
        options: Options,
    ) -> Result<Answer<()>, Unavailable> {
        self.ask(caller, brokers, options, Command::UnregisterBrokers).await
    }

    /// Drains brokers, or puts them back to work. Answered when it is decided; leaders move right after.
    pub async fn drain_brokers(
        &self,
        caller: &Caller,
        brokers: Vec<BrokerDrain>,
        options: Options,
    ) -> Result<Answer<()>, Unavailable> {
        self.ask(caller, brokers, options, Command::DrainBrokers).await
    }

    /// Finalises levels of features, all of them or none: one result.
    pub async fn update_features(
        &self,
        caller: &Caller,
        updates: FeatureUpdates,
        options: Options,
    ) -> Result<Answer<()>, Unavailable> {
        self.ask(caller, vec![updates], options, Command::UpdateFeatures).await
    }

    /// Who is active, and whether it is this node.
    pub fn leadership(&self) -> Leadership {
        self.leadership.borrow().clone()
    }

    async fn ask<I, O>(
        &self,
        caller: &Caller,
        items: Vec<I>,
        options: Options,
        command: fn(Work<I, O>) -> Command,
    ) -> Result<Answer<O>, Unavailable> {
        self.check_active()?;
        let (reply, answer) = oneshot::channel();
        let work =
            Work { caller: caller.clone(), items, validate_only: options.validate_only, reply };
        self.commands.try_send(command(work)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Unavailable::Busy,
            mpsc::error::TrySendError::Closed(_) => Unavailable::Stopping,
        })?;
        // A timeout of zero asks for the work without waiting for it; Kafka does the work all the same.
        let timeout = options.timeout.max(WAIT_MIN);
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(self.dropped()),
            Err(_) => Err(Unavailable::TimedOut),
        }
    }

    /// Why a request was dropped while it waited or was under way.
    fn dropped(&self) -> Unavailable {
        let leadership = self.leadership.borrow();
        if leadership.is_me {
            Unavailable::Stopping
        } else {
            Unavailable::Deposed(leadership.active.clone())
        }
    }

    fn check_active(&self) -> Result<(), Unavailable> {
        let leadership = self.leadership.borrow();
        if leadership.is_me {
            return Ok(());
        }
        Err(Unavailable::NotActive(leadership.active.clone()))
    }
}

/// Shortest time that a caller waits; work whose caller is gone is not begun.
const WAIT_MIN: Duration = Duration::from_millis(100);
