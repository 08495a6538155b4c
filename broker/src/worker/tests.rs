//! A worker on a simulated disk, stepped by hand.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use ottla_protocol::record_batch::Batch;
use ottla_protocol::time::Now;
use ottla_protocol::types::{BrokerId, LeaderEpoch, Offset};
use ottla_protocol::{ErrorCode, Str, Uuid};
use ottla_storage::io::{Fault, SimOp};
use ottla_storage::{
    DirIdentity, LeaderBatch, LogConfig, LogDir, RecoverOptions, SimIo, SyncTicket, TopicPartition,
};
use tokio::sync::oneshot;

use super::*;
use crate::isr::Proposals;
use crate::partition::{
    Acks, Address, Assignment, PartitionHandle, ProposalOutcome, Role, Subscription, TopicSettings,
    Watcher,
};
use crate::testing::data::{batch, batch_at, sequenced};

mod follow;

const DIR: &str = "/logs";
const BUDGET: usize = 1 << 20;

type Tickets = Arc<Mutex<Vec<(SlotKey, SyncTicket<SimIo>)>>>;

/// A directory with one worker.
struct Bench {
    io: SimIo,
    dir: LogDir<SimIo>,
    worker: Worker<SimIo>,
    inbox: Arc<Inbox>,
    shelf: Shelf<SimIo>,
    /// Syncs that are under way.
    tickets: Tickets,
    now: Now,
    partitions: Vec<Arc<PartitionHandle>>,
    proposals: Arc<Proposals>,
}

/// `replica.lag.time.max.ms` of the worker.
const LAG: Duration = Duration::from_secs(30);

fn open_dir(io: &SimIo) -> LogDir<SimIo> {
    let identity = DirIdentity {
        cluster_id: "cluster".into(),
        node_id: 1,
        boot_id: "boot".into(),
        new_directory_id: Uuid::ONE,
        open_files_max: 100,
    };
    LogDir::open(io.clone(), Path::new(DIR), &identity).unwrap()
}

fn recover(dir: &LogDir<SimIo>) -> Vec<ottla_storage::Log<SimIo>> {
    let options = RecoverOptions {
        threads: 1,
        config: &|_| Arc::new(LogConfig::default()),
        progress: &|_| {},
    };
    dir.recover(&options).unwrap().logs
}

fn durable() -> TopicSettings {
    let log = LogConfig { flush_messages: 1, ..LogConfig::default() };
    TopicSettings { is_durable: true, log: Arc::new(log), ..TopicSettings::default() }
}

fn leading(epoch: i32) -> Assignment {
    Assignment {
        leader: BrokerId(1),
        leader_epoch: LeaderEpoch(epoch),
        partition_epoch: i64::from(epoch),
        leads: true,
        replicas: vec![BrokerId(1)],
        in_sync: vec![BrokerId(1)],
        eligible: vec![(BrokerId(1), 10)],
        is_recovering: false,
    }
}

impl Bench {
    /// With `count` partitions that it leads in epoch 0.
    fn new(seed: u64, count: i32, settings: TopicSettings) -> Self {
        let io = SimIo::new(seed);
        let dir = open_dir(&io);
        recover(&dir);
        let inbox = Arc::new(Inbox::new(DATA_BYTES_MAX));
        let shelf = Shelf::new();
        let tickets = Tickets::default();
        let syncs = Arc::clone(&tickets);
        let start_sync = Box::new(move |slot, ticket| syncs.lock().unwrap().push((slot, ticket)));
        let proposals = Arc::new(Proposals::default());
        let worker = Worker::new(BrokerId(1), Arc::clone(&inbox), shelf.clone(), start_sync)
            .with_proposals(Arc::clone(&proposals), LAG);
        let mut bench = Self {
            io,
            dir,
            worker,
            inbox,
            shelf,
            tickets,
            now: Now::default(),
            partitions: Vec::new(),
            proposals,
        };
        for index in 0..count {
            bench.add(index, settings.clone());
        }
        bench.step();
        bench
    }

