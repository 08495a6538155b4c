//! Configs of topics, of single brokers, and of all brokers.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use ottla_metadata::config::{self, ConfigMap, ConfigSource, Effect, Layers, Resolved};
use ottla_metadata::image::Image;
use ottla_metadata::keys::ConfigResource as StoredResource;
use serde::{Deserialize, Serialize};

use super::caller::RestCaller;
use super::extract::{Body, Params, Segments};
use super::problem::Problem;
use super::state::Rest;
use super::topics::WriteQuery;
use crate::admin::{Caller, ConfigAlteration, ConfigChange, ConfigOp, ConfigResource, Options};

/// A config with the value that holds.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ConfigView {
    /// Its name.
    name: String,
    /// The value that holds; null if there is none, or if it is a secret.
    value: Option<String>,
    /// Where it comes from.
    #[schema(example = "DYNAMIC_TOPIC_CONFIG")]
    source: &'static str,
    /// Type of the value.
    #[serde(rename = "type")]
    #[schema(example = "long")]
    kind: &'static str,
    /// What is allowed.
    allowed: String,
    /// Whether it cannot be changed while the cluster runs.
    read_only: bool,
    /// Whether the value is a secret.
    sensitive: bool,
    /// What it means.
    documentation: &'static str,
    /// Why setting it changes nothing; null if it does.
    no_effect: Option<&'static str>,
    /// Every value that was considered, strongest first.
    synonyms: Vec<SynonymView>,
}

/// One value that was considered.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SynonymView {
    /// The config that it was set under.
    name: String,
    /// The value; null for a secret.
    value: Option<String>,
    /// Where it comes from.
    source: &'static str,
}

/// Configs by name.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ConfigList {
    /// The configs.
    items: Vec<ConfigView>,
}

/// Changes, of which all are made or none.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigPatch {
    /// The changes; a name may occur once.
    changes: Vec<ChangeBody>,
}

/// One change.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeBody {
    /// The config's name.
    #[schema(example = "retention.ms")]
    name: String,
    /// What to do.
    #[serde(default)]
    op: OpBody,
    /// The value to set, or the items to add or remove, separated by commas. Not for `delete`.
    #[schema(example = "3600000")]
    value: Option<String>,
}

/// What to do to a config.
#[derive(Debug, Default, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum OpBody {
    /// Set it.
    #[default]
    Set,
    /// Forget it, so that the next wider value holds.
    Delete,
    /// Add items to a list.
    Append,
    /// Remove items from a list.
    Subtract,
}

