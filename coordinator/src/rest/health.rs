//! `/v1/health`: how the cluster is, and why.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use ottla_metadata::config::ConfigMap;
use ottla_metadata::image::{FeedStatus, Image};
use ottla_metadata::model::{LOST_DIR, Partition};
use serde::Serialize;

use super::partitions::is_under_replicated;
use super::state::Rest;
use crate::controller::brokers::rules_of;
use crate::controller::liveness::unsupported_features;

/// How the cluster is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct HealthView {
    /// The worst of the causes; green without any.
    status: Status,
    /// What is wrong, the worst first.
    causes: Vec<Cause>,
    /// The revision of the metadata store that this answer shows.
    revision: i64,
}

/// How good or bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// All is well.
    Green,
    /// Everything is served, with less safety than is wanted.
    Yellow,
    /// Something is not served.
    Red,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
struct Cause {
    /// How bad it is.
    status: Status,
    /// Which kind of thing, for programs.
    #[schema(example = "partitions_offline")]
    kind: &'static str,
    /// What it is, where, and what it waits for.
    detail: String,
    /// How many brokers, directories or partitions it concerns.
    count: usize,
}

impl Cause {
    fn red(kind: &'static str, count: usize, detail: String) -> Self {
        Self { status: Status::Red, kind, detail, count }
    }

    fn yellow(kind: &'static str, count: usize, detail: String) -> Self {
        Self { status: Status::Yellow, kind, detail, count }
    }
}

/// Tells how the cluster is, and why. The active coordinator also knows since when a broker is silent.
#[utoipa::path(get, path = "/v1/health", tag = "cluster",
    responses((status = 200, description = "How the cluster is, good or bad.", body = HealthView)))]
pub(super) async fn get(State(rest): State<Rest>) -> Json<HealthView> {
    let image = rest.images().load();
    let leadership = rest.admin().leadership();
    let has_active = leadership.is_me || leadership.active.is_some();
    let mut causes = of_store(&rest.images().status(), image.is_complete(), has_active);
    if image.is_complete() {
        let silence = Silence { heard_at: rest.heard_at(), now_ms: rest.now().wall_ms };
        causes.extend(of_brokers(&image, &silence));
        causes.extend(of_partitions(&image, rest.file()));
    }
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.status));
    let status = causes.first().map_or(Status::Green, |worst| worst.status);
    Json(HealthView { status, causes, revision: image.revision() })
}

/// When brokers were last heard.
#[derive(Debug, Default)]
struct Silence {
    heard_at: BTreeMap<i32, i64>,
    now_ms: i64,
}

impl Silence {
    fn of(&self, broker: i32) -> String {
        match self.heard_at.get(&broker) {
            Some(at) => {
                let seconds = self.now_ms.saturating_sub(*at).max(0) / 1000;
                format!("; it was last heard {seconds} s ago")
            }
            None => "; this coordinator has not heard it".to_owned(),
        }
    }
}

fn of_store(feed: &FeedStatus, is_complete: bool, has_active: bool) -> Vec<Cause> {
    let mut causes = Vec::new();
    if !is_complete || !feed.following {
        let why = feed.trouble.as_deref().unwrap_or("a list of it is under way");
        let detail = if is_complete {
            format!("the metadata store cannot be followed, so this may be out of date: {why}")
        } else {
            format!("the metadata has not been read yet: {why}")
        };
        causes.push(Cause::red("store_unreachable", 1, detail));
    }
    if !has_active {
        let detail = "no coordinator is active: no leader is elected and nothing can be changed";
        causes.push(Cause::red("no_controller", 1, detail.to_owned()));
    }
    causes
}

