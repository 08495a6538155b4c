//! What the tests against a real cluster share.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ottla_client::admin::NewTopic;
use ottla_client::protocol::Str;
use ottla_client::{Admin, Client, ClientConfig};

/// The cluster's settings; none if no cluster was named.
pub fn config() -> Option<ClientConfig> {
    let Ok(bootstrap) = std::env::var("OTTLA_TEST_BOOTSTRAP") else {
        eprintln!("OTTLA_TEST_BOOTSTRAP names no cluster, so this test shows nothing");
        return None;
    };
    let config = ClientConfig::new(&bootstrap).expect("OTTLA_TEST_BOOTSTRAP is host:port,…");
    Some(ClientConfig { allow_auto_create_topics: false, ..config })
}

pub fn client() -> Option<Client> {
    config().map(Client::new)
}

pub fn admin() -> Option<Admin> {
    client().map(Admin::new)
}

/// A topic name that no other test uses.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("test-{name}-{}-{count}", std::process::id())
}

/// A topic of one test's own.
pub struct TestTopic {
    pub admin: Admin,
    pub client: Client,
    pub name: Str,
}

impl TestTopic {
    pub async fn create(name: &str, partitions: i32) -> Option<Self> {
        Self::create_with(name, partitions, &[]).await
    }

    pub async fn create_with(
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Option<Self> {
        let client = client()?;
        let admin = Admin::new(client.clone());
        let name: Str = unique(name).into();
        let configs = configs.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        let new = NewTopic {
            name: name.clone(),
            partitions: Some(partitions),
            replication_factor: Some(1),
            configs,
            ..NewTopic::default()
        };
        let created = admin.create_topics(&[new], false).await.expect("the cluster answers");
        created[0].as_ref().expect("the topic is new");
        eventually(async || {
            let topics = admin.describe_topics(std::slice::from_ref(&name)).await.ok()?;
            let topic = topics[0].as_ref().ok()?;
            topic.partitions.iter().all(|partition| 0 <= partition.leader.0).then_some(())
        })
        .await;
        Some(Self { admin, client, name })
    }

    pub async fn delete(self) {
        let deleted = self.admin.delete_topics(&[self.name]).await.expect("the cluster answers");
        deleted[0].as_ref().expect("the topic exists");
    }
}

/// What `probe` finds, once it finds something; fails after 20 s.
pub async fn eventually<T>(mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found).await.expect("within 20 s")
}
