use super::*;

const LAZY: Settings = Settings { is_durable: false, in_sync_min: 1 };
const DURABLE: Settings = Settings { is_durable: true, ..LAZY };

fn opened(log_end: i64) -> Opened {
    Opened {
        broker: BrokerId(1),
        log_start: Offset(0),
        log_end: Offset(log_end),
        high_watermark: Offset(0),
    }
}

fn assignment(leads: bool, epoch: i32, in_sync: &[i32]) -> Input<&'static str> {
    Input::Assigned(Assignment {
        leader: BrokerId(if leads { 1 } else { 2 }),
        leader_epoch: LeaderEpoch(epoch),
        partition_epoch: i64::from(epoch),
        leads,
        replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
        in_sync: in_sync.iter().map(|id| BrokerId(*id)).collect(),
        eligible: [1, 2, 3].map(|id| (BrokerId(id), 10)).to_vec(),
        is_recovering: false,
    })
}

fn appended(end: i64, acks: Acks, waiter: &'static str) -> Input<&'static str> {
    Input::Appended { end: Offset(end), bytes: 100, acks, waiter: Some(waiter) }
}

fn fetched(leader_epoch: i32, broker: i32, end: i64) -> Input<&'static str> {
    Input::FollowerFetched {
        leader_epoch: LeaderEpoch(leader_epoch),
        progress: FollowerProgress {
            broker: BrokerId(broker),
            broker_epoch: 10,
            end: Offset(end),
            log_start: Offset(0),
        },
    }
}

struct Scene {
    replica: Replica<&'static str>,
    at: Duration,
}

impl Scene {
    fn leader(settings: Settings, in_sync: &[i32]) -> Self {
        let mut scene = Self::of(Replica::new(opened(0), settings));
        scene.on(assignment(true, 1, in_sync));
        scene
    }

    fn of(replica: Replica<&'static str>) -> Self {
        Self { replica, at: Duration::ZERO }
    }

