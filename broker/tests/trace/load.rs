//! Producers and readers on bare sockets, which note what they hear the moment they have heard it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ottla_broker::partition::PartitionHandle;
use ottla_protocol::frame::encode_request;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{FetchRequest, ProduceRequest};
use ottla_protocol::record_batch::{Builder, BuilderOptions, NewRecord};
use ottla_protocol::wire::{Decoder, Pieces, Records};
use ottla_protocol::{Message, Request, ResponseHeader};

use super::check::{Event, Trace};

const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;
/// Requests of a producer that are under way.
const WINDOW: usize = 4;
const RECORDS: i64 = 3;

/// One partition, as clients and the test see it.
#[derive(Debug, Clone)]
pub struct Target {
    pub topic: &'static str,
    pub index: i32,
    /// Of its leader.
    pub address: SocketAddr,
    /// The leader's replica.
    pub handle: Arc<PartitionHandle>,
}

impl Target {
    pub fn name(&self) -> String {
        format!("{}-{}", self.topic, self.index)
    }

    fn note_watermark(&self, trace: &Trace) {
        let value = self.handle.view().high_watermark.0;
        trace.note(Event::Watermark { partition: self.name(), value });
    }
}

struct Connection {
    stream: TcpStream,
    sent: i32,
    received: i32,
}

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { stream, sent: 0, received: 0 }
    }

    fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.sent += 1;
        let frame = encode_request(self.sent, None, version, request).unwrap();
        self.stream.write_all(&Pieces::into_contiguous(frame).unwrap()).unwrap();
    }

    /// The next frame, and nothing done with it yet.
    fn frame(&mut self) -> Bytes {
        let mut len = [0; 4];
        self.stream.read_exact(&mut len).unwrap();
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(len)).unwrap()];
        self.stream.read_exact(&mut frame).unwrap();
        self.received += 1;
        frame.into()
    }

    fn decode<R: Request>(&self, version: i16, frame: Bytes) -> R::Response {
        let mut decoder = Decoder::new(frame);
        let header = ResponseHeader::decode(&mut decoder, R::KEY, version).unwrap();
        assert_eq!(header.correlation_id, self.received);
        R::Response::decode(&mut decoder, version).unwrap()
    }
}

/// Sends `count` batches, some at a time, and notes each answer together with the high watermark that it found.
pub fn produce(target: &Target, acks: i16, count: usize, trace: &Trace) {
    let mut connection = Connection::open(target.address);
    for answered in 0..count {
        while usize::try_from(connection.sent).unwrap() < count.min(answered + WINDOW) {
            connection.send(PRODUCE_VERSION, &batch_for(target, acks));
        }
        let frame = connection.frame();
        // The answer is here: what it promises must hold by now.
        target.note_watermark(trace);
        let response = connection.decode::<ProduceRequest>(PRODUCE_VERSION, frame);
        let answer = &response.responses[0].partition_responses[0];
        assert_eq!(answer.error_code, 0, "{}", target.name());
        let to = answer.base_offset + RECORDS;
        trace.note(Event::Answered { partition: target.name(), acks, to });
    }
}

fn batch_for(target: &Target, acks: i16) -> ProduceRequest {
    let mut builder = Builder::new(BuilderOptions::default());
    for _ in 0..RECORDS {
        builder.push(&NewRecord { value: Some(b"traced"), ..NewRecord::default() }).unwrap();
    }
    let partition = PartitionProduceData {
        index: target.index,
        records: Some(Records::Memory(builder.build().unwrap().bytes)),
        ..Default::default()
    };
    let topic = TopicProduceData {
        name: target.topic.into(),
        partition_data: vec![partition],
        ..Default::default()
    };
    ProduceRequest { acks, timeout_ms: 60_000, topic_data: vec![topic], ..Default::default() }
}

/// Reads along until `done`, and notes every high watermark that an answer names.
pub fn read(target: &Target, trace: &Trace, done: &AtomicBool) {
    let mut connection = Connection::open(target.address);
    let mut from = 0;
    while !done.load(Ordering::Relaxed) {
        let partition = FetchPartition {
            partition: target.index,
            fetch_offset: from,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        };
        let topic = FetchTopic {
            topic: target.topic.into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: 20,
            min_bytes: 1,
            max_bytes: 1 << 20,
            topics: vec![topic],
            ..Default::default()
        };
        connection.send(FETCH_VERSION, &request);
        let frame = connection.frame();
        let response = connection.decode::<FetchRequest>(FETCH_VERSION, frame);
        let answer = &response.responses[0].partitions[0];
        assert_eq!(answer.error_code, 0, "{}", target.name());
        let value = answer.high_watermark;
        trace.note(Event::Watermark { partition: target.name(), value });
        from = value;
    }
}
