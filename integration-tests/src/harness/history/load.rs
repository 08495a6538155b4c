//! Producers and readers that write a history while something happens to the cluster.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use ottla_client::{
    Client, ClientConfig, Consumer, ConsumerConfig, ConsumerRecord, Producer, ProducerConfig,
    ProducerRecord,
    consumer::{ConsumeErrorCause, OffsetReset, Start},
    producer::Delivery,
};
use ottla_protocol::{Str, types::PartitionId};
use tokio::{
    runtime::Builder,
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{Content, Contents, History, Mark, Outcome, ProducerLog, ReaderLog, Sent};
use crate::harness::eventually;

/// How long waiting for progress may take.
const WITHIN: Duration = Duration::from_secs(60);
/// How long a record may take to be acknowledged; longer than any outage that a test makes.
const DELIVERY: Duration = Duration::from_secs(60);
/// How long the last read may take.
const LAST_READ: Duration = Duration::from_secs(45);
/// Records of one producer that are not acknowledged yet.
const WINDOW: usize = 500;

/// What a load consists of.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Where to.
    pub topic: String,
    /// Partitions of the topic.
    pub partitions: i32,
    /// How many producers; they take the partitions by turns.
    pub producers: u32,
    /// Time between two records of one producer.
    pub pace: Duration,
    /// Bytes of a record's value, at least.
    pub value_len: usize,
    /// Whether somebody reads along from the beginning.
    pub reader: bool,
}

impl LoadOptions {
    /// Two idempotent producers for each partition, about 500 records a second each, and a reader.
    #[must_use]
    pub fn new(topic: &str, partitions: i32) -> Self {
        Self {
            topic: topic.to_owned(),
            partitions,
            producers: 2 * u32::try_from(partitions).expect("a count"),
            pace: Duration::from_millis(2),
            value_len: 100,
            reader: true,
        }
    }
}

/// A load under way, on a thread of its own. Dropped without [`Load::finish`], it just ends.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
    bootstrap: String,
    options: LoadOptions,
}

/// The time that a history counts in, for others who write to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    start: Instant,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    acknowledged: AtomicU64,
    producers: Mutex<BTreeMap<u32, ProducerLog>>,
    readers: Mutex<BTreeMap<i32, ReaderLog>>,
}

impl Load {
    /// Starts producing to (and reading from) the cluster at `bootstrap`.
    #[must_use]
    pub fn start(bootstrap: &str, options: LoadOptions) -> Self {
        let shared = Arc::new(Shared {
            clock: Clock { start: now() },
            acknowledged: AtomicU64::new(0),
            producers: Mutex::default(),
            readers: Mutex::default(),
        });
        let (stop, stopped) = watch::channel(false);
        let (of_thread, address, what) = (shared.clone(), bootstrap.to_owned(), options.clone());
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(run(of_thread, &address, &what, stopped));
        });
        Self { shared, stop, thread, bootstrap: bootstrap.to_owned(), options }
    }

    /// Time since the load began, as in the history.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.shared.elapsed()
    }

    pub(super) fn clock(&self) -> Clock {
        self.shared.clock
    }

    /// How many records were acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until that many more records were acknowledged than now, so that what comes next happens under load.
    ///
    /// # Panics
    /// When they are not, for a minute.
    pub fn await_more(&self, count: u64) {
        let goal = self.acknowledged() + count;
        eventually(&format!("{count} more acknowledgements"), WITHIN, || {
            (goal <= self.acknowledged()).then_some(())
        });
    }

    /// Waits until every producer has been acknowledged a record that it sent from now on: all partitions are written to.
    ///
    /// # Panics
    /// When one is not, for a minute.
    pub fn await_each(&self) {
        let since = self.elapsed();
        eventually("every producer goes on", WITHIN, || {
            let producers = self.shared.producers();
            let goes_on = |log: &ProducerLog| {
                let mut latest = log.records.values().rev().take_while(|sent| since < sent.at);
                latest.any(|sent| matches!(sent.outcome, Outcome::Acknowledged { .. }))
            };
            let all = u32::try_from(producers.len()) == Ok(self.options.producers);
            (all && producers.values().all(goes_on)).then_some(())
        });
    }

    /// Sends no more, waits for what is under way, reads everything once more, and returns the history.
    ///
    /// # Panics
    /// When the load has panicked.
    #[must_use]
    pub fn finish(self) -> History {
        self.stop.send_replace(true);
        self.thread.join().expect("the load ends");
        let producers = std::mem::take(&mut *self.shared.producers());
        let readers = std::mem::take(&mut *self.shared.readers()).into_values().collect();
        let mut history = History { producers, readers, last: BTreeMap::new() };
        history.last = read_all(
            &self.bootstrap,
            &self.options.topic,
            &ends(&history, self.options.partitions),
        );
        history
    }
}

