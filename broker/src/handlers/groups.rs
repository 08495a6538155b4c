//! Requests about groups. This broker keeps nothing of a group: the coordinator does, and this broker speaks
//! for the shards whose partitions of `__consumer_offsets` it leads.
//!
//! - A group of another shard is NOT_COORDINATOR, and its client looks for the right broker. So is every group
//!   while the coordinator cannot be reached: all clients repeat themselves after that, and look for a
//!   coordinator anew.
//! - Requests of one connection take turns, as for Kafka: what is committed first is applied first, and a
//!   JoinGroup that waits for others holds up what comes after it on its connection, and nothing else.
//! - JoinGroup and SyncGroup wait for others, so they are bounded apart from all that is answered at once.
//! - A client that hangs up gives its request up, and the coordinator is told.

mod consumer_group_describe;
mod consumer_group_heartbeat;
mod delete_groups;
mod describe_groups;
mod heartbeat;
mod join_group;
mod leave_group;
mod list_groups;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod sync_group;

use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::features::{self, GROUP_VERSION};
use ottla_protocol::{ErrorCode, Request};

pub use consumer_group_describe::ConsumerGroupDescribe;
pub use consumer_group_heartbeat::ConsumerGroupHeartbeat;
pub use delete_groups::DeleteGroups;
pub use describe_groups::DescribeGroups;
pub use heartbeat::Heartbeat;
pub use join_group::JoinGroup;
pub use leave_group::LeaveGroup;
pub use list_groups::ListGroups;
pub use offset_commit::OffsetCommit;
pub use offset_delete::OffsetDelete;
pub use offset_fetch::OffsetFetch;
pub use sync_group::SyncGroup;

use super::relayed::passed_on;
use super::{Answer, Reply, RequestContext};
use crate::faces::Faces;
use crate::relay::{CallClass, CallTerms, RelayError};
use crate::services::Services;

/// What differs from one API to the next.
trait GroupRequest: Request + Send + Sync + 'static {
    /// What a client is told that has to look for a coordinator anew.
    const UNAVAILABLE: ErrorCode = ErrorCode::NotCoordinator;
    /// Whether it may wait for what others do.
    const CLASS: CallClass = CallClass::Prompt;

    /// The groups that it names; none means all of this broker.
    fn groups(&self) -> Vec<&str>;

    /// How long its client may wait.
    fn patience(&self) -> Duration {
        PATIENCE
    }

    /// Forgets all that [`GroupRequest::refuse`] does not need: what waits for long must not keep the memory
    /// of its frame.
    fn strip(&mut self) {}

    /// The answer if the coordinator gave none.
    fn refuse(&self, version: i16, error: ErrorCode) -> Self::Response;
}

/// As long as Java's clients wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// As long as the coordinator keeps any call; then the client is sent back and asks again.
const PATIENCE_MAX: Duration = Duration::from_mins(10);

/// Passes the request on when its turn has come, if this broker speaks for a group of it.
fn relay<R>(services: &Arc<Services>, context: &RequestContext, mut request: R) -> Answer
where
    R: GroupRequest,
    R::Response: Send,
{
    let groups = request.groups();
    let is_about_all = groups.is_empty();
    let image = services.image.load();
    let broker = services.identity.broker_id;
    let shards = match Faces::of(&image) {
        Some(faces) if is_about_all => faces.all_shards(broker),
        Some(faces) => faces.shards_of_groups(broker, groups.into_iter()),
        None => Vec::new(),
    };
    if shards.is_empty() {
        let error = if is_about_all { ErrorCode::None } else { ErrorCode::NotCoordinator };
        let response = request.refuse(context.api_version, error);
        return Answer::ready::<R>(context, &response);
    }
    let relay = services.relay.clone();
    let sealed = match relay.seal(context, &request) {
        Ok(sealed) => sealed,
        Err(error) => return Answer::Ready(refused(context, &request, &error)),
    };
    let deadline = request.patience().min(PATIENCE_MAX);
    let terms = CallTerms { class: R::CLASS, deadline, shards, awaits_image: false };
    request.strip();
    let mut turn = context.connection.turns.take();
    let context = context.clone();
    Answer::later(async move {
        turn.come().await;
        match relay.send(&context, sealed, terms).await {
            Ok(response) => passed_on(&context, &response),
            Err(error) => refused(&context, &request, &error),
        }
    })
}

fn refused<R: GroupRequest>(context: &RequestContext, request: &R, error: &RelayError) -> Reply {
    tracing::debug!(api = %R::KEY, %error, "request about a group is not carried out by the coordinator");
    let code = match error.code() {
        ErrorCode::NotController
        | ErrorCode::StaleBrokerEpoch
        | ErrorCode::RequestTimedOut
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::NotCoordinator => R::UNAVAILABLE,
        code => code,
    };
    let response = request.refuse(context.api_version, code);
    Reply::new::<R>(context, &response)
}

/// Whether the cluster has agreed on the consumer protocol of KIP-848.
fn has_consumer_protocol(services: &Services) -> bool {
    let image = services.image.load();
    features::finalized(&image)
        .is_some_and(|(levels, _)| levels.get(GROUP_VERSION).is_some_and(|level| 1 <= *level))
}

#[cfg(test)]
mod tests;
