//! Bounds on what callers can make the API hold: bytes, requests at once, time.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::caller::describe;
use super::problem::Problem;
use super::state::Rest;

/// Largest body of a request, in bytes. A request to create a topic with a thousand partitions placed by
/// hand has a few tens of thousands.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Requests to `/v1` under way at once; more are refused. Health checks and metrics do not count.
pub(super) const REQUESTS_MAX: usize = 256;

/// How long a write may take before its caller is told that it is not known yet.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the node that passes a write on waits for the answer.
pub(super) const PROXY_TIMEOUT: Duration = Duration::from_secs(35);

/// How long any request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);

const _: () = assert!(WRITE_TIMEOUT.as_secs() < PROXY_TIMEOUT.as_secs());
const _: () = assert!(PROXY_TIMEOUT.as_secs() < REQUEST_TIMEOUT.as_secs());

/// Refuses what is too much, and ends what takes too long.
pub(super) async fn bound(State(rest): State<Rest>, request: Request, next: Next) -> Response {
    let Ok(_permit) = rest.permits().try_acquire() else {
        let detail = format!("{REQUESTS_MAX} requests are under way already; try again");
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    };
    let what = describe(&request);
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            tracing::warn!(request = what, "a REST request took too long");
            let detail = "it took too long; look whether it was done before trying again";
            Problem::new(StatusCode::GATEWAY_TIMEOUT, detail).into_response()
        }
    }
}

/// What is said of a body beyond the limit.
pub(super) fn too_large() -> String {
    format!("the body is larger than {BODY_BYTES_MAX} bytes")
}
