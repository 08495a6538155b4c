//! `/v1/brokers`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ottla_metadata::image::Image;
use ottla_metadata::model::BrokerRecord;
use serde::{Deserialize, Serialize};

use super::caller::RestCaller;
use super::extract::{Params, Segments};
use super::limits::WRITE_TIMEOUT;
use super::paging::PageQuery;
use super::problem::Problem;
use super::state::Rest;
use super::topics::WriteQuery;
use crate::admin::{BrokerDrain, Options};

/// A broker.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct BrokerView {
    /// Its id.
    id: i32,
    /// Grows with every life of the broker.
    epoch: i64,
    /// Whether it takes part.
    state: BrokerState,
    /// Whether it takes no part: it leads nothing and counts for nothing.
    fenced: bool,
    /// Whether it is to lead nothing and be in no ISR: it is about to stop, or was drained.
    draining: bool,
    /// Partitions that it leads.
    leaders: usize,
    /// Partitions of which it has a replica.
    replicas: usize,
    /// Those of them in which it is in sync.
    in_sync: usize,
    /// Where it stands.
    rack: Option<String>,
    /// Where clients reach it.
    listeners: Vec<ListenerView>,
    /// Ids of its log folders.
    log_dirs: Vec<String>,
    /// Ids of those that failed.
    offline_log_dirs: Vec<String>,
    /// Where it serves its health and metrics.
    http: Option<String>,
    /// Version of its program.
    version: String,
}

/// What a broker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum BrokerState {
    /// It leads and follows.
    Active,
    /// It only copies.
    Draining,
    /// It is not known to be alive.
    Fenced,
}

/// How a broker is to be drained.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct DrainQuery {
    /// Whether to check everything and change nothing.
    #[serde(default)]
    validate_only: bool,
    /// Whether to drain it even if partitions then have no leader or too few replicas in sync.
    #[serde(default)]
    force: bool,
}

/// What brokers carry.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    leaders: usize,
    replicas: usize,
    in_sync: usize,
}

/// A listener of a broker.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ListenerView {
    /// Its name.
    name: String,
    /// Advertised host.
    host: String,
    /// Advertised port.
    port: u16,
    /// `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
    #[schema(value_type = String, example = "PLAINTEXT")]
    security_protocol: ottla_metadata::model::SecurityProtocol,
}

/// One page of brokers, by id.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct BrokerList {
    /// The brokers.
    items: Vec<BrokerView>,
    /// What to give as `after` for the next page; null on the last one.
    next: Option<String>,
}

