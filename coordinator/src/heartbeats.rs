//! Heartbeats of brokers: answered from memory, whether or not the store can be written, and handed to
//! the driver when it next looks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use ottla_metadata::image::Image;
use ottla_protocol::ErrorCode;
use ottla_protocol::time::Now;
use tokio::sync::Notify;

use crate::controller::liveness::Heartbeat;

/// What was last heard of a broker, whether or not the driver has seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Who.
    pub broker: i32,
    /// How far its image is.
    pub image_revision: i64,
    /// When; Unix ms.
    pub at_ms: i64,
    /// When its image last had everything that this node's had; Unix ms, -1 = never.
    pub caught_up_ms: i64,
}

/// The last heartbeat of each broker that the driver has not seen yet, and brokers whose connection broke.
///
/// Bounded by the number of brokers that the image knows.
#[derive(Debug, Default)]
pub(crate) struct Heartbeats {
    waiting: Mutex<BTreeMap<i32, (Heartbeat, Now)>>,
    heard: Mutex<BTreeMap<i32, Heard>>,
    broken: Mutex<BTreeSet<i32>>,
    arrived: Notify,
}

impl Heartbeats {
    /// Keeps a heartbeat for the driver.
    pub fn put(&self, heartbeat: Heartbeat, image: &Image, now: Now) {
        self.note(&heartbeat, image, now);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(heartbeat.broker, (heartbeat, now));
        drop(waiting);
        self.arrived.notify_one();
    }

    fn note(&self, heartbeat: &Heartbeat, image: &Image, now: Now) {
        let (broker, image_revision) = (heartbeat.broker, heartbeat.image_revision);
        let mut all = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|id, _| image.broker(*id).is_some());
        if image.broker(broker).is_none() {
            return;
        }
        let before = all.get(&broker).map_or(-1, |heard| heard.caught_up_ms);
        let caught_up_ms = if image.revision() <= image_revision { now.wall_ms } else { before };
        all.insert(broker, Heard { broker, image_revision, at_ms: now.wall_ms, caught_up_ms });
    }

    /// What was last heard of each broker, by id.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).values().copied().collect()
    }

    /// Everything that came since the last call.
    pub fn take(&self) -> Vec<(Heartbeat, Now)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting).into_values().collect()
    }

    /// A connection of this broker ended.
    pub fn put_broken(&self, broker: i32) {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).insert(broker);
        self.arrived.notify_one();
    }

    /// Brokers of which a connection ended since the last call.
    pub fn take_broken(&self) -> BTreeSet<i32> {
        std::mem::take(&mut *self.broken.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Completes when a heartbeat came or a connection ended since the last completion.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

/// What a broker is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeartbeatAnswer {
    /// Its image has seen the record of its present life.
    pub is_caught_up: bool,
    /// It is fenced, or not registered yet.
    pub is_fenced: bool,
    /// It asked to stop and leads nothing any more.
    pub should_shut_down: bool,
}

/// Answers a heartbeat from the image. A life that the image knows to be over is stale; one that the image
/// does not know yet is merely new.
pub(crate) fn answer(image: &Image, heartbeat: &Heartbeat) -> Result<HeartbeatAnswer, ErrorCode> {
    let epoch = heartbeat.broker_epoch;
    let claimed = image.claim(heartbeat.broker).map(|claim| claim.create_revision);
    let record = image.broker(heartbeat.broker);
    let registered = record.map(|record| record.broker_epoch);
    if claimed.is_some_and(|claimed| epoch < claimed)
        || registered.is_some_and(|registered| epoch < registered)
    {
        return Err(ErrorCode::StaleBrokerEpoch);
    }
    let Some(record) = record.filter(|record| record.broker_epoch == epoch) else {
        return Ok(HeartbeatAnswer {
            is_caught_up: false,
            is_fenced: true,
            should_shut_down: false,
        });
    };
    let leads = || image.partitions().any(|(_, _, partition)| partition.leader == heartbeat.broker);
    Ok(HeartbeatAnswer {
        is_caught_up: record.mod_revision <= heartbeat.image_revision,
        is_fenced: record.fenced,
        should_shut_down: heartbeat.wants_shutdown && record.draining && !leads(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::testing::{World, partition};

    fn heartbeat(broker_epoch: i64, image_revision: i64, wants_shutdown: bool) -> Heartbeat {
        let offline_log_dirs = Vec::new();
        Heartbeat { broker: 1, broker_epoch, image_revision, wants_shutdown, offline_log_dirs }
    }

    #[test]
    fn former_life_is_stale_and_an_unknown_one_merely_new() {
        let mut world = World::new();
        let epoch = world.start_broker(1);
        let stale = answer(world.image(), &heartbeat(epoch - 1, 0, false));
        assert_eq!(stale, Err(ErrorCode::StaleBrokerEpoch));
        let new = answer(world.image(), &heartbeat(epoch + 10, 0, false)).unwrap();
        assert!(new.is_fenced && !new.is_caught_up);
    }

    #[test]
    fn broker_is_caught_up_when_its_image_has_its_record() {
        let mut world = World::new();
        let epoch = world.start_broker(1);
        let behind = answer(world.image(), &heartbeat(epoch, epoch, false)).unwrap();
        assert!(!behind.is_caught_up && !behind.is_fenced);
        let there = answer(world.image(), &heartbeat(epoch, world.revision(), false)).unwrap();
        assert!(there.is_caught_up);
    }

    #[test]
    fn broker_may_stop_when_it_drained_and_leads_nothing() {
        let mut world = World::new();
        let epoch = world.start_broker(1);
        let topic = world.topic("t", &[partition(&[1], epoch)]);
        let may_stop = |world: &World| {
            answer(world.image(), &heartbeat(epoch, 0, true)).unwrap().should_shut_down
        };
        assert!(!may_stop(&world));
        world.change_broker(1, |record| record.draining = true);
        assert!(!may_stop(&world));
        let mut led_by_nobody = world.partition(topic, 0).clone();
        led_by_nobody.leader = -1;
        world.put(ottla_metadata::keys::Key::Partition(topic, 0), &led_by_nobody);
        assert!(may_stop(&world));
    }
}
