use super::*;

const LAG: Duration = Duration::from_secs(30);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().map(|id| BrokerId(*id)).collect()
}

/// Broker 1 leads in epoch 5; brokers 1 to 3 have a replica, each in a life of ten times its id.
fn assignment(partition_epoch: i64, in_sync: &[i32]) -> Assignment {
    Assignment {
        leader: BrokerId(1),
        leader_epoch: LeaderEpoch(5),
        partition_epoch,
        leads: true,
        replicas: ids(&[1, 2, 3]),
        in_sync: ids(in_sync),
        eligible: [1, 2, 3].map(|id| (BrokerId(id), i64::from(id) * 10)).to_vec(),
        is_recovering: false,
    }
}

fn begin(in_sync: &[i32]) -> Isr {
    Isr::begin(BrokerId(1), &assignment(100, in_sync), at(0))
}

fn fetched(isr: &mut Isr, broker: i32, end: i64, (leader_end, seconds): (i64, u64)) -> bool {
    let progress = FollowerProgress {
        broker: BrokerId(broker),
        broker_epoch: i64::from(broker) * 10,
        end: Offset(end),
        log_start: Offset(0),
    };
    isr.observe(progress, Offset(leader_end), at(seconds)).has_progress
}

fn marks(high_watermark: i64, log_end: i64) -> LeaderMarks {
    LeaderMarks {
        high_watermark: Offset(high_watermark),
        epoch_start: Offset(0),
        log_end: Offset(log_end),
    }
}

fn members(proposal: &Proposal) -> Vec<i32> {
    proposal.isr.iter().map(|(broker, _)| broker.0).collect()
}

fn accepted(isr: &[i32], partition_epoch: i64) -> ProposalOutcome {
    ProposalOutcome::Accepted {
        leader_epoch: LeaderEpoch(5),
        isr: ids(isr),
        partition_epoch: (partition_epoch & i64::from(i32::MAX)) as i32,
        is_recovering: false,
    }
}

fn refused(error: ErrorCode, is_in_doubt: bool) -> ProposalOutcome {
    ProposalOutcome::Refused { error, is_in_doubt }
}

#[test]
fn whoever_may_be_in_sync_is_waited_for_and_only_the_agreed_count_for_the_minimum() {
    let mut isr = begin(&[1, 2]);
    assert_eq!(isr.reached(Offset(100)), Offset::NONE, "2 has not fetched yet");
    fetched(&mut isr, 2, 90, (100, 1));
    assert_eq!(isr.reached(Offset(100)), Offset(90));
    fetched(&mut isr, 3, 85, (100, 1));
    assert_eq!(isr.reached(Offset(100)), Offset(90), "3 is not in sync");
    let proposal = isr.propose_expansion(marks(85, 100), at(1)).unwrap();
    assert_eq!(members(&proposal), [1, 2, 3]);
    assert_eq!(isr.reached(Offset(100)), Offset(85), "3 may be in sync from now on");
    assert!(isr.is_under_min(3), "and is not for sure");
    isr.resolve(proposal.id, accepted(&[1, 2, 3], 101), at(1));
    assert!(!isr.is_under_min(3));
    assert!(!isr.is_under_min(9), "never more are asked for than there are");
}

#[test]
fn follower_joins_at_the_high_watermark_beyond_the_epochs_start_in_the_life_that_is_known() {
    let join = |end: i64, epoch_start: i64, epoch: i64| {
        let mut isr = begin(&[1]);
        let progress = FollowerProgress {
            broker: BrokerId(2),
            broker_epoch: epoch,
            end: Offset(end),
            log_start: Offset(0),
        };
        isr.observe(progress, Offset(100), at(1));
        let marks = LeaderMarks { epoch_start: Offset(epoch_start), ..marks(50, 100) };
        isr.propose_expansion(marks, at(1)).map(|proposal| proposal.isr)
    };
    let joined = Some(vec![(BrokerId(1), -1), (BrokerId(2), 20)]);
    assert_eq!(join(50, 50, 20), joined);
    assert_eq!(join(49, 0, 20), None, "below the high watermark");
    assert_eq!(join(50, 51, 20), None, "below the start of the epoch");
    assert_eq!(join(50, 50, 19), None, "a former life");
    assert_eq!(join(50, 50, 21), None, "a life that is not let in yet");
    assert_eq!(join(50, 50, -1), None, "it does not say which");
}

#[test]
fn fenced_or_draining_follower_is_not_proposed() {
    let mut isr = begin(&[1]);
    fetched(&mut isr, 2, 50, (50, 1));
    let fenced = Assignment { eligible: vec![(BrokerId(1), 10)], ..assignment(100, &[1]) };
    isr.update(&fenced, at(1));
    assert_eq!(isr.propose_expansion(marks(50, 50), at(1)), None);
    isr.update(&assignment(100, &[1]), at(2));
    assert!(isr.propose_expansion(marks(50, 50), at(2)).is_some(), "let in again");
}

