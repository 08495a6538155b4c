//! A leader that is replaced and does not know it, with clients that know nobody else.

use std::time::Duration;

use ottla_integration_tests::harness::{
    Cluster, Role, Shape, eventually,
    history::{Load, PinnedProducer, PinnedReader},
    is_soak, short_or_long,
};
use ottla_protocol::ErrorCode;

use super::{TOPIC, load, networks::linked, three_brokers};

const ALL: i16 = -1;
const LEADER: i16 = 1;
/// What a leader says that leads no more.
const REFUSED: [ErrorCode; 2] = [ErrorCode::NotLeaderOrFollower, ErrorCode::FencedLeaderEpoch];
/// How soon after its cure, on a machine that is not busy.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);

/// Clients of the leader of partition 0 that never ask who leads it.
struct Pinned {
    producers: [PinnedProducer; 2],
    reader: PinnedReader,
}

impl Pinned {
    fn start(cluster: &Cluster, load: &Load, leader: u16) -> Self {
        let address = cluster.broker_address(leader);
        let producer =
            |number, acks| PinnedProducer::start(load, address, (TOPIC, 0), (number, acks));
        let producers = [producer(100, ALL), producer(101, LEADER)];
        for producer in &producers {
            let _ = producer.await_answer(Duration::ZERO, &[ErrorCode::None]);
        }
        Self { producers, reader: PinnedReader::start(address, TOPIC, 0) }
    }

    /// Waits until both producers are refused, and says how long that took from `cured` on.
    fn await_refused(&self, cured: Duration) {
        for producer in &self.producers {
            let after = producer.await_answer(cured, &REFUSED).saturating_sub(cured);
            println!("refused {} ms after the cure", after.as_millis());
            assert!(!is_soak() || after < REFUSED_WITHIN, "{after:?} after the cure");
        }
    }

    /// Ends everything, and asserts that what was promised and seen can be true together.
    fn assert_sound(self, load: Load) {
        let producers = self.producers.map(PinnedProducer::finish);
        let reader = self.reader.finish();
        load.await_more(500);
        let mut history = load.finish();
        assert!(!reader.seen.is_empty());
        history.readers.push(reader);
        history.producers.extend(producers);
        history.assert_sound();
    }
}

/// Waits until the other brokers see another leader of partition 0.
fn await_another(cluster: &Cluster, leader: u16) {
    let others: Vec<u16> = cluster.broker_ids().filter(|id| *id != leader).collect();
    let sees_another = |id: &u16| {
        let states = cluster.describe_by(*id, TOPIC)?;
        states[0].leader.filter(|new| *new != leader)
    };
    eventually("the others see another leader", Duration::from_secs(60), || {
        others.iter().all(|id| sees_another(id).is_some()).then_some(())
    });
}

/// The others go on for as long as the zombie is one.
fn endure(load: &Load) {
    let since = load.elapsed();
    load.await_each();
    while load.elapsed() < since + short_or_long(Duration::ZERO, Duration::from_secs(30)) {
        load.await_each();
    }
}

#[test]
fn leader_that_wakes_up_after_its_successor_was_elected_takes_nothing_back() {
    let mut cluster = three_brokers(&Shape::default());
    let load = load(&cluster);
    let leader = cluster.leader_of(TOPIC, 0);
    let pinned = Pinned::start(&cluster, &load, leader);
    cluster.broker(leader).pause();
    await_another(&cluster, leader);
    endure(&load);
    let cured = load.elapsed();
    cluster.broker(leader).resume();
    pinned.await_refused(cured);
    cluster.await_in_sync();
    load.await_each();
    pinned.assert_sound(load);
}

#[test]
fn leader_cut_off_the_store_and_the_coordinator_is_replaced_and_nothing_is_lost() {
    let cluster = three_brokers(&linked());
    let load = load(&cluster);
    let leader = cluster.leader_of(TOPIC, 0);
    let pinned = Pinned::start(&cluster, &load, leader);
    cluster.links().cut(Role::Broker(leader), Role::Etcd(1));
    cluster.links().cut(Role::Broker(leader), Role::Coordinator(1));
    await_another(&cluster, leader);
    endure(&load);
    let cured = load.elapsed();
    cluster.links().heal_all();
    pinned.await_refused(cured);
    cluster.await_in_sync();
    load.await_each();
    pinned.assert_sound(load);
}
