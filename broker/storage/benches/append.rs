//! Appending, beside what the machine itself does: `cargo bench -p ottla-storage [-- DIR]`.
//!
//! Ratios are what counts: figures of a shared machine differ from run to run, those of two things measured in turn less.
#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first error")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ottla_protocol::Uuid;
use ottla_protocol::record_batch::{Builder, BuilderOptions, NewRecord};
use ottla_protocol::time::Now;
use ottla_protocol::types::LeaderEpoch;
use ottla_storage::{
    DirIdentity, LeaderBatch, Log, LogConfig, LogDir, RealIo, RecoverOptions, SyncPool, Synced,
    TopicPartition,
};

const BATCH_BYTES: usize = 64 << 10;
const APPEND_BYTES: u64 = 1 << 30;
const ROUNDS: usize = 5;
const SYNC_TIME: Duration = Duration::from_secs(3);
const SYNC_THREADS: usize = 16;

fn main() {
    // `cargo bench` passes `--bench`.
    let dir = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    let parent = dir.map_or_else(std::env::temp_dir, PathBuf::from);
    let root = tempfile::tempdir_in(parent).unwrap();
    append_ratio(root.path());
    synced_writers(root.path());
    restart(root.path());
}

fn batch(bytes: usize) -> LeaderBatch {
    let mut builder = Builder::new(BuilderOptions::default());
    let value = vec![b'v'; 1000];
    let mut len = 61;
    while len + 1016 < bytes {
        builder
            .push(&NewRecord { timestamp: 1, value: Some(&value), ..Default::default() })
            .unwrap();
        len += 1016;
    }
    if builder.is_empty() {
        builder.push(&NewRecord { timestamp: 1, value: Some(b"v"), ..Default::default() }).unwrap();
    }
    LeaderBatch::new(builder.build().unwrap())
}

fn open(root: &Path, name: &str, config: &Arc<LogConfig>) -> (LogDir<RealIo>, Vec<Log<RealIo>>) {
    let identity = DirIdentity {
        cluster_id: "bench".to_owned(),
        node_id: 1,
        boot_id: "bench".to_owned(),
        new_directory_id: Uuid::from_bytes([1; 16]),
        open_files_max: DirIdentity::OPEN_FILES_MAX,
    };
    let dir = LogDir::open(RealIo, &root.join(name), &identity).unwrap();
    let options = RecoverOptions { threads: 2, config: &|_| Arc::clone(config), progress: &|_| {} };
    let recovered = dir.recover(&options).unwrap();
    (dir, recovered.logs)
}

fn create(dir: &LogDir<RealIo>, count: i32, config: &Arc<LogConfig>) -> Vec<Log<RealIo>> {
    let create = |number| {
        let partition = TopicPartition::new("bench", number);
        dir.create_log(&partition, Uuid::from_bytes([2; 16]), Arc::clone(config)).unwrap()
    };
    (0..count).map(create).collect()
}

fn mib_per_s(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / (1 << 20) as f64 / time.as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A GiB of 64 KiB batches into the page cache, against a loop of bare `pwrite`s of the same bytes.
fn append_ratio(root: &Path) {
    let batches = [batch(BATCH_BYTES)];
    let bytes = &batches[0].batch.bytes;
    let count = APPEND_BYTES / bytes.len() as u64;
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let path = root.join(format!("bare-{round}"));
        let file = OpenOptions::new().write(true).create_new(true).open(&path).unwrap();
        let start = Instant::now();
        for index in 0..count {
            file.write_all_at(bytes, index * bytes.len() as u64).unwrap();
        }
        bare.push(mib_per_s(count * bytes.len() as u64, start.elapsed()));
        std::fs::remove_file(&path).unwrap();

        let config = Arc::new(LogConfig { segment_bytes: i32::MAX as u32, ..LogConfig::default() });
        let (dir, _) = open(root, &format!("log-{round}"), &config);
        let mut log = create(&dir, 1, &config).remove(0);
        let start = Instant::now();
        for _ in 0..count {
            let now = Now::default();
            std::hint::black_box(log.append_as_leader(&batches, LeaderEpoch(0), now).unwrap());
            std::hint::black_box(log.view());
        }
        ours.push(mib_per_s(count * bytes.len() as u64, start.elapsed()));
        drop((log, dir));
        std::fs::remove_dir_all(root.join(format!("log-{round}"))).unwrap();
    }
    let (bare, ours) = (median(bare), median(ours));
    println!(
        "append of 64 KiB batches   {ours:8.0} MiB/s   bare pwrite {bare:8.0} MiB/s   ratio {:.2}",
        ours / bare
    );
}

