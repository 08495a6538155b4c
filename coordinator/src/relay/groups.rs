//! The APIs of groups. A broker relays those of the groups whose shard it speaks for; what is about another
//! shard is answered NOT_COORDINATOR, so that the client looks for the right broker.

mod describe;
mod member;
mod offsets;

use std::time::Duration;

use futures_util::future::join_all;

use super::{Call, Unavailable};
use crate::admin::stages::{self, Operation};
use crate::group::{Client, Request, Response, refusal};
use ottla_protocol::ErrorCode;

pub(super) use describe::{ConsumerGroupDescribe, DeleteGroups, DescribeGroups, ListGroups};
pub(super) use member::OneGroup;
pub(super) use offsets::{OffsetCommit, OffsetDelete, OffsetFetch};

/// Asks a group on behalf of a client.
async fn ask(
    call: &Call<'_>,
    group: &str,
    operation: Operation,
    request: Request,
) -> Result<Response, Unavailable> {
    let leadership = call.admin.leadership();
    if !leadership.is_me {
        return Err(Unavailable::NotActive(leadership.active));
    }
    let refused = |code: ErrorCode| refusal(&request, call.version, code);
    if let Err(error) = stages::authorise(&call.caller, operation, &group) {
        return Ok(refused(error.code));
    }
    let groups = &call.services.groups;
    if !groups.shard_of(group).is_some_and(|shard| call.shards.contains(&shard)) {
        return Ok(refused(ErrorCode::NotCoordinator));
    }
    Ok(groups.ask(&client(call), group, request).await)
}

/// Asks a group, and gives up with an error of Kafka's after a time.
async fn ask_in_time(
    call: &Call<'_>,
    group: &str,
    operation: Operation,
    request: Request,
) -> Result<Response, Unavailable> {
    let code = match request {
        // What consumers of all ages try again after.
        Request::OffsetFetch(_) => ErrorCode::NotCoordinator,
        _ => ErrorCode::CoordinatorNotAvailable,
    };
    let late = request.clone();
    let answer = ask(call, group, operation, request);
    let answer = tokio::time::timeout(time_for(call), answer).await;
    answer.unwrap_or_else(|_| Ok(refusal(&late, call.version, code)))
}

/// Asks several groups at a time, and answers in their order.
async fn ask_each(
    call: &Call<'_>,
    operation: Operation,
    asked: Vec<(String, Request)>,
) -> Result<Vec<Response>, Unavailable> {
    let asks = asked
        .into_iter()
        .map(|(group, request)| async move { ask_in_time(call, &group, operation, request).await });
    join_all(asks).await.into_iter().collect()
}

/// What is left of the broker's deadline, less a moment for the answer, and no more than a commit may take.
fn time_for(call: &Call<'_>) -> Duration {
    let deadline = call.deadline.saturating_sub(ANSWER_TIME).max(call.deadline / 2);
    deadline.min(call.services.groups.commit_timeout())
}

fn client(call: &Call<'_>) -> Client {
    let address = call.caller.client_address.map(|address| address.ip().to_string());
    Client {
        id: call.caller.client_id.clone().unwrap_or_default(),
        host: format!("/{}", address.unwrap_or_default()),
        version: call.version,
    }
}

/// For the way back of an answer that says that it took too long.
const ANSWER_TIME: Duration = Duration::from_millis(500);
