//! Appending and reading: what producers, followers and consumers rely on.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::record_batch::TimestampType;
use ottla_protocol::types::{LeaderEpoch, Offset, ProducerId};
use ottla_storage::{AppendError, LogConfig, ReadError, ReadMode, RealIo, SimIo, SyncPool};
use support::*;

const DIR: &str = "/data";
const EPOCH: LeaderEpoch = LeaderEpoch(0);

#[test]
fn appends_of_one_step_share_a_write_and_fail_one_by_one() {
    let io = SimIo::new(0);
    let (_dir, mut log) = open_log(&io, Path::new(DIR), "b", &Arc::new(LogConfig::default()));
    log.begin_epoch(EPOCH).unwrap();
    let appends = [
        [producer_batch(&[b"a", b"b"], 1, Some((1, 0, 0)))],
        [producer_batch(&[b"gap"], 1, Some((1, 0, 5)))],
        [producer_batch(&[b"c"], 1, Some((1, 0, 2)))],
        [producer_batch(&[b"a", b"b"], 1, Some((1, 0, 0)))],
    ];
    let before = io.operations();
    let mut results = Vec::new();
    log.append_all_as_leader(appends.iter().map(|a| &a[..]), EPOCH, now_ms(1), &mut results);
    assert_eq!(io.operations(), before + 1, "one write for all");
    let offsets: Vec<_> = results
        .iter()
        .map(|result| {
            result.as_ref().ok().map(|a| (a.first_offset.0, a.last_offset.0, a.duplicate))
        })
        .collect();
    assert_eq!(offsets, [Some((0, 1, false)), None, Some((2, 2, false)), Some((0, 1, true))]);
    assert!(matches!(results[1], Err(AppendError::OutOfOrderSequence { last: 1, found: 5, .. })));
    assert_eq!(log.log_end(), Offset(3));
}

#[test]
fn a_retry_is_answered_with_the_first_offset_also_after_a_crash() {
    let io = SimIo::new(0);
    let config = small_config();
    let (dir, mut log) = open_log(&io, Path::new(DIR), "b", &config);
    for i in 0..30 {
        let batch = producer_batch(&[b"x", b"y"], 1, Some((7, 2, 2 * i)));
        log.append_as_leader(&[batch], EPOCH, now_ms(1)).unwrap();
    }
    let retry = |log: &mut ottla_storage::Log<SimIo>, i: i32| {
        let batch = producer_batch(&[b"x", b"y"], 1, Some((7, 2, 2 * i)));
        log.append_as_leader(&[batch], EPOCH, now_ms(1))
    };
    let found = retry(&mut log, 27).unwrap();
    assert_eq!((found.first_offset, found.duplicate), (Offset(54), true));
    drop((dir, log));
    io.process_crash();
    let (dir, mut log) = open_log(&io, Path::new(DIR), "b", &config);
    let found = retry(&mut log, 29).unwrap();
    assert_eq!((found.first_offset, found.duplicate), (Offset(58), true));
    assert!(matches!(retry(&mut log, 40), Err(AppendError::OutOfOrderSequence { .. })));
    let old = producer_batch(&[b"x"], 1, Some((7, 1, 60)));
    let fenced = log.append_as_leader(&[old], EPOCH, now_ms(1));
    assert!(matches!(fenced, Err(AppendError::InvalidProducerEpoch { .. })));
    // So it is after an orderly end, from the snapshot.
    dir.close(vec![log], 1).unwrap();
    drop(dir);
    let (_dir, mut log) = open_log(&io, Path::new(DIR), "b", &config);
    assert_eq!(retry(&mut log, 29).unwrap().first_offset, Offset(58));
    let expired = log.expire_producers(now_ms(2 + 24 * 3600 * 1000));
    assert_eq!((expired, log.producer(ProducerId(7))), (1, None));
}

#[test]
fn append_time_is_given_by_the_broker() {
    let config = LogConfig { timestamp_type: TimestampType::LogAppendTime, ..LogConfig::default() };
    let (_dir, mut log) = open_log(&SimIo::new(0), Path::new(DIR), "b", &Arc::new(config));
    let appended = log.append_as_leader(&[batch(&[b"a", b"b"], 5)], EPOCH, now_ms(777)).unwrap();
    assert_eq!(appended.log_append_time, 777);
    let times: Vec<_> = records(&read_all(&log.view(), 100)).into_iter().map(|r| r.1).collect();
    assert_eq!(times, [777, 777]);
}

