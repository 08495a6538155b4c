//! How fast replicas may catch up that are to be throttled: `follower.replication.throttled.rate` where
//! they are, `leader.replication.throttled.rate` where they fetch from.
//!
//! As in Kafka, whoever is in sync waits for nothing, but what it moves counts: the rate is that of all throttled replicas
//! together, and those that catch up get what is left of it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ottla_metadata::image::Image;
use ottla_metadata::keys::ConfigResource;
use ottla_protocol::types::BrokerId;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::Key;

/// Bytes per second that all throttled replicas of one side of this broker may move together.
#[derive(Debug)]
pub struct Throttle {
    side: Side,
    broker: BrokerId,
    /// From the node's file.
    rate_of_file: i64,
    meter: Mutex<Meter>,
    figures: ThrottleFigures,
}

/// Which end of replication is slowed down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What this broker sends to followers.
    Leader,
    /// What this broker fetches.
    Follower,
}

/// What a throttle counts.
#[derive(Debug, Clone, Default)]
pub struct ThrottleFigures {
    /// Bytes of records of replicas that are to be throttled, in sync or not.
    pub bytes: Counter,
    /// How often such a replica had to wait.
    pub waits: Counter,
}

impl ThrottleFigures {
    /// Has them shown, under the name that Kafka has for this end of replication.
    pub fn register(&self, registry: &mut Registry, side: Side) {
        let name = match side {
            Side::Leader => "kafka_server_leaderreplication",
            Side::Follower => "kafka_server_followerreplication",
        };
        let help = "Bytes of records of throttled replicas";
        registry.register(format!("{name}_throttledbytes"), help, self.bytes.clone());
        let help = "How often a replica that catches up had to wait because of its throttle";
        registry.register(format!("{name}_throttledwaits"), help, self.waits.clone());
    }
}

/// A bucket that may go below zero: what was moved cannot be taken back, so the next has to wait instead.
#[derive(Debug, Default)]
struct Meter {
    /// Bytes moved ahead of the rate.
    debt: f64,
    at: Duration,
    /// When the log may say again that somebody waits.
    silent_until: Duration,
}

/// Bytes that may be moved at once after a pause, in seconds at the full rate; as long as Kafka's quota window.
const BURST: f64 = 1.0;
/// Seconds after which a rate that was raised meanwhile is looked at again.
const PAUSE_MAX: f64 = 5.0;
/// What those in sync move ahead of the rate delays others by so many seconds at most, as in Kafka, whose quota forgets what
/// is longer ago. Else they would wait for long after a busy time that they had no part in.
const FOREIGN_DEBT_MAX: f64 = 10.0;
/// Time from one message in the log to the next.
const SILENCE: Duration = Duration::from_secs(60);

impl Throttle {
    /// For `broker`, whose file says `rate_of_file`.
    pub fn new(side: Side, broker: BrokerId, rate_of_file: i64, figures: ThrottleFigures) -> Self {
        Self { side, broker, rate_of_file, meter: Mutex::default(), figures }
    }

    /// Bytes per second that are allowed now, `None` without a limit.
    pub fn rate(&self, image: &Image) -> Option<i64> {
        let of = |resource: ConfigResource| {
            let entry = image.config(&resource)?;
            entry.configs.get(self.side.rate())?.parse::<i64>().ok()
        };
        let rate = of(ConfigResource::Broker(self.broker.0))
            .or_else(|| of(ConfigResource::BrokerDefault))
            .unwrap_or(self.rate_of_file);
        (rate != i64::MAX).then_some(rate.max(1))
    }

    /// Whether the topic says that this broker's end of the partition is to be throttled.
    pub fn is_throttled(&self, image: &Image, (topic_id, partition): Key) -> bool {
        let Some(topic) = image.topic_by_id(topic_id) else { return false };
        let Some(list) = topic.configs.get(self.side.replicas()) else { return false };
        names(list, partition, self.broker)
    }

    /// Notes that replicas which are to be throttled and are in sync moved `bytes`: nobody waits for that, but who catches
    /// up.
    pub fn count(&self, rate: i64, bytes: u64, now: Duration) {
        self.figures.bytes.inc_by(bytes);
        self.meter().count(rate as f64, bytes, now);
    }

    /// Notes that replicas which are to be throttled and catch up moved `bytes`. Returns until when the next has to wait.
    pub fn spend(&self, rate: i64, bytes: u64, now: Duration) -> Option<Duration> {
        self.figures.bytes.inc_by(bytes);
        self.meter().spend(rate as f64, bytes, now)
    }

    /// Whether more was moved than `rate` allows until `now`.
    pub fn is_exceeded(&self, rate: i64, now: Duration) -> bool {
        self.meter().spend(rate as f64, 0, now).is_some()
    }

