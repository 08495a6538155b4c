//! `/v1/topics`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use ottla_metadata::image::Image;
use ottla_metadata::model::Topic;
use serde::{Deserialize, Serialize};

use super::caller::RestCaller;
use super::extract::{Body, Params, Segments};
use super::limits::WRITE_TIMEOUT;
use super::paging::PageQuery;
use super::problem::Problem;
use super::state::Rest;
use crate::admin::{NewPartitions, NewTopic, Options, TopicRef};

/// A topic.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct TopicView {
    /// Its name.
    name: String,
    /// Its id, new for each creation of the same name.
    id: String,
    /// How many partitions it has.
    partitions: i32,
    /// Replicas of each partition.
    replication_factor: usize,
    /// Whether it is one of Kafka's internal topics.
    internal: bool,
    /// What is set on it; `/configs` shows what holds.
    configs: BTreeMap<String, String>,
}

/// One page of topics, by name.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct TopicList {
    /// The topics.
    items: Vec<TopicView>,
    /// What to give as `after` for the next page; null on the last one.
    next: Option<String>,
}

/// A topic to create.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TopicCreation {
    /// 1 to 249 of `a` to `z`, `A` to `Z`, digits, `.`, `_` and `-`.
    #[schema(example = "orders")]
    name: String,
    /// How many partitions; the cluster's `num.partitions` if not given. Not with `assignments`.
    partitions: Option<i32>,
    /// Replicas of each; `default.replication.factor` if not given. Not with `assignments`.
    replication_factor: Option<i16>,
    /// Replicas placed by hand: for each partition the ids of its brokers, the preferred leader first.
    #[serde(default)]
    assignments: Vec<Vec<i32>>,
    /// Configs to set on it.
    #[serde(default)]
    configs: BTreeMap<String, String>,
}

/// What to change of a topic.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TopicChange {
    /// How many partitions it shall have; more than it has.
    partitions: i32,
    /// Replicas of the added ones placed by hand: for each the ids of its brokers.
    #[serde(default)]
    assignments: Vec<Vec<i32>>,
}

/// How a write is to be done.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WriteQuery {
    /// Whether to check everything and change nothing.
    #[serde(default)]
    pub validate_only: bool,
}

impl WriteQuery {
    pub(super) fn options(&self) -> Options {
        Options { validate_only: self.validate_only, timeout: WRITE_TIMEOUT }
    }
}

