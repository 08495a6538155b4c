//! The power fails at every single operation of a scripted life of a log, the recovery included.
//!
//! Whatever the disk kept of what was not synced: records whose sync had been confirmed are there; the log is a prefix of
//! what was appended; no torn batch is served; leader epochs and producers agree with the batches.

mod support;

use std::path::Path;
use std::sync::Arc;

use ottla_protocol::record_batch::Batch;
use ottla_protocol::types::{LeaderEpoch, Offset, ProducerId};
use ottla_storage::io::Fault;
use ottla_storage::{Log, LogDir, PreviousLife, SimIo};
use support::*;

const DIR: &str = "/data";

/// A batch that was appended, or whose append was tried.
#[derive(Clone, PartialEq, Eq)]
struct Entry {
    first: i64,
    last: i64,
    epoch: i32,
    producer: i64,
    last_sequence: i32,
    value: Vec<u8>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = String::from_utf8_lossy(&self.value);
        write!(f, "{}-{} e{} p{} {}", self.first, self.last, self.epoch, self.producer, value)
    }
}

/// What the disk may and must hold.
#[derive(Default)]
struct Ledger {
    /// Every log is a prefix of one of these: while a cut is under way there are two.
    histories: Vec<Vec<Entry>>,
    /// Records before this offset were confirmed durable.
    durable_end: i64,
    created: bool,
    closed: bool,
    sequences: [i32; 2],
    value: u32,
}

type Crashed = ();

struct Life<'a> {
    dir: LogDir<SimIo>,
    log: Option<Log<SimIo>>,
    ledger: &'a mut Ledger,
    epoch: i32,
    /// Set: all batches are of this producer.
    only: Option<usize>,
}

impl Life<'_> {
    fn log(&mut self) -> &mut Log<SimIo> {
        self.log.as_mut().expect("the log is open")
    }

    fn current(&mut self) -> &mut Vec<Entry> {
        if self.ledger.histories.is_empty() {
            self.ledger.histories.push(Vec::new());
        }
        assert_eq!(self.ledger.histories.len(), 1, "no cut is under way");
        &mut self.ledger.histories[0]
    }

    /// Appends `count` batches of three records with one call.
    fn append(&mut self, count: usize) -> Result<(), Crashed> {
        let mut all = Vec::new();
        for _ in 0..count {
            self.ledger.value += 1;
            let value = format!("value {:040}", self.ledger.value).into_bytes();
            let producer = self.only.unwrap_or((self.ledger.value % 2) as usize);
            let sequence = self.ledger.sequences[producer];
            self.ledger.sequences[producer] += 3;
            let epoch = self.epoch;
            let first = self.current().last().map_or(0, |entry| entry.last + 1);
            let entry = Entry {
                first,
                last: first + 2,
                epoch,
                producer: producer as i64,
                last_sequence: sequence + 2,
                value: value.clone(),
            };
            self.current().push(entry);
            let producer = Some((producer as i64, 0, sequence));
            all.push([producer_batch(&[&value, b"b", b"c"], 1000 + first, producer)]);
        }
        let mut results = Vec::new();
        let epoch = LeaderEpoch(self.epoch);
        let appends = all.iter().map(|batches| &batches[..]);
        self.log().append_all_as_leader(appends, epoch, now_ms(1), &mut results);
        results.into_iter().try_for_each(|result| result.map(drop)).map_err(drop)
    }

    fn flush(&mut self) -> Result<(), Crashed> {
        flush(self.log()).map_err(drop)?;
        self.note_durable();
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), Crashed> {
        checkpoint(self.log()).map_err(drop)?;
        self.note_durable();
        self.dir.write_checkpoints().map_err(drop)
    }

    fn note_durable(&mut self) {
        let flushed = self.log().flushed_end().0;
        self.ledger.durable_end = self.ledger.durable_end.max(flushed);
    }

    fn truncate(&mut self, offset: i64) -> Result<(), Crashed> {
        let mut cut = self.current().clone();
        cut.retain(|entry| entry.last < offset);
        let end = cut.last().map_or(0, |entry| entry.last + 1);
        self.ledger.durable_end = self.ledger.durable_end.min(end);
        self.ledger.histories.push(cut.clone());
        let found = self.log().truncate_to(Offset(offset), now_ms(2)).map_err(drop)?;
        assert_eq!(found.0, end);
        for producer in 0..2 {
            let last = cut.iter().rev().find(|entry| entry.producer == producer);
            self.ledger.sequences[producer as usize] =
                last.map_or(0, |entry| entry.last_sequence + 1);
        }
        self.ledger.histories = vec![cut];
        Ok(())
    }

    fn begin_epoch(&mut self, epoch: i32) -> Result<(), Crashed> {
        self.epoch = epoch;
        self.log().begin_epoch(LeaderEpoch(epoch)).map_err(drop)
    }

    fn close(mut self) -> Result<(), Crashed> {
        let log = self.log.take().expect("the log is open");
        let end = log.log_end().0;
        self.dir.close(vec![log], 1).map_err(drop)?;
        self.ledger.durable_end = end;
        self.ledger.closed = true;
        Ok(())
    }
}

