//! Errors as RFC 9457 wants them: `application/problem+json`.

use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ottla_protocol::ErrorCode;
use serde::Serialize;

use crate::admin::{AdminError, Unavailable};

/// What went wrong, for programs and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// Names the kind of problem: `urn:ottla:problem:` and Kafka's name of the error, or `about:blank`
    /// where the status says all there is.
    #[serde(rename = "type")]
    #[schema(example = "urn:ottla:problem:UNKNOWN_TOPIC_OR_PARTITION")]
    pub kind: String,
    /// The kind in words; the same for every problem of that kind.
    pub title: &'static str,
    /// The HTTP status.
    #[schema(example = 404)]
    pub status: u16,
    /// What happened this time, to what, and what to do.
    pub detail: String,
    /// The path that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Kafka's name of the error, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "UNKNOWN_TOPIC_OR_PARTITION")]
    pub code: Option<&'static str>,
}

impl Problem {
    /// A problem of which the status says the kind.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            instance: None,
            code: None,
        }
    }

    /// A problem that Kafka has a code for.
    pub fn of_code(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:ottla:problem:{}", code.name()),
            title: code.message(),
            status: status_of(code).as_u16(),
            detail: detail.into(),
            instance: None,
            code: Some(code.name()),
        }
    }

    /// No topic of that name.
    pub fn no_topic(name: &str) -> Self {
        Self::of_code(ErrorCode::UnknownTopicOrPartition, format!("there is no topic {name:?}"))
    }

    /// No broker of that id.
    pub fn no_broker(id: i32) -> Self {
        let detail = format!("no broker with the id {id} was ever registered");
        Self::of_code(ErrorCode::BrokerIdNotRegistered, detail)
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        Self::of_code(error.code, error.message)
    }
}

impl From<Unavailable> for Problem {
    fn from(error: Unavailable) -> Self {
        let mut problem = Self::of_code(error.code(), error.to_string());
        problem.status = match error {
            Unavailable::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
        .as_u16();
        problem
    }
}

impl IntoResponse for Problem {
    /// The document itself is written by [`finish`], which knows the path.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the document of every problem, and makes one of every other error.
pub(super) async fn finish(request: Request, next: Next) -> Response {
    let instance = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let is_document = response.headers().get(CONTENT_TYPE).is_some_and(|it| it == MEDIA_TYPE);
    let mut problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if is_error && !is_document => Problem::new(status, explain(status, &instance)),
        None => return response,
    };
    problem.instance = Some(instance);
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    let body = serde_json::to_vec(&problem).expect("a problem is plain data");
    Response::from_parts(parts, body.into())
}

/// Answers paths that lead nowhere.
pub(super) async fn nothing_here() -> StatusCode {
    StatusCode::NOT_FOUND
}

/// The media type of problem documents.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

fn explain(status: StatusCode, path: &str) -> String {
    match status {
        StatusCode::NOT_FOUND => {
            format!("nothing is at {path}; /v1/openapi.json describes what there is")
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            format!("{path} does not take this method; the header Allow names those it takes")
        }
        _ => status.canonical_reason().unwrap_or("error").to_lowercase(),
    }
}

fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::UnknownTopicId
        | ErrorCode::BrokerIdNotRegistered
        | ErrorCode::ResourceNotFound => StatusCode::NOT_FOUND,
        ErrorCode::TopicAlreadyExists
        | ErrorCode::ReassignmentInProgress
        | ErrorCode::EligibleLeadersNotAvailable
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::DuplicateResource => StatusCode::CONFLICT,
        ErrorCode::InvalidTopicException
        | ErrorCode::InvalidPartitions
        | ErrorCode::InvalidReplicationFactor
        | ErrorCode::InvalidReplicaAssignment
        | ErrorCode::InvalidConfig
        | ErrorCode::InvalidRequest => StatusCode::BAD_REQUEST,
        ErrorCode::PolicyViolation
        | ErrorCode::TopicDeletionDisabled
        | ErrorCode::TopicAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed => StatusCode::FORBIDDEN,
        ErrorCode::ThrottlingQuotaExceeded => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::RequestTimedOut => StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::NotController | ErrorCode::OperationNotAttempted => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_gives_kind_title_and_status() {
        let problem = Problem::no_topic("t");
        assert_eq!(problem.status, 404);
        assert_eq!(problem.kind, "urn:ottla:problem:UNKNOWN_TOPIC_OR_PARTITION");
        assert_eq!(problem.code, Some("UNKNOWN_TOPIC_OR_PARTITION"));
        let timed_out = Problem::from(Unavailable::TimedOut);
        assert_eq!((timed_out.status, timed_out.code), (504, Some("REQUEST_TIMED_OUT")));
        assert_eq!(Problem::from(Unavailable::Busy).status, 503);
    }
}
