//! The machine alone: every answer a leader can give, and what follows from it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::messages::fetch_request::FetchRequest;
use ottla_protocol::messages::fetch_response::{
    EpochEndOffset, FetchResponse, FetchableTopicResponse, PartitionData,
};
use ottla_protocol::record_batch::{Batch, TimestampPatch, patch_header};
use ottla_protocol::types::{LeaderEpoch, Offset};
use ottla_protocol::wire::Records;
use ottla_protocol::{ErrorCode, Uuid};

use super::*;
use crate::testing::data::batch;
use crate::worker::{FollowAction, FollowError, Followed};

/// A lane, stepped by hand.
struct Rig {
    follower: Follower,
    now: Duration,
    effects: Vec<Effect>,
}

const SESSION: i32 = 99;

fn key(index: i32) -> Key {
    (Uuid::ONE, index)
}

fn followed(end: i64, last_epoch: i32) -> Followed {
    Followed { log_start: Offset(0), log_end: Offset(end), last_epoch: LeaderEpoch(last_epoch) }
}

/// A batch of so many records, as a leader of `epoch` has it from `base` on.
fn stored(base: i64, records: usize, epoch: i32) -> Bytes {
    let values = vec!["value"; records];
    let batch = batch(&values);
    let header =
        patch_header(&batch, Offset(base), LeaderEpoch(epoch), TimestampPatch::Keep).to_vec();
    Bytes::from([&header[..], batch.body()].concat())
}

fn data(index: i32, high_watermark: i64, records: Bytes) -> PartitionData {
    PartitionData {
        partition_index: index,
        high_watermark,
        log_start_offset: 0,
        records: Some(Records::Memory(records)),
        ..PartitionData::default()
    }
}

fn failed(index: i32, error: ErrorCode) -> PartitionData {
    PartitionData { error_code: error.code(), ..data(index, -1, Bytes::new()) }
}

impl Rig {
    fn new(kind: LaneKind) -> Self {
        let follower = Follower::new(kind, FetchConfig::default());
        Self { follower, now: Duration::from_secs(100), effects: Vec::new() }
    }

    /// Follows these partitions in epoch 3, from a log that ends at 10, in epoch 2.
    fn following(count: i32) -> Self {
        let mut rig = Self::new(LaneKind::InSync);
        (0..count).for_each(|index| rig.follow(index, 3, followed(10, 2)));
        rig
    }

    fn moment(&self) -> Moment {
        Moment { now: self.now, random: 0.5 }
    }

    fn follow(&mut self, index: i32, epoch: i32, log: Followed) {
        self.follower.follow(key(index), LeaderEpoch(epoch), &mut self.effects);
        let (action, ticket) = self.worker(index);
        assert_eq!(action, FollowAction::Begin);
        self.reply(index, ticket, Ok(log));
    }

    /// The only effect, which is for the worker of this partition and wants an answer.
    fn worker(&mut self, index: i32) -> (FollowAction, Ticket) {
        let effects = std::mem::take(&mut self.effects);
        let [Effect::Worker { key: found, action, ticket: Some(ticket), .. }] = &effects[..] else {
            panic!("{effects:?}")
        };
        assert_eq!(*found, key(index));
        (action.clone(), *ticket)
    }

    fn reply(
        &mut self,
        index: i32,
        ticket: Ticket,
        result: Result<Followed, FollowError>,
    ) -> FollowOutcome {
        self.follower.handle_followed((key(index), ticket), result, self.moment())
    }

    fn request(&mut self) -> Option<FetchRequest> {
        self.follower.poll_request(self.now, &mut self.effects)
    }

