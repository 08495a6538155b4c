//! Clients that know one broker and ask nobody who leads: what a leader makes of them that leads no more.

use std::{
    collections::VecDeque,
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use ottla_protocol::{
    ErrorCode, Message, Request, ResponseHeader,
    frame::encode_request,
    messages::{ProduceRequest, ProduceResponse},
    record_batch::{Limits, batches},
    wire::{Decoder, Pieces, Records},
};

use super::{Content, Load, Mark, Outcome, ProducerLog, ReaderLog, Sent, load::Clock};
use crate::harness::{WireClient, fetch_from, poll, produce_one};

const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;
const PACE: Duration = Duration::from_millis(5);
/// Requests without an answer: few enough for the system to hold while nobody reads them.
const WINDOW: usize = 200;
const PATIENCE: Duration = Duration::from_secs(120);

/// A producer without idempotence that sends one record a request to one broker, and never learns of another.
#[derive(Debug)]
pub struct PinnedProducer {
    shared: Arc<Shared>,
    threads: [JoinHandle<()>; 2],
    number: u32,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    target: Target,
    stop: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Clone)]
struct Target {
    topic: String,
    partition: i32,
    acks: i16,
}

#[derive(Debug, Default)]
struct State {
    log: ProducerLog,
    /// Sent and not answered, oldest first.
    waiting: VecDeque<u64>,
    /// Error codes and when they were heard.
    answers: Vec<(Duration, i16)>,
}

impl PinnedProducer {
    /// Starts to write to the broker at `address`, as producer `number`, with the clock of `load`.
    #[must_use]
    pub fn start(
        load: &Load,
        address: SocketAddr,
        (topic, partition): (&str, i32),
        (number, acks): (u32, i16),
    ) -> Self {
        let target = Target { topic: topic.to_owned(), partition, acks };
        let log = ProducerLog { partition, ..ProducerLog::default() };
        let shared = Arc::new(Shared {
            clock: load.clock(),
            target,
            stop: AtomicBool::new(false),
            state: Mutex::new(State { log, ..State::default() }),
        });
        let stream = TcpStream::connect(address).expect("a broker that listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        let answers = WireClient::of(stream.try_clone().expect("a second handle"), PATIENCE);
        let (sender, receiver) = (shared.clone(), shared.clone());
        let threads = [
            thread::spawn(move || sender.send(stream, number)),
            thread::spawn(move || receiver.receive(answers)),
        ];
        Self { shared, threads, number }
    }

    /// Waits until it has an answer with one of these error codes that came after `since`, and returns when that was.
    ///
    /// # Panics
    /// When none comes for long.
    #[must_use]
    pub fn await_answer(&self, since: Duration, codes: &[ErrorCode]) -> Duration {
        let codes: Vec<i16> = codes.iter().map(|code| *code as i16).collect();
        let found = poll(PATIENCE, || {
            let state = self.shared.state();
            let is_it = |(at, code): &&(Duration, i16)| since < *at && codes.contains(code);
            state.answers.iter().find(is_it).map(|(at, _)| *at)
        });
        found.unwrap_or_else(|| {
            let state = self.shared.state();
            panic!("no answer of {codes:?}, but {:?}", state.answers.last())
        })
    }

    /// Sends no more. The number under which its records are known, and what it was told: with acks=1 nothing is promised, so
    /// what was acknowledged counts as unknown.
    ///
    /// # Panics
    /// When one of its threads has panicked.
    #[must_use]
    pub fn finish(self) -> (u32, ProducerLog) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("it ends");
        }
        let log = std::mem::take(&mut self.shared.state().log);
        (self.number, log)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn send(&self, mut stream: TcpStream, number: u32) {
        for sequence in 0.. {
            while !self.is_stopped() && WINDOW <= self.state().waiting.len() {
                thread::sleep(PACE);
            }
            if self.is_stopped() {
                break;
            }
            let frame = self.target.frame(Mark { producer: number, sequence });
            let sent = Sent { at: self.clock.elapsed(), outcome: Outcome::Unknown };
            let mut state = self.state();
            state.log.records.insert(sequence, sent);
            state.waiting.push_back(sequence);
            drop(state);
            // A broker that went away takes no more; what it had may be there.
            if stream.write_all(&frame).is_err() {
                break;
            }
            thread::sleep(PACE);
        }
        // The broker answers what it has, and then closes.
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }

    fn receive(&self, mut answers: WireClient) {
        while let Ok(Some(frame)) = answers.read_frame() {
            let at = self.clock.elapsed();
            let mut decoder = Decoder::new(frame);
            ResponseHeader::decode(&mut decoder, ProduceRequest::KEY, PRODUCE_VERSION)
                .expect("a header");
            let response = ProduceResponse::decode(&mut decoder, PRODUCE_VERSION);
            let response = response.expect("a response");
            let answer = &response.responses[0].partition_responses[0];
            let outcome = match (answer.error_code, self.target.acks) {
                (0, -1) => Outcome::Acknowledged { offset: Some(answer.base_offset), at },
                (0, _) => Outcome::Unknown,
                (code, _) => Outcome::Failed(format!("error {code}")),
            };
            let mut state = self.state();
            state.answers.push((at, answer.error_code));
            let sequence = state.waiting.pop_front().expect("answers follow requests");
            state.log.records.get_mut(&sequence).expect("it was sent").outcome = outcome;
        }
    }
}

impl Target {
    fn frame(&self, mark: Mark) -> bytes::Bytes {
        let at = (self.topic.as_str(), self.partition);
        let request = produce_one(at, &mark.to_value(0), self.acks, 30_000);
        let frame = encode_request(0, Some(&"pinned".into()), PRODUCE_VERSION, &request);
        frame.and_then(Pieces::into_contiguous).expect("a request that can be encoded")
    }
}

/// A reader that reads one partition from one broker, from its beginning until that broker leads no more.
#[derive(Debug)]
pub struct PinnedReader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<ReaderLog>,
}

impl PinnedReader {
    /// Starts to read from the broker at `address`.
    #[must_use]
    pub fn start(address: SocketAddr, topic: &str, partition: i32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, topic) = (stop.clone(), topic.to_owned());
        let thread = thread::spawn(move || {
            let mut log = ReaderLog { partition, ..ReaderLog::default() };
            // A broker that is gone has nothing more to show.
            let _ = read(address, &topic, &mut log, &stopped);
            log
        });
        Self { stop, thread }
    }

    /// Reads no more; what it saw.
    ///
    /// # Panics
    /// When it has panicked.
    #[must_use]
    pub fn finish(self) -> ReaderLog {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it ends")
    }
}

fn read(
    address: SocketAddr,
    topic: &str,
    log: &mut ReaderLog,
    stopped: &AtomicBool,
) -> io::Result<()> {
    let mut client = WireClient::try_connect(address, PATIENCE)?;
    let (mut next, mut scratch) = (0, Vec::new());
    while !stopped.load(Ordering::Relaxed) {
        let request = fetch_from((topic, log.partition), next);
        let mut response = client.try_call(FETCH_VERSION, &request)?;
        let answer = response.responses.remove(0).partitions.remove(0);
        if answer.error_code != 0 {
            return Ok(());
        }
        let Some(Records::Memory(bytes)) = answer.records else { continue };
        for batch in batches(bytes).map_while(Result::ok) {
            for record in batch.records(&mut scratch, Limits::default()).expect("records") {
                let record = record.expect("a record");
                if next <= record.offset.0 {
                    log.seen.push((record.offset.0, Content::of(record.value.unwrap_or_default())));
                }
            }
            next = batch.header.next_offset().0;
        }
    }
    Ok(())
}