    fn add(&mut self, index: i32, settings: TopicSettings) {
        let partition = TopicPartition::new("orders", index);
        let log = self.dir.create_log(&partition, Uuid::ONE, Arc::clone(&settings.log)).unwrap();
        let settings = Arc::new(settings);
        let slot = SlotKey { index: index as u32, user: 1 };
        let view = initial_view(&log, &settings, Offset(0));
        let address = Address {
            topic_id: Uuid::ONE,
            topic: Str::from_static("orders"),
            index,
            log_dir: 0,
            slot,
        };
        let handle = Arc::new(PartitionHandle::new(address, Arc::clone(&self.inbox), view));
        self.shelf.put(slot, log);
        let open = Open {
            handle: Arc::clone(&handle),
            settings,
            assignment: leading(0),
            high_watermark: Offset(0),
        };
        self.inbox.report(Control::Open(Box::new(open))).unwrap();
        self.partitions.push(handle);
    }

    /// Leads partition 0 in `epoch`, with broker 2 as a replica and these in sync.
    fn lead(&mut self, epoch: i32, partition_epoch: i64, in_sync: &[i32]) {
        let assignment = Assignment {
            partition_epoch,
            replicas: vec![BrokerId(1), BrokerId(2)],
            in_sync: in_sync.iter().map(|id| BrokerId(*id)).collect(),
            eligible: vec![(BrokerId(1), 10), (BrokerId(2), 20)],
            ..leading(epoch)
        };
        let slot = self.partitions[0].slot;
        self.inbox.report(Control::Assign { slot, assignment }).unwrap();
        self.step();
    }

    /// Broker 2 has everything below `end`.
    fn fetched(&mut self, leader_epoch: i32, end: i64) {
        let slot = self.partitions[0].slot;
        let item = FetchedItem {
            slot,
            leader_epoch: LeaderEpoch(leader_epoch),
            end: Offset(end),
            log_start: Offset(0),
        };
        let fetched = Fetched { broker: BrokerId(2), broker_epoch: 20, items: vec![item] };
        self.inbox.report(Control::Fetched(Box::new(fetched))).unwrap();
        self.step();
    }

    /// Steps when the worker wants to, until `seconds` are over.
    fn live(&mut self, seconds: u64) {
        let end = self.now.monotonic + Duration::from_secs(seconds);
        while self.now.monotonic < end {
            let next = self.step().next_deadline.unwrap_or(end).min(end);
            let wait = next.saturating_sub(self.now.monotonic).max(Duration::from_millis(1));
            self.now = self.now.after(wait);
        }
        self.step();
    }

    /// Brokers that were proposed to be in sync, if any were.
    fn proposed(&self) -> Option<Vec<i32>> {
        let proposed = self.proposals.take().pop()?;
        Some(proposed.proposal.isr.iter().map(|(broker, _)| broker.0).collect())
    }

    fn step(&mut self) -> Progress {
        self.worker.step(self.now, BUDGET)
    }

    /// Queues one request with a batch for each of these partitions.
    fn send(&self, acks: Acks, batches: &[(usize, &Batch)]) -> Arc<Ticket> {
        let ticket = Ticket::new(batches.len());
        let items = batches.iter().enumerate().map(|(index, (partition, batch))| AppendItem {
            slot: self.partitions[*partition].slot,
            batch: LeaderBatch::new((*batch).clone()),
            waiter: Waiter::new(Arc::clone(&ticket), index as u32),
        });
        let command = AppendCommand { items: items.collect(), acks };
        self.inbox.send(command, 100).now_or_never().unwrap().unwrap();
        ticket
    }

    /// Runs the syncs that are under way; how many.
    fn sync(&mut self) -> usize {
        let tickets = std::mem::take(&mut *self.tickets.lock().unwrap());
        let count = tickets.len();
        for (slot, ticket) in tickets {
            let synced = ticket.run();
            self.inbox.report(Control::Synced { slot, synced }).unwrap();
        }
        count
    }
}