fn of_brokers(image: &Image, silence: &Silence) -> Vec<Cause> {
    let mut causes = Vec::new();
    if image.brokers().next().is_none() {
        let detail = "no broker is registered".to_owned();
        causes.push(Cause::red("no_brokers", 1, detail));
    }
    for (id, _) in image.claims().filter(|(id, _)| image.broker(*id).is_none()) {
        let detail = format!(
            "broker {id} has claimed its id and is not let in, since the active coordinator has not heard it: \
             look whether it reaches that one's inter-node listener"
        );
        causes.push(Cause::yellow("broker_unheard", 1, detail));
    }
    for (id, record) in image.brokers() {
        let unsupported = unsupported_features(image, id);
        if record.fenced && !unsupported.is_empty() {
            let detail = format!(
                "broker {id} is fenced because its version does not support {}: upgrade it",
                unsupported.join(", ")
            );
            causes.push(Cause::yellow("broker_unsupported", 1, detail));
        } else if record.fenced {
            let claim = if image.claim(id).is_some() {
                "it is claimed to be alive but does not catch up"
            } else {
                "it is down or cannot reach the metadata store"
            };
            let detail = format!("broker {id} is fenced: {claim}{}", silence.of(id));
            causes.push(Cause::yellow("broker_fenced", 1, detail));
        } else if record.draining {
            let detail = format!("broker {id} is drained: it leads nothing and is in no ISR");
            causes.push(Cause::yellow("broker_draining", 1, detail));
        }
        if !record.offline_log_dirs.is_empty() {
            let count = record.offline_log_dirs.len();
            let dirs: Vec<String> =
                record.offline_log_dirs.iter().map(|it| it.to_string()).collect();
            let detail = format!(
                "{count} of {} log directories of broker {id} failed: {}; replace the disk and restart it",
                record.log_dirs.len(),
                dirs.join(", ")
            );
            causes.push(Cause::yellow("log_dir_offline", count, detail));
        }
    }
    causes
}

/// Partitions in a bad state, with one of them as an example.
#[derive(Debug, Default)]
struct Group {
    count: usize,
    example: String,
    why: String,
}

impl Group {
    fn add(&mut self, topic: &str, number: i32, why: impl FnOnce() -> String) {
        self.count += 1;
        if self.count == 1 {
            self.example = format!("{topic}-{number}");
            self.why = why();
        }
    }

    fn cause(self, make: Maker, kind: &'static str, state: &str) -> Option<Cause> {
        let Self { count, example, why } = self;
        let partitions = match count {
            0 => return None,
            1 => format!("partition {example} {}", state.replace("have", "has")),
            _ => format!("{count} partitions, {example} among them, {state}"),
        };
        Some(make(kind, count, format!("{partitions}: {why}")))
    }
}

