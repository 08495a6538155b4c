//! Requests that the active coordinator carries out: this broker passes them on with what it knows of
//! the client, and the answer back as it is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::wire::Encoder;
use ottla_protocol::{ErrorCode, Request, Str};

use super::{Answer, Reply, RequestContext};
use crate::relay::RelayError;
use crate::services::Services;

/// What differs from one relayed API to the next.
pub(super) trait Relayed: Request + Send + Sync + 'static {
    /// How long the client waits, ms.
    fn timeout_ms(&self) -> i32;

    /// The answer if the coordinator gave none: every item of the request with this error.
    fn refuse(&self, error: ErrorCode, message: &Str) -> Self::Response;
}

/// Requests without a timeout of their own wait as long as clients do by default.
pub(super) const DEFAULT_TIMEOUT_MS: i32 = 30_000;

/// Even a client that wants no waiting gives the coordinator this long.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// No client is waited for longer.
const TIMEOUT_MAX: Duration = Duration::from_mins(5);

/// Passes the request on; the parallel part waits for the answer.
pub(super) fn relay<R>(services: &Arc<Services>, context: &RequestContext, request: R) -> Answer
where
    R: Relayed,
    R::Response: Send,
{
    let relay = services.relay.clone();
    let context = context.clone();
    Answer::later(async move {
        let timeout = deadline(request.timeout_ms());
        match relay.forward(&context, &request, timeout).await {
            Ok(response) => passed_on(&context, &response),
            Err(error) => {
                tracing::warn!(api = %R::KEY, %error, "request is not carried out by the coordinator");
                let response = request.refuse(error.code(), &message(&error));
                Reply::new::<R>(&context, &response)
            }
        }
    })
}

fn deadline(timeout_ms: i32) -> Duration {
    let asked = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
    asked.clamp(TIMEOUT_MIN, TIMEOUT_MAX)
}

/// What the client is told beside the code.
fn message(error: &RelayError) -> Str {
    match error {
        RelayError::NoCoordinator => Str::from_static(
            "the cluster's coordinator cannot be reached at the moment; nothing was changed",
        ),
        RelayError::NoAnswer(_) => Str::from_static(
            "the cluster's coordinator did not answer; the change may have been made all the same",
        ),
        RelayError::Refused { message, .. } if !message.is_empty() => Str::from(message.as_str()),
        RelayError::Overloaded | RelayError::Refused { .. } | RelayError::Malformed(_) => {
            Str::from(error.to_string())
        }
    }
}

/// A frame around the coordinator's answer, which must be the answer to this very request.
pub(super) fn passed_on(context: &RequestContext, response: &Bytes) -> Reply {
    if !response.starts_with(&context.correlation_id.to_be_bytes()) {
        tracing::error!(api = %context.api_key, "the coordinator's answer belongs to another request");
        return Reply::close();
    }
    let Ok(length) = i32::try_from(response.len()) else {
        tracing::error!(api = %context.api_key, "the coordinator's answer is too long");
        return Reply::close();
    };
    let mut encoder = Encoder::with_capacity(response.len() + 4);
    encoder.put_i32(length);
    encoder.put_raw(response);
    Reply::from_frame(encoder.finish())
}