    /// The partitions that the next request names, with offset and last epoch.
    fn asked(&mut self) -> BTreeMap<i32, (i64, i32)> {
        let request = self.request().expect("a request is due");
        let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|p| (p.partition, (p.fetch_offset, p.last_fetched_epoch))).collect()
    }

    fn answer(&mut self, partitions: Vec<PartitionData>) {
        let topic = FetchableTopicResponse {
            topic_id: Uuid::ONE,
            partitions,
            ..FetchableTopicResponse::default()
        };
        let response = FetchResponse {
            session_id: SESSION,
            responses: vec![topic],
            ..FetchResponse::default()
        };
        let moment = self.moment();
        self.follower.handle_answer(Answer::read(response), moment, &mut self.effects);
    }

    fn answer_error(&mut self, error: ErrorCode) {
        let response = FetchResponse { error_code: error.code(), ..FetchResponse::default() };
        let moment = self.moment();
        self.follower.handle_answer(Answer::read(response), moment, &mut self.effects);
    }

    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    /// Fetches and appends records of partition 0; what the lane is told.
    fn append(&mut self, base: i64, records: usize, high_watermark: i64) -> FollowOutcome {
        assert!(self.request().is_some());
        self.answer(vec![data(0, high_watermark, stored(base, records, 3))]);
        let (action, ticket) = self.worker(0);
        assert!(matches!(action, FollowAction::Append(_)), "{action:?}");
        self.reply(0, ticket, Ok(followed(base + records as i64, 3)))
    }
}

#[test]
fn fetches_from_where_the_log_ends_with_its_last_epoch() {
    let mut rig = Rig::following(2);
    let request = rig.request().unwrap();
    assert_eq!((request.session_id, request.session_epoch), (0, 0));
    let partition = &request.topics[0].partitions[1];
    assert_eq!((partition.fetch_offset, partition.last_fetched_epoch), (10, 2));
    assert_eq!((partition.current_leader_epoch, partition.partition_max_bytes), (3, 1 << 20));
    assert!(rig.request().is_none(), "one fetch is in flight at a time");
}

