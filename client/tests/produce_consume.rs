//! Producer and consumer against a real cluster, Ottla or Apache Kafka: the one at `OTTLA_TEST_BOOTSTRAP`
//! (`host:port,…`). Without it there is nothing to test against, and the tests say so.

mod common;

use std::time::Duration;

use bytes::Bytes;
use ottla_client::consumer::{OffsetReset, Start};
use ottla_client::partitioner::partition_for_key;
use ottla_client::producer::{Acks, Delivery, DeliveryError, SendError};
use ottla_client::protocol::compression::Codec;
use ottla_client::protocol::record_batch::TimestampType;
use ottla_client::protocol::types::{Offset, PartitionId};
use ottla_client::protocol::{ErrorCode, Str};
use ottla_client::{
    Client, Consumer, ConsumerConfig, ConsumerRecord, Producer, ProducerConfig, ProducerRecord,
};

use common::TestTopic;

const TIME: i64 = 1_700_000_000_000;

fn producer(client: &Client, change: impl FnOnce(&mut ProducerConfig)) -> Producer {
    let mut config = ProducerConfig::default();
    change(&mut config);
    Producer::new(client.clone(), config).expect("the settings go together")
}

fn consumer(client: &Client, change: impl FnOnce(&mut ConsumerConfig)) -> Consumer {
    let mut config = ConsumerConfig::default();
    change(&mut config);
    Consumer::new(client.clone(), config)
}

fn record(topic: &Str, key: Option<&str>, value: &str) -> ProducerRecord {
    ProducerRecord {
        topic: topic.clone(),
        key: key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        ..ProducerRecord::default()
    }
}