#[test]
fn a_wrong_max_timestamp_is_put_right() {
    let (_dir, mut log) = open_log(&SimIo::new(0), Path::new(DIR), "b", &small_config());
    let mut wrong = batch(&[b"a"], 5);
    wrong.max_timestamp = 9;
    log.append_as_leader(&[wrong], EPOCH, now_ms(1)).unwrap();
    assert_eq!(read_all(&log.view(), 100)[0].header.max_timestamp, 9);
}

#[test]
fn an_older_leader_is_refused() {
    let (_dir, mut log) = open_log(&SimIo::new(0), Path::new(DIR), "b", &small_config());
    log.append_as_leader(&[batch(&[b"a"], 5)], LeaderEpoch(4), now_ms(1)).unwrap();
    let stale = log.append_as_leader(&[batch(&[b"b"], 5)], LeaderEpoch(3), now_ms(1));
    assert!(matches!(stale, Err(AppendError::StaleLeaderEpoch { .. })));
    let stale = log.append_as_follower(&[stored(&batch(&[b"b"], 5), 1, 3)], now_ms(1));
    assert!(matches!(stale, Err(AppendError::StaleLeaderEpoch { .. })));
    let overlap = log.append_as_follower(&[stored(&batch(&[b"b"], 5), 0, 4)], now_ms(1));
    assert!(matches!(overlap, Err(AppendError::UnexpectedOffset { .. })));
    assert_eq!(log.log_end(), Offset(1));
}

#[test]
fn a_follower_takes_epochs_and_gaps_from_its_leader() {
    let (_dir, mut log) = open_log(&SimIo::new(0), Path::new(DIR), "b", &small_config());
    let batches = [
        stored(&batch(&[b"a", b"b"], 5), 10, 2),
        stored(&batch(&[b"c"], 5), 20, 2),
        stored(&batch(&[b"d"], 5), 21, 7),
        // Further than a segment can count.
        stored(&batch(&[b"e"], 5), 1 << 40, 8),
    ];
    let appended = log.append_as_follower(&batches, now_ms(1)).unwrap().unwrap();
    assert_eq!((appended.first_offset, appended.last_offset), (Offset(10), Offset(1 << 40)));
    assert_eq!(read_all(&log.view(), 1000), batches);
    let epochs = [(2, 10), (7, 21), (8, 1 << 40)].map(|(e, o)| (LeaderEpoch(e), Offset(o)));
    assert_eq!(log.epochs().entries(), epochs);
    assert_eq!(log.append_as_follower(&[], now_ms(1)).unwrap(), None);
}

#[test]
fn what_does_not_fit_into_a_segment_is_refused() {
    let (_dir, mut log) = open_log(&SimIo::new(0), Path::new(DIR), "b", &small_config());
    let large = batch(&[&[0; 2000]], 1);
    let error = log.append_as_leader(&[large], EPOCH, now_ms(1)).unwrap_err();
    assert!(matches!(error, AppendError::TooLargeForSegment { max: 1500, .. }));
}

#[test]
fn segments_are_rolled_by_size_age_and_full_indexes() {
    let rolled = |config: LogConfig, timestamps: &[i64]| {
        let (_dir, mut log) = open_log(&SimIo::new(0), Path::new(DIR), "b", &Arc::new(config));
        for &at in timestamps {
            log.append_as_leader(&[batch(&[&[0; 100]], at)], EPOCH, now_ms(1)).unwrap();
        }
        let bases: Vec<_> = log.view().segments().map(|segment| segment.base_offset().0).collect();
        bases
    };
    let config = LogConfig { index_interval_bytes: 1, ..LogConfig::default() };
    assert_eq!(rolled(LogConfig { segment_bytes: 400, ..config.clone() }, &[1; 5]), [0, 2, 4]);
    let aged = LogConfig { segment_age: Duration::from_millis(50), ..config.clone() };
    assert_eq!(rolled(aged, &[100, 150, 151, 160, 202]), [0, 2, 4]);
    let full = LogConfig { segment_index_bytes: 48, ..config };
    assert_eq!(rolled(full, &[1; 16]), [0, 7, 14]);
}

#[test]
fn jitter_shortens_the_age_of_a_segment_and_repeats_itself() {
    let config = LogConfig {
        segment_age: Duration::from_millis(1000),
        segment_jitter: Duration::from_millis(900),
        ..LogConfig::default()
    };
    let bases = || {
        let io = SimIo::new(0);
        let (_dir, mut log) = open_log(&io, Path::new(DIR), "b", &Arc::new(config.clone()));
        for at in 0..1000 {
            log.append_as_leader(&[batch(&[b"x"], 10 * at)], EPOCH, now_ms(1)).unwrap();
        }
        log.view().segments().map(|segment| segment.base_offset().0).collect::<Vec<_>>()
    };
    let found = bases();
    assert_eq!(found, bases());
    let ages: Vec<_> = found.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(ages.iter().all(|age| (9..=101).contains(age)), "{ages:?}");
    assert!(ages.iter().any(|age| *age != ages[0]), "{ages:?}");
}