fn result(ticket: &Ticket) -> Option<(ErrorCode, i64)> {
    ticket.outcome(0).map(|outcome| (outcome.error, outcome.base_offset.0))
}

#[test]
fn requests_take_effect_in_the_order_in_which_they_came() {
    let mut bench = Bench::new(1, 2, TopicSettings::default());
    let one = batch(&["a"]);
    let tickets: Vec<_> = (0..6).map(|n| bench.send(Acks::Leader, &[(n % 2, &one)])).collect();
    assert!(bench.step().is_busy);
    let offsets: Vec<_> = tickets.iter().map(|ticket| result(ticket).unwrap().1).collect();
    assert_eq!(offsets, [0, 0, 1, 1, 2, 2]);
    assert!(!bench.step().is_busy);
}

#[test]
fn one_request_may_be_answered_in_part() {
    let mut bench = Bench::new(1, 1, TopicSettings::default());
    let fenced = sequenced(1, 4, 0, &["a"]);
    bench.send(Acks::Leader, &[(0, &fenced)]);
    let old = sequenced(1, 3, 1, &["b"]);
    let plain = batch(&["c"]);
    let ticket = bench.send(Acks::Leader, &[(0, &old), (0, &plain)]);
    bench.step();
    assert_eq!(ticket.outcome(0).unwrap().error, ErrorCode::InvalidProducerEpoch);
    assert_eq!(ticket.outcome(1).unwrap().base_offset, Offset(1));
}

