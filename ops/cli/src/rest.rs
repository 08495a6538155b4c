//! The coordinators' REST API, for what Kafka's protocol has no request for.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::names::CoordinatorUrl;

/// A coordinator's REST API.
#[derive(Debug)]
pub struct Rest {
    base: String,
    http: reqwest::Client,
}

/// Longer than the coordinator itself waits for the metadata store.
const PATIENCE: Duration = Duration::from_secs(45);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

impl Rest {
    /// The API at this address.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(coordinator: &CoordinatorUrl) -> Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            .timeout(PATIENCE)
            .no_proxy()
            .user_agent("ottla")
            .build()?;
        Ok(Self { base: coordinator.url.trim_end_matches('/').to_owned(), http })
    }

    /// Asks, and reads the answer.
    ///
    /// # Errors
    /// When nobody answers, or the answer is a problem; then with the problem's own words.
    pub async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T> {
        let url = format!("{}{path}", self.base);
        let sent = self.http.request(method, &url).send().await;
        let answer = sent.with_context(|| {
            format!("no coordinator answers at {}; --coordinator says where one is", self.base)
        })?;
        let status = answer.status();
        let body =
            answer.bytes().await.with_context(|| format!("the answer of {url} broke off"))?;
        if !status.is_success() {
            bail!("{}", complaint(status, &body));
        }
        serde_json::from_slice(&body).with_context(|| format!("{url} is no REST API of Ottla"))
    }
}

/// What a problem document says, or the status if it is none.
fn complaint(status: StatusCode, body: &[u8]) -> String {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    match (problem["code"].as_str(), problem["detail"].as_str()) {
        (Some(code), Some(detail)) => format!("{code}: {detail}"),
        (None, Some(detail)) => detail.to_owned(),
        (_, None) => format!("the coordinator answered {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_speak_for_themselves() {
        let body = br#"{"code": "NOT_CONTROLLER", "detail": "try again"}"#;
        assert_eq!(complaint(StatusCode::CONFLICT, body), "NOT_CONTROLLER: try again");
        let html = complaint(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!(html, "the coordinator answered 502 Bad Gateway");
    }
}