async fn read(consumer: &mut Consumer, count: usize) -> Vec<ConsumerRecord> {
    let mut records = Vec::new();
    let all = async {
        while records.len() < count {
            records.extend(consumer.poll(Duration::from_secs(1)).await.expect("readable"));
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.expect("all within 30 s");
    records
}

async fn write(producer: &Producer, topic: &Str, values: impl IntoIterator<Item = String>) {
    let mut deliveries = Vec::new();
    for value in values {
        let record =
            ProducerRecord { partition: Some(PartitionId(0)), ..record(topic, None, &value) };
        deliveries.push(producer.send(record).await.expect("room"));
    }
    delivered(deliveries).await;
}

async fn delivered(deliveries: Vec<Delivery>) {
    for delivery in deliveries {
        delivery.await.expect("delivered");
    }
}

#[tokio::test]
async fn records_of_every_kind_come_back_with_every_codec() {
    let Some(topic) = TestTopic::create("codecs", 1).await else { return };
    let mut reading = consumer(&topic.client, |_| {});
    reading.assign(topic.name.clone(), PartitionId(0), Start::Earliest);
    let mut next = 0;
    for codec in Codec::ALL {
        let producer = producer(&topic.client, |config| config.compression = codec.into());
        let headers = vec![
            (Str::from("b"), Some(Bytes::from_static(b"1"))),
            (Str::from("a"), None),
            (Str::from("b"), Some(Bytes::new())),
        ];
        let kinds = [
            ProducerRecord {
                timestamp: Some(TIME),
                headers,
                ..record(&topic.name, Some("k"), "v")
            },
            ProducerRecord { timestamp: Some(0), ..record(&topic.name, None, "") },
            ProducerRecord { topic: topic.name.clone(), timestamp: Some(5), ..Default::default() },
            ProducerRecord {
                timestamp: Some(TIME + 1),
                ..record(&topic.name, Some(""), &"x".repeat(99_999))
            },
        ];
        let mut deliveries = Vec::new();
        for kind in &kinds {
            deliveries.push(producer.send(kind.clone()).await.expect("room"));
        }
        for (kind, delivery) in kinds.iter().zip(deliveries) {
            let written = delivery.await.expect("delivered");
            assert_eq!((written.partition, written.offset), (PartitionId(0), Offset(next)));
            assert_eq!(Some(written.timestamp), kind.timestamp);
            next += 1;
        }
        for (kind, read) in kinds.iter().zip(read(&mut reading, kinds.len()).await) {
            assert_eq!((&read.key, &read.value), (&kind.key, &kind.value), "{codec}");
            assert_eq!(Some(read.timestamp), kind.timestamp);
            let headers: Vec<_> = read.headers.into_iter().map(|h| (h.name, h.value)).collect();
            assert_eq!(headers, kind.headers);
        }
        assert!(producer.close(Duration::from_secs(10)).await);
    }
    let position = reading.position(&topic.name, PartitionId(0));
    assert_eq!(position, Ok(Some(Offset(next))));
    assert_eq!(reading.is_at_end(&topic.name, PartitionId(0)), Ok(true));
    topic.delete().await;
}

#[tokio::test]
async fn keys_go_where_java_puts_them_and_keep_their_order() {
    let Some(topic) = TestTopic::create("keys", 7).await else { return };
    let producer = producer(&topic.client, |config| config.compression = Codec::Lz4.into());
    let mut deliveries = Vec::new();
    for i in 0..5000 {
        let key = format!("key-{}", i % 50);
        deliveries.push(
            producer.send(record(&topic.name, Some(&key), &i.to_string())).await.expect("room"),
        );
    }
    producer.flush().await;
    for (i, delivery) in deliveries.into_iter().enumerate() {
        let expected = partition_for_key(format!("key-{}", i % 50).as_bytes(), 7);
        assert_eq!(delivery.await.expect("delivered").partition, expected);
    }
    assert_eq!(producer.buffered_bytes(), 0);

    let mut consumer = consumer(&topic.client, |_| {});
    for partition in 0..7 {
        consumer.assign(topic.name.clone(), PartitionId(partition), Start::Earliest);
    }
    let mut last = std::collections::HashMap::new();
    for record in read(&mut consumer, 5000).await {
        let number: i32 =
            String::from_utf8_lossy(&record.value.expect("a value")).parse().expect("a number");
        let before = last.insert(record.key, number);
        assert!(before < Some(number), "{before:?} before {number}");
    }
    assert_eq!(last.len(), 50);
    topic.delete().await;
}

#[tokio::test]
async fn records_without_key_are_spread_over_the_partitions() {
    let Some(topic) = TestTopic::create("keyless", 4).await else { return };
    let producer = producer(&topic.client, |config| config.batch_size = 1000);
    let mut partitions = std::collections::HashSet::new();
    let mut deliveries = Vec::new();
    for _ in 0..2000 {
        let delivery =
            producer.send(record(&topic.name, None, &"v".repeat(100))).await.expect("room");
        partitions.insert(delivery.partition());
        deliveries.push(delivery);
    }
    delivered(deliveries).await;
    assert_eq!(partitions.len(), 4);
    topic.delete().await;
}

#[tokio::test]
async fn more_than_the_buffer_holds_goes_through_it() {
    let Some(topic) = TestTopic::create("buffer", 2).await else { return };
    let producer = producer(&topic.client, |config| config.buffer_memory = 100_000);
    let mut deliveries = Vec::new();
    for i in 0..3000 {
        deliveries.push(
            producer
                .send(record(&topic.name, Some(&i.to_string()), &"v".repeat(500)))
                .await
                .expect("room"),
        );
        assert!(producer.buffered_bytes() <= 100_000);
    }
    delivered(deliveries).await;
    topic.delete().await;
}

#[tokio::test]
async fn every_kind_of_acknowledgement_works() {
    let Some(topic) = TestTopic::create("acks", 1).await else { return };
    for (acks, known) in [(Acks::None, false), (Acks::Leader, true), (Acks::All, true)] {
        let producer = producer(&topic.client, |config| {
            config.acks = acks;
            config.idempotence = false;
        });
        let delivery = producer.send(record(&topic.name, None, "v")).await.expect("room");
        assert_eq!(delivery.await.expect("delivered").offset != Offset::NONE, known);
    }
    let mut consumer = consumer(&topic.client, |_| {});
    consumer.assign(topic.name.clone(), PartitionId(0), Start::Earliest);
    assert_eq!(read(&mut consumer, 3).await.len(), 3);
    topic.delete().await;
}

#[tokio::test]
async fn the_brokers_time_is_told_where_it_counts() {
    let configs = [("message.timestamp.type", "LogAppendTime")];
    let Some(topic) = TestTopic::create_with("append-time", 1, &configs).await else { return };
    let producer = producer(&topic.client, |_| {});
    let old = ProducerRecord { timestamp: Some(5), ..record(&topic.name, None, "v") };
    let written = producer.send(old).await.expect("room").await.expect("delivered");
    assert!(TIME < written.timestamp);
    let mut consumer = consumer(&topic.client, |_| {});
    consumer.assign(topic.name.clone(), PartitionId(0), Start::Earliest);
    let read = read(&mut consumer, 1).await.remove(0);
    assert_eq!(
        (read.timestamp, read.timestamp_type),
        (written.timestamp, TimestampType::LogAppendTime)
    );
    topic.delete().await;
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_with_its_reason() {
    let configs = [("cleanup.policy", "compact"), ("max.message.bytes", "50000")];
    let Some(topic) = TestTopic::create_with("refused", 1, &configs).await else { return };
    let producer = producer(&topic.client, |config| config.max_block = Duration::from_millis(500));
    let refused = async |record| match producer.send(record).await.expect("room").await {
        Err(DeliveryError::Refused { code, .. }) => code,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(record(&topic.name, None, "no key")).await, ErrorCode::InvalidRecord);
    let large = "x".repeat(60_000);
    assert_eq!(refused(record(&topic.name, Some("k"), &large)).await, ErrorCode::MessageTooLarge);
    let good = producer.send(record(&topic.name, Some("k"), "v")).await.expect("room").await;
    assert_eq!(good.expect("a refused batch must not stop the next").offset, Offset(0));

    let huge = record(&topic.name, Some("k"), &"x".repeat(2 << 20));
    assert!(matches!(producer.send(huge).await, Err(SendError::TooLarge { .. })));
    let elsewhere =
        ProducerRecord { partition: Some(PartitionId(1)), ..record(&topic.name, None, "") };
    assert!(matches!(
        producer.send(elsewhere).await,
        Err(SendError::NoSuchPartition { count: 1, .. })
    ));
    let absent = record(&common::unique("absent").into(), None, "");
    let Err(SendError::Metadata(error)) = producer.send(absent).await else { panic!() };
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition));
    let closed = producer.clone();
    assert!(producer.close(Duration::from_secs(5)).await);
    let late = closed.send(record(&topic.name, Some("k"), "v")).await;
    assert!(matches!(late, Err(SendError::Closed)));
    topic.delete().await;
}

#[tokio::test]
async fn reading_begins_where_it_is_told_to() {
    let Some(topic) = TestTopic::create("starts", 1).await else { return };
    let writing = producer(&topic.client, |_| {});
    for i in 0..10 {
        let at =
            ProducerRecord { timestamp: Some(TIME + i * 100), ..record(&topic.name, None, "v") };
        writing.send(at).await.expect("room").await.expect("delivered");
    }
    let partition = PartitionId(0);
    let mut reading = consumer(&topic.client, |config| config.max_poll_records = 3);
    let first = async |reading: &mut Consumer, start| {
        reading.assign(topic.name.clone(), partition, start);
        read(reading, 1).await[0].offset
    };
    assert_eq!(first(&mut reading, Start::Earliest).await, Offset(0));
    assert_eq!(first(&mut reading, Start::Offset(Offset(7))).await, Offset(7));
    assert_eq!(first(&mut reading, Start::Timestamp(TIME + 350)).await, Offset(4));
    assert_eq!(reading.position(&topic.name, partition), Ok(Some(Offset(7))), "three at a time");
    assert_eq!(reading.high_watermark(&topic.name, partition), Ok(Some(Offset(10))));
    reading.seek(&topic.name, partition, Start::Offset(Offset(2))).expect("assigned");
    assert_eq!(read(&mut reading, 3).await[0].offset, Offset(2));

    for start in [Start::Latest, Start::Timestamp(TIME * 2)] {
        reading.assign(topic.name.clone(), partition, start);
        common::eventually(async || {
            let records = reading.poll(Duration::from_millis(100)).await.expect("readable");
            assert_eq!(records, []);
            reading.position(&topic.name, partition).expect("assigned")
        })
        .await;
        assert_eq!(reading.position(&topic.name, partition), Ok(Some(Offset(10))));
    }
    write(&writing, &topic.name, ["new".to_owned()]).await;
    assert_eq!(read(&mut reading, 1).await[0].offset, Offset(10));
    reading.unassign(&topic.name, partition);
    assert!(reading.seek(&topic.name, partition, Start::Latest).is_err());
    topic.delete().await;
}

#[tokio::test]
async fn an_offset_out_of_range_is_handled_by_policy() {
    let Some(topic) = TestTopic::create("out-of-range", 1).await else { return };
    let producer = producer(&topic.client, |_| {});
    write(&producer, &topic.name, (0..10).map(|i| i.to_string())).await;
    let partition = PartitionId(0);
    let deleted = topic.admin.delete_records(&[(topic.name.clone(), partition, Offset(4))]).await;
    assert_eq!(deleted, [Ok(Offset(4))]);

    let mut earliest = consumer(&topic.client, |c| c.auto_offset_reset = OffsetReset::Earliest);
    earliest.assign(topic.name.clone(), partition, Start::Offset(Offset(1)));
    assert_eq!(read(&mut earliest, 1).await[0].offset, Offset(4));
    earliest.assign(topic.name.clone(), partition, Start::Offset(Offset(1000)));
    assert_eq!(read(&mut earliest, 1).await[0].offset, Offset(4));

    let mut latest = consumer(&topic.client, |c| c.auto_offset_reset = OffsetReset::Latest);
    latest.assign(topic.name.clone(), partition, Start::Offset(Offset(1)));
    common::eventually(async || {
        latest.poll(Duration::from_millis(50)).await.expect("readable");
        (latest.position(&topic.name, partition) == Ok(Some(Offset(10)))).then_some(())
    })
    .await;

    let mut strict = consumer(&topic.client, |c| c.auto_offset_reset = OffsetReset::None);
    strict.assign(topic.name.clone(), partition, Start::Offset(Offset(1)));
    let error = strict.poll(Duration::from_secs(10)).await.expect_err("no policy");
    assert!(error.to_string().contains("offset 1 is out of range"), "{error}");
    topic.delete().await;
}

#[tokio::test]
async fn a_topic_that_does_not_exist_yet_is_waited_for() {
    let Some(client) = common::client() else { return };
    let mut consumer = consumer(&client, |_| {});
    let name: Str = common::unique("absent").into();
    consumer.assign(name, PartitionId(0), Start::Earliest);
    let records = consumer.poll(Duration::from_millis(300)).await;
    assert_eq!(records, Ok(vec![]));
}

#[tokio::test]
async fn large_amounts_are_read_in_order_and_completely() {
    let Some(topic) = TestTopic::create("large", 3).await else { return };
    let producer = producer(&topic.client, |config| {
        config.compression = Codec::Zstd.into();
        config.batch_size = 200_000;
    });
    let mut last = None;
    for i in 0..60_000i64 {
        let record = ProducerRecord {
            partition: Some(PartitionId((i % 3) as i32)),
            timestamp: Some(TIME + i),
            ..record(&topic.name, None, &format!("{i:0100}"))
        };
        last = Some(producer.send(record).await.expect("room"));
    }
    producer.flush().await;
    last.expect("sent").await.expect("delivered");

    let mut consumer = consumer(&topic.client, |config| {
        config.partition_fetch_bytes = 30_000;
        config.max_poll_records = 777;
    });
    for partition in 0..3 {
        consumer.assign(topic.name.clone(), PartitionId(partition), Start::Earliest);
    }
    let mut next = [0i64; 3];
    for record in read(&mut consumer, 60_000).await {
        let partition = record.partition.0 as usize;
        assert_eq!(record.offset, Offset(next[partition]));
        assert_eq!(record.timestamp, TIME + 3 * next[partition] + partition as i64);
        next[partition] += 1;
    }
    assert_eq!(next, [20_000; 3]);
    topic.delete().await;
}
