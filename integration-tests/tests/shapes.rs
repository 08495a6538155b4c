//! The harness itself: a cluster of several of each starts, says who leads, and its links can be cut.

use std::time::Duration;

use ottla_integration_tests::harness::{Cluster, Role, Shape, WireClient, eventually, http_ok};
use ottla_protocol::messages::MetadataRequest;

const SOON: Duration = Duration::from_secs(30);

#[test]
fn cluster_of_several_of_each_starts_and_its_leaders_are_known() {
    let shape = Shape { brokers: 2, coordinators: 3, etcds: 3, linked: true, ..Shape::default() };
    let mut cluster = Cluster::start(&shape);
    cluster.create_topic("spread", 2, 1, &[]);
    cluster.await_in_sync();
    let led: Vec<u16> = (0..2).map(|partition| cluster.leader_of("spread", partition)).collect();
    assert_ne!(led[0], led[1]);

    let first = cluster.active_coordinator();
    cluster.coordinator(first).kill();
    let second = cluster.active_coordinator();
    assert_ne!(first, second);
    cluster.restart_coordinator(first);

    let leader = cluster.etcd_leader();
    cluster.etcd(leader).kill();
    assert_ne!(cluster.etcd_leader(), leader);
    cluster.restart_etcd(leader);
    cluster.create_topic("after", 1, 1, &[]);
}

#[test]
fn client_that_is_cut_off_hears_nothing_while_the_broker_is_well() {
    let cluster = Cluster::start(&Shape { linked: true, ..Shape::default() });
    let links = cluster.links();
    links.cut(Role::Client, Role::Broker(1));
    let front = cluster.bootstrap().parse().unwrap();
    let ask = || {
        let mut client = WireClient::try_connect(front, Duration::from_millis(300))?;
        client.try_call(12, &MetadataRequest::default())
    };
    assert!(ask().is_err());
    assert!(http_ok(cluster.broker_http(1), "/ready"));
    links.heal_all();
    eventually("the broker answers again", SOON, || ask().ok());
}
