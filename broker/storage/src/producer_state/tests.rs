use ottla_protocol::record_batch::Attributes;

use super::*;

fn header(epoch: i16, base_sequence: i32, records: i32, offset: i64) -> BatchHeader {
    BatchHeader {
        base_offset: Offset(offset),
        batch_length: 100,
        partition_leader_epoch: Default::default(),
        crc: 0,
        attributes: Attributes::default(),
        last_offset_delta: records - 1,
        base_timestamp: 1000,
        max_timestamp: 1000 + offset,
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence,
        records_count: records,
    }
}

/// Appends ten batches of two records in epoch 3, sequences 0 to 19, offsets 100 to 119.
fn ten_batches() -> ProducerStates {
    let mut states = ProducerStates::default();
    for i in 0..10 {
        let header = header(3, 2 * i, 2, 100 + 2 * i64::from(i));
        assert_eq!(states.check(&header).unwrap(), None);
        states.apply(&header);
    }
    states
}

#[test]
fn the_last_five_batches_are_recognised_with_their_offsets() {
    let states = ten_batches();
    for i in 5..10 {
        let found = states.check(&header(3, 2 * i, 2, 0)).unwrap().expect("a duplicate");
        assert_eq!(found.first_offset(), Offset(100 + 2 * i64::from(i)));
        assert_eq!(found.timestamp, 1100 + 2 * i64::from(i));
    }
    for (first, records) in [(8, 2), (18, 1), (19, 1), (16, 4), (21, 1)] {
        let error = states.check(&header(3, first, records, 0)).unwrap_err();
        assert!(matches!(error, AppendError::OutOfOrderSequence { last: 19, .. }), "{error}");
    }
    assert_eq!(states.check(&header(3, 20, 1, 0)).unwrap(), None);
}

#[test]
fn a_new_epoch_begins_at_zero_and_an_old_one_is_refused() {
    let mut states = ten_batches();
    let error = states.check(&header(4, 20, 1, 0)).unwrap_err();
    assert!(
        matches!(error, AppendError::OutOfOrderSequence { last: -1, found: 20, .. }),
        "{error}"
    );
    let first = header(4, 0, 1, 120);
    assert_eq!(states.check(&first).unwrap(), None);
    states.apply(&first);
    let error = states.check(&header(3, 20, 1, 0)).unwrap_err();
    assert!(matches!(error, AppendError::InvalidProducerEpoch { .. }), "{error}");
    // The old epoch's batches are forgotten, not taken for duplicates.
    assert!(states.check(&header(4, 18, 2, 0)).is_err());
}

#[test]
fn an_unknown_producer_may_begin_anywhere() {
    assert_eq!(ProducerStates::default().check(&header(3, 4711, 1, 0)).unwrap(), None);
}

#[test]
fn sequences_wrap_to_zero() {
    let mut states = ProducerStates::default();
    let wrapping = header(0, i32::MAX - 1, 4, 10);
    states.apply(&wrapping);
    assert_eq!(states.get(ProducerId(7)).unwrap().last_sequence(), 1);
    let found = states.check(&header(0, i32::MAX - 1, 4, 0)).unwrap().expect("a duplicate");
    assert_eq!(found.first_offset(), Offset(10));
    assert_eq!(states.check(&header(0, 2, 1, 0)).unwrap(), None);
}

#[test]
fn a_failed_append_is_undone() {
    let mut states = ten_batches();
    let before = states.clone();
    let mut next = header(3, 20, 1, 120);
    next.attributes = next.attributes.transactional();
    let saved = states.save(ProducerId(7));
    states.apply(&next);
    assert_eq!(states.first_unstable(), Some(Offset(120)));
    states.restore(saved);
    assert_eq!(states, before);

    let mut empty = ProducerStates::default();
    let saved = empty.save(ProducerId(7));
    empty.apply(&next);
    empty.restore(saved);
    assert_eq!(empty, ProducerStates::default());
}

#[test]
fn a_marker_ends_the_transaction() {
    let mut states = ProducerStates::default();
    let mut data = header(1, 0, 3, 10);
    data.attributes = data.attributes.transactional();
    states.apply(&data);
    assert!(matches!(states.check(&header(1, 3, 1, 0)), Err(AppendError::NotTransactional { .. })));
    let marker = EndTransactionMarker { committed: false, coordinator_epoch: 9 };
    let completed = states.apply_marker(&header(1, -1, 1, 13), &marker).unwrap();
    assert_eq!((completed.first_offset, completed.last_offset), (Offset(10), Offset(13)));
    assert!(completed.aborted);
    assert_eq!(states.first_unstable(), None);
    assert_eq!(states.get(ProducerId(7)).unwrap().coordinator_epoch, 9);
    assert_eq!(states.check(&header(1, 3, 1, 0)).unwrap(), None);
}

#[test]
fn idle_producers_are_forgotten_unless_in_a_transaction() {
    let mut states = ten_batches();
    let mut other = header(0, 0, 1, 50);
    other.producer_id = ProducerId(8);
    other.attributes = other.attributes.transactional();
    states.apply(&other);
    assert_eq!(states.expire(1117), 0);
    assert_eq!(states.expire(1118), 1);
    assert!(states.get(ProducerId(7)).is_none());
    assert!(states.get(ProducerId(8)).is_some());
}

#[test]
fn a_snapshot_keeps_the_last_batch_of_each_producer() {
    let mut states = ten_batches();
    let mut txn = header(0, 0, 1, 120);
    txn.producer_id = ProducerId(9);
    txn.attributes = txn.attributes.transactional();
    states.apply(&txn);
    let loaded = decode(&encode(&states)).unwrap();
    assert_eq!(loaded.len(), 2);
    let entry = loaded.get(ProducerId(7)).unwrap();
    assert_eq!(entry.batches(), &states.get(ProducerId(7)).unwrap().batches()[4..]);
    assert_eq!(loaded.first_unstable(), Some(Offset(120)));
    assert_eq!(encode(&loaded), encode(&states));
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let good = encode(&ten_batches());
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(decode(&bad).is_err(), "byte {at}");
        assert!(decode(&good[..at]).is_err(), "cut at {at}");
    }
    assert!(decode(&[good, vec![0]].concat()).is_err());
}