#[test]
fn follower_that_has_not_had_everything_for_long_is_put_out() {
    let mut isr = begin(&[1, 2, 3]);
    fetched(&mut isr, 2, 10, (10, 1));
    fetched(&mut isr, 3, 10, (10, 1));
    assert_eq!(isr.propose_any(marks(10, 10), LAG, at(1000)), None, "nothing to be had");
    isr.note_append(Offset(10), at(1000));
    fetched(&mut isr, 3, 11, (11, 1001));
    assert_eq!(isr.propose_any(marks(10, 11), LAG, at(1030)), None, "just in time");
    let proposal = isr.propose_any(marks(10, 11), LAG, at(1031)).unwrap();
    assert_eq!(proposal.isr, [(BrokerId(1), -1), (BrokerId(3), 30)]);
    assert_eq!((proposal.partition_epoch, proposal.leaving), (100, 1));
    assert_eq!(isr.reached(Offset(11)), Offset(10), "2 is waited for until it is out");
    isr.resolve(proposal.id, accepted(&[1, 3], 105), at(1031));
    isr.update(&assignment(105, &[1, 3]), at(1031));
    assert_eq!(isr.reached(Offset(11)), Offset(11));
}

/// The minimum was raised, and the controller kept the member that left eligible; the leader's image has not
/// shown it yet, and by the old minimum it would acknowledge what that member lacks.
#[test]
fn who_left_is_waited_for_until_the_metadata_has_come_as_far_as_the_answer() {
    let mut isr = begin(&[1, 2, 3]);
    fetched(&mut isr, 2, 5, (9, 1));
    fetched(&mut isr, 3, 9, (9, 60));
    let first = isr.propose_any(marks(5, 9), LAG, at(60)).unwrap();
    assert_eq!(members(&first), [1, 3]);
    isr.resolve(first.id, accepted(&[1, 3], 105), at(60));
    assert_eq!(isr.committed, ids(&[1, 3]));
    assert_eq!(isr.reached(Offset(12)), Offset(5));
    isr.note_append(Offset(9), at(60));
    let second = isr.propose_any(marks(5, 12), LAG, at(100)).unwrap();
    assert_eq!(members(&second), [1]);
    isr.resolve(second.id, accepted(&[1], 107), at(100));
    isr.update(&assignment(105, &[1, 3]), at(101));
    assert_eq!(isr.reached(Offset(12)), Offset(5), "not as far as the last answer");
    isr.update(&assignment(107, &[1]), at(101));
    assert_eq!(isr.reached(Offset(12)), Offset(12));
}

#[test]
fn follower_behind_a_busy_leader_keeps_up_if_it_reaches_what_was_there_when_it_last_asked() {
    let mut isr = begin(&[1, 2]);
    for second in 1..200 {
        let end = second as i64 * 10;
        isr.note_append(Offset(end - 10), at(second));
        // Always one second behind.
        fetched(&mut isr, 2, end - 10, (end, second));
        assert_eq!(isr.propose_any(marks(end - 10, end), LAG, at(second)), None);
    }
    // Slower than the leader from now on: it reaches what was there longer and longer ago.
    let slow = (200..400).find(|second| {
        let end = *second as i64 * 10;
        fetched(&mut isr, 2, 1990 + (*second as i64 - 200), (end, *second));
        isr.propose_any(marks(1990, end), LAG, at(*second)).is_some()
    });
    assert_eq!(slow, Some(230), "it last had everything in second 199");
}

#[test]
fn new_leader_and_one_that_stood_still_give_everybody_the_whole_time() {
    let mut isr = Isr::begin(BrokerId(1), &assignment(100, &[1, 2, 3]), at(500));
    assert_eq!(isr.propose_any(marks(0, 10), LAG, at(530)), None);
    isr.restart_clocks(at(600));
    assert_eq!(isr.propose_any(marks(0, 10), LAG, at(630)), None);
    let proposal = isr.propose_any(marks(0, 10), LAG, at(631)).unwrap();
    assert_eq!(members(&proposal), [1], "all that lag go at once");
}

#[test]
fn fetches_that_overtake_each_other_take_nothing_back_but_a_new_life_does() {
    let mut isr = begin(&[1, 2]);
    assert!(fetched(&mut isr, 2, 50, (100, 1)));
    assert!(!fetched(&mut isr, 2, 40, (100, 2)));
    assert_eq!(isr.reached(Offset(100)), Offset(50));
    let reborn = FollowerProgress {
        broker: BrokerId(2),
        broker_epoch: 77,
        end: Offset(30),
        log_start: Offset(0),
    };
    assert!(isr.observe(reborn, Offset(100), at(3)).has_progress);
    assert_eq!(isr.reached(Offset(100)), Offset(30), "it may have lost what it had");
    assert!(!fetched(&mut isr, 2, 60, (100, 4)), "a late word of the former life");
    assert!(!fetched(&mut isr, 9, 60, (100, 4)), "no replica");
}

