//! A worker whose replicas follow a leader elsewhere.

use ottla_protocol::record_batch::{TimestampPatch, patch_header};

use super::*;

fn following(epoch: i32) -> Assignment {
    Assignment {
        leader: BrokerId(2),
        leads: false,
        replicas: vec![BrokerId(1), BrokerId(2)],
        in_sync: vec![BrokerId(1), BrokerId(2)],
        ..leading(epoch)
    }
}

/// As a leader of `epoch` stores this batch from `base` on.
fn stored(batch: &Batch, base: i64, epoch: i32) -> Batch {
    let header = patch_header(batch, Offset(base), LeaderEpoch(epoch), TimestampPatch::Keep);
    Batch::parse(&[&header[..], batch.body()].concat().into()).unwrap()
}

fn from_leader(from: i64, high_watermark: i64, batches: Vec<Batch>) -> FollowAction {
    FollowAction::Append(FollowerBatches {
        from: Offset(from),
        bytes: batches.iter().map(|batch| batch.bytes.len() as u64).sum(),
        batches,
        high_watermark: Offset(high_watermark),
        log_start: Offset(0),
    })
}

type Answered = oneshot::Receiver<Result<Followed, FollowError>>;

impl Bench {
    /// With one partition that it follows in epoch 3.
    fn following(settings: TopicSettings) -> Self {
        let mut bench = Self::new(1, 1, settings);
        bench.assign(following(3));
        bench
    }

    fn assign(&mut self, assignment: Assignment) {
        let slot = self.partitions[0].slot;
        self.inbox.report(Control::Assign { slot, assignment }).unwrap();
        self.step();
    }

    fn ask(&mut self, epoch: i32, action: FollowAction) -> Answered {
        let (reply, answered) = oneshot::channel();
        let follow = Follow {
            slot: self.partitions[0].slot,
            leader_epoch: LeaderEpoch(epoch),
            action,
            reply: Some(reply),
        };
        self.inbox.report(Control::Follow(Box::new(follow))).unwrap();
        self.step();
        answered
    }

    fn told(&mut self, epoch: i32, action: FollowAction) -> Result<Followed, FollowError> {
        self.ask(epoch, action).try_recv().expect("answered at once")
    }

    /// Appends one record for each epoch from `from` on, in the present epoch.
    fn fill(&mut self, from: i64, epochs: &[i32]) {
        let one = batch(&["a"]);
        let batches = epochs.iter().zip(from..);
        let batches = batches.map(|(epoch, base)| stored(&one, base, *epoch)).collect();
        let end = from + epochs.len() as i64;
        let followed = self.told(3, from_leader(from, 0, batches)).unwrap();
        assert_eq!(followed.log_end, Offset(end));
    }

    fn ends(&self) -> (i64, i64, i64) {
        let view = self.partitions[0].view();
        (view.log_start.0, view.high_watermark.0, view.log_end.0)
    }

    fn epochs(&self) -> Vec<(i32, i64)> {
        let slot = self.worker.slots[0].as_ref().unwrap();
        slot.log.epochs().entries().iter().map(|(epoch, at)| (epoch.0, at.0)).collect()
    }
}

#[test]
fn follower_has_its_leaders_batches_as_they_are() {
    let mut bench = Bench::following(TopicSettings::default());
    let batches =
        vec![stored(&batch(&["a", "b"]), 0, 1), stored(&sequenced(7, 0, 0, &["c"]), 2, 3)];
    let followed = bench.told(3, from_leader(0, 1, batches.clone())).unwrap();
    assert_eq!((followed.log_end, followed.last_epoch), (Offset(3), LeaderEpoch(3)));
    assert_eq!(bench.ends(), (0, 1, 3));
    assert_eq!(bench.epochs(), [(1, 0), (3, 2)]);
    let view = bench.partitions[0].view();
    let range = crate::partition::ReadRange {
        from: Offset(0),
        below: Offset(3),
        bytes_max: 1 << 20,
        is_first_whole: true,
    };
    let located = view.log.locate(range, true).unwrap().unwrap();
    let mut bytes = vec![0; located.len as usize];
    assert_eq!(located.source.read_cold(located.position, &mut bytes).unwrap(), bytes.len());
    assert_eq!(bytes, [&batches[0].bytes[..], &batches[1].bytes].concat());
}

