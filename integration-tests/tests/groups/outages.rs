//! Coordinators and brokers that die or stand still while members live: nobody is expelled, and no commit is lost or taken back.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use ottla_integration_tests::harness::{Cluster, Role, Shape, WireClient, eventually};
use ottla_protocol::{
    ErrorCode, Request,
    messages::{
        FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, OffsetCommitRequest,
        OffsetFetchRequest, SyncGroupRequest,
        join_group_request::JoinGroupRequestProtocol,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::OffsetFetchRequestTopic,
        sync_group_request::SyncGroupRequestAssignment,
    },
};

const GROUPS: usize = 12;
const TOPIC: &str = "watched";
const WITHIN: Duration = Duration::from_secs(60);
/// Shorter than any other time here: who is not served for so long is expelled.
const SESSION_MS: i32 = 8000;
const PATIENCE: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(60);

/// What is known of a member from outside.
#[derive(Debug, Default)]
struct Seen {
    /// The last commit that was acknowledged.
    committed: AtomicI64,
    stop: AtomicBool,
}

/// The only member of a group: it beats, commits one more each time, and now and then looks what is committed.
struct Member {
    group: String,
    brokers: Vec<SocketAddr>,
    connection: Option<WireClient>,
    id: String,
    generation: i32,
    /// The last offset that was sent.
    sent: i64,
    seen: Arc<Seen>,
}

impl Member {
    /// Calls the coordinator until it says something that is not "look elsewhere".
    fn call<R: Request>(
        &mut self,
        version: i16,
        request: &R,
        code: impl Fn(&R::Response) -> i16,
    ) -> R::Response {
        eventually(&format!("{} is answered", self.group), WITHIN, || {
            if self.connection.is_none() {
                self.connection = self.find();
            }
            let answer = self.connection.as_mut()?.try_call(version, request);
            let Ok(response) = answer else {
                self.connection = None;
                return None;
            };
            match ErrorCode::from_code(code(&response)) {
                ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => {
                    self.connection = None;
                    None
                }
                ErrorCode::CoordinatorLoadInProgress => None,
                _ => Some(response),
            }
        })
    }

    fn find(&self) -> Option<WireClient> {
        let request =
            FindCoordinatorRequest { key: self.group.as_str().into(), ..Default::default() };
        self.brokers.iter().find_map(|broker| {
            let mut client = WireClient::try_connect(*broker, PATIENCE).ok()?;
            let found = client.try_call(3, &request).ok()?;
            if found.error_code != 0 {
                return None;
            }
            let address = format!("{}:{}", &*found.host, found.port).parse().ok()?;
            WireClient::try_connect(address, PATIENCE).ok()
        })
    }