/// Opens the dir as a process does after the machine has started.
fn start<'a>(io: &SimIo, ledger: &'a mut Ledger, boot: u64) -> Result<Life<'a>, Crashed> {
    let config = small_config();
    let boot_id = format!("boot {boot}");
    ledger.closed = false;
    let (dir, mut recovered) = open(io, Path::new(DIR), &boot_id, &config).map_err(drop)?;
    if let Some((_, error)) = recovered.failed.first() {
        assert!(error.to_string().contains("power"), "{error}");
        return Err(());
    }
    let log = match recovered.logs.pop() {
        Some(log) => log,
        None => {
            assert!(!ledger.created, "the partition is gone");
            dir.create_log(&partition(), TOPIC_ID, Arc::clone(&config)).map_err(drop)?
        }
    };
    ledger.created = true;
    Ok(Life { dir, log: Some(log), ledger, epoch: 0, only: None })
}

/// The scripted life: two runs, with rolls, a cut into an older segment, new epochs, and an orderly end between.
fn script(io: &SimIo, ledger: &mut Ledger) -> Result<(), Crashed> {
    let mut life = start(io, ledger, 0)?;
    life.begin_epoch(3)?;
    life.append(2)?;
    life.flush()?;
    life.append(1)?;
    life.append(6)?;
    life.checkpoint()?;
    life.append(5)?;
    life.begin_epoch(5)?;
    life.append(4)?;
    life.flush()?;
    life.append(2)?;
    life.truncate(25)?;
    life.begin_epoch(6)?;
    life.only = Some(1);
    life.append(5)?;
    life.append(4)?;
    life.only = None;
    life.checkpoint()?;
    life.append(28)?;
    life.checkpoint()?;
    life.append(12)?;
    life.truncate(50)?;
    life.only = Some(0);
    life.append(6)?;
    life.append(13)?;
    life.only = None;
    life.close()?;
    let mut life = start(io, ledger, 0)?;
    assert_eq!(life.dir.previous_life(), PreviousLife::Clean { broker_epoch: Some(1) });
    life.begin_epoch(7)?;
    life.append(8)?;
    life.flush()?;
    life.append(2)?;
    Ok(())
}

/// Opens the disk after a crash and checks everything.
fn check(io: &SimIo, ledger: &mut Ledger, boot: u64, context: &str) -> Result<(), Crashed> {
    let was_closed = ledger.closed;
    let (durable_end, histories) = (ledger.durable_end, ledger.histories.clone());
    let mut life = start(io, ledger, boot)?;
    let previous = life.dir.previous_life();
    let is_mild = matches!(previous, PreviousLife::ProcessCrash { .. });
    assert!(!is_mild, "{context}: a power cut is no crash of the process");
    if was_closed {
        assert!(matches!(previous, PreviousLife::Clean { .. }), "{context}: {previous:?}");
    }
    let view = life.log().view();
    let batches = read_all(&view, 300);
    let found: Vec<Entry> = batches.iter().map(entry_of).collect();
    assert!(
        durable_end <= view.log_end().0,
        "{context}: {durable_end} durable, {}",
        view.log_end()
    );
    let is_prefix = histories.iter().any(|history| history.starts_with(&found));
    assert!(is_prefix || found.is_empty(), "{context}: {found:?} is no prefix of {histories:?}");
    check_epochs(&view, &batches, context);
    check_producers(life.log(), &found, context);
    // It goes on from there; what a reader may have seen is there to stay.
    life.ledger.durable_end = view.log_end().0;
    life.ledger.histories = vec![found.clone()];
    for producer in 0..2 {
        let last = found.iter().rev().find(|entry| entry.producer == producer);
        life.ledger.sequences[producer as usize] = last.map_or(0, |entry| entry.last_sequence + 1);
    }
    life.begin_epoch(9)?;
    life.append(7)?;
    life.flush()?;
    let expected = life.current().clone();
    let view = life.log().view();
    let found: Vec<Entry> = read_all(&view, 10_000).iter().map(entry_of).collect();
    assert_eq!(found, expected, "{context}: appended after the recovery");
    Ok(())
}

fn entry_of(batch: &Batch) -> Entry {
    let records = records(std::slice::from_ref(batch));
    Entry {
        first: batch.header.base_offset.0,
        last: batch.header.last_offset().0,
        epoch: batch.header.partition_leader_epoch.0,
        producer: batch.header.producer_id.0,
        last_sequence: batch.header.last_sequence(),
        value: records[0].2.clone(),
    }
}

fn check_epochs(view: &ottla_storage::LogView<SimIo>, batches: &[Batch], context: &str) {
    for batch in batches {
        let (offset, epoch) = (batch.header.base_offset, batch.header.partition_leader_epoch);
        assert_eq!(view.epochs().epoch_at(offset), Some(epoch), "{context}: offset {offset}");
    }
    let entries = view.epochs().entries();
    assert!(entries.iter().all(|&(_, start)| start <= view.log_end()), "{context}: {entries:?}");
}

