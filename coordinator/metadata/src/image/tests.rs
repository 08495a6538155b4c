//! The feed against a model: a store that changes, compacts, breaks watches and loses pages while an image
//! is fed from it must end in the image of the store, and never show anything else.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::Uuid;
use proptest::prelude::*;

use super::feed::{Effect, Fault, Feed, Input};
use super::picture::Image;
use crate::keys::{ConfigResource, Key, KeySpace};
use crate::model::{Cluster, ConfigEntry, DeletedTopic, Partition, Recovery, Rest, Topic, encode};
use crate::store::embedded::{Core, WatchId};
use crate::store::{
    Event, GuardedWrite, KeyRange, KeyValue, Outcome, RangeRequest, StoreError, WatchItem,
};

const NOW: Duration = Duration::ZERO;

#[derive(Debug, Clone)]
enum Step {
    /// Writes a partition of a topic, or a config.
    Partition(u8, i32),
    Config(u8),
    /// Creates a topic with so many partitions, or grows it.
    Topic(u8, i32),
    /// Moves the topic to the deleted ones.
    DeleteTopic(u8),
    /// Removes what a deleted topic left.
    Collect(u8),
    /// Writes what no image has.
    Elsewhere,
    Compact,
    BreakWatch,
    LosePage,
    LoseOpening,
    /// Lets the feed do some of its IO.
    Feed(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let topic = 0..4u8;
    prop_oneof![
        4 => (topic.clone(), 0..5).prop_map(|(t, p)| Step::Partition(t, p)),
        2 => (0..3u8).prop_map(Step::Config),
        3 => (topic.clone(), 1..5).prop_map(|(t, n)| Step::Topic(t, n)),
        2 => topic.clone().prop_map(Step::DeleteTopic),
        1 => topic.prop_map(Step::Collect),
        1 => Just(Step::Elsewhere),
        1 => Just(Step::Compact),
        1 => Just(Step::BreakWatch),
        1 => Just(Step::LosePage),
        1 => Just(Step::LoseOpening),
        8 => (1..6u8).prop_map(Step::Feed),
    ]
}

/// A store, and a feed whose IO happens when the test says so.
struct World {
    core: Core,
    keys: KeySpace,
    feed: Feed,
    ordered: bool,
    effects: Vec<Effect>,
    page: Option<RangeRequest>,
    opening: Option<i64>,
    watch: Option<WatchId>,
    shown: Arc<Image>,
    /// What the store held at each revision.
    past: BTreeMap<i64, Image>,
    counter: i32,
    lose_page: bool,
    lose_opening: bool,
}

impl World {
    fn new(ordered: bool) -> Self {
        let keys = KeySpace::default();
        let mut world = Self {
            core: Core::in_memory(9),
            feed: Feed::new(keys.clone(), 3, None, 0),
            keys,
            ordered,
            effects: Vec::new(),
            page: None,
            opening: None,
            watch: None,
            shown: Arc::default(),
            past: BTreeMap::new(),
            counter: 0,
            lose_page: false,
            lose_opening: false,
        };
        world.remember();
        world.feed.start(&mut world.effects);
        world
    }

    fn remember(&mut self) {
        let image = self.truth();
        self.past.insert(image.revision(), image);
    }

    /// The image of the store as it is.
    fn truth(&self) -> Image {
        let mut page = self.core.range(&RangeRequest::newest(self.keys.image())).unwrap();
        assert!(!page.more);
        page.items.sort_by(|a, b| a.key.cmp(&b.key));
        Image::from_items(&self.keys, &page).unwrap()
    }

    fn write(&mut self, write: &GuardedWrite) {
        self.commit(write);
        self.remember();
    }

    fn commit(&mut self, write: &GuardedWrite) {
        let outcome = self.core.txn(write, NOW).unwrap();
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
    }

    fn topic(&self, topic: u8) -> Option<Topic> {
        let image = self.truth();
        image.topic(&format!("t{topic}")).map(|topic| topic.value.clone())
    }

