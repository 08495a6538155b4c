//! A sound history passes; each way of making it unsound is objected to, by its name.

use std::time::Duration;

use super::*;
use crate::harness::history::Sent;

const P: i32 = 0;

fn mark(producer: u32, sequence: u64) -> Mark {
    Mark { producer, sequence }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Two idempotent producers of ten records each, written by turns, each acknowledged before the next is sent.
fn sound() -> History {
    let mut history = History::default();
    let mut contents = Contents::new();
    for producer in [1, 2] {
        let mut log = ProducerLog { partition: P, idempotent: true, ..Default::default() };
        for sequence in 0..10 {
            let offset = i64::try_from(2 * sequence).unwrap() + i64::from(producer) - 1;
            let at = ms(u64::try_from(offset).unwrap() * 10);
            let outcome = Outcome::Acknowledged { offset: Some(offset), at: at + ms(5) };
            log.records.insert(sequence, Sent { at, outcome });
            contents.insert(offset, Content::Of(mark(producer, sequence)));
        }
        history.producers.insert(producer, log);
    }
    let seen = contents.clone().into_iter().collect();
    history.readers.push(ReaderLog { partition: P, seen, complaints: Vec::new() });
    history.last.insert(P, contents);
    history
}

fn last(history: &mut History) -> &mut Contents {
    history.last.get_mut(&P).unwrap()
}

fn outcome(history: &mut History, of: Mark) -> &mut Outcome {
    let log = history.producers.get_mut(&of.producer).unwrap();
    &mut log.records.get_mut(&of.sequence).unwrap().outcome
}

/// Only what producers know.
fn without_readers(mut history: History) -> History {
    history.readers.clear();
    history
}

#[track_caller]
fn objects(history: &History, to: &Violation) {
    let violations = check(history);
    assert!(violations.contains(to), "{to} is not among {violations:?}");
}

#[test]
fn sound_history_passes() {
    assert_eq!(check(&sound()), []);
    sound().assert_sound();
    assert_eq!(sound().acknowledged(), 20);
}

#[test]
fn send_without_an_answer_may_have_been_written_or_not() {
    let mut history = sound();
    *outcome(&mut history, mark(2, 9)) = Outcome::Unknown;
    assert_eq!(check(&history), []);
    *outcome(&mut history, mark(2, 9)) = Outcome::Failed("too late".to_owned());
    assert_eq!(check(&history), []);
    let mut history = without_readers(history);
    last(&mut history).remove(&19);
    assert_eq!(check(&history), []);
}

#[test]
fn acknowledged_record_that_is_gone_is_lost() {
    let mut history = without_readers(sound());
    last(&mut history).remove(&19);
    objects(&history, &Violation::Lost { mark: mark(2, 9), partition: P, offset: Some(19) });
    *outcome(&mut history, mark(2, 9)) = Outcome::Acknowledged { offset: None, at: ms(900) };
    objects(&history, &Violation::Lost { mark: mark(2, 9), partition: P, offset: None });
}

#[test]
fn tail_that_was_cut_is_lost_record_by_record() {
    let mut history = without_readers(sound());
    last(&mut history).retain(|offset, _| *offset < 15);
    let lost = check(&history).into_iter().filter(|v| matches!(v, Violation::Lost { .. })).count();
    assert_eq!(lost, 5);
}

#[test]
fn other_content_at_an_acknowledged_offset_is_a_change() {
    let mut history = without_readers(sound());
    let (a, b) = (last(&mut history)[&4].clone(), last(&mut history)[&5].clone());
    last(&mut history).insert(4, b.clone());
    last(&mut history).insert(5, a);
    let changed = Violation::Changed { mark: mark(1, 2), partition: P, offset: 4, found: Some(b) };
    objects(&history, &changed);
}

#[test]
fn damaged_or_unknown_record_is_invented() {
    let mut history = sound();
    let damaged = Content::Damaged("?".to_owned());
    for content in [damaged, Content::Of(mark(1, 99)), Content::Of(mark(7, 0))] {
        last(&mut history).insert(20, content.clone());
        objects(&history, &Violation::Invented { content, partition: P, offset: 20 });
    }
}

#[test]
fn retry_that_was_written_twice_is_a_duplicate_unless_nothing_was_promised() {
    let mut history = without_readers(sound());
    last(&mut history).insert(20, Content::Of(mark(2, 9)));
    objects(&history, &Violation::Duplicate { mark: mark(2, 9), offsets: vec![19, 20] });
    history.producers.get_mut(&2).unwrap().idempotent = false;
    assert_eq!(check(&history), []);
}

#[test]
fn missing_record_before_a_later_one_is_a_gap_unless_it_failed() {
    let mut history = without_readers(sound());
    *outcome(&mut history, mark(1, 3)) = Outcome::Unknown;
    // The record after it takes its offset, and so on: nothing but the gap is wrong with it.
    let mut contents: Vec<_> = last(&mut history).values().cloned().collect();
    contents.retain(|content| *content != Content::Of(mark(1, 3)));
    history.last.insert(P, (0..).zip(contents).collect());
    for producer in history.producers.values_mut() {
        for record in producer.records.values_mut() {
            if let Outcome::Acknowledged { offset: Some(offset), .. } = &mut record.outcome
                && 6 < *offset
            {
                *offset -= 1;
            }
        }
    }
    assert_eq!(check(&history), [Violation::Gap { mark: mark(1, 3), later: mark(1, 4) }]);
    *outcome(&mut history, mark(1, 3)) = Outcome::Failed("refused".to_owned());
    assert_eq!(check(&history), []);
}

#[test]
fn records_of_a_producer_out_of_order_are_objected_to() {
    let mut history = without_readers(sound());
    last(&mut history).insert(4, Content::Of(mark(1, 3)));
    last(&mut history).insert(6, Content::Of(mark(1, 2)));
    *outcome(&mut history, mark(1, 2)) = Outcome::Unknown;
    *outcome(&mut history, mark(1, 3)) = Outcome::Unknown;
    let reordered = Violation::Reordered { earlier: mark(1, 2), later: mark(1, 3) };
    assert_eq!(check(&history), [reordered]);
}

#[test]
fn record_sent_after_an_acknowledgement_stands_behind_it() {
    let mut history = without_readers(sound());
    let two = history.producers.get_mut(&2).unwrap();
    // Sent before the offset that it got was reached, which is fine, and then long after the end.
    two.records.get_mut(&4).unwrap().at = ms(1);
    assert_eq!(check(&history), []);
    history.producers.get_mut(&2).unwrap().records.get_mut(&4).unwrap().at = ms(2_000);
    let reordered = Violation::Reordered { earlier: mark(2, 9), later: mark(2, 4) };
    objects(&history, &reordered);
}

#[test]
fn record_that_a_reader_saw_and_that_is_gone_or_another_has_vanished() {
    let mut history = sound();
    *outcome(&mut history, mark(2, 9)) = Outcome::Unknown;
    let content = last(&mut history).remove(&19).unwrap();
    let vanished = Violation::Vanished { content, partition: P, offset: 19, found: None };
    assert_eq!(check(&history), [vanished]);
    let mut history = sound();
    let damaged = Content::Damaged("?".to_owned());
    history.readers[0].seen[3].1 = damaged.clone();
    let found = last(&mut history).get(&3).cloned();
    let vanished = Violation::Vanished { content: damaged, partition: P, offset: 3, found };
    assert_eq!(check(&history), [vanished]);
}

#[test]
fn reader_that_passes_over_a_record_is_objected_to() {
    let mut history = sound();
    history.readers[0].seen.remove(3);
    assert_eq!(check(&history), [Violation::Skipped { partition: P, offset: 3 }]);
}

#[test]
fn hole_in_a_log_is_objected_to() {
    let mut history = without_readers(sound());
    *outcome(&mut history, mark(2, 9)) = Outcome::Failed("refused".to_owned());
    let content = last(&mut history).remove(&19).unwrap();
    last(&mut history).insert(21, content);
    let hole = |offset| Violation::Hole { partition: P, offset };
    assert_eq!(check(&history), [hole(19), hole(20)]);
}

#[test]
fn complaint_of_a_reader_is_passed_on() {
    let mut history = sound();
    history.readers[0].complaints.push("offset 5 is out of range".to_owned());
    objects(&history, &Violation::Complaint("offset 5 is out of range".to_owned()));
}

#[test]
fn longest_gap_begins_with_the_last_acknowledgement_before() {
    let history = sound();
    assert_eq!(history.longest_gap(P, ms(0)), Some(ms(10)));
    let mut history = history;
    for sequence in 3..7 {
        for producer in [1, 2] {
            *outcome(&mut history, mark(producer, sequence)) = Outcome::Unknown;
        }
    }
    // Acknowledged at 55 ms, and then at 145 ms.
    assert_eq!(history.longest_gap(P, ms(80)), Some(ms(90)));
    assert_eq!(history.longest_gap(P, ms(150)), Some(ms(10)));
    assert_eq!(history.longest_gap(1, ms(0)), None);
}