/// Shows every config of a topic. Where nothing else is set, what this coordinator's file says holds; what
/// brokers have in their files is theirs and not seen here.
#[utoipa::path(get, path = "/v1/topics/{topic}/configs", tag = "topics",
    params(("topic" = String, Path, description = "The topic's name.")),
    responses((status = 200, description = "Its configs.", body = ConfigList),
        (status = 404, description = "There is no such topic.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn get_of_topic(
    State(rest): State<Rest>,
    Segments(name): Segments<String>,
) -> Result<Json<ConfigList>, Problem> {
    of_topic(&*rest.image()?, rest.file(), &name)
}

/// Changes configs of a topic.
#[utoipa::path(patch, path = "/v1/topics/{topic}/configs", tag = "topics",
    params(("topic" = String, Path, description = "The topic's name."), WriteQuery),
    request_body = ConfigPatch,
    responses((status = 200, description = "Its configs as they are now.", body = ConfigList),
        (status = 400, description = "A name or value is not allowed.", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "There is no such topic.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn patch_of_topic(
    State(rest): State<Rest>,
    RestCaller(caller): RestCaller,
    Segments(name): Segments<String>,
    Params(query): Params<WriteQuery>,
    Body(patch): Body<ConfigPatch>,
) -> Result<Response, Problem> {
    let resource = ConfigResource::Topic(name.clone());
    let write = Write { caller, options: query.options() };
    write.alter(&rest, resource, patch, |image| of_topic(image, rest.file(), &name)).await
}

/// Shows what is set on a broker, or on all brokers, while the cluster runs. What the broker has in its
/// file is not seen here; a Kafka client that asks the broker itself sees all of it.
#[utoipa::path(get, path = "/v1/brokers/{id}/configs", tag = "brokers",
    params(("id" = i32, Path, description = "The broker's id.")),
    responses((status = 200, description = "What is set.", body = ConfigList),
        (status = 404, description = "There is no such broker.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn get_of_broker(
    State(rest): State<Rest>,
    Segments(id): Segments<i32>,
) -> Result<Json<ConfigList>, Problem> {
    of_broker(&*rest.image()?, id)
}

/// Changes configs of one broker.
#[utoipa::path(patch, path = "/v1/brokers/{id}/configs", tag = "brokers",
    params(("id" = i32, Path, description = "The broker's id."), WriteQuery),
    request_body = ConfigPatch,
    responses((status = 200, description = "What is set now.", body = ConfigList),
        (status = 400, description = "A name or value is not allowed.", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "There is no such broker.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn patch_of_broker(
    State(rest): State<Rest>,
    RestCaller(caller): RestCaller,
    Segments(id): Segments<i32>,
    Params(query): Params<WriteQuery>,
    Body(patch): Body<ConfigPatch>,
) -> Result<Response, Problem> {
    let resource = ConfigResource::Broker(Some(id));
    let write = Write { caller, options: query.options() };
    write.alter(&rest, resource, patch, |image| of_broker(image, id)).await
}

/// Shows what is set for all brokers while the cluster runs.
#[utoipa::path(get, path = "/v1/cluster/configs", tag = "cluster",
    responses((status = 200, description = "What is set.", body = ConfigList)))]
pub(super) async fn get_of_cluster(State(rest): State<Rest>) -> Result<Json<ConfigList>, Problem> {
    of_cluster(&*rest.image()?)
}

/// Changes configs of all brokers.
#[utoipa::path(patch, path = "/v1/cluster/configs", tag = "cluster", params(WriteQuery),
    request_body = ConfigPatch,
    responses((status = 200, description = "What is set now.", body = ConfigList),
        (status = 400, description = "A name or value is not allowed.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn patch_of_cluster(
    State(rest): State<Rest>,
    RestCaller(caller): RestCaller,
    Params(query): Params<WriteQuery>,
    Body(patch): Body<ConfigPatch>,
) -> Result<Response, Problem> {
    let write = Write { caller, options: query.options() };
    write.alter(&rest, ConfigResource::Broker(None), patch, of_cluster).await
}

/// Who changes something, and how.
struct Write {
    caller: Caller,
    options: Options,
}

impl Write {
    async fn alter(
        self,
        rest: &Rest,
        resource: ConfigResource,
        patch: ConfigPatch,
        show: impl FnOnce(&Image) -> Result<Json<ConfigList>, Problem>,
    ) -> Result<Response, Problem> {
        let changes = patch.changes.into_iter().map(|change| ConfigChange {
            name: change.name,
            op: match change.op {
                OpBody::Set => ConfigOp::Set,
                OpBody::Delete => ConfigOp::Delete,
                OpBody::Append => ConfigOp::Append,
                OpBody::Subtract => ConfigOp::Subtract,
            },
            value: change.value,
        });
        let alteration = ConfigAlteration { resource, changes: changes.collect() };
        let answer =
            rest.admin().alter_configs(&self.caller, vec![alteration], self.options).await?;
        let done = rest.only(answer).await?;
        Ok(done.mark(show(&*rest.image()?)?.into_response()))
    }
}

fn of_topic(image: &Image, file: &ConfigMap, name: &str) -> Result<Json<ConfigList>, Problem> {
    let topic = image.topic(name).ok_or_else(|| Problem::no_topic(name))?;
    let all = stored(image, &StoredResource::BrokerDefault);
    let layers = Layers { own: &topic.configs, dynamic_default: &all, file, ..Layers::default() };
    Ok(list(config::describe_topic(&layers)))
}

fn of_broker(image: &Image, id: i32) -> Result<Json<ConfigList>, Problem> {
    if image.broker(id).is_none() {
        return Err(Problem::no_broker(id));
    }
    let all = stored(image, &StoredResource::BrokerDefault);
    let own = stored(image, &StoredResource::Broker(id));
    let layers = Layers { dynamic_broker: &own, dynamic_default: &all, ..Layers::default() };
    let mut set = config::describe_broker(&layers);
    set.retain(|config| {
        matches!(config.source, ConfigSource::DynamicBroker | ConfigSource::DynamicDefault)
    });
    Ok(list(set))
}

fn of_cluster(image: &Image) -> Result<Json<ConfigList>, Problem> {
    let all = stored(image, &StoredResource::BrokerDefault);
    Ok(list(config::describe_broker_defaults(&all)))
}

fn stored(image: &Image, resource: &StoredResource) -> ConfigMap {
    image.config(resource).map(|entry| entry.configs.clone()).unwrap_or_default()
}

fn list(resolved: Vec<Resolved>) -> Json<ConfigList> {
    Json(ConfigList { items: resolved.into_iter().map(view).collect() })
}

fn view(resolved: Resolved) -> ConfigView {
    let def = resolved.def;
    let synonyms = resolved.synonyms.iter().map(|synonym| SynonymView {
        name: synonym.name.clone(),
        value: synonym.value.clone(),
        source: synonym.source.name(),
    });
    ConfigView {
        synonyms: synonyms.collect(),
        value: resolved.shown().map(str::to_owned),
        source: resolved.source.name(),
        kind: def.kind.name(),
        allowed: def.allowed(),
        read_only: def.is_read_only(),
        sensitive: def.is_sensitive(),
        documentation: def.doc,
        no_effect: match def.effect {
            Effect::Honoured => None,
            Effect::KnownNoEffect(reason) => Some(reason),
        },
        name: resolved.name,
    }
}