impl Clock {
    pub(super) fn elapsed(&self) -> Duration {
        now().duration_since(self.start)
    }
}

impl Shared {
    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    fn producers(&self) -> MutexGuard<'_, BTreeMap<u32, ProducerLog>> {
        self.producers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readers(&self) -> MutexGuard<'_, BTreeMap<i32, ReaderLog>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self, mark: Mark, outcome: Outcome) {
        if matches!(outcome, Outcome::Acknowledged { .. }) {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        let mut producers = self.producers();
        let log = producers.get_mut(&mark.producer).expect("it was registered");
        log.records.get_mut(&mark.sequence).expect("it was sent").outcome = outcome;
    }
}

/// For each partition the offset behind the last record that somebody was told of.
pub(super) fn ends(history: &History, partitions: i32) -> BTreeMap<i32, i64> {
    let mut ends: BTreeMap<i32, i64> = (0..partitions).map(|partition| (partition, 0)).collect();
    for log in history.producers.values() {
        for record in log.records.values() {
            if let Outcome::Acknowledged { offset: Some(offset), .. } = record.outcome {
                let end = ends.entry(log.partition).or_default();
                *end = (*end).max(offset + 1);
            }
        }
    }
    ends
}

/// Reads every partition from its beginning: to its end, and at least up to the offset that is given for it, unless that does
/// not come for long.
#[must_use]
pub fn read_all(
    bootstrap: &str,
    topic: &str,
    ends: &BTreeMap<i32, i64>,
) -> BTreeMap<i32, Contents> {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut consumer = consumer(bootstrap, topic, ends.keys().copied());
        let mut last: BTreeMap<_, _> = ends.keys().map(|p| (*p, Contents::new())).collect();
        let topic = Str::from(topic);
        let deadline = now() + LAST_READ;
        let at_end = |consumer: &Consumer, (partition, end): (&i32, &i64)| {
            let partition = PartitionId(*partition);
            let position = consumer.position(&topic, partition).ok().flatten();
            let read = consumer.is_at_end(&topic, partition).unwrap_or(false);
            read && position.is_some_and(|position| *end <= position.0)
        };
        while now() < deadline && !ends.iter().all(|end| at_end(&consumer, end)) {
            // A partition that cannot be read shows in what is missing.
            for record in consumer.poll(Duration::from_millis(200)).await.unwrap_or_default() {
                let contents = last.entry(record.partition.0).or_default();
                contents.insert(record.offset.0, content(&record));
            }
        }
        last
    })
}

async fn run(
    shared: Arc<Shared>,
    bootstrap: &str,
    options: &LoadOptions,
    stopped: watch::Receiver<bool>,
) {
    let mut tasks = JoinSet::new();
    for number in 0..options.producers {
        let partition =
            i32::try_from(number).expect("few producers").rem_euclid(options.partitions);
        let log = ProducerLog { partition, idempotent: true, ..ProducerLog::default() };
        shared.producers().insert(number, log);
        let sender = Sender {
            shared: shared.clone(),
            producer: producer(bootstrap),
            number,
            partition: PartitionId(partition),
            options: options.clone(),
        };
        tasks.spawn(sender.run(stopped.clone()));
    }
    if options.reader {
        let consumer = consumer(bootstrap, &options.topic, 0..options.partitions);
        tasks.spawn(read_along(shared, consumer, stopped));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a task of the load ends well");
    }
}

/// One producer.
struct Sender {
    shared: Arc<Shared>,
    producer: Producer,
    number: u32,
    partition: PartitionId,
    options: LoadOptions,
}