/// Lists the brokers that are known, by id.
#[utoipa::path(get, path = "/v1/brokers", tag = "brokers", params(PageQuery),
    responses((status = 200, description = "A page of brokers.", body = BrokerList),
        (status = 400, description = "The page cannot be had.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn list(
    State(rest): State<Rest>,
    Params(page): Params<PageQuery>,
) -> Result<Json<BrokerList>, Problem> {
    let image = rest.image()?;
    let after = page.after_number()?;
    let brokers = image.brokers().filter(|(id, _)| after < *id);
    let (items, next) = page.take(brokers, |(id, _)| id.to_string())?;
    let loads = loads(&image);
    let load = |id| loads.get(&id).copied().unwrap_or_default();
    let items = items.into_iter().map(|(id, broker)| view(id, broker, load(id))).collect();
    Ok(Json(BrokerList { items, next }))
}

/// Shows one broker.
#[utoipa::path(get, path = "/v1/brokers/{id}", tag = "brokers",
    params(("id" = i32, Path, description = "The broker's id.")),
    responses((status = 200, description = "The broker.", body = BrokerView),
        (status = 404, description = "There is none of that id.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn get(
    State(rest): State<Rest>,
    Segments(id): Segments<i32>,
) -> Result<Json<BrokerView>, Problem> {
    show(&rest, id)
}

/// Drains a broker: it leads nothing and is in no ISR, but stays up and goes on copying. Lasts until it is
/// undone or the broker starts anew.
#[utoipa::path(post, path = "/v1/brokers/{id}/drain", tag = "brokers",
    params(("id" = i32, Path, description = "The broker's id."), DrainQuery),
    responses((status = 200, description = "The broker as it is now; leaders move right after.",
            body = BrokerView),
        (status = 404, description = "There is none of that id.", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "Partitions need it; the detail says which.", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Nobody is active; nothing was done.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn drain(
    State(rest): State<Rest>,
    RestCaller(caller): RestCaller,
    Segments(id): Segments<i32>,
    Params(query): Params<DrainQuery>,
) -> Result<Response, Problem> {
    let item = BrokerDrain { broker: id, draining: true, force: query.force };
    let options = Options { validate_only: query.validate_only, timeout: WRITE_TIMEOUT };
    let done = rest.only(rest.admin().drain_brokers(&caller, vec![item], options).await?).await?;
    Ok(done.mark(show(&rest, id)?.into_response()))
}

/// Puts a drained broker back to work.
#[utoipa::path(delete, path = "/v1/brokers/{id}/drain", tag = "brokers",
    params(("id" = i32, Path, description = "The broker's id."), WriteQuery),
    responses((status = 200, description = "The broker as it is now; it leads again what it prefers to \
            lead once it is in sync.", body = BrokerView),
        (status = 404, description = "There is none of that id.", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Nobody is active; nothing was done.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn undrain(
    State(rest): State<Rest>,
    RestCaller(caller): RestCaller,
    Segments(id): Segments<i32>,
    Params(query): Params<WriteQuery>,
) -> Result<Response, Problem> {
    let items = vec![BrokerDrain { broker: id, draining: false, force: false }];
    let answer = rest.admin().drain_brokers(&caller, items, query.options()).await?;
    let done = rest.only(answer).await?;
    Ok(done.mark(show(&rest, id)?.into_response()))
}

/// Forgets a broker that is gone for good. It stays a replica of what it had; one that is alive is registered
/// anew.
#[utoipa::path(delete, path = "/v1/brokers/{id}", tag = "brokers",
    params(("id" = i32, Path, description = "The broker's id."), WriteQuery),
    responses((status = 204, description = "It is forgotten."),
        (status = 404, description = "There is none of that id.", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Nobody is active; nothing was done.", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn unregister(
    State(rest): State<Rest>,
    RestCaller(caller): RestCaller,
    Segments(id): Segments<i32>,
    Params(query): Params<WriteQuery>,
) -> Result<Response, Problem> {
    let answer = rest.admin().unregister_brokers(&caller, vec![id], query.options()).await?;
    let done = rest.only(answer).await?;
    Ok(done.mark(StatusCode::NO_CONTENT.into_response()))
}

fn show(rest: &Rest, id: i32) -> Result<Json<BrokerView>, Problem> {
    let image = rest.image()?;
    let broker = image.broker(id).ok_or_else(|| Problem::no_broker(id))?;
    Ok(Json(view(id, broker, loads(&image).remove(&id).unwrap_or_default())))
}

fn loads(image: &Image) -> BTreeMap<i32, Load> {
    let mut loads: BTreeMap<i32, Load> = BTreeMap::new();
    for (_, _, partition) in image.partitions() {
        loads.entry(partition.leader).or_default().leaders += 1;
        for id in &partition.replicas {
            loads.entry(*id).or_default().replicas += 1;
        }
        for id in &partition.isr {
            loads.entry(*id).or_default().in_sync += 1;
        }
    }
    loads
}

fn view(id: i32, broker: &BrokerRecord, load: Load) -> BrokerView {
    let listeners = broker.listeners.iter().map(|listener| ListenerView {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port: listener.port,
        security_protocol: listener.security_protocol,
    });
    BrokerView {
        id,
        epoch: broker.broker_epoch,
        state: match (broker.fenced, broker.draining) {
            (true, _) => BrokerState::Fenced,
            (false, true) => BrokerState::Draining,
            (false, false) => BrokerState::Active,
        },
        fenced: broker.fenced,
        draining: broker.draining,
        leaders: load.leaders,
        replicas: load.replicas,
        in_sync: load.in_sync,
        rack: broker.rack.clone(),
        listeners: listeners.collect(),
        log_dirs: broker.log_dirs.iter().map(ToString::to_string).collect(),
        offline_log_dirs: broker.offline_log_dirs.iter().map(ToString::to_string).collect(),
        http: broker.http.as_ref().map(ToString::to_string),
        version: broker.version.clone(),
    }
}