    /// Notes that a replica has to wait; the log says so now and then.
    pub fn note_wait(&self, rate: i64, now: Duration) {
        self.figures.waits.inc();
        if self.meter().may_speak(now) {
            let config = self.side.rate();
            tracing::info!(rate, "replicas that catch up are slowed down to {config}");
        }
    }

    fn meter(&self) -> std::sync::MutexGuard<'_, Meter> {
        // Numbers only: a panic elsewhere leaves nothing half done.
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Side {
    const fn rate(self) -> &'static str {
        match self {
            Self::Leader => "leader.replication.throttled.rate",
            Self::Follower => "follower.replication.throttled.rate",
        }
    }

    const fn replicas(self) -> &'static str {
        match self {
            Self::Leader => "leader.replication.throttled.replicas",
            Self::Follower => "follower.replication.throttled.replicas",
        }
    }
}

impl Meter {
    fn pay(&mut self, rate: f64, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.debt = (self.debt - rate * passed).max(-rate * BURST);
    }

    fn count(&mut self, rate: f64, bytes: u64, now: Duration) {
        self.pay(rate, now);
        let most = self.debt.max(rate * FOREIGN_DEBT_MAX);
        self.debt = (self.debt + bytes as f64).min(most);
    }

    fn spend(&mut self, rate: f64, bytes: u64, now: Duration) -> Option<Duration> {
        self.pay(rate, now);
        self.debt += bytes as f64;
        (0.0 < self.debt).then(|| now + Duration::from_secs_f64((self.debt / rate).min(PAUSE_MAX)))
    }

    fn may_speak(&mut self, now: Duration) -> bool {
        let may_speak = self.silent_until <= now;
        if may_speak {
            self.silent_until = now + SILENCE;
        }
        may_speak
    }
}

/// Whether a list of `partition:broker` pairs, or `*`, names this replica.
fn names(list: &str, partition: i32, broker: BrokerId) -> bool {
    list.split(',').map(str::trim).any(|item| match item.split_once(':') {
        Some((index, id)) => index.parse() == Ok(partition) && id.parse() == Ok(broker.0),
        None => item == "*",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn replicas_are_named_by_partition_and_broker_or_all_at_once() {
        let named = |list| names(list, 3, BrokerId(1));
        assert!(named("*"));
        assert!(named("0:2, 3:1"));
        assert!(!named("3:2,1:3"));
        assert!(!named(""));
    }

    #[test]
    fn what_was_moved_too_fast_is_waited_for() {
        let mut meter = Meter::default();
        assert_eq!(meter.spend(1000.0, 500, at(10)), None, "within the first second's burst");
        assert_eq!(meter.spend(1000.0, 2500, at(10)), Some(at(12)));
        assert_eq!(meter.spend(1000.0, 1000, at(12)), Some(at(13)));
        assert_eq!(meter.spend(1000.0, 900, at(20)), None);
    }

    #[test]
    fn asking_moves_nothing_and_time_that_seems_to_go_back_is_not_counted_twice() {
        let figures = ThrottleFigures::default();
        let throttle = Throttle::new(Side::Leader, BrokerId(1), i64::MAX, figures.clone());
        assert_eq!(throttle.spend(1000, 3000, at(10)), Some(at(12)));
        assert!(throttle.is_exceeded(1000, at(11)));
        assert!(throttle.is_exceeded(1000, at(9)));
        assert!(throttle.is_exceeded(1000, at(11)));
        assert!(!throttle.is_exceeded(1000, at(12)));
        assert_eq!(figures.bytes.get(), 3000);
    }

    #[test]
    fn what_those_in_sync_move_is_waited_for_but_not_for_ever() {
        let mut meter = Meter::default();
        meter.count(1000.0, 1000, at(10));
        assert_eq!(meter.spend(1000.0, 500, at(10)), Some(at(10) + Duration::from_millis(500)));
        meter.count(1000.0, 1_000_000, at(20));
        assert!(meter.spend(1000.0, 0, at(29)).is_some());
        assert_eq!(meter.spend(1000.0, 0, at(30)), None);
        // What was spent beyond that is not forgiven by it.
        meter.spend(1000.0, 60_000, at(30));
        meter.count(1000.0, 1000, at(30));
        assert!(meter.spend(1000.0, 0, at(80)).is_some());
    }

    #[test]
    fn log_is_not_flooded() {
        let mut meter = Meter::default();
        let spoken = [0, 1, 59, 60, 61].map(|seconds| meter.may_speak(at(seconds)));
        assert_eq!(spoken, [true, false, false, true, false]);
    }
}