#[test]
fn durable_append_is_acknowledged_after_the_sync_and_not_before() {
    let mut bench = Bench::new(1, 1, durable());
    let first = bench.send(Acks::All, &[(0, &batch(&["a"]))]);
    bench.step();
    bench.step();
    assert_eq!(result(&first), None);
    assert_eq!(bench.partitions[0].view().high_watermark, Offset(0));

    // Two more come while the disk is busy: one sync serves both.
    let second = bench.send(Acks::Leader, &[(0, &batch(&["b"]))]);
    bench.step();
    let third = bench.send(Acks::All, &[(0, &batch(&["c"]))]);
    bench.step();
    assert_eq!(bench.sync(), 1);
    bench.step();
    assert_eq!(result(&first), Some((ErrorCode::None, 0)));
    assert_eq!((result(&second), result(&third)), (None, None));
    assert_eq!(bench.sync(), 1);
    bench.step();
    assert_eq!(result(&second), Some((ErrorCode::None, 1)));
    assert_eq!(result(&third), Some((ErrorCode::None, 2)));
    assert_eq!(bench.partitions[0].view().high_watermark, Offset(3));
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_wherever_it_comes() {
    for seed in 0..40 {
        let mut bench = Bench::new(seed, 2, durable());
        bench.io.inject(Fault::PowerOff { at: 3 + seed });
        let tickets: Vec<_> = (0..12)
            .map(|n| {
                let ticket = bench.send(Acks::All, &[(n % 2, &batch(&["a"]))]);
                bench.step();
                if n % 3 == 2 {
                    bench.sync();
                    bench.step();
                }
                (n % 2, ticket)
            })
            .collect();
        bench.io.power_cut();
        let logs = recover(&open_dir(&bench.io));
        for (partition, ticket) in tickets {
            if let Some((ErrorCode::None, offset)) = result(&ticket) {
                let end = logs[partition].log_end();
                assert!(Offset(offset) < end, "seed {seed}: {offset} was acknowledged, end {end}");
            }
        }
    }
}

#[test]
fn failed_sync_takes_all_replicas_of_the_directory_offline() {
    let mut bench = Bench::new(1, 2, durable());
    let error = std::io::ErrorKind::Other;
    bench.io.inject(Fault::Fail { op: SimOp::Sync, nth: 1, error });
    let waiting = bench.send(Acks::All, &[(0, &batch(&["a"]))]);
    bench.step();
    bench.sync();
    bench.step();
    assert_eq!(result(&waiting).unwrap().0, ErrorCode::KafkaStorageError);
    assert!(bench.worker.failure().is_some());
    for partition in &bench.partitions {
        assert_eq!(partition.view().role, Role::Offline);
    }
    let later = bench.send(Acks::Leader, &[(1, &batch(&["b"]))]);
    bench.step();
    assert_eq!(result(&later).unwrap().0, ErrorCode::KafkaStorageError);
}

#[test]
fn full_disk_refuses_and_recovers_without_losing_the_directory() {
    let mut bench = Bench::new(1, 1, TopicSettings::default());
    bench.send(Acks::Leader, &[(0, &batch(&["first"]))]);
    bench.step();
    bench.io.set_capacity(Some(0));
    let refused = bench.send(Acks::Leader, &[(0, &batch(&["a"]))]);
    bench.step();
    assert_eq!(result(&refused).unwrap().0, ErrorCode::KafkaStorageError);
    assert_eq!(bench.partitions[0].view().role, Role::Leader);
    bench.io.set_capacity(None);
    bench.now = bench.now.after(Duration::from_secs(10));
    let taken = bench.send(Acks::Leader, &[(0, &batch(&["a"]))]);
    bench.step();
    assert_eq!(result(&taken), Some((ErrorCode::None, 1)));
}

#[test]
fn flush_ms_syncs_without_another_append() {
    let log = LogConfig { flush_age: Duration::from_millis(300), ..LogConfig::default() };
    let settings = TopicSettings { log: Arc::new(log), ..TopicSettings::default() };
    let mut bench = Bench::new(1, 1, settings);
    bench.send(Acks::Leader, &[(0, &batch(&["a"]))]);
    let deadline = bench.step().next_deadline.unwrap();
    assert_eq!(deadline, Duration::from_millis(300));
    assert_eq!(bench.sync(), 0);
    bench.now = bench.now.after(deadline);
    bench.step();
    assert_eq!(bench.sync(), 1);
}

#[test]
fn place_that_changed_hands_takes_nothing_for_its_former_user() {
    let mut bench = Bench::new(1, 1, TopicSettings::default());
    let slot = bench.partitions[0].slot;
    let (reply, mut closed) = oneshot::channel();
    bench.inbox.report(Control::Close { slot, reply }).unwrap();
    let late = bench.send(Acks::Leader, &[(0, &batch(&["a"]))]);
    bench.step();
    closed.try_recv().unwrap();
    assert_eq!(result(&late).unwrap().0, ErrorCode::NotLeaderOrFollower);
    assert_eq!(bench.partitions[0].view().role, Role::Follower);
    assert_eq!(bench.shelf.take(slot).unwrap().log_end(), Offset(0));
}

#[test]
fn records_are_deleted_up_to_the_high_watermark() {
    let mut bench = Bench::new(1, 1, TopicSettings::default());
    bench.send(Acks::Leader, &[(0, &batch(&["a", "b", "c"]))]);
    bench.step();
    let slot = bench.partitions[0].slot;
    let mut delete = |offset| {
        let (reply, mut result) = oneshot::channel();
        bench.inbox.report(Control::DeleteRecords { slot, offset, reply }).unwrap();
        bench.worker.step(bench.now, BUDGET);
        result.try_recv().unwrap()
    };
    assert_eq!(delete(2), Ok(Offset(2)));
    assert_eq!(delete(1), Ok(Offset(2)), "the start never goes back");
    assert_eq!(delete(4), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(delete(-2), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(delete(-1), Ok(Offset(3)));
    assert_eq!(bench.partitions[0].view().log_start, Offset(3));
}

#[test]
fn many_requests_wait_in_line_for_the_replicas_in_sync() {
    let mut bench = Bench::new(1, 1, TopicSettings::default());
    bench.lead(1, 10, &[1, 2]);
    let one = batch(&["a"]);
    let tickets: Vec<_> = (0..50).map(|_| bench.send(Acks::All, &[(0, &one)])).collect();
    bench.step();
    assert!(tickets.iter().all(|ticket| result(ticket).is_none()));
    bench.fetched(1, 20);
    let answered =
        |tickets: &[Arc<Ticket>]| tickets.iter().filter(|ticket| result(ticket).is_some()).count();
    assert_eq!(answered(&tickets), 20);
    bench.fetched(0, 50);
    assert_eq!(answered(&tickets), 20, "checked against the log of a former epoch");
    bench.fetched(1, 60);
    assert_eq!(answered(&tickets), 20, "more than there is");
    bench.fetched(1, 50);
    assert_eq!(answered(&tickets), 50);
    let late = bench.send(Acks::All, &[(0, &one)]);
    bench.step();
    bench.lead(2, 11, &[1, 2]);
    assert!(result(&late).is_none(), "it leads on");
    bench.fetched(1, 51);
    assert!(result(&late).is_none(), "checked against the log of a former epoch");
    bench.fetched(2, 51);
    assert_eq!(result(&late).unwrap(), (ErrorCode::None, 50));
}

#[test]
fn follower_that_lags_is_put_out_by_a_scan_and_not_before_its_time() {
    let mut bench = Bench::new(1, 1, TopicSettings::default());
    bench.lead(1, 10, &[1, 2]);
    bench.fetched(1, 0);
    bench.live(1000);
    assert_eq!(bench.proposed(), None, "an idle follower has everything");
    let waiting = bench.send(Acks::All, &[(0, &batch(&["a"]))]);
    bench.step();
    bench.live(30);
    assert_eq!(bench.proposed(), None);
    bench.live(16);
    let proposed = bench.proposals.take().pop().unwrap();
    assert_eq!(proposed.proposal.isr, [(BrokerId(1), -1)]);
    assert_eq!(result(&waiting), None, "the controller has not decided");
    bench.fetched(1, 1);
    assert_eq!(result(&waiting), Some((ErrorCode::None, 0)), "it came after all");
    let outcome = ProposalOutcome::Accepted {
        leader_epoch: LeaderEpoch(1),
        isr: vec![BrokerId(1)],
        partition_epoch: 12,
        is_recovering: false,
    };
    let (slot, id) = (bench.partitions[0].slot, proposed.proposal.id);
    bench.inbox.report(Control::ProposalResolved { slot, id, outcome }).unwrap();
    bench.step();
    assert_eq!(bench.proposed(), Some(vec![1, 2]), "and is to come back");
}

/// A broker that was stopped for a minute finds its followers silent for a minute. They were not.
#[test]
fn broker_that_stood_still_does_not_shrink_its_sets_to_itself() {
    for pause in [20, 60, 1000] {
        let mut bench = Bench::new(1, 1, TopicSettings::default());
        bench.lead(1, 10, &[1, 2]);
        bench.fetched(1, 0);
        bench.send(Acks::Leader, &[(0, &batch(&["a"]))]);
        bench.step();
        bench.live(3);
        bench.now = bench.now.after(Duration::from_secs(pause));
        bench.step();
        bench.live(1);
        assert_eq!(bench.proposed(), None, "{pause} s");
        bench.live(46);
        assert_eq!(bench.proposed(), Some(vec![1]), "silent since, after all");
    }
}

#[test]
fn too_few_in_sync_refuse_before_the_append_and_hide_what_is_there() {
    let settings = TopicSettings { in_sync_min: 2, ..TopicSettings::default() };
    let mut bench = Bench::new(1, 1, settings);
    bench.lead(1, 10, &[1]);
    let refused = bench.send(Acks::All, &[(0, &batch(&["a"]))]);
    let taken = bench.send(Acks::Leader, &[(0, &batch(&["b"]))]);
    bench.step();
    assert_eq!(result(&refused), Some((ErrorCode::NotEnoughReplicas, -1)));
    assert_eq!(result(&taken), Some((ErrorCode::None, 0)));
    assert_eq!(bench.partitions[0].view().high_watermark, Offset(0));
    bench.fetched(1, 1);
    assert_eq!(bench.proposed(), Some(vec![1, 2]));
    let still = bench.send(Acks::All, &[(0, &batch(&["c"]))]);
    bench.step();
    assert_eq!(result(&still).unwrap().0, ErrorCode::NotEnoughReplicas, "not decided yet");
    bench.lead(1, 11, &[1, 2]);
    assert_eq!(bench.partitions[0].view().high_watermark, Offset(1));
}

#[test]
fn replica_does_not_lead_in_an_epoch_below_one_in_its_log() {
    let mut bench = Bench::new(1, 1, TopicSettings::default());
    bench.lead(7, 10, &[1]);
    bench.send(Acks::Leader, &[(0, &batch(&["a"]))]);
    bench.step();
    let slot = bench.partitions[0].slot;
    let (reply, _closed) = oneshot::channel();
    bench.inbox.report(Control::Close { slot, reply }).unwrap();
    bench.step();
    let handle = Arc::clone(&bench.partitions[0]);
    let open = Open {
        handle: Arc::clone(&handle),
        settings: Arc::new(TopicSettings::default()),
        assignment: leading(6),
        high_watermark: Offset(0),
    };
    bench.inbox.report(Control::Open(Box::new(open))).unwrap();
    bench.step();
    assert_eq!(handle.view().role, Role::Follower);
    bench.lead(8, 20, &[1]);
    assert_eq!(handle.view().role, Role::Leader);
}

/// Reads the view in the moment in which it is woken.
struct Witness {
    partition: Arc<PartitionHandle>,
    seen: AtomicI64,
}

impl Wake for Witness {
    fn wake(self: Arc<Self>) {
        self.seen.store(self.partition.view().high_watermark.0, Ordering::SeqCst);
    }
}

#[test]
fn who_is_told_of_an_append_finds_it() {
    let mut bench = Bench::new(1, 1, TopicSettings::default());
    let partition = Arc::clone(&bench.partitions[0]);
    let witness = Arc::new(Witness { partition, seen: AtomicI64::new(-1) });
    let ticket = bench.send(Acks::All, &[(0, &batch(&["a"]))]);
    let waker = Waker::from(Arc::clone(&witness));
    let mut wait = Box::pin(ticket.wait());
    assert!(wait.as_mut().poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    bench.step();
    assert_eq!(witness.seen.load(Ordering::SeqCst), 1);
}

#[test]
fn watcher_that_is_woken_finds_what_it_waited_for() {
    let mut bench = Bench::new(1, 1, TopicSettings::default());
    bench.step();
    let partition = Arc::clone(&bench.partitions[0]);
    let watcher = Watcher::new();
    partition.subscribers.add(Subscription::new(Arc::clone(&watcher), 0));
    let witness = Arc::new(Witness { partition, seen: AtomicI64::new(-1) });
    let waker = Waker::from(Arc::clone(&witness));
    watcher.begin();
    let mut wait = Box::pin(watcher.wait(1));
    assert!(wait.as_mut().poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    bench.send(Acks::All, &[(0, &batch(&["a"]))]);
    bench.step();
    assert_eq!(witness.seen.load(Ordering::SeqCst), 1);
}

/// Everything that a seeded run of a worker does.
fn history(seed: u64) -> Vec<String> {
    let mut bench = Bench::new(seed, 3, durable());
    bench.io.inject(Fault::PowerOff { at: 30 + seed });
    let mut history = Vec::new();
    for round in 0..20usize {
        bench.now = bench.now.after(Duration::from_millis(7));
        let one = batch_at(&[(round as i64, "a")]);
        let ticket = bench.send(Acks::All, &[(round % 3, &one), ((round + 1) % 3, &one)]);
        let progress = bench.step();
        if round % 4 == 3 {
            bench.sync();
            bench.step();
        }
        let views = bench.partitions.iter().map(|partition| partition.view().log_end);
        let views: Vec<_> = views.collect();
        history.push(format!("{progress:?} {:?} {views:?}", result(&ticket)));
    }
    history.push(bench.io.operations().to_string());
    history
}

#[test]
fn same_seed_does_the_same() {
    for seed in 0..5 {
        assert_eq!(history(seed), history(seed));
    }
}