#[test]
fn a_view_does_not_change_and_a_cut_is_noticed() {
    let (_dir, mut log) = open_log(&SimIo::new(0), Path::new(DIR), "b", &small_config());
    for i in 0..40u8 {
        log.append_as_leader(&[batch(&[&[i; 60]], 1)], EPOCH, now_ms(1)).unwrap();
    }
    let view = log.view();
    let (early, late) = (request(0, 200), request(38, 200));
    let kept = view.locate(&early, ReadMode::Wait).unwrap().unwrap();
    let cut = view.locate(&late, ReadMode::Wait).unwrap().unwrap();
    log.append_as_leader(&[batch(&[b"unseen"], 1)], EPOCH, now_ms(1)).unwrap();
    assert_eq!(read_all(&view, 500).len(), 40);
    log.truncate_to(Offset(37), now_ms(1)).unwrap();
    log.append_as_leader(&[batch(&[&[9; 60]], 1)], LeaderEpoch(1), now_ms(1)).unwrap();
    assert!(matches!(cut.read(), Err(ReadError::Gone)));
    assert!(matches!(view.locate(&late, ReadMode::Wait), Err(ReadError::Gone)));
    kept.read().unwrap();
    log.advance_log_start(Offset(30)).unwrap();
    assert!(0 < log.remove_deleted_segments(10).unwrap());
    assert!(matches!(kept.read(), Err(ReadError::Gone)));
    assert!(matches!(view.locate(&early, ReadMode::Wait), Err(ReadError::Gone)));
    let out_of_range = log.view().locate(&early, ReadMode::Wait);
    assert!(matches!(out_of_range, Err(ReadError::OffsetOutOfRange { log_start: Offset(30), .. })));
}

#[test]
fn a_network_task_never_waits_for_the_disk() {
    let io = SimIo::new(0);
    let (_dir, mut log) = open_log(&io, Path::new(DIR), "b", &small_config());
    for _ in 0..20 {
        log.append_as_leader(&[batch(&[&[1; 60]], 1)], EPOCH, now_ms(1)).unwrap();
    }
    let view = log.view();
    let slice = view.locate(&request(3, 100), ReadMode::Wait).unwrap().unwrap();
    io.set_cold(true);
    let cold = view.locate(&request(3, 100), ReadMode::NoWait);
    assert!(matches!(cold, Err(ReadError::WouldBlock)));
    let mut buf = [0; 50];
    assert!(matches!(slice.read_at(0, &mut buf, ReadMode::NoWait), Err(ReadError::WouldBlock)));
    slice.read_at(0, &mut buf, ReadMode::Wait).unwrap();
    io.set_cold(false);
    slice.read_at(0, &mut buf, ReadMode::NoWait).unwrap();
    assert!(slice.read_at(slice.len() - 49, &mut buf, ReadMode::Wait).is_err(), "beyond the slice");
}

#[test]
fn flushes_are_due_by_count_and_age_and_cover_what_came_meanwhile() {
    let config = LogConfig {
        flush_messages: 3,
        flush_age: Duration::from_millis(100),
        ..LogConfig::default()
    };
    let (_dir, mut log) = open_log(&SimIo::new(0), Path::new(DIR), "b", &Arc::new(config));
    let append = |log: &mut ottla_storage::Log<SimIo>, values: &[&[u8]]| {
        log.append_as_leader(&[batch(values, 1)], EPOCH, now_ms(1)).unwrap();
    };
    assert!(log.poll_flush(now_ms(0)).unwrap().is_none());
    assert_eq!(log.next_flush_at(), None);
    append(&mut log, &[b"a", b"b"]);
    assert!(log.poll_flush(now_ms(10)).unwrap().is_none());
    assert_eq!(log.next_flush_at(), Some(Duration::from_millis(110)));
    append(&mut log, &[b"c"]);
    let ticket = log.poll_flush(now_ms(20)).unwrap().expect("three records");
    assert_eq!(ticket.end(), Offset(3));
    // One at a time: what comes meanwhile is for the next.
    append(&mut log, &[b"d", b"e", b"f", b"g"]);
    assert!(log.poll_flush(now_ms(30)).unwrap().is_none());
    assert!(log.is_flushing());
    log.on_synced(ticket.run()).unwrap();
    assert_eq!(log.flushed_end(), Offset(3));
    let ticket = log.poll_flush(now_ms(40)).unwrap().expect("four more");
    log.on_synced(ticket.run()).unwrap();
    assert_eq!(log.flushed_end(), Offset(7));
    append(&mut log, &[b"h"]);
    assert!(log.poll_flush(now_ms(50)).unwrap().is_none());
    assert!(log.poll_flush(now_ms(149)).unwrap().is_none());
    let ticket = log.poll_flush(now_ms(150)).unwrap().expect("it is old");
    log.on_synced(ticket.run()).unwrap();
    assert_eq!(log.flushed_end(), log.log_end());
    assert!(log.flush().unwrap().is_none(), "nothing is left to do");
}