/// Appends that are answered when they are durable, by 1 and by 64 writers who wait for each answer.
fn synced_writers(root: &Path) {
    let one = synced_appends(root, 1, 1);
    println!("acknowledged after a sync  {one:8.0} /s   1 writer");
    for partitions in [4, 64] {
        let many = synced_appends(root, partitions, 64);
        println!(
            "acknowledged after a sync  {many:8.0} /s   64 writers on {partitions} partitions   {:.1} times one writer",
            many / one
        );
    }
}

enum Input {
    Append(usize, SyncSender<()>),
    Synced(u64, Synced),
}

/// One worker as the broker has it: takes what is queued, appends it, hands out syncs, answers what they cover.
struct Worker {
    logs: Vec<Log<RealIo>>,
    waiting: Vec<Vec<(i64, SyncSender<()>)>>,
    pool: SyncPool<RealIo>,
    inputs: Receiver<Input>,
    batches: [LeaderBatch; 1],
}

impl Worker {
    fn run(mut self) {
        while let Ok(first) = self.inputs.recv() {
            let mut touched = vec![false; self.logs.len()];
            self.take(first, &mut touched);
            while let Ok(next) = self.inputs.try_recv() {
                self.take(next, &mut touched);
            }
            for index in (0..self.logs.len()).filter(|&index| touched[index]) {
                if let Some(ticket) = self.logs[index].poll_flush(Now::default()).unwrap() {
                    self.pool.submit(index as u64, ticket).unwrap();
                }
            }
        }
    }

    fn take(&mut self, input: Input, touched: &mut [bool]) {
        match input {
            Input::Append(index, answer) => {
                let log = &mut self.logs[index];
                let appended = log.append_as_leader(&self.batches, LeaderEpoch(0), Now::default());
                self.waiting[index].push((appended.unwrap().last_offset.0, answer));
                touched[index] = true;
            }
            Input::Synced(token, synced) => {
                let index = token as usize;
                self.logs[index].on_synced(synced).unwrap();
                let flushed = self.logs[index].flushed_end().0;
                self.waiting[index].retain(|(last, answer)| {
                    if *last < flushed {
                        let _ = answer.send(());
                    }
                    flushed <= *last
                });
                touched[index] = true;
            }
        }
    }
}

fn synced_appends(root: &Path, partitions: i32, writers: usize) -> f64 {
    let name = format!("synced-{partitions}-{writers}");
    let config = Arc::new(LogConfig { flush_messages: 1, ..LogConfig::default() });
    let (dir, _) = open(root, &name, &config);
    let logs = create(&dir, partitions, &config);
    let (sender, inputs) = sync_channel(1000);
    let back = Mutex::new(sender.clone());
    let done = Arc::new(move |token, synced| {
        let _ = back.lock().unwrap().send(Input::Synced(token, synced));
    });
    let pool = SyncPool::start(SYNC_THREADS, 1000, done).unwrap();
    let waiting = logs.iter().map(|_| Vec::new()).collect();
    let worker = Worker { logs, waiting, pool, inputs, batches: [batch(1000)] };
    std::thread::spawn(move || worker.run());
    let start = Instant::now();
    let threads: Vec<_> = (0..writers)
        .map(|writer| {
            let (sender, partition) = (sender.clone(), writer % partitions as usize);
            std::thread::spawn(move || {
                let (answer, answers) = sync_channel(1);
                let mut count = 0u64;
                while start.elapsed() < SYNC_TIME {
                    sender.send(Input::Append(partition, answer.clone())).unwrap();
                    answers.recv().unwrap();
                    count += 1;
                }
                count
            })
        })
        .collect();
    let count: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    count as f64 / start.elapsed().as_secs_f64()
}

/// A thousand logs: closed in order and opened, then opened after a crash of the process.
fn restart(root: &Path) {
    let config = Arc::new(LogConfig::default());
    let (dir, _) = open(root, "restart", &config);
    let start = Instant::now();
    let mut logs = create(&dir, 1000, &config);
    println!("1,000 logs created in      {:8.0} ms", start.elapsed().as_secs_f64() * 1e3);
    let batches = [batch(1000)];
    for log in &mut logs {
        for _ in 0..20 {
            log.append_as_leader(&batches, LeaderEpoch(0), Now::default()).unwrap();
        }
    }
    let start = Instant::now();
    dir.close(logs, 1).unwrap();
    println!("closed in order in         {:8.0} ms", start.elapsed().as_secs_f64() * 1e3);
    drop(dir);
    let start = Instant::now();
    let (dir, logs) = open(root, "restart", &config);
    println!("opened again in            {:8.0} ms", start.elapsed().as_secs_f64() * 1e3);
    drop((dir, logs));
    let start = Instant::now();
    let (dir, logs) = open(root, "restart", &config);
    println!("opened after a crash in    {:8.0} ms", start.elapsed().as_secs_f64() * 1e3);
    drop((dir, logs));
}
