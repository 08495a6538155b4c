//! What these tests do again and again.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use ottla_integration_tests::harness::{
    Cluster, Machines, WireClient, eventually,
    history::{Content, Contents, Mark, read_all},
    produce_one,
};
use ottla_protocol::messages::{
    ListOffsetsRequest,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};

/// A cluster of one broker on a machine with so many disks.
pub fn single(disks: usize) -> (Cluster, Machines) {
    let mut cluster = Cluster::single();
    let machines = Machines::under(&mut cluster, disks);
    (cluster, machines)
}

/// Creates a topic and waits until its leaders lead: a broker hears of a topic a little before it serves it, and an
/// idempotent producer whose first batch comes in that moment has to begin anew.
pub fn create(
    cluster: &Cluster,
    name: &str,
    (partitions, replicas): (i32, i16),
    configs: &[(&str, &str)],
) {
    cluster.create_topic(name, partitions, replicas, configs);
    for index in 0..partitions {
        eventually("the partition is served", Duration::from_secs(60), || {
            let leader = cluster.leader_of(name, index);
            let partition = ListOffsetsPartition {
                partition_index: index,
                timestamp: -1,
                ..ListOffsetsPartition::default()
            };
            let topic = ListOffsetsTopic {
                name: name.into(),
                partitions: vec![partition],
                ..Default::default()
            };
            let request =
                ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
            let mut client = WireClient::connect(cluster.broker_address(leader));
            let answer = client.call(7, &request);
            (answer.topics[0].partitions[0].error_code == 0).then_some(())
        });
    }
}

/// The folder of a partition, in whichever log dir of broker 1 it is, and that log dir's number.
pub fn folder(cluster: &Cluster, machines: &Machines, partition: &str) -> (usize, PathBuf) {
    (0..8)
        .map(|number| (number, machines.log_dir(cluster, 1, number).join(partition)))
        .find(|(_, path)| path.exists())
        .expect("the partition is on this broker")
}

/// Writes one record; the error code and the offset.
pub fn produce(client: &mut WireClient, topic: &str, partition: i32, mark: Mark) -> (i16, i64) {
    let response = client.call(9, &produce_one((topic, partition), &mark.to_value(0), -1, 10_000));
    let answer = &response.responses[0].partition_responses[0];
    (answer.error_code, answer.base_offset)
}

/// What partition 0 holds, read at least up to `end`.
pub fn contents(cluster: &Cluster, topic: &str, end: i64) -> Contents {
    let mut all = read_all(&cluster.bootstrap(), topic, &BTreeMap::from([(0, end)]));
    all.remove(&0).expect("partition 0")
}

/// A record of producer 0.
pub fn mark(sequence: u64) -> Mark {
    Mark { producer: 0, sequence }
}

/// Asserts that offset n holds the record n of producer 0, without a gap, and returns how many there are.
pub fn assert_in_order(contents: &Contents) -> u64 {
    let mut next = 0;
    for (offset, content) in contents {
        assert_eq!(
            (*offset, content),
            (i64::try_from(next).expect("few"), &Content::Of(mark(next)))
        );
        next += 1;
    }
    next
}
