//! Partitions with several replicas: ISRs, elections, reassignment, brokers that stop or are forgotten.

use ottla_coordinator::Handle;
use ottla_metadata::model::Partition;
use ottla_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use ottla_protocol::messages::alter_partition_request::{
    BrokerState, PartitionData as Proposed, TopicData as ProposedTopic,
};
use ottla_protocol::messages::describe_quorum_request::{
    PartitionData as AskedPartition, TopicData as AskedTopic,
};
use ottla_protocol::messages::elect_leaders_request::TopicPartitions;
use ottla_protocol::messages::update_features_request::FeatureUpdateKey;
use ottla_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionRequest, AlterPartitionResponse,
    DescribeQuorumRequest, ElectLeadersRequest, UnregisterBrokerRequest, UpdateFeaturesRequest,
};
use ottla_protocol::{ErrorCode, Uuid};

use crate::broker::{FakeBroker, record, until_fenced};
use crate::link::Link;
use crate::support::{create, soon, start_active, stop, store, until};
use ottla_coordinator::admin::NewTopic;

struct Cluster {
    handle: Handle,
    brokers: Vec<(FakeBroker, Link)>,
    topic: Uuid,
}

/// Brokers 1 to 3 and a topic `t` whose partitions are all on them, 1 first.
async fn start(partitions: i32) -> Cluster {
    let handle = start_active(100, store()).await;
    let mut brokers = Vec::new();
    for id in 1..=3 {
        brokers.push(FakeBroker::start(id, &handle).await);
    }
    let assignments = (0..partitions).map(|number| (number, vec![1, 2, 3])).collect();
    let topic = NewTopic { name: "t".to_owned(), assignments, ..NewTopic::default() };
    let created = create(&handle, vec![topic]).await.expect("it is active");
    let topic = created.results[0].as_ref().expect("a topic").topic_id;
    until("the topic is seen", || handle.services().images.load().topic("t").is_some()).await;
    Cluster { handle, brokers, topic }
}

impl Cluster {
    fn partition(&self, number: i32) -> (Partition, i64) {
        let image = self.handle.services().images.load();
        let found = image.partition(self.topic, number).expect("it exists");
        (found.value.clone(), found.mod_revision)
    }

    async fn until(&self, what: &str, condition: impl Fn(&Partition) -> bool) {
        until(what, || condition(&self.partition(0).0)).await;
    }

    /// What the leader, broker 1, proposes for these partitions.
    fn proposal(&self, numbers: impl Iterator<Item = i32>, isr: &[i32]) -> AlterPartitionRequest {
        let epoch_of = |id: i32| record(&self.handle, id).expect("registered").broker_epoch;
        let seats = isr.iter().map(|id| BrokerState {
            broker_id: *id,
            broker_epoch: epoch_of(*id),
            ..BrokerState::default()
        });
        let seats: Vec<BrokerState> = seats.collect();
        let proposed = |number| {
            let (partition, revision) = self.partition(number);
            Proposed {
                partition_index: number,
                leader_epoch: partition.leader_epoch,
                new_isr_with_epochs: seats.clone(),
                partition_epoch: (revision & i64::from(i32::MAX)) as i32,
                ..Proposed::default()
            }
        };
        let topic = ProposedTopic {
            topic_id: self.topic,
            partitions: numbers.map(proposed).collect(),
            ..ProposedTopic::default()
        };
        let broker_epoch = epoch_of(1);
        AlterPartitionRequest {
            broker_id: 1,
            broker_epoch,
            topics: vec![topic],
            ..Default::default()
        }
    }

    async fn stop(self) {
        drop(self.brokers);
        stop(self.handle).await;
    }
}

fn codes(response: &AlterPartitionResponse) -> Vec<i16> {
    assert_eq!(response.error_code, 0);
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| partition.error_code).collect()
}

#[tokio::test]
async fn proposals_of_many_requests_are_answered_each_for_itself() {
    let mut cluster = start(300).await;
    // All of it waits at once: 300 requests, then one with everything, which is overtaken.
    let requests: Vec<_> =
        (0..300).map(|number| cluster.proposal(number..number + 1, &[1, 2])).collect();
    let overtaken = cluster.proposal(0..300, &[1]);
    let link = &mut cluster.brokers[0].1;
    let mut sent = Vec::new();
    for request in &requests {
        sent.push(link.send(3, request).await);
    }
    let last = link.send(3, &overtaken).await;
    let mut accepted = 0;
    for _ in 0..=300 {
        let (id, response) = link.receive::<AlterPartitionRequest>(3).await;
        let codes = codes(&response);
        let stale = ErrorCode::InvalidUpdateVersion.code();
        assert!(codes.iter().all(|code| *code == 0 || *code == stale), "{codes:?}");
        accepted += codes.iter().filter(|code| **code == 0).count();
        assert!(id == last || sent.contains(&id));
    }
    assert_eq!(accepted, 300, "of two proposals for a partition one stands");
    until("all are smaller", || (0..300).all(|number| cluster.partition(number).0.isr.len() < 3))
        .await;
    let metrics = cluster.handle.services().metrics.text();
    assert!(metrics.contains("ottla_coordinator_isr_changes_total 300"), "{metrics}");
    cluster.stop().await;
}