type Maker = fn(&'static str, usize, String) -> Cause;

fn of_partitions(image: &Image, file: &ConfigMap) -> Vec<Cause> {
    let [mut offline, mut short, mut under, mut recovering, mut lost] = <[Group; 5]>::default();
    for topic in image.topics() {
        let rules = rules_of(image, file, topic);
        for (number, partition) in image.partitions_of(topic.id) {
            let min = rules.min_isr_of(partition);
            if partition.leader().is_none() {
                offline.add(&topic.name, number, || waits_for(image, partition));
            } else if partition.isr.len() < min {
                let in_sync = partition.isr.len();
                short.add(&topic.name, number, || {
                    let missing = missing(image, partition);
                    format!("{in_sync} of {min} needed; {missing}; acks=all is refused there")
                });
            } else if is_under_replicated(partition) {
                under.add(&topic.name, number, || missing(image, partition));
            }
            if let Some(broker) = with_lost_log(partition) {
                lost.add(&topic.name, number, || {
                    format!("the log of broker {broker} says why; mend or remove its folder, and restart it")
                });
            }
            if partition.recovering {
                recovering.add(&topic.name, number, || "records may be missing".to_owned());
            }
        }
    }
    let causes = [
        offline.cause(Cause::red, "partitions_offline", "have no leader"),
        short.cause(Cause::red, "partitions_under_min_isr", "have too few replicas in sync"),
        under.cause(Cause::yellow, "partitions_under_replicated", "have replicas out of sync"),
        recovering.cause(
            Cause::yellow,
            "partitions_recovering",
            "have a leader that was not in sync when it was elected",
        ),
        lost.cause(Cause::yellow, "logs_unusable", "have a replica whose log cannot be opened"),
    ];
    causes.into_iter().flatten().collect()
}

/// A replica whose log cannot be opened, if there is one.
fn with_lost_log(partition: &Partition) -> Option<i32> {
    partition.replicas.iter().copied().find(|id| partition.log_dir_of(*id) == LOST_DIR)
}

/// Who could lead a partition that nobody leads.
fn waits_for(image: &Image, partition: &Partition) -> String {
    let safe: Vec<i32> = partition.isr.iter().chain(&partition.elr).copied().collect();
    if !safe.is_empty() {
        return format!("all of its records are only on {}", states(image, &safe));
    }
    if !partition.last_known_elr.is_empty() {
        let known = states(image, &partition.last_known_elr);
        return format!(
            "{known} had all of its records last, but may have lost some; an unclean election would accept \
             that"
        );
    }
    format!("its replicas are on {}", states(image, &partition.replicas))
}

/// Replicas that are not in sync.
fn missing(image: &Image, partition: &Partition) -> String {
    let is_missing = |id: &i32| !partition.isr.contains(id) && !partition.adding.contains(id);
    let missing: Vec<i32> = partition.replicas.iter().copied().filter(is_missing).collect();
    format!("{} is not in sync", states(image, &missing))
}

/// Brokers with what they do, as far as that says why they do not serve.
fn states(image: &Image, brokers: &[i32]) -> String {
    let state = |id: &i32| {
        let state = match image.broker(*id) {
            None => "not registered",
            Some(record) if record.fenced => "fenced",
            Some(record) if record.draining => "drained",
            Some(record) if !record.offline_log_dirs.is_empty() => "with a failed log directory",
            Some(_) => "active",
        };
        format!("broker {id} ({state})")
    };
    brokers.iter().map(state).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::testing::{World, partition};

    fn kinds(causes: &[Cause]) -> Vec<(Status, &'static str, usize)> {
        causes.iter().map(|cause| (cause.status, cause.kind, cause.count)).collect()
    }

    #[test]
    fn healthy_cluster_has_no_causes() {
        let mut world = World::new();
        let epoch = world.start_broker(1);
        world.topic("t", &[partition(&[1], epoch)]);
        assert_eq!(of_brokers(world.image(), &Silence::default()), []);
        assert_eq!(of_partitions(world.image(), &ConfigMap::new()), []);
    }

    #[test]
    fn partitions_say_whom_they_wait_for() {
        let mut world = World::new();
        let epoch = world.start_broker(1);
        world.start_broker(2);
        world.change_broker(2, |record| record.fenced = true);
        let mut offline = partition(&[2], epoch);
        offline.leader = -1;
        offline.isr.clear();
        offline.elr = vec![2];
        let mut under = partition(&[1, 2], epoch);
        under.isr = vec![1];
        world.topic("t", &[offline.clone(), offline, under]);
        let causes = of_partitions(world.image(), &ConfigMap::new());
        let expected = [
            (Status::Red, "partitions_offline", 2),
            (Status::Yellow, "partitions_under_replicated", 1),
        ];
        assert_eq!(kinds(&causes), expected);
        assert_eq!(
            causes[0].detail,
            "2 partitions, t-0 among them, have no leader: all of its records are only on broker 2 (fenced)"
        );
        assert_eq!(
            causes[1].detail,
            "partition t-2 has replicas out of sync: broker 2 (fenced) is not in sync"
        );
        let mut lost = partition(&[1, 2], epoch);
        lost.isr = vec![1];
        lost.set_log_dirs(vec![ottla_protocol::Uuid::ZERO, LOST_DIR]);
        world.topic("u", &[lost]);
        let causes = of_partitions(world.image(), &ConfigMap::new());
        let unusable = causes.iter().find(|cause| cause.kind == "logs_unusable").unwrap();
        assert!(unusable.detail.contains("the log of broker 2"), "{unusable:?}");
        world.configure("t", "min.insync.replicas", "2");
        let causes = of_partitions(world.image(), &ConfigMap::new());
        assert_eq!(causes[1].kind, "partitions_under_min_isr");
        assert_eq!(causes[1].status, Status::Red);
    }

    #[test]
    fn brokers_say_what_is_wrong_with_them() {
        let mut world = World::new();
        for id in 1..=3 {
            world.start_broker(id);
        }
        world.unclaim(1);
        world.change_broker(1, |record| record.fenced = true);
        world.change_broker(2, |record| record.draining = true);
        world.change_broker(3, |record| record.offline_log_dirs = record.log_dirs.clone());
        world.claim(4, ottla_metadata::model::PreviousLife::None);
        let silence = Silence { heard_at: BTreeMap::from([(1, 2_000)]), now_ms: 14_500 };
        let causes = of_brokers(world.image(), &silence);
        let expected = ["broker_unheard", "broker_fenced", "broker_draining", "log_dir_offline"];
        assert_eq!(causes.iter().map(|cause| cause.kind).collect::<Vec<_>>(), expected);
        assert!(causes[1].detail.ends_with("it was last heard 12 s ago"), "{:?}", causes[1]);
    }

    #[test]
    fn store_that_cannot_be_followed_is_named() {
        let trouble = Some("connection refused".to_owned());
        let feed = FeedStatus { trouble, ..FeedStatus::default() };
        let causes = of_store(&feed, true, false);
        assert_eq!(
            causes.iter().map(|it| it.kind).collect::<Vec<_>>(),
            ["store_unreachable", "no_controller"]
        );
        assert!(causes[0].detail.ends_with("connection refused"));
        let well = FeedStatus { following: true, ..FeedStatus::default() };
        assert_eq!(of_store(&well, true, true), []);
    }
}
