//! `/v1/brokers`.

use axum::Json;
use axum::extract::State;
use ottla_metadata::model::BrokerRecord;
use serde::Serialize;

use super::extract::{Params, Segments};
use super::paging::PageQuery;
use super::problem::Problem;
use super::state::Rest;

/// A broker.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct BrokerView {
    /// Its id.
    id: i32,
    /// Grows with every life of the broker.
    epoch: i64,
    /// Whether it takes no part: it leads nothing and counts for nothing.
    fenced: bool,
    /// Whether it is about to stop.
    draining: bool,
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
    let items = items.into_iter().map(|(id, broker)| view(id, broker)).collect();
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
    let image = rest.image()?;
    let broker = image.broker(id).ok_or_else(|| Problem::no_broker(id))?;
    Ok(Json(view(id, broker)))
}

fn view(id: i32, broker: &BrokerRecord) -> BrokerView {
    let listeners = broker.listeners.iter().map(|listener| ListenerView {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port: listener.port,
        security_protocol: listener.security_protocol,
    });
    BrokerView {
        id,
        epoch: broker.broker_epoch,
        fenced: broker.fenced,
        draining: broker.draining,
        rack: broker.rack.clone(),
        listeners: listeners.collect(),
        log_dirs: broker.log_dirs.iter().map(ToString::to_string).collect(),
        offline_log_dirs: broker.offline_log_dirs.iter().map(ToString::to_string).collect(),
        http: broker.http.as_ref().map(ToString::to_string),
        version: broker.version.clone(),
    }
}