#[test]
fn what_was_appended_is_reported_with_the_next_fetch_and_not_before() {
    let mut rig = Rig::following(2);
    rig.request().unwrap();
    rig.answer(vec![data(0, 10, stored(10, 3, 3)), data(1, 10, Bytes::new())]);
    let effects = std::mem::take(&mut rig.effects);
    let [
        Effect::Worker { action: FollowAction::Append(append), ticket: Some(ticket), .. },
        Effect::Worker { action: FollowAction::Append(marks), ticket: None, .. },
    ] = &effects[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!((append.from, append.batches.len()), (Offset(10), 1));
    assert_eq!((append.high_watermark, marks.batches.len()), (Offset(10), 0));
    assert!(rig.request().is_none(), "the append is waited for a moment");
    rig.reply(0, *ticket, Ok(followed(13, 3)));
    assert_eq!(rig.asked(), BTreeMap::from([(0, (13, 3))]), "1 is as the leader knows it");
}

#[test]
fn idle_session_names_nothing() {
    let mut rig = Rig::following(100);
    assert_eq!(rig.asked().len(), 100);
    rig.answer((0..100).map(|index| data(index, 10, Bytes::new())).collect());
    rig.effects.clear();
    for _ in 0..3 {
        let request = rig.request().unwrap();
        assert_eq!((request.topics.len(), request.max_wait_ms), (0, 500));
        rig.answer(Vec::new());
        assert!(rig.effects.is_empty());
    }
}

#[test]
fn answer_of_an_older_epoch_is_dropped_unread() {
    let mut rig = Rig::following(1);
    rig.request().unwrap();
    // The same leader is elected again while its answer is under way; the log is still the same.
    rig.follow(0, 4, followed(10, 2));
    rig.answer(vec![data(0, 13, stored(10, 3, 3))]);
    assert!(rig.effects.is_empty(), "{:?}", rig.effects);
    assert_eq!(rig.asked(), BTreeMap::from([(0, (10, 2))]));
    rig.answer(vec![data(0, 13, stored(10, 3, 3))]);
    assert!(matches!(rig.worker(0).0, FollowAction::Append(_)));
}

#[test]
fn older_epoch_is_not_followed_after_a_newer_one() {
    let mut rig = Rig::following(1);
    rig.follower.follow(key(0), LeaderEpoch(2), &mut rig.effects);
    rig.follower.follow(key(0), LeaderEpoch(3), &mut rig.effects);
    assert!(rig.effects.is_empty());
}

#[test]
fn outcome_of_an_older_errand_changes_nothing() {
    let mut rig = Rig::following(1);
    rig.request().unwrap();
    rig.answer(vec![data(0, 10, stored(10, 3, 3))]);
    let (_, old) = rig.worker(0);
    rig.follow(0, 4, followed(5, 2));
    rig.reply(0, old, Ok(followed(13, 3)));
    assert_eq!(rig.asked(), BTreeMap::from([(0, (5, 2))]));
}

#[test]
fn what_was_stopped_is_forgotten_and_its_answer_dropped() {
    let mut rig = Rig::following(2);
    rig.request().unwrap();
    assert!(rig.follower.stop(key(0)));
    rig.answer(vec![data(0, 10, stored(10, 3, 3)), data(1, 10, Bytes::new())]);
    assert_eq!(rig.effects.len(), 1, "only partition 1 is told of its marks");
    let request = rig.request().unwrap();
    assert_eq!(request.forgotten_topics_data[0].partitions, [0]);
}

#[test]
fn diverging_log_is_cut_and_fetched_on_from_its_new_end() {
    let mut rig = Rig::following(1);
    rig.request().unwrap();
    let diverging_epoch = EpochEndOffset { epoch: 1, end_offset: 7, ..EpochEndOffset::default() };
    rig.answer(vec![PartitionData { diverging_epoch, ..data(0, 7, Bytes::new()) }]);
    let (action, ticket) = rig.worker(0);
    assert_eq!(action, FollowAction::CutDiverging { epoch: LeaderEpoch(1), end: Offset(7) });
    rig.reply(0, ticket, Ok(followed(7, 1)));
    assert_eq!(rig.asked(), BTreeMap::from([(0, (7, 1))]));
}

#[test]
fn divergence_without_an_end_cuts_nothing() {
    let mut rig = Rig::following(1);
    rig.request().unwrap();
    let diverging_epoch = EpochEndOffset { epoch: 1, ..EpochEndOffset::default() };
    rig.answer(vec![PartitionData { diverging_epoch, ..data(0, 7, Bytes::new()) }]);
    assert!(rig.effects.is_empty());
    assert!(rig.request().is_none(), "it pauses");
}

#[test]
fn leader_that_is_faster_than_the_disk_waits() {
    let config = FetchConfig { response_bytes_max: 100, ..FetchConfig::default() };
    let mut rig = Rig::following(0);
    rig.follower = Follower::new(LaneKind::CatchingUp, config);
    (0..4).for_each(|index| rig.follow(index, 3, followed(10, 2)));
    let mut tickets = Vec::new();
    for index in 0..3 {
        let Some(_) = rig.request() else { break };
        rig.answer(vec![data(index, 90, stored(10, 10, 3))]);
        tickets.push((index, rig.worker(index).1));
        rig.pass(5);
        let is_due = rig.request().is_some();
        assert!(!is_due, "busy ones are waited for a moment");
        rig.pass(5);
    }
    assert!(tickets.len() < 3, "what is in memory is bounded");
    assert!(rig.follower.next_deadline().is_none(), "only an append lets it go on");
    for (index, ticket) in tickets {
        rig.reply(index, ticket, Ok(followed(20, 3)));
    }
    assert!(rig.request().is_some());
}

#[test]
fn records_beside_a_divergence_are_not_appended() {
    let mut rig = Rig::following(1);
    rig.request().unwrap();
    let diverging_epoch = EpochEndOffset { epoch: 1, end_offset: 7, ..EpochEndOffset::default() };
    rig.answer(vec![PartitionData { diverging_epoch, ..data(0, 20, stored(10, 3, 3)) }]);
    assert!(matches!(rig.worker(0).0, FollowAction::CutDiverging { .. }));
}

fn out_of_range(bounds: Bounds) -> (Rig, Vec<Effect>) {
    let mut rig = Rig::following(1);
    rig.request().unwrap();
    rig.answer(vec![failed(0, ErrorCode::OffsetOutOfRange)]);
    let effects = std::mem::take(&mut rig.effects);
    let [Effect::LookUp { ticket, leader_epoch: LeaderEpoch(3), .. }] = effects[..] else {
        panic!("{effects:?}")
    };
    let (moment, mut effects) = (rig.moment(), Vec::new());
    rig.follower.handle_bounds((key(0), ticket), Ok(bounds), moment, &mut effects);
    (rig, effects)
}

#[test]
fn log_that_ends_before_its_leaders_start_begins_anew() {
    let (_, effects) = out_of_range(Bounds { start: Offset(50), end: Offset(90) });
    let [Effect::Worker { action, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(*action, FollowAction::StartAnew { at: Offset(50) });
}

#[test]
fn log_that_is_longer_than_its_leaders_is_cut() {
    let (_, effects) = out_of_range(Bounds { start: Offset(0), end: Offset(8) });
    let [Effect::Worker { action, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(*action, FollowAction::CutTo { end: Offset(8) });
}

#[test]
fn log_within_its_leaders_bounds_is_not_touched() {
    let (mut rig, effects) = out_of_range(Bounds { start: Offset(10), end: Offset(10) });
    assert!(effects.is_empty());
    assert!(rig.request().is_none());
    rig.pass(30);
    assert_eq!(rig.asked(), BTreeMap::from([(0, (10, 2))]));
}

#[test]
fn partition_with_an_error_pauses_and_the_others_go_on() {
    for error in [
        ErrorCode::FencedLeaderEpoch,
        ErrorCode::UnknownLeaderEpoch,
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::UnknownTopicId,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::KafkaStorageError,
        ErrorCode::CorruptMessage,
        ErrorCode::UnknownServerError,
    ] {
        let mut rig = Rig::following(2);
        rig.request().unwrap();
        rig.answer(vec![failed(0, error), data(1, -1, Bytes::new())]);
        rig.effects.clear();
        let request = rig.request().unwrap();
        assert_eq!(request.forgotten_topics_data[0].partitions, [0], "{error:?}");
        assert!(request.max_wait_ms <= 20, "the leader may not wait beyond the pause");
        rig.answer(Vec::new());
        rig.pass(20);
        assert_eq!(rig.asked(), BTreeMap::from([(0, (10, 2))]), "{error:?}");
        assert!(rig.effects.is_empty(), "{error:?}: the log was not touched");
        // The next pause is longer.
        rig.answer(vec![failed(0, error)]);
        rig.pass(20);
        assert!(rig.asked().is_empty(), "{error:?}");
    }
}

fn never_appended(records: Bytes) {
    let mut rig = Rig::following(1);
    rig.request().unwrap();
    rig.answer(vec![data(0, 20, records)]);
    assert!(rig.effects.is_empty(), "{:?}", rig.effects);
    assert!(rig.request().is_none(), "it pauses");
    rig.pass(20);
    assert_eq!(rig.asked(), BTreeMap::from([(0, (10, 2))]));
}

#[test]
fn records_that_changed_on_the_way_are_never_appended() {
    let sound = stored(10, 3, 3);
    let mut bytes = sound.to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    never_appended(Bytes::from(bytes.clone()));
    // A sound batch before a broken one does not save it: nothing of such an answer is believed.
    never_appended([&stored(10, 1, 3)[..], &bytes].concat().into());
}

#[test]
fn records_that_do_not_continue_the_log_are_never_appended() {
    never_appended(stored(5, 3, 3));
    never_appended([&stored(10, 3, 3)[..], &stored(12, 3, 3)].concat().into());
    never_appended([&stored(10, 3, 3)[..], &stored(5, 20, 3)].concat().into());
}

#[test]
fn records_of_an_epoch_that_cannot_be_are_never_appended() {
    never_appended(stored(10, 3, 4));
    never_appended([&stored(10, 3, 3)[..], &stored(13, 3, 2)].concat().into());
}

#[test]
fn batch_cut_short_at_the_end_is_left_out_and_alone_refused() {
    let whole = stored(10, 3, 3);
    let next = stored(13, 3, 3);
    let mut rig = Rig::following(1);
    rig.request().unwrap();
    rig.answer(vec![data(0, 20, [&whole[..], &next[..40]].concat().into())]);
    let (FollowAction::Append(append), _) = rig.worker(0) else { panic!() };
    assert_eq!(append.batches, [Batch::parse(&whole).unwrap()]);
    never_appended(whole.slice(..whole.len() - 1));
}

#[test]
fn gap_and_a_leaders_start_within_the_first_batch_are_for_the_worker_to_judge() {
    for records in [stored(12, 3, 3), stored(8, 5, 3)] {
        let mut rig = Rig::following(1);
        rig.request().unwrap();
        rig.answer(vec![data(0, 20, records)]);
        assert!(matches!(rig.worker(0).0, FollowAction::Append(_)));
    }
}

#[test]
fn slow_append_does_not_keep_the_others_from_being_fetched() {
    let mut rig = Rig::following(2);
    rig.request().unwrap();
    rig.answer(vec![data(0, 10, stored(10, 3, 3))]);
    let (_, ticket) = rig.worker(0);
    assert!(rig.request().is_none());
    let deadline = rig.follower.next_deadline().unwrap();
    rig.now = deadline;
    let request = rig.request().expect("others go on after a moment");
    assert_eq!(request.forgotten_topics_data[0].partitions, [0], "it must not be sent twice");
    assert!(request.max_wait_ms <= 5);
    rig.reply(0, ticket, Ok(followed(13, 3)));
    rig.answer(Vec::new());
    assert_eq!(rig.asked(), BTreeMap::from([(0, (13, 3))]));
}

#[test]
fn partition_that_is_more_than_an_answer_behind_changes_lanes_until_it_caught_up() {
    let mut rig = Rig::following(1);
    assert_eq!(rig.append(10, 3, 13), FollowOutcome::None);
    assert_eq!(rig.append(13, 3, 100), FollowOutcome::Behind);
    assert_eq!(rig.follower.lag_max(), 84);
    let partition = rig.follower.take(key(0)).unwrap();
    assert_eq!(rig.follower.lag_max(), 0);

    let mut other = Rig::new(LaneKind::CatchingUp);
    other.follower.put(key(0), partition);
    assert!(other.follower.caught_up().is_empty(), "it does not go back at once");
    assert_eq!(other.follower.lag_max(), 84);
    assert_eq!(other.append(16, 10, 100), FollowOutcome::Behind);
    assert!(other.follower.caught_up().is_empty());
    assert_eq!(other.append(26, 74, 100), FollowOutcome::None);
    assert_eq!(other.follower.caught_up(), [key(0)]);
    let request = other.request().unwrap();
    assert_eq!(request.max_wait_ms, 100);
}

#[test]
fn newcomer_is_caught_up_when_it_was_told_so() {
    let mut rig = Rig::following(1);
    assert!(rig.follower.caught_up().is_empty());
    rig.request().unwrap();
    rig.answer(vec![data(0, 10, Bytes::new())]);
    assert_eq!(rig.follower.caught_up(), [key(0)]);
}

#[test]
fn lost_session_is_begun_anew() {
    for error in [ErrorCode::FetchSessionIdNotFound, ErrorCode::InvalidFetchSessionEpoch] {
        let mut rig = Rig::following(2);
        rig.request().unwrap();
        rig.answer(Vec::new());
        rig.request().unwrap();
        rig.answer_error(error);
        assert_eq!(rig.asked().len(), 2, "{error:?}");
    }
}

#[test]
fn leader_that_does_not_answer_is_left_alone_for_longer_and_longer() {
    let mut rig = Rig::following(2);
    for pause in [20, 40, 80] {
        assert_eq!(rig.asked().len(), 2);
        let moment = rig.moment();
        rig.follower.handle_failure(moment);
        assert!(rig.request().is_none());
        assert_eq!(rig.follower.next_deadline(), Some(rig.now + Duration::from_millis(pause)));
        rig.pass(pause);
    }
    rig.request().unwrap();
    rig.answer_error(ErrorCode::StaleBrokerEpoch);
    assert!(rig.request().is_none());
}

#[test]
fn full_disk_is_tried_again_from_where_the_log_then_ends() {
    let mut rig = Rig::following(1);
    rig.request().unwrap();
    rig.answer(vec![data(0, 10, stored(10, 3, 3))]);
    let (_, ticket) = rig.worker(0);
    rig.reply(0, ticket, Err(FollowError::OutOfSpace));
    assert!(rig.request().is_none());
    rig.pass(20);
    assert!(rig.request().is_none());
    let (action, ticket) = rig.worker(0);
    assert_eq!(action, FollowAction::Begin);
    rig.reply(0, ticket, Ok(followed(11, 3)));
    assert_eq!(rig.asked(), BTreeMap::from([(0, (11, 3))]));
}

#[test]
fn replica_whose_disk_failed_is_not_fetched() {
    let mut rig = Rig::following(2);
    rig.request().unwrap();
    rig.answer(vec![data(0, 10, stored(10, 3, 3))]);
    let (_, ticket) = rig.worker(0);
    rig.reply(0, ticket, Err(FollowError::Offline));
    assert_eq!(rig.follower.failed(), 1);
    let request = rig.request().unwrap();
    assert_eq!(request.forgotten_topics_data[0].partitions, [0]);
    assert_eq!(request.max_wait_ms, 500, "nothing is to come of it");
}

#[test]
fn session_of_nothing_is_closed_once() {
    let mut rig = Rig::following(1);
    rig.request().unwrap();
    rig.answer(Vec::new());
    rig.follower.stop(key(0));
    let request = rig.request().unwrap();
    assert_eq!((request.session_id, request.session_epoch), (SESSION, -1));
    rig.answer(Vec::new());
    assert!(rig.follower.is_empty());
    rig.follow(0, 4, followed(10, 2));
    assert_eq!(rig.asked().len(), 1);
}

#[test]
fn throttled_partition_waits() {
    let mut rig = Rig::following(2);
    rig.request().unwrap();
    rig.answer(Vec::new());
    let until = rig.now + Duration::from_secs(1);
    rig.follower.delay(key(0), until);
    let request = rig.request().unwrap();
    assert_eq!(request.forgotten_topics_data[0].partitions, [0]);
    rig.answer(Vec::new());
    rig.now = until;
    assert_eq!(rig.asked(), BTreeMap::from([(0, (10, 2))]));
}

#[test]
fn log_start_that_the_leader_moved_is_reported_with_the_next_fetch() {
    let mut rig = Rig::following(1);
    rig.request().unwrap();
    rig.answer(vec![PartitionData { log_start_offset: 4, ..data(0, 10, Bytes::new()) }]);
    let (action, ticket) = rig.worker(0);
    let FollowAction::Append(marks) = action else { panic!("{action:?}") };
    assert_eq!((marks.log_start, marks.batches.len()), (Offset(4), 0));
    rig.reply(0, ticket, Ok(Followed { log_start: Offset(4), ..followed(10, 2) }));
    let request = rig.request().unwrap();
    assert_eq!(request.topics[0].partitions[0].log_start_offset, 4);
}
