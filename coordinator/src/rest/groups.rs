//! `/v1/groups`: who is in them, what they have committed, and how far they are behind.

mod asking;
mod offsets;
mod reset;
mod views;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::ListGroupsRequest;
use serde::Deserialize;

use super::caller::RestCaller;
use super::extract::{Params, Segments};
use super::paging::PageQuery;
use super::problem::Problem;
use super::state::Rest;
use crate::admin::stages::{self, Operation};
use crate::group::{Filter, Request, Response as GroupResponse};

pub(super) use reset::__path_reset;
pub(super) use reset::reset;
use views::{GroupDetail, GroupList};

/// Which groups, and which page of them.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupQuery {
    /// Only those in this state, such as `Stable` or `Empty`.
    state: Option<String>,
    /// Only those of this type: `classic` or `consumer`.
    #[serde(rename = "type")]
    #[param(rename = "type")]
    kind: Option<String>,
    /// Most items to answer: 1 to 1000, 100 if not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next` of the page before; without it the first page.
    after: Option<String>,
}

/// Lists groups, by name.
#[utoipa::path(get, path = "/v1/groups", tag = "groups", params(GroupQuery),
    responses((status = 200, description = "A page of groups.", body = GroupList),
        (status = 503, description = "Nobody is active, or the groups are still being loaded.",
            body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(rest): State<Rest>,
    Params(query): Params<GroupQuery>,
) -> Result<Json<GroupList>, Problem> {
    let filter = Filter::from(&ListGroupsRequest {
        states_filter: query.state.iter().map(|it| it.as_str().into()).collect(),
        types_filter: query.kind.iter().map(|it| it.as_str().into()).collect(),
        ..ListGroupsRequest::default()
    });
    let groups = rest.groups();
    let listed = groups.list(&groups.shards(), &filter).await;
    let mut listed = listed.map_err(|code| asking::problem(code, "groups"))?;
    listed.sort_by(|left, right| left.group_id.as_str().cmp(right.group_id.as_str()));
    let page = PageQuery { limit: query.limit, after: query.after };
    let after = page.after.clone().unwrap_or_default();
    let behind = listed
        .into_iter()
        .filter(|group| page.after.is_none() || after.as_str() < &*group.group_id);
    let (items, next) = page.take(behind, |group| group.group_id.as_str().to_owned())?;
    let image = rest.image()?;
    let items = items.iter().map(|listed| views::listed(listed, groups, &image)).collect();
    Ok(Json(GroupList { items, next }))
}

/// Shows one group: its members with what they read, and how far each partition is behind.
#[utoipa::path(get, path = "/v1/groups/{group}", tag = "groups",
    params(("group" = String, Path, description = "The group's id.")),
    responses((status = 200, description = "The group.", body = GroupDetail),
        (status = 404, description = "There is no such group.", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Nobody is active, or the group is still being loaded.",
            body = Problem, content_type = "application/problem+json")))]
pub(super) async fn get(
    State(rest): State<Rest>,
    RestCaller(caller): RestCaller,
    Segments(group): Segments<String>,
) -> Result<Json<GroupDetail>, Problem> {
    let mut detail = asking::describe(&rest, &caller, &group).await?;
    let committed = asking::committed(&rest, &caller, &group).await?;
    offsets::fill_in(&rest, &mut detail, &committed).await?;
    Ok(Json(detail))
}

/// Deletes a group that has no members, with everything that it committed.
#[utoipa::path(delete, path = "/v1/groups/{group}", tag = "groups",
    params(("group" = String, Path, description = "The group's id.")),
    responses((status = 204, description = "It is gone."),
        (status = 404, description = "There is no such group.", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "It has members.", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Nobody is active; nothing was done.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn delete(
    State(rest): State<Rest>,
    RestCaller(caller): RestCaller,
    Segments(group): Segments<String>,
) -> Result<Response, Problem> {
    stages::authorise(&caller, Operation::DeleteGroup, &group)?;
    let code = match asking::ask(&rest, &caller, (&group, 2), Request::Delete).await {
        GroupResponse::Delete(code) => code,
        _ => ErrorCode::UnknownServerError,
    };
    let result = if code == ErrorCode::None { Ok(()) } else { Err(code.into()) };
    stages::audit(&caller, Operation::DeleteGroup, &group, &result);
    if result.is_err() {
        return Err(asking::problem(code, &group));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}