#[tokio::test]
async fn broker_that_stops_hands_over_at_once_and_may_go() {
    let mut cluster = start(5).await;
    let Cluster { handle, brokers, .. } = &mut cluster;
    let (broker, link) = &mut brokers[0];
    let may_go = async {
        while !broker.heartbeat(handle, link, true).await.should_shut_down {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    soon("the broker may stop", may_go).await;
    for number in 0..5 {
        let (partition, _) = cluster.partition(number);
        assert_eq!((partition.leader, &partition.isr[..]), (2, &[2, 3][..]));
        assert_eq!(partition.leader_epoch, 1);
    }
    let (broker, link) = cluster.brokers.remove(0);
    broker.leave().await;
    until_fenced(&cluster.handle, 1).await;
    drop(link);
    cluster.stop().await;
}

fn election(version: i16, topics: Option<Vec<i32>>) -> ElectLeadersRequest {
    ElectLeadersRequest {
        election_type: 0,
        topic_partitions: topics.map(|partitions| {
            let topic = "t".into();
            vec![TopicPartitions { topic, partitions, ..TopicPartitions::default() }]
        }),
        timeout_ms: 10_000 + i32::from(version),
        ..ElectLeadersRequest::default()
    }
}

#[tokio::test]
async fn leaders_are_elected_in_every_version() {
    let mut cluster = start(2).await;
    let mut link = Link::memory(&cluster.handle);
    link.hello_as_tool().await;
    for version in 0..=2 {
        let (response, _) = link.relay(version, &election(version, Some(vec![0, 7]))).await;
        let results = &response.replica_election_results[0].partition_result;
        let codes: Vec<i16> = results.iter().map(|result| result.error_code).collect();
        let expected = [ErrorCode::ElectionNotNeeded, ErrorCode::UnknownTopicOrPartition];
        assert_eq!(codes, expected.map(|code| code.code()));
        let (response, _) = link.relay(version, &election(version, None)).await;
        assert_eq!(response.replica_election_results, [], "nothing needs it");
    }
    let kind = ElectLeadersRequest { election_type: 5, ..election(2, None) };
    assert_eq!(link.relay(2, &kind).await.0.error_code, ErrorCode::InvalidRequest.code());

    // Broker 1 dies and comes back: it is in sync again, and leads when it is asked to.
    let (broker, broker_link) = cluster.brokers.remove(0);
    let epoch = broker.epoch;
    drop(broker_link);
    broker.leave().await;
    until_fenced(&cluster.handle, 1).await;
    let previous = ottla_metadata::model::PreviousLife::ProcessCrash { broker_epoch: epoch };
    let store = cluster.handle.services().store.clone();
    let again = FakeBroker::claim(1, store, previous).await;
    let mut again_link = Link::memory(&cluster.handle);
    again_link.hello_as_broker(1).await;
    again.unfence(&cluster.handle, &mut again_link).await;
    cluster.until("2 leads", |partition| partition.leader == 2).await;
    let (response, _) = link.relay(2, &election(2, Some(vec![0]))).await;
    let result = &response.replica_election_results[0].partition_result[0];
    assert_eq!(result.error_code, ErrorCode::PreferredLeaderNotAvailable.code());
    let mut proposal = cluster.proposal(0..2, &[1, 2, 3]);
    (proposal.broker_id, proposal.broker_epoch) =
        (2, record(&cluster.handle, 2).unwrap().broker_epoch);
    assert_eq!(codes(&cluster.brokers[0].1.call(3, &proposal).await), [0, 0]);
    let (response, revision) = link.relay(2, &election(2, None)).await;
    let results = &response.replica_election_results[0].partition_result;
    assert_eq!(results.iter().map(|result| result.error_code).collect::<Vec<_>>(), [0, 0]);
    until("it is seen", || revision <= cluster.handle.services().images.load().revision()).await;
    assert_eq!(cluster.partition(1).0.leader, 1);
    cluster.brokers.push((again, again_link));
    cluster.stop().await;
}

fn reassignment(replicas: Option<Vec<i32>>) -> AlterPartitionReassignmentsRequest {
    let partition = ReassignablePartition { replicas, ..ReassignablePartition::default() };
    let topic = ReassignableTopic {
        name: "t".into(),
        partitions: vec![partition],
        ..ReassignableTopic::default()
    };
    AlterPartitionReassignmentsRequest {
        timeout_ms: 10_000,
        topics: vec![topic],
        ..AlterPartitionReassignmentsRequest::default()
    }
}

#[tokio::test]
async fn partitions_move_and_are_left_where_they_were() {
    let mut cluster = start(1).await;
    let fourth = FakeBroker::start(4, &cluster.handle).await;
    cluster.brokers.push(fourth);
    let mut link = Link::memory(&cluster.handle);
    link.hello_as_tool().await;
    let mut ask = async |version: i16, request: &AlterPartitionReassignmentsRequest| {
        let (response, _) = link.relay(version, request).await;
        assert_eq!(response.error_code, 0);
        response.responses[0].partitions[0].error_code
    };
    let none = ErrorCode::NoReassignmentInProgress.code();
    assert_eq!(ask(0, &reassignment(None)).await, none);
    let unknown = ErrorCode::InvalidReplicaAssignment.code();
    assert_eq!(ask(0, &reassignment(Some(vec![1, 9]))).await, unknown);
    let mut fixed = reassignment(Some(vec![4, 2]));
    fixed.allow_replication_factor_change = false;
    assert_eq!(ask(1, &fixed).await, ErrorCode::InvalidReplicationFactor.code());
    for version in 0..=1 {
        assert_eq!(ask(version, &reassignment(Some(vec![4, 2]))).await, 0);
        cluster.until("it is under way", Partition::is_reassigning).await;
        assert_eq!(ask(version, &reassignment(None)).await, 0);
        // The order is that of the reassignment, as in Kafka.
        let is_back = |partition: &Partition| [1, 2, 3].map(|id| partition.replicas.contains(&id));
        cluster
            .until("it is cancelled", |partition| {
                partition.replicas.len() == 3 && is_back(partition) == [true; 3]
            })
            .await;
    }
    assert_eq!(ask(1, &reassignment(Some(vec![4, 2]))).await, 0);
    cluster.until("it is under way", Partition::is_reassigning).await;
    let proposal = cluster.proposal(0..1, &[1, 2, 3, 4]);
    let answer = cluster.brokers[0].1.call(3, &proposal).await;
    assert_eq!(codes(&answer), [ErrorCode::NewLeaderElected.code()]);
    cluster.until("it has moved", |partition| partition.replicas == [4, 2]).await;
    assert_eq!(cluster.partition(0).0.leader, 4);
    cluster.stop().await;
}

#[tokio::test]
async fn quorum_features_and_registrations_are_told_and_changed() {
    let mut cluster = start(1).await;
    let mut link = Link::memory(&cluster.handle);
    link.hello_as_tool().await;
    let asked = |name: &str| AskedTopic {
        topic_name: name.into(),
        partitions: vec![AskedPartition::default()],
        ..AskedTopic::default()
    };
    let topics = vec![asked("__cluster_metadata"), asked("t")];
    let request = DescribeQuorumRequest { topics, ..DescribeQuorumRequest::default() };
    for version in 0..=2 {
        let (response, _) = link.relay(version, &request).await;
        let quorum = &response.topics[0].partitions[0];
        assert_eq!((quorum.error_code, quorum.leader_id), (0, 100));
        assert_eq!(quorum.current_voters[0].replica_id, 100);
        assert!(0 < quorum.high_watermark && 0 < quorum.leader_epoch);
        let observers: Vec<i32> = quorum.observers.iter().map(|each| each.replica_id).collect();
        assert_eq!(observers, [1, 2, 3]);
        assert_eq!(response.nodes.len(), usize::from(version == 2));
        let other = response.topics[1].partitions[0].error_code;
        assert_eq!(other, ErrorCode::UnknownTopicOrPartition.code());
    }
    for (version, level, code) in [
        (0, 29, ErrorCode::InvalidUpdateVersion),
        (1, 99, ErrorCode::InvalidUpdateVersion),
        (2, 30, ErrorCode::None),
    ] {
        let update = FeatureUpdateKey {
            feature: "metadata.version".into(),
            max_version_level: level,
            ..FeatureUpdateKey::default()
        };
        let request = UpdateFeaturesRequest {
            timeout_ms: 10_000,
            feature_updates: vec![update],
            ..UpdateFeaturesRequest::default()
        };
        let (response, _) = link.relay(version, &request).await;
        assert_eq!(response.error_code, code.code(), "{response:?}");
    }
    let unregister = async |link: &mut Link, broker_id: i32| {
        let request = UnregisterBrokerRequest { broker_id, ..Default::default() };
        link.relay(0, &request).await.0.error_code
    };
    assert_eq!(unregister(&mut link, 9).await, ErrorCode::BrokerIdNotRegistered.code());
    let (broker, broker_link) = cluster.brokers.remove(2);
    drop(broker_link);
    broker.leave().await;
    until_fenced(&cluster.handle, 3).await;
    assert_eq!(unregister(&mut link, 3).await, 0);
    until("it is forgotten", || record(&cluster.handle, 3).is_none()).await;
    assert_eq!(cluster.partition(0).0.replicas, [1, 2, 3]);
    cluster.stop().await;
}