#[test]
fn one_proposal_at_a_time_and_newer_metadata_ends_it() {
    let mut isr = begin(&[1]);
    fetched(&mut isr, 2, 10, (10, 1));
    let first = isr.propose_expansion(marks(10, 10), at(1)).unwrap();
    fetched(&mut isr, 3, 10, (10, 1));
    assert_eq!(isr.propose_expansion(marks(10, 10), at(1)), None);
    isr.update(&assignment(99, &[1]), at(2));
    assert_eq!(isr.propose_expansion(marks(10, 10), at(2)), None, "older metadata ends nothing");
    isr.update(&assignment(101, &[1]), at(2));
    let second = isr.propose_expansion(marks(10, 10), at(2)).unwrap();
    assert_eq!((members(&second), second.partition_epoch), (vec![1, 2, 3], 101));
    isr.resolve(first.id, accepted(&[1, 2], 101), at(3));
    assert_eq!(isr.committed, ids(&[1]), "the answer to what was given up is not heard");
    assert!(isr.in_flight.is_some());
}

#[test]
fn answer_may_be_faster_than_the_metadata() {
    let mut isr = begin(&[1]);
    fetched(&mut isr, 2, 10, (10, 1));
    let proposal = isr.propose_expansion(marks(10, 10), at(1)).unwrap();
    isr.resolve(proposal.id, accepted(&[1, 2], 103), at(1));
    isr.update(&assignment(100, &[1]), at(2));
    assert_eq!((isr.committed.clone(), isr.partition_epoch()), (ids(&[1, 2]), 103));
    isr.update(&assignment(103, &[1, 2]), at(2));
    assert_eq!(isr.end_of(BrokerId(2)), Offset(10), "nothing new, nothing forgotten");
}

#[test]
fn clear_refusal_ends_a_proposal_and_pauses_the_next() {
    let mut isr = begin(&[1]);
    fetched(&mut isr, 2, 10, (20, 1));
    let proposal = isr.propose_expansion(marks(10, 20), at(1)).unwrap();
    assert_eq!(isr.reached(Offset(20)), Offset(10));
    assert_eq!(isr.resolve(proposal.id, refused(ErrorCode::IneligibleReplica, false), at(1)), None);
    assert_eq!(isr.reached(Offset(20)), Offset(20), "2 is not in sync for sure");
    assert_eq!(isr.propose_expansion(marks(10, 20), at(1)), None);
    assert!(isr.propose_expansion(marks(10, 20), at(2)).is_some());
}

/// The first copy was written and its answer lost; the second is refused, because the first was written.
/// To believe that refusal would be to forget a member that is in sync.
#[test]
fn refusal_after_a_lost_copy_resolves_nothing_until_metadata_says_what_happened() {
    for error in [ErrorCode::InvalidUpdateVersion, ErrorCode::FencedLeaderEpoch] {
        let mut isr = begin(&[1]);
        fetched(&mut isr, 2, 10, (20, 1));
        let proposal = isr.propose_expansion(marks(10, 20), at(1)).unwrap();
        assert_eq!(isr.resolve(proposal.id, refused(error, true), at(1)), None);
        assert_eq!(isr.reached(Offset(20)), Offset(10));
        isr.update(&assignment(100, &[1]), at(2));
        assert_eq!(isr.reached(Offset(20)), Offset(10), "no newer metadata");
        isr.update(&assignment(104, &[1, 2]), at(3));
        assert_eq!(isr.reached(Offset(20)), Offset(10), "2 was in sync all the time");
        isr.update(&assignment(105, &[1]), at(3));
        assert_eq!(isr.reached(Offset(20)), Offset(20));
    }
}

#[test]
fn proposal_that_ended_the_leadership_counts_until_metadata_says_so() {
    let mut isr = begin(&[1]);
    fetched(&mut isr, 2, 10, (20, 1));
    let proposal = isr.propose_expansion(marks(10, 20), at(1)).unwrap();
    assert_eq!(isr.resolve(proposal.id, refused(ErrorCode::NewLeaderElected, false), at(1)), None);
    assert_eq!(isr.reached(Offset(20)), Offset(10), "2 is in sync and may be elected");
}

