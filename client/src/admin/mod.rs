//! Administrative calls.

mod brokers;
mod cluster;
mod configs;
mod groups;
mod log_dirs;
mod partitions;
mod reassignments;
mod records;
mod topics;

pub use crate::consumer::group::CommittedOffset;
pub use brokers::BrokerListing;
pub use cluster::ClusterDescription;
pub use configs::{
    AlterConfig, ConfigChange, ConfigEntry, ConfigResource, ConfigResourceType, ConfigSource,
    ConfigSynonym, ConfigType,
};
pub use groups::{GroupDescription, GroupListing, GroupMember};
pub use log_dirs::{LogDir, ReplicaInfo};
pub use partitions::{PartitionDescription, TopicPartitions};
pub use reassignments::{Elected, ElectionType, Reassign, Reassignment, was_not_needed};
pub use topics::{CreatedTopic, NewPartitions, NewTopic, TopicListing};

use std::time::Duration;

use ottla_protocol::{ErrorCode, Request};

use crate::client::Client;
use crate::error::ClientError;

/// Administers a cluster. Calls that concern several things answer for each of them, in the order in which they were
/// named. Whatever may be repeated is repeated until `default.api.timeout.ms`.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
}

impl Admin {
    /// Administers the cluster that `client` reaches.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The client underneath.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Sends `request` to the controller, again after a move of the controller. `codes` lists the errors in an answer.
    async fn call_controller<R: Request>(
        &self,
        request: &R,
        codes: impl Fn(&R::Response) -> Vec<i16>,
    ) -> Result<R::Response, ClientError> {
        let timeout = self.client.config().api_timeout;
        let codes = &codes;
        self.client
            .retry("the call to the controller", timeout, || async move {
                let link = self.client.controller().await?;
                let response = link.call(request).await?;
                let not_controller = ErrorCode::NotController.code();
                if codes(&response).contains(&not_controller) {
                    self.client.refresh_metadata(&[]).await?;
                    return Err(ClientError::server(ErrorCode::NotController, None));
                }
                Ok(response)
            })
            .await
    }

    /// The time that the broker is given, in ms.
    fn timeout_ms(&self) -> i32 {
        millis(self.client.config().request_timeout)
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// The answer that should have been there.
fn unanswered() -> ClientError {
    ClientError::server(ErrorCode::UnknownServerError, Some("the broker's answer leaves this out"))
}
