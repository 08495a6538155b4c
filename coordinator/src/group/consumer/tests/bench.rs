//! What large groups cost. Times are printed, not judged: run with `--release -- --nocapture`.

use super::world::World;
use crate::group::{Client, Response};
use ottla_protocol::messages::ConsumerGroupHeartbeatRequest;

fn client(number: usize) -> Client {
    Client { id: format!("c{number}"), host: "/127.0.0.1".to_owned(), version: 1 }
}

fn join(number: usize) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: format!("m{number}").into(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some((0..100).map(|at| format!("t{at}").into()).collect()),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

#[test]
fn two_thousand_members_share_ten_thousand_partitions() {
    let mut world = World::new(1);
    for at in 0..100 {
        world.topic(&format!("t{at}"), 100);
    }
    let start = clock();
    for number in 0..2000 {
        let ticket = world.ticket();
        world.step(|group, cx| {
            group.heartbeat(ticket, &client(number), &join(number), cx);
        });
        world.pass(std::time::Duration::from_millis(1));
    }
    println!("2,000 joins within 2 s: {:?}", start.elapsed());
    // One more comes and goes while an assignment is put off: the timer computes it.
    let (ticket, last, request) = (world.ticket(), client(2000), join(2000));
    world.step(|group, cx| group.heartbeat(ticket, &last, &request, cx));
    let request = ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: "m2000".into(),
        member_epoch: -1,
        ..Default::default()
    };
    let ticket = world.ticket();
    world.step(|group, cx| group.heartbeat(ticket, &last, &request, cx));
    world.pass(std::time::Duration::from_secs(1));
    assert!(world.group.assignment_epoch < world.group.epoch);
    let start = clock();
    world.step(|group, cx| group.on_timer(cx));
    println!("one assignment: {:?}", start.elapsed());
    let sizes: Vec<usize> = world.group.members.values().map(|it| it.target.len()).collect();
    assert!(sizes.iter().all(|size| *size == 5), "{sizes:?}");

    // Everybody moves to its target: first those that have too much give it up.
    let mut request = ConsumerGroupHeartbeatRequest { group_id: "g".into(), ..Default::default() };
    for round in 0..4 {
        let start = clock();
        let before = world.pending.len();
        for number in 0..2000 {
            let id = format!("m{number}");
            let member = &world.group.members[id.as_str()];
            request.member_epoch = member.current.epoch;
            request.topic_partitions = Some(claimed(&member.current.assigned));
            request.member_id = id.into();
            let ticket = world.ticket();
            world.step(|group, cx| group.heartbeat(ticket, &client(number), &request, cx));
        }
        let writes = world.pending.len() - before;
        println!("round {round}: 2,000 heartbeats {:?}, {writes} writes", start.elapsed());
    }
    let member = &world.group.members["m7"];
    assert!(world.group.members.values().all(|it| it.is_reconciled_to(world.group.epoch)));
    request.member_id = "m7".into();
    (request.member_epoch, request.topic_partitions) = (member.current.epoch, None);
    let (start, before) = (clock(), world.pending.len());
    let seven = client(7);
    for _ in 0..10_000 {
        let ticket = world.ticket();
        let answers = world.step(|group, cx| group.heartbeat(ticket, &seven, &request, cx));
        assert!(
            matches!(&answers[..], [(_, Response::ConsumerGroupHeartbeat(it))] if it.error_code == 0)
        );
    }
    println!("10,000 heartbeats that change nothing: {:?}", start.elapsed());
    assert_eq!(world.pending.len(), before);
}

fn claimed(
    owned: &crate::group::consumer::partitions::Owned,
) -> Vec<ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions> {
    let topics = owned.to_response().into_iter();
    topics
        .map(|topic| ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions {
            topic_id: topic.topic_id,
            partitions: topic.partitions,
            ..Default::default()
        })
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "times are printed for people")]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}