/// The lost copy may still be carried out when its member is let in again, so it is made void by a write.
#[test]
fn proposal_in_doubt_that_nothing_newer_will_end_is_made_void() {
    let mut isr = begin(&[1]);
    fetched(&mut isr, 2, 10, (20, 1));
    let proposal = isr.propose_expansion(marks(10, 20), at(1)).unwrap();
    let outcome = refused(ErrorCode::IneligibleReplica, true);
    let void = isr.resolve(proposal.id, outcome, at(1)).unwrap();
    assert_eq!((members(&void), void.partition_epoch), (vec![1], 100));
    assert_eq!(isr.reached(Offset(20)), Offset(10), "not yet");
    assert_eq!(isr.resolve(void.id, accepted(&[1], 101), at(2)), None);
    assert_eq!(isr.reached(Offset(20)), Offset(20));
}

#[test]
fn doubt_that_was_not_dispelled_is_worked_at_by_every_scan() {
    let mut isr = begin(&[1]);
    fetched(&mut isr, 2, 10, (20, 1));
    let proposal = isr.propose_expansion(marks(15, 20), at(1));
    assert_eq!(proposal, None);
    let proposal = isr.propose_expansion(marks(10, 20), at(1)).unwrap();
    isr.resolve(proposal.id, refused(ErrorCode::InvalidUpdateVersion, true), at(1));
    let again = isr.propose_any(marks(11, 20), LAG, at(10)).unwrap();
    assert_eq!(members(&again), [1]);
    assert_eq!(isr.reached(Offset(20)), Offset(10));
}

#[test]
fn who_was_put_out_by_the_controller_has_to_show_itself_anew() {
    let mut isr = begin(&[1, 2]);
    fetched(&mut isr, 2, 10, (10, 1));
    isr.update(&assignment(101, &[1]), at(2));
    assert_eq!(isr.propose_expansion(marks(10, 10), at(3)), None);
    assert!(fetched(&mut isr, 2, 10, (10, 3)));
    assert!(isr.propose_expansion(marks(10, 10), at(3)).is_some());
}

#[test]
fn leader_elected_out_of_sync_answers_for_its_log() {
    let unclean = Assignment { is_recovering: true, ..assignment(100, &[1]) };
    let mut isr = Isr::begin(BrokerId(1), &unclean, at(0));
    let proposal = isr.propose_expansion(marks(0, 0), at(0)).unwrap();
    assert_eq!(members(&proposal), [1]);
    isr.resolve(proposal.id, accepted(&[1], 101), at(0));
    assert_eq!(isr.propose_expansion(marks(0, 0), at(9)), None);
    let alone = Assignment { replicas: ids(&[1]), ..unclean };
    let mut isr = Isr::begin(BrokerId(1), &alone, at(0));
    assert!(isr.propose_expansion(marks(0, 0), at(0)).is_some(), "also without followers");
}

#[test]
fn partition_epoch_is_completed_from_what_the_wire_carries() {
    let wire = |epoch: i64| (epoch & i64::from(i32::MAX)) as i32;
    for (known, now) in [(5, 5), (5, 9), (0x7fff_fffe, 0x8000_0003), (1 << 40, (1 << 40) + 77)] {
        assert_eq!(full_partition_epoch(known, wire(now)), now);
    }
}

/// Below the minimum the high watermark stays where the follower is that was put out.
#[test]
fn who_was_put_out_for_lagging_joins_by_a_fetch_alone() {
    let mut isr = begin(&[1, 2]);
    fetched(&mut isr, 2, 10, (10, 1));
    isr.note_append(Offset(10), at(2));
    let proposal = isr.propose_any(marks(10, 20), LAG, at(40)).unwrap();
    assert_eq!(members(&proposal), [1]);
    isr.resolve(proposal.id, accepted(&[1], 101), at(40));
    assert_eq!(isr.propose_any(marks(10, 20), LAG, at(41)), None);
    fetched(&mut isr, 2, 15, (20, 42));
    let proposal = isr.propose_expansion(marks(10, 20), at(42)).unwrap();
    assert_eq!(members(&proposal), [1, 2]);
    isr.resolve(proposal.id, accepted(&[1, 2], 102), at(43));
    assert_eq!(isr.propose_any(marks(10, 20), LAG, at(73)), None, "it has the whole time anew");
    assert!(isr.propose_any(marks(10, 20), LAG, at(74)).is_some());
}

#[test]
fn who_fetched_while_it_was_being_put_out_may_join_at_once() {
    let mut isr = begin(&[1, 2]);
    fetched(&mut isr, 2, 10, (10, 1));
    isr.note_append(Offset(10), at(2));
    let proposal = isr.propose_any(marks(10, 20), LAG, at(40)).unwrap();
    fetched(&mut isr, 2, 20, (20, 40));
    isr.resolve(proposal.id, accepted(&[1], 101), at(40));
    assert!(
        isr.propose_expansion(marks(10, 20), at(41)).is_some(),
        "it will not fetch the same again"
    );
}