    fn step(&mut self, step: &Step) {
        self.counter += 1;
        let counter = self.counter;
        match step {
            Step::Partition(topic, number) => {
                let id = self.topic(*topic).map_or(id(*topic, 0), |topic| topic.id);
                let key = self.keys.format(&Key::Partition(id, *number));
                self.write(&GuardedWrite::new().put(key, encode(&partition(counter))));
            }
            Step::Config(broker) => {
                let key = self.keys.format(&Key::Config(ConfigResource::Broker((*broker).into())));
                let configs = [("a".to_owned(), counter.to_string())].into();
                let entry = ConfigEntry { configs, rest: Rest::new() };
                self.write(&GuardedWrite::new().put(key, encode(&entry)));
            }
            Step::Topic(topic, partitions) => self.create_or_grow(*topic, *partitions),
            Step::DeleteTopic(topic) => {
                let Some(found) = self.topic(*topic) else { return };
                let name = found.name.clone();
                let (key, deleted) = (Key::Topic(name), Key::Deleted(found.id));
                let value = DeletedTopic {
                    id: found.id,
                    name: found.name,
                    partitions: found.partitions,
                    deleted_at_ms: 0,
                    rest: Rest::new(),
                };
                let write = GuardedWrite::new()
                    .delete(KeyRange::key(self.keys.format(&key)))
                    .put(self.keys.format(&deleted), encode(&value));
                self.write(&write);
            }
            Step::Collect(topic) => {
                let deleted: Vec<Uuid> = self.truth().deleted().map(|(id, _)| id).collect();
                let Some(id) = deleted.get(usize::from(*topic)) else { return };
                let write = GuardedWrite::new()
                    .delete(self.keys.partitions_of(*id))
                    .delete(KeyRange::key(self.keys.format(&Key::Deleted(*id))));
                self.write(&write);
            }
            Step::Elsewhere => self.write(&GuardedWrite::new().put("/ottla-shards/1/head", "x")),
            Step::Compact => {
                let revision = self.core.status().unwrap().revision;
                self.core.compact(revision, NOW).unwrap();
            }
            Step::BreakWatch => self.core.break_watches(),
            Step::LosePage => self.lose_page = true,
            Step::LoseOpening => self.lose_opening = true,
            Step::Feed(times) => (0..*times).for_each(|_| {
                self.feed_once();
            }),
        }
    }

    fn create_or_grow(&mut self, topic: u8, partitions: i32) {
        let counter = self.counter;
        let value = match self.topic(topic) {
            Some(found) => Topic { partitions: partitions.max(found.partitions), ..found },
            None => Topic {
                id: id(topic, counter),
                name: format!("t{topic}"),
                partitions,
                configs: BTreeMap::new(),
                internal: false,
                rest: Rest::new(),
            },
        };
        let mut write = GuardedWrite::new();
        for number in 0..value.partitions {
            let key = self.keys.format(&Key::Partition(value.id, number));
            write = write.put(key, encode(&partition(counter)));
        }
        let key = self.keys.format(&Key::Topic(value.name.clone()));
        self.write(&write.put(key, encode(&value)));
    }