/// Its leader counts what it has told before, so what that was is to be on the disk soon, whether or not more comes.
#[test]
fn log_of_a_topic_that_becomes_durable_is_synced_without_another_append() {
    let mut bench = Bench::following(TopicSettings::default());
    bench.fill(0, &[1, 1, 3]);
    assert_eq!(bench.sync(), 0);
    let (slot, settings) = (bench.partitions[0].slot, Arc::new(durable()));
    bench.inbox.report(Control::Configure { slot, settings }).unwrap();
    bench.step();
    let mut answered = bench.ask(3, FollowAction::Begin);
    assert!(answered.try_recv().is_err(), "nothing is told that is not on the disk");
    assert_eq!(bench.sync(), 1);
    bench.step();
    assert_eq!(answered.try_recv().unwrap().unwrap().log_end, Offset(3));
}

#[test]
fn high_watermark_of_a_follower_is_at_most_its_end_and_never_falls() {
    let mut bench = Bench::following(TopicSettings::default());
    let one = batch(&["a"]);
    bench.told(3, from_leader(0, 100, vec![stored(&one, 0, 3)])).unwrap();
    assert_eq!(bench.ends(), (0, 1, 1));
    bench.told(3, from_leader(1, 1, vec![stored(&one, 1, 3)])).unwrap();
    assert_eq!(bench.ends(), (0, 1, 2));
    bench.told(3, from_leader(2, 2, vec![])).unwrap();
    bench.told(3, from_leader(2, 0, vec![])).unwrap();
    assert_eq!(bench.ends(), (0, 2, 2));
}

#[test]
fn other_epochs_and_leaders_are_refused() {
    let mut bench = Bench::following(TopicSettings::default());
    let records = || from_leader(0, 1, vec![stored(&batch(&["a"]), 0, 3)]);
    assert_eq!(bench.told(2, records()), Err(FollowError::OtherEpoch));
    assert_eq!(bench.told(4, records()), Err(FollowError::OtherEpoch));
    bench.assign(leading(4));
    assert_eq!(bench.told(4, records()), Err(FollowError::OtherEpoch), "it leads");
    let cut = FollowAction::CutTo { end: Offset(0) };
    assert_eq!(bench.told(3, cut), Err(FollowError::OtherEpoch));
    assert_eq!(bench.ends(), (0, 0, 0));
}

#[test]
fn metadata_that_went_back_is_not_followed() {
    let mut bench = Bench::new(1, 1, TopicSettings::default());
    bench.assign(leading(9));
    bench.send(Acks::Leader, &[(0, &batch(&["a"]))]);
    bench.step();
    // The worker itself has forgotten the epoch, as after a restart; the log has not.
    let slot = bench.partitions[0].slot;
    let (reply, _) = oneshot::channel();
    bench.inbox.report(Control::Close { slot, reply }).unwrap();
    bench.step();
    let handle = Arc::clone(&bench.partitions[0]);
    let open = Open {
        settings: Arc::clone(&handle.view().settings),
        handle,
        assignment: following(3),
        high_watermark: Offset(0),
    };
    bench.inbox.report(Control::Open(Box::new(open))).unwrap();
    bench.step();
    let refused = bench.told(3, FollowAction::CutTo { end: Offset(0) });
    let (latest, leader_epoch) = (LeaderEpoch(9), LeaderEpoch(3));
    assert_eq!(refused, Err(FollowError::StaleLeaderEpoch { latest, leader_epoch }));
    assert_eq!(bench.ends().2, 1);
}

