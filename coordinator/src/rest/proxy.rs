//! Writes that arrive at a coordinator which is not active are passed on to the one that is: by plain HTTP, to
//! the REST API that it announces (`http.advertised.listener`, else `http.listener`), because that API speaks
//! nothing else and asks nobody who he is. So what is passed on is as safe as what came in, and an answer is
//! believed as far as the network between the coordinators is. Where that is not enough, bind the API to
//! loopback: a write to another one than the active then ends in an error that names who is active, and nothing
//! leaves the machine.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE, LOCATION, RETRY_AFTER, USER_AGENT};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ottla_protocol::ErrorCode;

use super::limits::{self, BODY_BYTES_MAX, PROXY_TIMEOUT};
use super::problem::Problem;
use super::state::{REVISION, Rest};
use crate::leadership::ActiveController;

/// The header that says which coordinator passed a request on. A request that has it is never passed on
/// again, so two coordinators that believe in each other do not play ball with it.
pub(super) const FORWARDED_BY: &str = "ottla-forwarded-by";

/// The client for requests that are passed on. It follows no redirects and uses no proxy.
pub(super) fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(PROXY_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .expect("a client without TLS needs nothing of the system")
}

/// Lets reads through, and writes on the active coordinator; passes other writes on, and reads of groups, which
/// the active one alone knows.
pub(super) async fn to_active(State(rest): State<Rest>, request: Request, next: Next) -> Response {
    let leadership = rest.admin().leadership();
    let is_of_groups = request.uri().path().starts_with("/v1/groups");
    if (request.method().is_safe() && !is_of_groups) || leadership.is_me {
        return next.run(request).await;
    }
    if let Some(by) = request.headers().get(FORWARDED_BY) {
        let by = by.to_str().unwrap_or("?");
        let detail = format!(
            "coordinator {by} took this one ({}) for the active one, which it is not; nothing was \
             done, try again",
            rest.node_id()
        );
        return Problem::of_code(ErrorCode::NotController, detail).into_response();
    }
    let Some(active) = leadership.active.filter(|active| active.node_id != rest.node_id()) else {
        let detail = "no coordinator is active at the moment; nothing was done, try again";
        return Problem::of_code(ErrorCode::NotController, detail).into_response();
    };
    match pass_on(&rest, &active, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn pass_on(
    rest: &Rest,
    active: &ActiveController,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let url = format!("http://{}{path}", active.http_endpoint);
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, limits::too_large()))?;
    let mut outgoing = rest.http().request(parts.method, url).body(body);
    for name in [CONTENT_TYPE, USER_AGENT] {
        if let Some(value) = parts.headers.get(&name) {
            outgoing = outgoing.header(name, value);
        }
    }
    let outgoing = outgoing.header(FORWARDED_BY, HeaderValue::from(rest.node_id()));
    let mut answer = outgoing.send().await.map_err(|error| unreachable(active, &error))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    for name in PASSED_BACK {
        if let Some(value) = answer.headers().get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    let mut content = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(active, &error))? {
        if ANSWER_BYTES_MAX < content.len() + chunk.len() {
            let detail =
                "the active coordinator's answer is too long to be passed back; it was done";
            return Err(Problem::new(StatusCode::BAD_GATEWAY, detail));
        }
        content.extend_from_slice(&chunk);
    }
    *response.body_mut() = Body::from(content);
    let revision = response.headers().get(REVISION).and_then(|value| value.to_str().ok());
    if let Some(revision) = revision.and_then(|value| value.parse().ok()) {
        rest.catch_up(revision).await;
    }
    Ok(response)
}

fn unreachable(active: &ActiveController, error: &reqwest::Error) -> Problem {
    let to = format!("coordinator {} at {}", active.node_id, active.http_endpoint);
    if error.is_connect() {
        let detail = format!("the active {to} cannot be reached; nothing was done, try again");
        return Problem::new(StatusCode::BAD_GATEWAY, detail);
    }
    let (status, what) = if error.is_timeout() {
        (StatusCode::GATEWAY_TIMEOUT, "did not answer in time")
    } else {
        (StatusCode::BAD_GATEWAY, "broke off")
    };
    let detail = format!("the active {to} {what}; look whether it was done before trying again");
    Problem::new(status, detail)
}

/// Headers of the answer that the caller gets.
const PASSED_BACK: [HeaderName; 5] =
    [CONTENT_TYPE, LOCATION, RETRY_AFTER, ALLOW, HeaderName::from_static(REVISION)];

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const IDLE_CONNECTIONS_MAX: usize = 8;
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