#[test]
fn a_cut_during_a_flush_does_not_make_later_records_durable() {
    let (_dir, mut log) = open_log(&SimIo::new(0), Path::new(DIR), "b", &small_config());
    for _ in 0..5 {
        log.append_as_leader(&[batch(&[b"a"], 1)], EPOCH, now_ms(1)).unwrap();
    }
    let ticket = log.flush().unwrap().unwrap();
    log.truncate_to(Offset(2), now_ms(1)).unwrap();
    for _ in 0..5 {
        log.append_as_leader(&[batch(&[b"b"], 1)], LeaderEpoch(1), now_ms(1)).unwrap();
    }
    log.on_synced(ticket.run()).unwrap();
    assert_eq!((log.flushed_end(), log.log_end()), (Offset(2), Offset(7)));
}

#[test]
fn a_pool_syncs_many_logs_and_gives_each_its_outcome() {
    let root = tempfile::tempdir().unwrap();
    let config = small_config();
    let (dir, first) = open_log(&RealIo, &root.path().join("d"), "b", &config);
    let mut logs = vec![first];
    for number in 1..10 {
        let partition = ottla_storage::TopicPartition::new("t", number);
        logs.push(dir.create_log(&partition, TOPIC_ID, Arc::clone(&config)).unwrap());
    }
    let (sender, outcomes) = std::sync::mpsc::sync_channel(100);
    let done = Arc::new(move |token, synced| sender.send((token, synced)).unwrap());
    let pool = SyncPool::start(3, 100, done).unwrap();
    for round in 1..=20 {
        for (token, log) in logs.iter_mut().enumerate() {
            log.append_as_leader(&[batch(&[b"a"], 1)], EPOCH, now_ms(1)).unwrap();
            pool.submit(token as u64, log.flush().unwrap().unwrap()).unwrap();
        }
        for _ in 0..logs.len() {
            let (token, synced) = outcomes.recv().unwrap();
            logs[token as usize].on_synced(synced).unwrap();
        }
        assert!(logs.iter().all(|log| log.flushed_end() == Offset(round)));
    }
    let ticket = {
        logs[0].append_as_leader(&[batch(&[b"a"], 1)], EPOCH, now_ms(1)).unwrap();
        logs[0].flush().unwrap().unwrap()
    };
    pool.submit(0, ticket).unwrap();
    drop(pool);
    assert!(outcomes.recv().is_ok(), "what was submitted is finished");
}

#[test]
fn what_was_cut_off_is_not_visible_when_others_came_in_its_place() {
    let io = SimIo::new(0);
    let config = small_config();
    for anew in [false, true] {
        let root = Path::new(if anew { "/anew" } else { "/cut" });
        let (dir, mut log) = open_log(&io, root, "b", &config);
        for _ in 0..5 {
            log.append_as_leader(&[batch(&[b"a"], 1)], EPOCH, now_ms(1)).unwrap();
        }
        dir.set_high_watermark(&partition(), Offset(5));
        dir.write_checkpoints().unwrap();
        match anew {
            true => log.truncate_fully_and_start_at(Offset(2), now_ms(1)).unwrap(),
            false => drop(log.truncate_to(Offset(2), now_ms(1)).unwrap()),
        }
        for _ in 0..5 {
            log.append_as_leader(&[batch(&[b"b"], 1)], LeaderEpoch(1), now_ms(1)).unwrap();
        }
        drop((dir, log));
        let (dir, log) = open_log(&io, root, "b", &config);
        assert_eq!(log.log_end(), Offset(7));
        assert_eq!(dir.high_watermark(&partition()), Some(Offset(2)));
    }
}