    /// Performs the feed's effects, then one piece of IO. True if there was any.
    fn feed_once(&mut self) -> bool {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::List(request, _) => self.page = Some(request),
                Effect::Watch(from, _) => {
                    self.drop_watch();
                    self.opening = Some(from);
                }
                Effect::DropWatch => {
                    self.drop_watch();
                    self.opening = None;
                }
                Effect::RequestProgress => {}
                Effect::Publish(image) => self.publish(image),
            }
        }
        let Some(input) = self.io() else { return false };
        self.feed.handle(input, &mut self.effects).unwrap();
        true
    }

    fn io(&mut self) -> Option<Input> {
        let unavailable = || StoreError::Unavailable { reason: "lost".into() };
        if let Some(from) = self.opening.take() {
            if std::mem::take(&mut self.lose_opening) {
                return Some(Input::Watching(Err(unavailable())));
            }
            self.watch = Some(self.core.watch(self.keys.image(), from).unwrap());
            return Some(Input::Watching(Ok(self.ordered)));
        }
        // Watch and list take turns, as the counter happens to be.
        if self.counter % 2 == 0
            && let Some(item) = self.watch_item()
        {
            return Some(Input::Item(item));
        }
        if let Some(request) = self.page.take() {
            if std::mem::take(&mut self.lose_page) {
                return Some(Input::Page(Err(unavailable())));
            }
            return Some(Input::Page(self.core.range(&request)));
        }
        self.watch_item().map(Input::Item)
    }

    fn watch_item(&mut self) -> Option<WatchItem> {
        let watch = self.watch?;
        if self.ordered && self.feed.wants_progress() {
            self.core.request_progress(watch);
        }
        let item = self.core.poll_watch(watch)?;
        if !matches!(item, WatchItem::Batch(_)) {
            self.watch = None;
        }
        Some(item)
    }

    fn drop_watch(&mut self) {
        if let Some(watch) = self.watch.take() {
            self.core.unwatch(watch);
        }
    }

    /// Every image that is shown is the store at its revision, and none is older than the one before.
    fn publish(&mut self, image: Arc<Image>) {
        assert!(self.shown.revision() <= image.revision());
        let at = self.past.range(..=image.revision()).next_back().unwrap().1;
        let mut then = at.clone();
        then.revision = image.revision;
        assert_eq!(*image, then);
        let diff = image.diff(&self.shown);
        assert_eq!(diff.is_empty(), self.shown.diff(&image).is_empty());
        self.shown = image;
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            self.counter += 1;
            if !self.feed_once() && self.effects.is_empty() {
                break;
            }
        }
        assert!(self.feed.is_following(), "{:?}", self.feed);
        let mut truth = self.truth();
        // What happened elsewhere need not be known.
        truth.revision = self.shown.revision;
        assert_eq!(*self.shown, truth);
        assert_eq!(self.feed.trouble(), None);
    }
}

fn id(topic: u8, life: i32) -> Uuid {
    let mut bytes = [topic; 16];
    bytes[..4].copy_from_slice(&life.to_be_bytes());
    Uuid::from_bytes(bytes)
}