impl Sender {
    async fn run(self, stopped: watch::Receiver<bool>) {
        let (deliveries, waiting) = mpsc::channel(WINDOW);
        let shared = self.shared.clone();
        tokio::join!(self.send(deliveries, stopped), note(shared, waiting));
    }

    async fn send(
        self,
        deliveries: mpsc::Sender<(Mark, Delivery)>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let mut ticks = tokio::time::interval(self.options.pace);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for sequence in 0.. {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => break,
                _ = ticks.tick() => {}
            }
            let mark = Mark { producer: self.number, sequence };
            let record = ProducerRecord {
                topic: self.options.topic.as_str().into(),
                partition: Some(self.partition),
                value: Some(mark.to_value(self.options.value_len).into()),
                ..ProducerRecord::default()
            };
            let sent = Sent { at: self.shared.elapsed(), outcome: Outcome::Unknown };
            if let Some(log) = self.shared.producers().get_mut(&self.number) {
                log.records.insert(sequence, sent);
            }
            match self.producer.send(record).await {
                Ok(delivery) => {
                    if deliveries.send((mark, delivery)).await.is_err() {
                        break;
                    }
                }
                Err(error) => self.shared.ended(mark, Outcome::Failed(error.to_string())),
            }
        }
        self.producer.flush().await;
    }
}

/// Notes how each send of a producer ended.
async fn note(shared: Arc<Shared>, mut waiting: mpsc::Receiver<(Mark, Delivery)>) {
    while let Some((mark, delivery)) = waiting.recv().await {
        let outcome = match delivery.await {
            Ok(metadata) => Outcome::Acknowledged {
                offset: (0 <= metadata.offset.0).then_some(metadata.offset.0),
                at: shared.elapsed(),
            },
            Err(error) => Outcome::Failed(error.to_string()),
        };
        shared.ended(mark, outcome);
    }
}

/// Notes every record that a reader sees.
async fn read_along(shared: Arc<Shared>, mut consumer: Consumer, stopped: watch::Receiver<bool>) {
    // An error means that nobody is left to stop it.
    while !*stopped.borrow() && stopped.has_changed().is_ok() {
        match consumer.poll(Duration::from_millis(100)).await {
            Ok(records) => {
                let mut readers = shared.readers();
                for record in records {
                    let log = reader_log(&mut readers, record.partition.0);
                    log.seen.push((record.offset.0, content(&record)));
                }
            }
            // A leader that is not there yet is no complaint.
            Err(error) if matches!(error.cause, ConsumeErrorCause::Client(_)) => {}
            Err(error) => {
                let log = error.to_string();
                reader_log(&mut shared.readers(), error.partition.0).complaints.push(log);
                return;
            }
        }
    }
}

fn reader_log(readers: &mut BTreeMap<i32, ReaderLog>, partition: i32) -> &mut ReaderLog {
    readers.entry(partition).or_insert_with(|| ReaderLog { partition, ..ReaderLog::default() })
}

fn content(record: &ConsumerRecord) -> Content {
    Content::of(record.value.as_deref().unwrap_or_default())
}

fn client(bootstrap: &str) -> Client {
    let config = ClientConfig::new(bootstrap).expect("addresses");
    Client::new(ClientConfig {
        // A load that outlives its cluster must not disturb the one that has the ports then.
        allow_auto_create_topics: false,
        ..config
    })
}

fn producer(bootstrap: &str) -> Producer {
    let config = ProducerConfig { delivery_timeout: DELIVERY, ..ProducerConfig::default() };
    Producer::new(client(bootstrap), config).expect("settings that go together")
}

fn consumer(bootstrap: &str, topic: &str, partitions: impl Iterator<Item = i32>) -> Consumer {
    let config = ConsumerConfig { auto_offset_reset: OffsetReset::None, ..Default::default() };
    let mut consumer = Consumer::new(client(bootstrap), config);
    for partition in partitions {
        consumer.assign(topic, PartitionId(partition), Start::Earliest);
    }
    consumer
}

#[expect(clippy::disallowed_methods, reason = "a history is written on real time")]
fn now() -> Instant {
    Instant::now()
}