    fn join(&mut self) {
        let protocol = JoinGroupRequestProtocol { name: "range".into(), ..Default::default() };
        let mut request = JoinGroupRequest {
            group_id: self.group.as_str().into(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: SESSION_MS,
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            ..Default::default()
        };
        let named = self.call(4, &request, |response| response.error_code);
        assert_eq!(named.error_code, ErrorCode::MemberIdRequired.code());
        request.member_id = named.member_id;
        let joined = self.call(4, &request, |response| response.error_code);
        assert_eq!(joined.error_code, 0, "{joined:?}");
        self.id = joined.member_id.to_string();
        self.generation = joined.generation_id;
        let share = SyncGroupRequestAssignment {
            member_id: joined.member_id.clone(),
            assignment: bytes::Bytes::from_static(b"share"),
            ..Default::default()
        };
        let sync = SyncGroupRequest {
            group_id: self.group.as_str().into(),
            generation_id: self.generation,
            member_id: joined.member_id,
            assignments: vec![share],
            ..Default::default()
        };
        let synced = self.call(3, &sync, |response| response.error_code);
        assert_eq!(synced.error_code, 0);
    }

    fn beat(&mut self) {
        let request = HeartbeatRequest {
            group_id: self.group.as_str().into(),
            generation_id: self.generation,
            member_id: self.id.as_str().into(),
            ..Default::default()
        };
        let answer = self.call(3, &request, |response| response.error_code);
        let code = ErrorCode::from_code(answer.error_code);
        assert_eq!(code, ErrorCode::None, "{} was disturbed", self.group);
    }

    fn commit(&mut self) {
        self.sent += 1;
        let partition =
            OffsetCommitRequestPartition { committed_offset: self.sent, ..Default::default() };
        let topic = OffsetCommitRequestTopic {
            name: TOPIC.into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: self.group.as_str().into(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.id.as_str().into(),
            topics: vec![topic],
            ..Default::default()
        };
        let answer = self.call(7, &request, |response| response.topics[0].partitions[0].error_code);
        let code = ErrorCode::from_code(answer.topics[0].partitions[0].error_code);
        assert_eq!(code, ErrorCode::None, "{}: commit of {}", self.group, self.sent);
        self.seen.committed.store(self.sent, Ordering::Release);
    }

    fn look(&mut self) {
        let topic = OffsetFetchRequestTopic {
            name: TOPIC.into(),
            partition_indexes: vec![0],
            ..Default::default()
        };
        let request = OffsetFetchRequest {
            group_id: self.group.as_str().into(),
            topics: Some(vec![topic]),
            ..Default::default()
        };
        let answer = self.call(5, &request, |response| response.error_code);
        let found = answer.topics[0].partitions[0].committed_offset;
        assert_eq!(found, self.sent, "{}: what was acknowledged last", self.group);
    }

    fn run(mut self) {
        self.join();
        while !self.seen.stop.load(Ordering::Acquire) {
            self.beat();
            self.commit();
            self.look();
            thread::sleep(PAUSE);
        }
    }
}

struct Members(Vec<(Arc<Seen>, JoinHandle<()>)>);

impl Members {
    fn start(cluster: &Cluster) -> Self {
        let brokers: Vec<_> = cluster.broker_ids().map(|id| cluster.broker_address(id)).collect();
        let start = |number: usize| {
            let seen = Arc::new(Seen::default());
            let member = Member {
                group: format!("group-{number}"),
                brokers: brokers.clone(),
                connection: None,
                id: String::new(),
                generation: -1,
                sent: 0,
                seen: Arc::clone(&seen),
            };
            (seen, thread::spawn(move || member.run()))
        };
        Self((0..GROUPS).map(start).collect())
    }

    /// Waits until every member has committed three more offsets.
    fn await_progress(&self, after: &str) {
        for (seen, thread) in &self.0 {
            let before = seen.committed.load(Ordering::Acquire);
            eventually(&format!("a member goes on after {after}"), WITHIN, || {
                assert!(!thread.is_finished(), "a member has given up after {after}");
                (before + 3 <= seen.committed.load(Ordering::Acquire)).then_some(())
            });
        }
    }

    fn finish(self) {
        for (seen, _) in &self.0 {
            seen.stop.store(true, Ordering::Release);
        }
        for (_, thread) in self.0 {
            thread.join().expect("a member that was never disturbed");
        }
    }
}

#[test]
fn nobody_is_expelled_and_no_commit_lost_while_nodes_die_and_stand_still() {
    let mut cluster = Cluster::start(&Shape {
        brokers: 3,
        coordinators: 2,
        coordinator_settings: vec![crate::NO_DELAY.to_owned()],
        ..Shape::default()
    });
    cluster.create_topic(TOPIC, 1, 3, &[]);
    let members = Members::start(&cluster);
    members.await_progress("the start");

    let active = cluster.active_coordinator();
    cluster.coordinator(active).kill();
    members.await_progress("the death of the coordinator");
    cluster.restart_coordinator(active);

    cluster.broker(2).kill();
    members.await_progress("the death of a broker");
    cluster.restart_broker(2);
    members.await_progress("its return");

    let active = cluster.active_coordinator();
    cluster.coordinator(active).pause();
    members.await_progress("a coordinator that stands still");
    cluster.coordinator(active).resume();
    members.await_progress("its waking");
    members.finish();
}

/// It reaches the store and its clients, so it goes on leading what has a log; but what it is asked about groups it could
/// only leave unanswered.
#[test]
fn broker_that_reaches_no_coordinator_speaks_for_no_group() {
    let cluster = Cluster::start(&Shape {
        brokers: 2,
        coordinator_settings: vec![crate::NO_DELAY.to_owned()],
        linked: true,
        ..Shape::default()
    });
    cluster.create_topic(TOPIC, 1, 2, &[]);
    let members = Members::start(&cluster);
    members.await_progress("the start");
    let leaders = || {
        let partitions = cluster.describe_by(1, "__consumer_offsets").unwrap_or_default();
        partitions.iter().filter(|partition| partition.leader == Some(2)).count()
    };
    assert!(20 <= leaders(), "both brokers speak for groups");
    cluster.links().cut(Role::Broker(2), Role::Coordinator(1));
    members.await_progress("a broker is cut off from the coordinator");
    eventually("the other broker speaks for all groups", WITHIN, || (leaders() == 0).then_some(()));
    cluster.links().heal_all();
    members.await_progress("the cut is healed");
    members.finish();
}