fn partition(epoch: i32) -> Partition {
    Partition {
        replicas: vec![1],
        log_dirs: vec![],
        adding: vec![],
        removing: vec![],
        isr: vec![1],
        elr: vec![],
        last_known_elr: vec![],
        leader: 1,
        leader_epoch: epoch,
        leader_broker_epoch: 7,
        recovering: false,
        rest: Rest::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn image_is_always_a_state_of_the_store(
        ordered in any::<bool>(),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut world = World::new(ordered);
        for step in &steps {
            world.step(step);
        }
        world.settle();
    }
}

#[test]
fn partition_exists_only_below_its_topics_count() {
    let mut world = World::new(true);
    let topic = id(1, 1);
    let key = world.keys.format(&Key::Partition(topic, 0));
    world.write(&GuardedWrite::new().put(key, encode(&partition(0))));
    world.settle();
    assert!(world.shown.partition(topic, 0).is_none());
    assert_eq!(world.shown.stored_partitions_of(topic).count(), 1);
    let before = world.shown.clone();

    world.counter = 0;
    world.step(&Step::Topic(1, 2));
    for prepared in [2, 3] {
        let key = world.keys.format(&Key::Partition(topic, prepared));
        world.write(&GuardedWrite::new().put(key, encode(&partition(0))));
    }
    world.settle();
    let numbers = |image: &Image| image.partitions_of(topic).map(|(n, _)| n).collect::<Vec<_>>();
    assert_eq!(numbers(&world.shown), [0, 1]);
    assert_eq!(world.shown.partitions().count(), 2);
    assert!(world.shown.partition(topic, 2).is_none());
    let diff = world.shown.diff(&before);
    assert_eq!(diff.partitions, [(topic, 0), (topic, 1)].into());

    // Growing changes no partition key, but two partitions come into being.
    let before = world.shown.clone();
    let topic_key = world.keys.format(&Key::Topic("t1".into()));
    let grown = Topic { partitions: 4, ..world.topic(1).unwrap() };
    world.write(&GuardedWrite::new().put(&topic_key, encode(&grown)));
    world.settle();
    assert_eq!(world.shown.diff(&before).partitions, [(topic, 2), (topic, 3)].into());
    let before = world.shown.clone();
    world.write(&GuardedWrite::new().delete(KeyRange::key(&topic_key)));
    world.settle();
    assert_eq!(numbers(&world.shown), [] as [i32; 0]);
    assert_eq!(world.shown.diff(&before).partitions.len(), 4);
}

#[test]
fn topic_of_the_same_name_replaces_the_former_one() {
    let mut world = World::new(true);
    world.step(&Step::Topic(1, 1));
    world.settle();
    let former = world.topic(1).unwrap();
    let again = Topic { id: id(1, 99), ..former.clone() };
    let key = world.keys.format(&Key::Topic("t1".into()));
    world.write(&GuardedWrite::new().put(key, encode(&again)));
    world.settle();
    assert_eq!(world.shown.topic("t1").unwrap().value, again);
    assert!(world.shown.topic_by_id(former.id).is_none());
    assert!(world.shown.topic_by_id(again.id).is_some());
}

#[test]
fn newer_value_stops_the_feed_and_a_broken_one_keeps_the_old_image() {
    let mut world = World::new(true);
    world.step(&Step::Topic(1, 1));
    world.settle();
    let good = world.shown.clone();

    let key = world.keys.format(&Key::Topic("t2".into()));
    world.commit(&GuardedWrite::new().put(&key, "{garbage"));
    for _ in 0..20 {
        world.feed_once();
    }
    assert_eq!(world.shown, good);
    assert!(world.feed.trouble().unwrap().contains(&key), "{:?}", world.feed.trouble());
    world.commit(&GuardedWrite::new().delete(KeyRange::key(&key)));
    world.remember();
    world.settle();

    world.commit(&GuardedWrite::new().put(&key, r#"{"v":2}"#));
    let mut inputs = VecDeque::new();
    while let Some(input) = world.io() {
        inputs.push_back(input);
    }
    let faults =
        inputs.into_iter().filter_map(|input| world.feed.handle(input, &mut world.effects).err());
    let faults: Vec<_> = faults.collect();
    assert!(matches!(faults[..], [Fault::Value(_)]), "{faults:?}");
}

/// A page travels beside the watch: what the watch delivers in the meantime may be newer than the page.
#[test]
fn page_that_the_watch_overtakes_is_no_sign_of_another_history() {
    let keys = KeySpace::default();
    let page = |revision, more| {
        let page = crate::store::Page { store_id: 1, revision, items: vec![], more };
        Input::Page(Ok(page))
    };
    let mut feed = Feed::new(keys, 3, None, 0);
    let mut out = Vec::new();
    feed.start(&mut out);
    feed.handle(page(50, true), &mut out).unwrap();
    feed.handle(Input::Watching(Ok(true)), &mut out).unwrap();
    let batch = crate::store::WatchBatch { revision: 52, events: vec![] };
    feed.handle(Input::Item(WatchItem::Batch(batch)), &mut out).unwrap();
    feed.handle(page(51, false), &mut out).unwrap();
    assert!(feed.is_following());
    let shown = out.into_iter().filter_map(|effect| match effect {
        Effect::Publish(image) => Some(image.revision()),
        _ => None,
    });
    assert_eq!(shown.collect::<Vec<_>>(), [52]);
}

#[test]
fn store_that_went_backwards_is_refused() {
    let keys = KeySpace::default();
    let page = |store_id, revision| {
        let page = crate::store::Page { store_id, revision, items: vec![], more: false };
        Input::Page(Ok(page))
    };
    for (store_id, revision, refused) in [(1, 50, false), (1, 49, true), (2, 60, true)] {
        let mut feed = Feed::new(keys.clone(), 3, Some(1), 50);
        let mut out = Vec::new();
        feed.start(&mut out);
        let result = feed.handle(page(store_id, revision), &mut out);
        assert_eq!(result.is_err(), refused, "{store_id} {revision}: {result:?}");
        if !refused {
            // A watch that breaks because the store was restored is not resumed.
            feed.handle(Input::Watching(Ok(true)), &mut out).unwrap();
            let broken = WatchItem::Broken { reason: "restored".into() };
            out.clear();
            feed.handle(Input::Item(broken), &mut out).unwrap();
            let is_resumed = out.iter().any(|effect| matches!(effect, Effect::Watch(..)));
            assert!(!is_resumed, "before the store is known to be the same: {out:?}");
            assert!(feed.handle(page(1, 49), &mut out).is_err());
        }
    }
}

fn cluster_page(store_id: u64, revision: i64, written: i64, recovery: Option<Recovery>) -> Input {
    let cluster = Cluster {
        cluster_id: "c".into(),
        format_version: 1,
        features: Default::default(),
        group_shards: 1,
        transaction_shards: 1,
        recovery,
        rest: Default::default(),
    };
    let kv = KeyValue {
        key: KeySpace::default().format(&Key::Cluster).into(),
        value: encode(&cluster),
        create_revision: 2,
        mod_revision: written,
        lease: None,
    };
    Input::Page(Ok(crate::store::Page { store_id, revision, items: vec![kv], more: false }))
}

fn mark(number: i64) -> Option<Recovery> {
    Some(Recovery { number, id: Uuid::from_bytes([number as u8; 16]) })
}

#[test]
fn store_that_is_behind_is_taken_after_a_recovery_that_was_not_known() {
    for (known, found, is_taken) in [
        (None, mark(1), true),
        (mark(1), mark(2), true),
        (mark(1), mark(1), false),
        (mark(2), mark(1), false),
        (mark(1), None, false),
    ] {
        let mut feed = Feed::new(KeySpace::default(), 3, Some(1), 500).since(known);
        let mut out = Vec::new();
        feed.start(&mut out);
        let result = feed.handle(cluster_page(9, 40, 30, found), &mut out);
        assert_eq!(result.is_ok(), is_taken, "{known:?} {found:?}");
        let is_shown = out.iter().any(|effect| matches!(effect, Effect::Publish(_)));
        assert_eq!(is_shown, is_taken, "{known:?} {found:?}");
    }
}

/// A process that stood still while the store was restored, recovered and lived on sees no revision go back.
#[test]
fn process_that_slept_through_a_recovery_does_not_go_on_with_its_image() {
    let following = || {
        let mut feed = Feed::new(KeySpace::default(), 3, None, 0);
        let mut out = Vec::new();
        feed.start(&mut out);
        feed.handle(cluster_page(1, 50, 3, None), &mut out).unwrap();
        feed.handle(Input::Watching(Ok(true)), &mut out).unwrap();
        assert!(feed.is_following());
        feed
    };
    let broken = || Input::Item(WatchItem::Broken { reason: "restored".into() });
    let mut feed = following();
    feed.handle(broken(), &mut Vec::new()).unwrap();
    feed.handle(cluster_page(1, 90, 3, None), &mut Vec::new()).expect("nothing happened");
    feed.handle(broken(), &mut Vec::new()).unwrap();
    let written_before_50 = cluster_page(1, 90, 40, mark(1));
    assert_eq!(feed.handle(written_before_50, &mut Vec::new()), Err(Fault::Recovered));

    let mut feed = following();
    feed.handle(broken(), &mut Vec::new()).unwrap();
    let Input::Page(Ok(page)) = cluster_page(1, 90, 60, mark(1)) else { unreachable!() };
    feed.handle(Input::Page(Ok(page.clone())), &mut Vec::new()).expect("the watch will tell");
    feed.handle(Input::Watching(Ok(true)), &mut Vec::new()).unwrap();
    let events = page.items.into_iter().map(Event::Put).collect();
    let batch = crate::store::WatchBatch { revision: 60, events };
    let told = Input::Item(WatchItem::Batch(batch));
    assert_eq!(feed.handle(told, &mut Vec::new()), Err(Fault::Recovered));
}