    fn on(&mut self, input: Input<&'static str>) -> Vec<Effect<&'static str>> {
        let mut effects = Vec::new();
        self.replica.handle(input, self.at, &mut effects);
        effects
    }

    fn acks(&mut self, input: Input<&'static str>) -> Vec<(&'static str, Result<(), ErrorCode>)> {
        let effects = self.on(input);
        let ack = |effect| match effect {
            Effect::Ack(waiter, outcome) => Some((waiter, outcome)),
            _ => None,
        };
        effects.into_iter().filter_map(ack).collect()
    }
}

#[test]
fn leader_alone_acknowledges_at_once_after_publishing() {
    let mut scene = Scene::leader(LAZY, &[1]);
    let effects = scene.on(appended(3, Acks::All, "a"));
    assert_eq!(
        effects,
        [Effect::Publish, Effect::Wake { visible: 100, changed: false }, Effect::Ack("a", Ok(()))]
    );
    assert_eq!(scene.replica.high_watermark(), Offset(3));
}

#[test]
fn epoch_is_noted_before_the_first_append() {
    let mut scene = Scene::of(Replica::new(opened(7), LAZY));
    assert_eq!(scene.replica.check_append(Acks::Leader), Err(ErrorCode::NotLeaderOrFollower));
    let effects = scene.on(assignment(true, 4, &[1]));
    assert_eq!(effects[0], Effect::BeginEpoch(LeaderEpoch(4)));
    assert_eq!(scene.replica.check_append(Acks::All), Ok(LeaderEpoch(4)));
    assert_eq!(scene.replica.high_watermark(), Offset(7), "what recovery kept is visible");
}

#[test]
fn durable_topic_acknowledges_only_what_is_on_disk() {
    let mut scene = Scene::leader(DURABLE, &[1]);
    let effects = scene.on(appended(3, Acks::Leader, "a"));
    assert_eq!(effects, [Effect::Publish]);
    assert_eq!(scene.on(appended(5, Acks::All, "b")), [Effect::Publish]);
    assert_eq!(scene.replica.high_watermark(), Offset(0));
    let effects = scene.on(Input::Flushed { end: Offset(3) });
    assert_eq!(
        effects,
        [Effect::Publish, Effect::Ack("a", Ok(())), Effect::Wake { visible: 100, changed: false }]
    );
    assert_eq!(scene.acks(Input::Flushed { end: Offset(5) }), [("b", Ok(()))]);
}

#[test]
fn acks_all_waits_for_everybody_in_sync() {
    let mut scene = Scene::leader(LAZY, &[1, 2, 3]);
    assert_eq!(scene.acks(appended(10, Acks::Leader, "one")), [("one", Ok(()))]);
    assert_eq!(scene.acks(appended(20, Acks::All, "all")), []);
    let fetched = |broker, end| fetched(1, broker, end);
    assert_eq!(scene.acks(fetched(2, 20)), []);
    assert_eq!(scene.acks(fetched(3, 19)), []);
    assert_eq!(scene.replica.high_watermark(), Offset(19));
    assert_eq!(scene.acks(fetched(3, 20)), [("all", Ok(()))]);
}

#[test]
fn too_few_in_sync_refuses_acks_all_and_hides_the_rest() {
    let mut scene = Scene::leader(Settings { in_sync_min: 2, ..LAZY }, &[1]);
    assert_eq!(scene.replica.check_append(Acks::All), Err(ErrorCode::NotEnoughReplicas));
    assert_eq!(scene.replica.check_append(Acks::Leader), Ok(LeaderEpoch(1)));
    scene.on(appended(5, Acks::Leader, "a"));
    assert_eq!(scene.replica.high_watermark(), Offset(0));
}

#[test]
fn losing_leadership_answers_whoever_waits() {
    let mut scene = Scene::leader(DURABLE, &[1, 2]);
    scene.on(appended(5, Acks::All, "all"));
    scene.on(appended(6, Acks::Leader, "one"));
    let error = Err(ErrorCode::NotLeaderOrFollower);
    assert_eq!(scene.acks(assignment(false, 2, &[2])), [("one", error), ("all", error)]);
    assert_eq!(scene.replica.role(), Role::Follower);
    assert_eq!(scene.on(assignment(true, 1, &[1])), [], "an older epoch is ignored");
}

#[test]
fn repeated_batch_is_acknowledged_when_the_original_is() {
    let mut scene = Scene::leader(DURABLE, &[1]);
    scene.on(appended(5, Acks::All, "first"));
    let again = |end| Input::Repeated { end: Offset(end), acks: Acks::All, waiter: "again" };
    assert_eq!(scene.acks(again(5)), []);
    let acks = scene.acks(Input::Flushed { end: Offset(5) });
    assert_eq!(acks, [("first", Ok(())), ("again", Ok(()))]);
    assert_eq!(scene.acks(again(5)), [("again", Ok(()))]);
}

#[test]
fn failed_disk_answers_everybody_and_takes_nothing_more() {
    let mut scene = Scene::leader(DURABLE, &[1]);
    scene.on(appended(5, Acks::All, "a"));
    let error = Err(ErrorCode::KafkaStorageError);
    assert_eq!(scene.acks(Input::Failed), [("a", error)]);
    assert_eq!(scene.acks(appended(6, Acks::All, "b")), [("b", error)]);
    assert_eq!(scene.replica.check_append(Acks::Leader), Err(ErrorCode::KafkaStorageError));
    scene.on(assignment(true, 9, &[1]));
    assert_eq!(scene.replica.role(), Role::Offline);
}

#[test]
fn durability_can_be_turned_off_while_producers_wait() {
    let mut scene = Scene::leader(DURABLE, &[1]);
    scene.on(appended(5, Acks::All, "a"));
    assert_eq!(scene.acks(Input::Configured(LAZY)), [("a", Ok(()))]);
}

#[test]
fn new_leader_tells_of_records_that_were_there_before_it_led() {
    let opened = Opened { high_watermark: Offset(5), ..opened(9) };
    let mut scene = Scene::of(Replica::new(opened, LAZY));
    scene.on(assignment(true, 4, &[1, 2]));
    assert_eq!(scene.replica.high_watermark(), Offset(5));
    let effects = scene.on(fetched(4, 2, 9));
    assert!(effects.contains(&Effect::Wake { visible: 1, changed: false }), "{effects:?}");
    assert_eq!(scene.replica.high_watermark(), Offset(9));
}

#[test]
fn new_epoch_believes_no_fetch_of_the_one_before() {
    let mut scene = Scene::leader(LAZY, &[1, 2]);
    scene.on(appended(10, Acks::All, "a"));
    scene.on(fetched(1, 2, 5));
    scene.on(assignment(true, 2, &[1, 2]));
    assert_eq!(scene.replica.high_watermark(), Offset(5), "it never falls");
    assert_eq!(scene.acks(appended(12, Acks::All, "b")), []);
    assert_eq!(scene.acks(fetched(1, 2, 12)), [], "late");
    assert_eq!(scene.acks(fetched(2, 2, 12)), [("a", Ok(())), ("b", Ok(()))]);
}

#[test]
fn leader_that_leads_on_in_a_new_epoch_keeps_who_waits() {
    let mut scene = Scene::leader(DURABLE, &[1, 2, 3]);
    scene.on(appended(5, Acks::All, "all"));
    scene.on(appended(6, Acks::Leader, "one"));
    scene.on(fetched(1, 2, 6));
    scene.on(fetched(1, 3, 4));
    // A reassignment takes the third replica away: what it lacked holds nobody back any more.
    assert_eq!(scene.acks(assignment(true, 2, &[1, 2])), []);
    assert_eq!(scene.acks(Input::Flushed { end: Offset(6) }), [("one", Ok(()))]);
    assert_eq!(scene.replica.high_watermark(), Offset(0), "what was fetched before is not counted");
    assert_eq!(scene.acks(fetched(2, 2, 4)), []);
    assert_eq!(scene.acks(fetched(2, 2, 5)), [("all", Ok(()))]);
}

#[test]
fn leader_that_leads_on_with_too_few_says_so_to_who_waits() {
    let mut scene = Scene::leader(Settings { in_sync_min: 2, ..LAZY }, &[1, 2]);
    scene.on(appended(5, Acks::All, "all"));
    assert_eq!(scene.acks(assignment(true, 2, &[1])), [], "nobody vouches for it yet");
    let error = Err(ErrorCode::NotLeaderOrFollower);
    assert_eq!(scene.acks(assignment(false, 3, &[2])), [("all", error)]);
}

#[test]
fn whoever_is_proposed_counts_before_the_high_watermark_moves() {
    let mut scene = Scene::leader(LAZY, &[1]);
    scene.on(appended(10, Acks::Leader, "a"));
    let effects = scene.on(fetched(1, 2, 10));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Propose(_))), "{effects:?}");
    assert_eq!(scene.acks(appended(11, Acks::All, "b")), []);
    assert_eq!(scene.replica.high_watermark(), Offset(10));
}