#[test]
fn records_for_another_end_are_refused() {
    let mut bench = Bench::following(TopicSettings::default());
    bench.fill(0, &[3, 3]);
    for from in [0, 1, 3] {
        let refused = bench.told(3, from_leader(from, 0, vec![stored(&batch(&["a"]), from, 3)]));
        let (from, log_end) = (Offset(from), Offset(2));
        assert_eq!(refused, Err(FollowError::OtherEnd { from, log_end }));
    }
    // Of marks that a cut has overtaken nothing is believed.
    bench.told(3, from_leader(1, 2, vec![])).unwrap();
    assert_eq!(bench.ends(), (0, 0, 2));
}

#[test]
fn diverging_end_is_cut_off_also_below_the_high_watermark() {
    let mut bench = Bench::following(TopicSettings::default());
    bench.fill(0, &[0, 1, 1, 2, 2]);
    bench.told(3, from_leader(5, 4, vec![])).unwrap();
    assert_eq!(bench.ends(), (0, 4, 5));
    // An epoch that is not known here: back to the end of the one before, then asked again.
    let cut = FollowAction::CutDiverging { epoch: LeaderEpoch(1), end: Offset(2) };
    let followed = bench.told(3, cut).unwrap();
    assert_eq!((followed.log_end, followed.last_epoch), (Offset(2), LeaderEpoch(1)));
    assert_eq!((bench.ends(), bench.epochs()), ((0, 2, 2), vec![(0, 0), (1, 1)]));
    bench.fill(2, &[3]);
    assert_eq!(bench.ends(), (0, 2, 3));
}

#[test]
fn epoch_without_records_is_forgotten_when_the_leader_does_not_know_it() {
    let mut bench = Bench::following(TopicSettings::default());
    bench.fill(0, &[1, 1]);
    // It led in epoch 2, and the epoch got on disk but no record did.
    let slot = bench.worker.slots[0].as_mut().unwrap();
    slot.log.begin_epoch(LeaderEpoch(2)).unwrap();
    let followed = bench.told(3, FollowAction::Begin).unwrap();
    assert_eq!(followed.last_epoch, LeaderEpoch(2));
    let cut = FollowAction::CutDiverging { epoch: LeaderEpoch(1), end: Offset(9) };
    let followed = bench.told(3, cut).unwrap();
    assert_eq!((followed.log_end, followed.last_epoch), (Offset(2), LeaderEpoch(1)));
}

#[test]
fn producers_are_known_as_the_cut_log_knows_them() {
    let mut bench = Bench::following(TopicSettings::default());
    let batches = vec![
        stored(&sequenced(7, 0, 0, &["a"]), 0, 1),
        stored(&sequenced(7, 0, 1, &["b"]), 1, 2),
        stored(&sequenced(8, 0, 0, &["c"]), 2, 2),
    ];
    bench.told(3, from_leader(0, 0, batches)).unwrap();
    bench.told(3, FollowAction::CutTo { end: Offset(1) }).unwrap();
    bench.assign(leading(4));
    let repeated = bench.send(Acks::Leader, &[(0, &sequenced(7, 0, 0, &["a"]))]);
    let again = bench.send(Acks::Leader, &[(0, &sequenced(7, 0, 1, &["b"]))]);
    let unknown = bench.send(Acks::Leader, &[(0, &sequenced(8, 0, 0, &["c"]))]);
    bench.step();
    assert_eq!(result(&repeated), Some((ErrorCode::None, 0)), "still known");
    assert_eq!(result(&again), Some((ErrorCode::None, 1)), "was cut, so it is new");
    assert_eq!(result(&unknown), Some((ErrorCode::None, 2)));
}

#[test]
fn durable_follower_answers_when_its_log_is_on_disk() {
    let mut bench = Bench::following(durable());
    let records = from_leader(0, 0, vec![stored(&batch(&["a"]), 0, 3)]);
    let mut answered = bench.ask(3, records);
    assert!(answered.try_recv().is_err(), "not before the sync");
    bench.step();
    assert!(answered.try_recv().is_err());
    assert_eq!(bench.sync(), 1);
    bench.step();
    assert_eq!(answered.try_recv().unwrap().map(|followed| followed.log_end), Ok(Offset(1)));
    // What it led with and has not synced yet does not count either.
    bench.assign(leading(4));
    bench.send(Acks::Leader, &[(0, &batch(&["b"]))]);
    bench.step();
    bench.assign(following(5));
    let mut answered = bench.ask(5, FollowAction::Begin);
    assert!(answered.try_recv().is_err());
    bench.sync();
    bench.step();
    assert_eq!(answered.try_recv().unwrap().map(|followed| followed.log_end), Ok(Offset(2)));
}

