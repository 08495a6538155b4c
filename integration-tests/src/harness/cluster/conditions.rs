//! What tests wait for: leaders, replicas in sync, who is active.

use std::time::Duration;

use serde_json::Value;

use super::Cluster;
use crate::harness::{
    PartitionState, create_topic_at, describe_topic, eventually, get_json, metadata::metadata,
    poll, post_json,
};

/// How long anything of this may take. Generous: it bounds a test that fails, and slows down none that passes.
const WITHIN: Duration = Duration::from_secs(45);
/// REQUEST_TIMED_OUT and NOT_CONTROLLER: nobody decides at the moment.
const RETRIABLE: [i16; 2] = [7, 41];

/// `/ottla/partitions/` and the key behind all that begin with it, as etcd's JSON wants them.
const PARTITIONS: &str = "L290dGxhL3BhcnRpdGlvbnMv";
const BEHIND_PARTITIONS: &str = "L290dGxhL3BhcnRpdGlvbnMw";
/// `/ottla/claims/brokers/` and an id below nine, but for what depends on the id.
const CLAIM: &str = "L290dGxhL2NsYWltcy9icm9rZXJzLz";

impl Cluster {
    /// Creates a topic.
    ///
    /// # Panics
    /// When the cluster refuses.
    pub fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        replicas: i16,
        configs: &[(&str, &str)],
    ) {
        let (code, message) = self.try_create_topic(name, partitions, replicas, configs);
        assert_eq!(code, 0, "{name}: {message}");
    }

    /// Creates a topic; returns the error code, 0 for none, and the message. A cluster without an active coordinator, or
    /// whose coordinator dies meanwhile, is asked again.
    ///
    /// # Panics
    /// When nobody answers.
    pub fn try_create_topic(
        &self,
        name: &str,
        partitions: i32,
        replicas: i16,
        configs: &[(&str, &str)],
    ) -> (i16, String) {
        eventually("an answer to the creation of a topic", WITHIN, || {
            let address = self.broker_address(self.any_broker());
            let shape = (partitions, replicas);
            let answer = create_topic_at(address, WITHIN, name, shape, configs).ok()?;
            (!RETRIABLE.contains(&answer.0)).then_some(answer)
        })
    }

    /// A topic's partitions as broker `id` knows them, by number; nothing where it does not know the topic or does not
    /// answer.
    #[must_use]
    pub fn describe_by(&self, id: u16, topic: &str) -> Option<Vec<PartitionState>> {
        describe_topic(self.broker_address(id), topic)
    }

    /// Waits until every broker that is up shows a partition of which `holds` is true, and returns it as the last one
    /// showed it. `what` is for the message.
    ///
    /// # Panics
    /// When that does not come.
    pub fn await_partition(
        &self,
        (topic, partition): (&str, i32),
        what: &str,
        holds: impl Fn(&PartitionState) -> bool,
    ) -> PartitionState {
        let mut last = None;
        let found = poll(WITHIN, || {
            for id in self.brokers_up() {
                let states = self.describe_by(id, topic)?;
                last = states.into_iter().find(|state| state.partition == partition);
                last.as_ref().filter(|state| holds(state))?;
            }
            last.clone()
        });
        found.unwrap_or_else(|| panic!("{topic}-{partition}: not {what}, but {last:?}"))
    }

    /// Who leads a partition, as soon as every broker that is up says the same.
    ///
    /// # Panics
    /// When nobody does for long.
    #[must_use]
    pub fn leader_of(&self, topic: &str, partition: i32) -> u16 {
        let state = self.await_partition((topic, partition), "a leader that is up", |state| {
            state.leader.is_some_and(|leader| self.brokers[usize::from(leader) - 1].is_up())
        });
        state.leader.expect("waited for")
    }

    /// Waits until exactly these brokers are in sync.
    ///
    /// # Panics
    /// When that does not come.
    pub fn await_isr(&self, topic: &str, partition: i32, isr: &[u16]) -> PartitionState {
        let what = format!("in sync are exactly {isr:?}");
        self.await_partition((topic, partition), &what, |state| state.isr == isr)
    }

    /// Waits until every broker that is up shows every partition of every topic led, and all its replicas in sync.
    ///
    /// # Panics
    /// When that does not come; the message names a partition.
    pub fn await_in_sync(&self) {
        self.await_in_sync_within(WITHIN);
    }

    /// As [`Self::await_in_sync`], for more than the usual.
    ///
    /// # Panics
    /// When that does not come within this time.
    pub fn await_in_sync_within(&self, within: Duration) {
        let mut why = String::new();
        let whole = poll(within, || {
            for id in self.brokers_up() {
                let response = metadata(self.broker_address(id), None)?;
                for topic in &response.topics {
                    let name = topic.name.as_deref().unwrap_or_default();
                    let lacking = topic.partitions.iter().map(PartitionState::of);
                    let lacking = lacking.into_iter().find(|state| !state.is_whole());
                    if let Some(lacking) = lacking {
                        why = format!("broker {id} shows {name}: {lacking:?}");
                        return None;
                    }
                }
            }
            Some(())
        });
        assert!(whole.is_some(), "under-replicated: {why}");
    }

    /// The active coordinator, as soon as there is one among those that are up.
    ///
    /// # Panics
    /// When nobody is for long.
    #[must_use]
    pub fn active_coordinator(&self) -> u16 {
        eventually("a coordinator is active", WITHIN, || {
            (1..).zip(&self.coordinators).filter(|(_, process)| process.is_up()).find_map(
                |(id, _)| {
                    let health = get_json(self.layout.coordinator_http(id), "/health")?;
                    (health["active"] == Value::Bool(true)).then_some(id)
                },
            )
        })
    }

    /// The member of etcd that leads, as soon as there is one among those that are up.
    ///
    /// # Panics
    /// When nobody is for long.
    #[must_use]
    pub fn etcd_leader(&self) -> u16 {
        eventually("a member of etcd leads", WITHIN, || {
            (1..).zip(&self.etcds).filter(|(_, process)| process.is_up()).find_map(|(id, _)| {
                let at = self.layout.etcd_client(id);
                let status = post_json(at, "/v3/maintenance/status", "{}")?;
                let leads = status["leader"] == status["header"]["member_id"];
                (leads && status["leader"].is_string()).then_some(id)
            })
        })
    }

    /// Waits until the store holds that many partitions, of topics that need not exist yet.
    ///
    /// # Panics
    /// When it does not for long.
    pub fn await_partition_keys(&self, count: u64) {
        let body = format!(
            r#"{{"key": "{PARTITIONS}", "range_end": "{BEHIND_PARTITIONS}", "count_only": true}}"#
        );
        eventually(&format!("{count} partitions are in the store"), WITHIN, || {
            let found = post_json(self.layout.etcd_client(1), "/v3/kv/range", &body)?;
            let found: u64 = found["count"].as_str()?.parse().ok()?;
            (count <= found).then_some(())
        });
    }

    /// Waits until the store no longer holds the claim of a broker that was killed.
    ///
    /// # Panics
    /// When it does for long, as when the broker lives.
    pub fn await_claim_lapsed(&self, id: u16) {
        // Keys of ids below nine differ in one character of their Base64.
        let key = format!("{CLAIM}{}=", char::from(b"AEIMQUYcg"[usize::from(id)]));
        let body = format!(r#"{{"key": "{key}", "count_only": true}}"#);
        eventually(&format!("the claim of broker {id} has lapsed"), WITHIN, || {
            let found = post_json(self.layout.etcd_client(1), "/v3/kv/range", &body)?;
            found["header"]["revision"].as_str()?;
            found.get("count").is_none().then_some(())
        });
    }

    /// Brokers that the test has neither ended nor paused.
    pub fn brokers_up(&self) -> impl Iterator<Item = u16> + '_ {
        self.broker_ids().filter(|id| self.brokers[usize::from(*id) - 1].is_up())
    }

    fn any_broker(&self) -> u16 {
        self.brokers_up().next().expect("a broker that is up")
    }
}