/// It had everything up to the high watermark, which stood still because of it: that is no reason to take
/// it in again.
#[test]
fn follower_that_was_put_out_holds_nothing_back_until_it_fetches_again() {
    let mut scene = Scene::leader(LAZY, &[1, 2]);
    scene.on(appended(5, Acks::Leader, "a"));
    scene.on(fetched(1, 2, 5));
    scene.on(appended(8, Acks::All, "b"));
    scene.at = Duration::from_secs(31);
    let effects = scene.on(Input::LagScan { lag_max: Duration::from_secs(30) });
    let [Effect::Propose(proposal)] = &effects[..] else { panic!("{effects:?}") };
    let outcome = ProposalOutcome::Accepted {
        leader_epoch: LeaderEpoch(1),
        isr: vec![BrokerId(1)],
        partition_epoch: 2,
        is_recovering: false,
    };
    assert_eq!(scene.acks(Input::ProposalResolved { id: proposal.id, outcome }), []);
    let Input::Assigned(mut shown) = assignment(true, 1, &[1]) else { unreachable!() };
    shown.partition_epoch = 2;
    let effects = scene.on(Input::Assigned(shown));
    assert!(effects.contains(&Effect::Ack("b", Ok(()))), "{effects:?}");
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Propose(_))), "{effects:?}");
    let effects = scene.on(fetched(1, 2, 8));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Propose(_))), "{effects:?}");
}
