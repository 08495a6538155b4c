//! The API over real sockets: whole coordinators on a store in memory.

mod cluster;
mod configs;
mod errors;
mod groups;
mod operations;
mod pages;
mod passive;
mod topics;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::keys::{Key, KeySpace};
use ottla_metadata::model::{self, PreviousLife, Value as StoredValue};
use ottla_metadata::store::embedded::EmbeddedStore;
use ottla_metadata::store::{GuardedWrite, MetaStore, Outcome, Put};
use reqwest::Method;
use serde_json::Value;

use crate::controller::testing;
use crate::{Config, Coordinator, Handle};

/// Bound on everything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Coordinators on one store, the first of them active.
struct Cluster {
    store: Arc<EmbeddedStore>,
    nodes: Vec<Handle>,
    http: reqwest::Client,
}

/// An answer, read to its end.
#[derive(Debug)]
struct Answer {
    status: u16,
    content_type: String,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

impl Cluster {
    /// One coordinator and so many brokers, which are registered and active but not real.
    async fn start(brokers: i32) -> Self {
        let store = Arc::new(EmbeddedStore::in_memory(1));
        for id in 1..=brokers {
            let claim = testing::claim(id, PreviousLife::None);
            let epoch = put(&store, Key::BrokerClaim(id), &claim).await;
            put(&store, Key::Broker(id), &testing::record(id, epoch)).await;
        }
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut cluster = Self { store, nodes: Vec::new(), http };
        cluster.add_node().await;
        assert!(cluster.nodes[0].until_active(PATIENCE).await);
        cluster
    }

    /// Another coordinator; returns its index once it has read the metadata.
    async fn add_node(&mut self) -> usize {
        let id = 100 + i32::try_from(self.nodes.len()).unwrap();
        let mut config = Config::new(id);
        config.admin.file = [("log.index.interval.bytes", "2048")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let node = Coordinator::start(config, self.store.clone()).await.unwrap();
        node.services().images.wait_for(1, PATIENCE).await.unwrap();
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn url(&self, node: usize, path: &str) -> String {
        format!("http://{}{path}", self.nodes[node].http_endpoint().unwrap())
    }

    async fn ask(&self, node: usize, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.http.request(method, self.url(node, path)).timeout(PATIENCE);
        if let Some(body) = body {
            request = request.json(&body);
        }
        read(request.send().await.unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(0, Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(0, Method::POST, path, Some(body)).await
    }

    async fn patch(&self, path: &str, body: Value) -> Answer {
        self.ask(0, Method::PATCH, path, Some(body)).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.ask(0, Method::DELETE, path, None).await
    }

    /// Asks until the answer is as expected.
    async fn until(&self, path: &str, expected: impl Fn(&Answer) -> bool) -> Answer {
        let asked = async {
            loop {
                let answer = self.get(path).await;
                if expected(&answer) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.expect("as expected in time")
    }

    /// Creates a topic that can be created.
    async fn topic(&self, name: &str, partitions: i32) {
        let body = serde_json::json!({"name": name, "partitions": partitions});
        let answer = self.post("/v1/topics", body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }

    async fn stop(self) {
        for node in self.nodes {
            node.stop(PATIENCE).await;
        }
    }
}

impl Answer {
    /// Fails unless this is a whole problem document of that status and Kafka code.
    fn assert_problem(&self, status: u16, code: Option<&str>) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.content_type, "application/problem+json", "{self:?}");
        assert_eq!(self.body["status"], status, "{self:?}");
        assert_eq!(self.body["code"].as_str(), code, "{self:?}");
        for member in ["type", "title", "detail", "instance"] {
            assert!(self.body[member].as_str().is_some_and(|it| !it.is_empty()), "{self:?}");
        }
    }

    fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap_or_default()
    }

    /// The given member of every item of a list.
    fn column(&self, member: &str) -> Vec<&Value> {
        let items = self.body["items"].as_array().unwrap_or_else(|| panic!("{self:?}"));
        items.iter().map(|item| &item[member]).collect()
    }

    /// The item of a list with that name.
    fn item(&self, name: &str) -> &Value {
        let items = self.body["items"].as_array().unwrap_or_else(|| panic!("{self:?}"));
        items.iter().find(|item| item["name"] == name).unwrap_or_else(|| panic!("no {name}"))
    }
}

async fn read(response: reqwest::Response) -> Answer {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let content_type = headers.get("content-type").and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    let bytes = response.bytes().await.unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::String(text));
    Answer { status, content_type, headers, body }
}

/// Writes a key and returns the revision that did.
async fn put<T: StoredValue>(store: &EmbeddedStore, key: Key, value: &T) -> i64 {
    let key = Bytes::from(KeySpace::default().format(&key));
    let mut write = GuardedWrite::new();
    write.puts.push(Put { key, value: model::encode(value), lease: None });
    match store.txn(write).await.unwrap() {
        Outcome::Committed { revision, .. } => revision,
        other => panic!("{other:?}"),
    }
}
