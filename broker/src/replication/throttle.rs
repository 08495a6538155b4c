//! `follower.replication.throttled.rate`: how fast replicas may catch up that are to be throttled.

use std::time::Duration;

use ottla_metadata::image::Image;
use ottla_metadata::keys::ConfigResource;
use ottla_protocol::types::BrokerId;

use super::Key;

/// Bytes per second that all throttled replicas of this broker may fetch together.
///
/// A bucket that may go below zero: what was fetched cannot be sent back, so the next fetch waits instead.
#[derive(Debug)]
pub(super) struct Throttle {
    broker: BrokerId,
    /// From the node's file.
    rate_of_file: i64,
    /// Bytes fetched ahead of the rate.
    debt: f64,
    at: Duration,
}

const RATE: &str = "follower.replication.throttled.rate";
const REPLICAS: &str = "follower.replication.throttled.replicas";
/// Bytes that may be fetched at once after a pause, in time at the full rate; as long as Kafka's quota window.
const BURST: f64 = 1.0;

impl Throttle {
    /// For `broker`, whose file says `rate_of_file`.
    pub fn new(broker: BrokerId, rate_of_file: i64) -> Self {
        Self { broker, rate_of_file, debt: 0.0, at: Duration::ZERO }
    }

    /// Notes that a replica which is not in sync fetched `bytes`. Returns until when it has to wait.
    pub fn take(&mut self, image: &Image, key: Key, bytes: u64, now: Duration) -> Option<Duration> {
        let rate = self.rate(image);
        if rate == i64::MAX || !self.is_throttled(image, key) {
            return None;
        }
        self.spend(rate.max(1) as f64, bytes, now)
    }

    fn spend(&mut self, rate: f64, bytes: u64, now: Duration) -> Option<Duration> {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = now;
        self.debt = (self.debt - rate * passed).max(-rate * BURST) + bytes as f64;
        (0.0 < self.debt).then(|| now + Duration::from_secs_f64((self.debt / rate).min(PAUSE_MAX)))
    }

    fn rate(&self, image: &Image) -> i64 {
        let of = |resource: ConfigResource| {
            let entry = image.config(&resource)?;
            entry.configs.get(RATE)?.parse::<i64>().ok()
        };
        of(ConfigResource::Broker(self.broker.0))
            .or_else(|| of(ConfigResource::BrokerDefault))
            .unwrap_or(self.rate_of_file)
    }

    fn is_throttled(&self, image: &Image, (topic_id, partition): Key) -> bool {
        let Some(topic) = image.topic_by_id(topic_id) else { return false };
        let Some(list) = topic.configs.get(REPLICAS) else { return false };
        names(list, partition, self.broker)
    }
}

/// Whether a list of `partition:broker` pairs, or `*`, names this replica.
fn names(list: &str, partition: i32, broker: BrokerId) -> bool {
    list.split(',').map(str::trim).any(|item| match item.split_once(':') {
        Some((index, id)) => index.parse() == Ok(partition) && id.parse() == Ok(broker.0),
        None => item == "*",
    })
}

/// Seconds after which a rate that was raised meanwhile is looked at again.
const PAUSE_MAX: f64 = 5.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_named_by_partition_and_broker_or_all_at_once() {
        let named = |list| names(list, 3, BrokerId(1));
        assert!(named("*"));
        assert!(named("0:2, 3:1"));
        assert!(!named("3:2,1:3"));
        assert!(!named(""));
    }

    #[test]
    fn what_was_fetched_too_fast_is_waited_for() {
        let mut throttle = Throttle::new(BrokerId(1), i64::MAX);
        let at = Duration::from_secs;
        assert_eq!(throttle.spend(1000.0, 500, at(10)), None, "within the first second's burst");
        assert_eq!(throttle.spend(1000.0, 2500, at(10)), Some(at(12)));
        assert_eq!(throttle.spend(1000.0, 1000, at(12)), Some(at(13)));
        assert_eq!(throttle.spend(1000.0, 900, at(20)), None);
    }
}