/// Lists the topics, by name.
#[utoipa::path(get, path = "/v1/topics", tag = "topics", params(PageQuery),
    responses((status = 200, description = "A page of topics.", body = TopicList),
        (status = 400, description = "The page cannot be had.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn list(
    State(rest): State<Rest>,
    Params(page): Params<PageQuery>,
) -> Result<Json<TopicList>, Problem> {
    let image = rest.image()?;
    let topics = image.topics_after(page.after.as_deref().unwrap_or_default());
    let (items, next) = page.take(topics, |topic| topic.name.clone())?;
    let items = items.into_iter().map(|topic| view(&image, topic)).collect();
    Ok(Json(TopicList { items, next }))
}

/// Creates a topic.
#[utoipa::path(post, path = "/v1/topics", tag = "topics", params(WriteQuery),
    request_body = TopicCreation,
    responses((status = 201, description = "It was created.", body = TopicView,
            headers(("location" = String, description = "The topic's path."))),
        (status = 200, description = "It could be created (`validate_only`).", body = TopicView),
        (status = 400, description = "It cannot be created so.", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "There is one of that name.", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Nobody is active; nothing was done.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn create(
    State(rest): State<Rest>,
    RestCaller(caller): RestCaller,
    Params(query): Params<WriteQuery>,
    Body(creation): Body<TopicCreation>,
) -> Result<Response, Problem> {
    let configs = creation.configs.clone();
    let topic = NewTopic {
        name: creation.name,
        partitions: creation.partitions,
        replication_factor: creation.replication_factor,
        assignments: (0..).zip(creation.assignments).collect(),
        configs: creation.configs.into_iter().map(|(name, value)| (name, Some(value))).collect(),
    };
    let answer = rest.admin().create_topics(&caller, vec![topic], query.options()).await?;
    let done = rest.only(answer).await?;
    let created = &done.value;
    let view = TopicView {
        name: created.name.clone(),
        id: created.topic_id.to_string(),
        partitions: created.partitions,
        replication_factor: usize::try_from(created.replication_factor).unwrap_or_default(),
        internal: false,
        configs,
    };
    if query.validate_only {
        return Ok(Json(view).into_response());
    }
    let mut response = (StatusCode::CREATED, Json(view)).into_response();
    // A topic's name needs no escaping in a path.
    if let Ok(path) = HeaderValue::try_from(format!("/v1/topics/{}", created.name)) {
        response.headers_mut().insert(LOCATION, path);
    }
    Ok(done.mark(response))
}

/// Shows one topic.
#[utoipa::path(get, path = "/v1/topics/{topic}", tag = "topics",
    params(("topic" = String, Path, description = "The topic's name.")),
    responses((status = 200, description = "The topic.", body = TopicView),
        (status = 404, description = "There is no such topic.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn get(
    State(rest): State<Rest>,
    Segments(name): Segments<String>,
) -> Result<Json<TopicView>, Problem> {
    show(&rest, &name)
}

/// Adds partitions to a topic.
#[utoipa::path(patch, path = "/v1/topics/{topic}", tag = "topics",
    params(("topic" = String, Path, description = "The topic's name."), WriteQuery),
    request_body = TopicChange,
    responses((status = 200, description = "The topic as it is now.", body = TopicView),
        (status = 400, description = "It cannot be changed so.", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "There is no such topic.", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Nobody is active; nothing was done.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn patch(
    State(rest): State<Rest>,
    RestCaller(caller): RestCaller,
    Segments(name): Segments<String>,
    Params(query): Params<WriteQuery>,
    Body(change): Body<TopicChange>,
) -> Result<Response, Problem> {
    let topic = NewPartitions {
        topic: name.clone(),
        count: change.partitions,
        assignments: change.assignments,
    };
    let answer = rest.admin().create_partitions(&caller, vec![topic], query.options()).await?;
    let done = rest.only(answer).await?;
    Ok(done.mark(show(&rest, &name)?.into_response()))
}

/// Deletes a topic with all its records.
#[utoipa::path(delete, path = "/v1/topics/{topic}", tag = "topics",
    params(("topic" = String, Path, description = "The topic's name."), WriteQuery),
    responses((status = 204, description = "It is gone."),
        (status = 403, description = "Topics cannot be deleted here.", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "There is no such topic.", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Nobody is active; nothing was done.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn delete(
    State(rest): State<Rest>,
    RestCaller(caller): RestCaller,
    Segments(name): Segments<String>,
    Params(query): Params<WriteQuery>,
) -> Result<Response, Problem> {
    let topics = vec![TopicRef::Name(name)];
    let answer = rest.admin().delete_topics(&caller, topics, query.options()).await?;
    let done = rest.only(answer).await?;
    Ok(done.mark(StatusCode::NO_CONTENT.into_response()))
}

fn show(rest: &Rest, name: &str) -> Result<Json<TopicView>, Problem> {
    let image = rest.image()?;
    let topic = image.topic(name).ok_or_else(|| Problem::no_topic(name))?;
    Ok(Json(view(&image, topic)))
}

fn view(image: &Image, topic: &Topic) -> TopicView {
    let replicas = image.partition(topic.id, 0).map(|partition| partition.replicas.len());
    TopicView {
        name: topic.name.clone(),
        id: topic.id.to_string(),
        partitions: topic.partitions,
        replication_factor: replicas.unwrap_or_default(),
        internal: topic.internal,
        configs: topic.configs.clone(),
    }
}