fn check_producers(log: &Log<SimIo>, found: &[Entry], context: &str) {
    for producer in 0..2 {
        let last = found.iter().rev().find(|entry| entry.producer == producer);
        let known = log.producer(ProducerId(producer));
        let known = known.and_then(|known| known.batches().last().copied());
        assert_eq!(
            known.map(|batch| (batch.last_sequence, batch.last_offset.0)),
            last.map(|entry| (entry.last_sequence, entry.last)),
            "{context}: producer {producer}"
        );
    }
}

fn disk(seed: u64) -> SimIo {
    SimIo::new(seed)
}

#[test]
fn nothing_confirmed_is_lost_when_the_power_fails_at_any_operation() {
    let whole = disk(0);
    let mut ledger = Ledger::default();
    script(&whole, &mut ledger).expect("nothing fails");
    let operations = whole.operations();
    assert!(150 < operations, "the script does something: {operations}");
    // More seeds by hand: OTTLA_CRASH_SEEDS=200.
    let seeds = std::env::var("OTTLA_CRASH_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    for at in 1..=operations {
        for seed in 0..seeds.unwrap_or(4) {
            let context = format!("power off at operation {at}, seed {seed}");
            let io = disk(seed * 1000 + at);
            let mut ledger = Ledger::default();
            io.inject(Fault::PowerOff { at });
            assert!(script(&io, &mut ledger).is_err(), "{context}: the crash is noticed");
            io.power_cut();
            // The power may fail again while the log is recovered, and while it goes on.
            let again = 1 + (at * 7 + seed * 13) % 60;
            io.inject(Fault::PowerOff { at: again });
            if check(&io, &mut ledger, 1, &context).is_err() {
                io.power_cut();
                check(&io, &mut ledger, 2, &format!("{context}, again at {again}"))
                    .expect("nothing fails");
            }
        }
    }
}

#[test]
fn a_crash_of_the_process_loses_nothing_that_was_written() {
    let whole = disk(0);
    script(&whole, &mut Ledger::default()).expect("nothing fails");
    for at in (1..=whole.operations()).step_by(3) {
        let context = format!("process killed at operation {at}");
        let io = disk(at);
        let mut ledger = Ledger::default();
        io.inject(Fault::PowerOff { at });
        let _ = script(&io, &mut ledger);
        io.process_crash();
        let config = small_config();
        let (dir, recovered) = open(&io, Path::new(DIR), "boot 0", &config).unwrap();
        assert!(recovered.failed.is_empty());
        let previous = dir.previous_life();
        assert!(!matches!(previous, PreviousLife::MachineCrash { .. }), "{context}: {previous:?}");
        let Some(log) = recovered.logs.first() else {
            continue;
        };
        let found: Vec<Entry> = read_all(&log.view(), 300).iter().map(entry_of).collect();
        let histories = &ledger.histories;
        let is_prefix = histories.iter().any(|history| history.starts_with(&found));
        assert!(is_prefix || found.is_empty(), "{context} {found:?} {histories:?}");
        assert!(ledger.durable_end <= log.log_end().0, "{context}");
        check_producers(log, &found, &context);
        check_epochs(&log.view(), &read_all(&log.view(), 1000), &context);
        // What a reader may have seen survives even if the machine crashes next.
        let served = log.log_end();
        drop((dir, recovered));
        io.power_cut();
        let (_dir, log) = open_log(&io, Path::new(DIR), "boot 1", &config);
        assert!(served <= log.log_end(), "{context}: {served} served, {} left", log.log_end());
    }
}

#[test]
fn a_machine_crash_is_reported_until_the_cluster_was_told() {
    let io = disk(1);
    let config = small_config();
    let previous = |boot: &str| {
        let (dir, _) = open(&io, Path::new(DIR), boot, &config).unwrap();
        dir.previous_life()
    };
    assert_eq!(previous("a"), PreviousLife::New);
    io.process_crash();
    assert_eq!(previous("a"), PreviousLife::ProcessCrash { broker_epoch: None });
    // The machine restarts; the new process crashes before it has told anybody.
    io.process_crash();
    assert_eq!(previous("b"), PreviousLife::MachineCrash { broker_epoch: None });
    io.process_crash();
    assert_eq!(previous("b"), PreviousLife::MachineCrash { broker_epoch: None });
    io.process_crash();
    // Not even an orderly end hides it.
    let (dir, recovered) = open(&io, Path::new(DIR), "b", &config).unwrap();
    dir.close(recovered.logs, -1).unwrap();
    drop(dir);
    assert_eq!(previous("b"), PreviousLife::MachineCrash { broker_epoch: None });
    let (dir, _) = open(&io, Path::new(DIR), "b", &config).unwrap();
    dir.set_broker_epoch(77).unwrap();
    io.process_crash();
    assert_eq!(previous("b"), PreviousLife::ProcessCrash { broker_epoch: Some(77) });
}
