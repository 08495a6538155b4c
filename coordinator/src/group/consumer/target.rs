//! When an assignment is computed, and from what.
//!
//! One assignment serves all changes that came since the last one. Kafka waits for
//! `group.consumer.assignment.interval.ms` (1 s) after each; here that is the longest wait, and the wait is as
//! long as the group is large: nobody notices it in a small group, and in a large one assignments take a small part
//! of the time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::image::Image;
use ottla_metadata::model::group::ConsumerMember;

use super::ConsumerGroup;
use super::assignor::{Assignor, Input, InputMember, InputTopic};
use crate::group::{Context, GroupSettings};

impl ConsumerGroup {
    /// Raises the group's epoch, once in a step unless an assignment was computed since: another is due.
    pub(super) fn bump(&mut self, cx: &Context<'_>) {
        if !self.step.bumped {
            self.step.bumped = true;
            self.step.write_meta = true;
            self.epoch += 1;
            self.changed_at = cx.now.monotonic;
        }
    }

    /// Computes an assignment if one is due and has not to wait for more changes.
    pub(super) fn assign_if_due(&mut self, cx: &Context<'_>) {
        self.assign_at = None;
        if self.epoch <= self.assignment_epoch || self.members.is_empty() {
            return;
        }
        let due = self.assigned_at.map(|last| last + self.assignment_delay(cx.settings));
        match due {
            Some(due) if cx.now.monotonic < due => self.assign_at = Some(due),
            _ => self.assign(cx),
        }
    }

    /// How long after an assignment the next one is computed.
    fn assignment_delay(&self, settings: &GroupSettings) -> Duration {
        let partitions = self.subscription.topics().map(|(_, topic)| topic.partitions);
        let partitions: usize = partitions.map(|count| usize::try_from(count).unwrap_or(0)).sum();
        let size = u32::try_from(self.members.len() + partitions).unwrap_or(u32::MAX);
        let delay = DELAY_PER_ITEM * size;
        if delay < DELAY_MIN {
            Duration::ZERO
        } else {
            delay.min(settings.consumer_assignment_interval)
        }
    }

    fn assign(&mut self, cx: &Context<'_>) {
        let assignor = self.assignor(cx.settings);
        let input = self.input(cx.image);
        let targets = assignor.assign(&input);
        for (member, target) in self.members.values_mut().zip(targets) {
            member.target = target;
        }
        self.assignment_epoch = self.epoch;
        self.assigned_at = Some(cx.now.monotonic);
        self.step.write_meta = true;
        self.step.bumped = false;
        self.count_unreconciled();
    }

    /// The assignor that most members ask for, or else the first that is configured.
    pub(super) fn assignor(&self, settings: &GroupSettings) -> Assignor {
        let mut votes = BTreeMap::<&str, usize>::new();
        for name in self.members.values().filter_map(|member| member.about.assignor.as_deref()) {
            *votes.entry(name).or_default() += 1;
        }
        let is_configured = |name: &str| settings.consumer_assignors.iter().any(|it| it == name);
        votes.retain(|name, _| is_configured(name));
        let most = votes.into_iter().max_by_key(|(_, votes)| *votes).map(|(name, _)| name);
        let first = settings.consumer_assignors.iter().find_map(|name| Assignor::by_name(name));
        most.and_then(Assignor::by_name).or(first).unwrap_or(Assignor::Uniform)
    }

    fn input(&self, image: &Image) -> Input {
        let racks = Racks::of(self, image);
        let mut index = BTreeMap::new();
        let mut topics = Vec::new();
        for (at, (name, topic)) in self.subscription.topics().enumerate() {
            index.insert(name, at);
            let racks = racks.replicas(image, topic.id);
            topics.push(InputTopic { id: topic.id, partitions: topic.partitions, racks });
        }
        let mut last: Option<(&ConsumerMember, Arc<[usize]>)> = None;
        let mut members = Vec::with_capacity(self.members.len());
        for member in self.members.values() {
            let about = &member.about;
            let same = last.as_ref().filter(|(other, _)| {
                other.topics == about.topics && other.topic_regex == about.topic_regex
            });
            let topics = same.map(|(_, topics)| Arc::clone(topics)).unwrap_or_else(|| {
                let names = self.subscription.topics_of(about);
                names.into_iter().filter_map(|name| index.get(name).copied()).collect()
            });
            last = Some((about, Arc::clone(&topics)));
            members.push(InputMember {
                id: Arc::clone(&member.id),
                instance_id: about.instance_id.clone(),
                rack: about.rack_id.as_deref().and_then(|rack| racks.index.get(rack).copied()),
                topics,
                target: Arc::clone(&member.target),
            });
        }
        Input { topics, members }
    }
}

/// The racks that members are in.
struct Racks {
    index: BTreeMap<String, u32>,
}

impl Racks {
    fn of(group: &ConsumerGroup, image: &Image) -> Self {
        let racks = group.members.values().filter_map(|member| member.about.rack_id.as_ref());
        let mut index = BTreeMap::new();
        for rack in racks {
            let next = u32::try_from(index.len()).unwrap_or(u32::MAX);
            index.entry(rack.clone()).or_insert(next);
        }
        // Where all replicas are in racks that no member knows, there is nothing to choose.
        let known = |rack: &String| index.contains_key(rack);
        if !image.brokers().any(|(_, broker)| broker.rack.as_ref().is_some_and(known)) {
            index.clear();
        }
        Self { index }
    }

    fn replicas(&self, image: &Image, topic: ottla_protocol::Uuid) -> Vec<Vec<u32>> {
        if self.index.is_empty() {
            return Vec::new();
        }
        let rack = |broker: &i32| {
            let rack = image.broker(*broker)?.rack.as_ref()?;
            self.index.get(rack).copied()
        };
        let partitions = image.partitions_of(topic);
        partitions.map(|(_, value)| value.replicas.iter().filter_map(rack).collect()).collect()
    }
}

/// What a member or a partition adds to the wait: some fifty times what it costs to assign.
const DELAY_PER_ITEM: Duration = Duration::from_micros(20);
/// Shorter waits are none.
const DELAY_MIN: Duration = Duration::from_millis(5);