#[test]
fn end_of_a_later_epoch_is_not_told_to_a_fetcher_of_an_older_one() {
    let mut bench = Bench::following(durable());
    let mut answered = bench.ask(3, from_leader(0, 0, vec![stored(&batch(&["a"]), 0, 3)]));
    bench.assign(leading(4));
    bench.send(Acks::Leader, &[(0, &batch(&["b"]))]);
    bench.step();
    while 0 < bench.sync() {
        bench.step();
    }
    assert_eq!(answered.try_recv(), Ok(Err(FollowError::OtherEpoch)));
}

#[test]
fn log_start_follows_the_leaders() {
    let mut bench = Bench::following(TopicSettings::default());
    bench.fill(0, &[3, 3, 3]);
    let marks = |log_start| {
        FollowAction::Append(FollowerBatches {
            from: Offset(3),
            batches: vec![],
            bytes: 0,
            high_watermark: Offset(3),
            log_start: Offset(log_start),
        })
    };
    assert_eq!(bench.told(3, marks(2)).unwrap().log_start, Offset(2));
    assert_eq!(bench.told(3, marks(-1)).unwrap().log_start, Offset(2));
    assert_eq!(bench.ends(), (2, 3, 3));
}

#[test]
fn log_begins_anew_at_the_leaders_start_also_within_a_batch() {
    let mut bench = Bench::following(TopicSettings::default());
    bench.fill(0, &[1, 1]);
    let followed = bench.told(3, FollowAction::StartAnew { at: Offset(52) }).unwrap();
    let fresh =
        Followed { log_start: Offset(52), log_end: Offset(52), last_epoch: LeaderEpoch::NONE };
    assert_eq!(followed, fresh);
    assert_eq!(bench.ends(), (52, 52, 52));
    // The leader's first batch spans 50 to 53; 50 and 51 were deleted there.
    let records = stored(&batch(&["a", "b", "c", "d"]), 50, 3);
    let append = FollowAction::Append(FollowerBatches {
        from: Offset(52),
        bytes: records.bytes.len() as u64,
        batches: vec![records],
        high_watermark: Offset(54),
        log_start: Offset(52),
    });
    let followed = bench.told(3, append).unwrap();
    assert_eq!((followed.log_start, followed.log_end), (Offset(52), Offset(54)));
    assert_eq!(bench.ends(), (52, 54, 54));
}

#[test]
fn follower_stops_below_the_reserve_and_goes_on_when_there_is_room() {
    let mut bench = Bench::following(TopicSettings::default());
    bench.fill(0, &[3]);
    let records = || from_leader(1, 0, vec![stored(&batch(&["b"]), 1, 3)]);
    let error = std::io::ErrorKind::StorageFull;
    bench.io.inject(Fault::Fail { op: SimOp::Write, nth: 1, error });
    assert_eq!(bench.told(3, records()), Err(FollowError::OutOfSpace));
    assert_eq!(bench.ends(), (0, 0, 1));
    bench.now.monotonic += Duration::from_secs(60);
    assert_eq!(bench.told(3, FollowAction::Begin).unwrap().log_end, Offset(1));
    assert_eq!(bench.told(3, records()).unwrap().log_end, Offset(2));
}

#[test]
fn failed_disk_takes_a_follower_offline_and_leaves_nobody_waiting() {
    let mut bench = Bench::following(durable());
    let mut answered = bench.ask(3, from_leader(0, 0, vec![stored(&batch(&["a"]), 0, 3)]));
    bench.inbox.report(Control::Fail).unwrap();
    bench.step();
    assert!(matches!(answered.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    assert_eq!(bench.partitions[0].view().role, Role::Offline);
    assert_eq!(bench.told(3, FollowAction::Begin), Err(FollowError::Offline));
}
