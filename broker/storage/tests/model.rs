//! A log against a model of it: whatever is appended, read, cut, rolled, synced, closed and opened again, in any order.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::path::Path;
use std::sync::Arc;

use ottla_protocol::record_batch::{Batch, Limits};
use ottla_protocol::types::{LeaderEpoch, Offset};
use ottla_storage::{
    Log, LogConfig, LogDir, LogIo, Oversized, ReadError, ReadMode, ReadRequest, RealIo, SimIo,
};
use proptest::prelude::*;
use support::*;

#[derive(Clone, Debug)]
enum Op {
    /// Batches of so many records of so many bytes, sharing a call; the timestamp's distance from the clock.
    Append(Vec<(u8, u8)>, i16),
    /// As a follower gets them, with gaps between the batches' offsets.
    Follow(Vec<(u8, u8)>, u8),
    NewEpoch,
    Roll,
    Flush,
    Checkpoint,
    /// To this share of the log, in 256ths.
    Truncate(u8),
    Restart(u16),
    AdvanceStart(u8),
    RemoveSegments,
    CloseAndOpen,
    Crash,
    Read {
        at: u8,
        max_bytes: u16,
        upper: u8,
        oversized: bool,
    },
    FindTime(i16),
}

fn op() -> impl Strategy<Value = Op> {
    let sizes = || prop::collection::vec((1..4u8, 0..120u8), 1..5);
    prop_oneof![
        10 => (sizes(), any::<i16>()).prop_map(|(sizes, skew)| Op::Append(sizes, skew)),
        3 => (sizes(), 0..5u8).prop_map(|(sizes, gap)| Op::Follow(sizes, gap)),
        1 => Just(Op::NewEpoch),
        1 => Just(Op::Roll),
        2 => Just(Op::Flush),
        2 => Just(Op::Checkpoint),
        2 => any::<u8>().prop_map(Op::Truncate),
        1 => any::<u16>().prop_map(Op::Restart),
        2 => any::<u8>().prop_map(Op::AdvanceStart),
        1 => Just(Op::RemoveSegments),
        2 => Just(Op::CloseAndOpen),
        2 => Just(Op::Crash),
        8 => (any::<u8>(), any::<u16>(), any::<u8>(), any::<bool>()).prop_map(
            |(at, max_bytes, upper, oversized)| Op::Read { at, max_bytes, upper, oversized }
        ),
        3 => any::<i16>().prop_map(Op::FindTime),
    ]
}

/// What the log should be.
#[derive(Debug, Default)]
struct Model {
    batches: Vec<Batch>,
    log_start: i64,
    log_end: i64,
    epoch: i32,
    clock_ms: i64,
}

struct Pair<I: LogIo> {
    io: I,
    root: std::path::PathBuf,
    config: Arc<LogConfig>,
    open: Option<(LogDir<I>, Log<I>)>,
    model: Model,
}

impl<I: LogIo> Pair<I> {
    fn new(io: I, root: &Path) -> Self {
        let config = small_config();
        let open = Some(open_log(&io, root, "boot", &config));
        let model = Model { clock_ms: 100_000, ..Model::default() };
        Self { io, root: root.to_owned(), config, open, model }
    }

    fn log(&mut self) -> &mut Log<I> {
        &mut self.open.as_mut().unwrap().1
    }

    fn share(&self, of: u8) -> i64 {
        let (start, end) = (self.model.log_start, self.model.log_end);
        start + (end - start) * i64::from(of) / 255
    }

    fn apply(&mut self, op: Op, crash: &dyn Fn(&I)) {
        let now = now_ms(self.model.clock_ms as u64);
        match op {
            Op::Append(sizes, skew) => self.append(&sizes, skew),
            Op::Follow(sizes, gap) => self.follow(&sizes, i64::from(gap)),
            Op::NewEpoch => {
                self.model.epoch += 1;
                let epoch = LeaderEpoch(self.model.epoch);
                self.log().begin_epoch(epoch).unwrap();
            }
            Op::Roll => self.log().roll(now).unwrap(),
            Op::Flush => flush(self.log()).unwrap(),
            Op::Checkpoint => checkpoint(self.log()).unwrap(),
            Op::Truncate(share) => self.truncate(self.share(share)),
            Op::Restart(by) if by % 4 == 0 => {
                let offset = i64::from(by);
                self.log().truncate_fully_and_start_at(Offset(offset), now).unwrap();
                self.model.batches.clear();
                (self.model.log_start, self.model.log_end) = (offset, offset);
            }
            Op::Restart(_) => {}
            Op::AdvanceStart(share) => {
                let offset = self.share(share);
                self.log().advance_log_start(Offset(offset)).unwrap();
                self.model.log_start = offset;
            }
            Op::RemoveSegments => {
                self.log().remove_deleted_segments(2).unwrap();
            }
            Op::CloseAndOpen => {
                let (dir, log) = self.open.take().unwrap();
                dir.close(vec![log], 1).unwrap();
                drop(dir);
                self.reopen();
            }
            Op::Crash => {
                let (dir, log) = self.open.take().unwrap();
                // The log's start is only written with the checkpoints.
                dir.write_checkpoints().unwrap();
                drop((dir, log));
                crash(&self.io);
                self.reopen();
            }
            Op::Read { at, max_bytes, upper, oversized } => {
                let oversized = if oversized { Oversized::Return } else { Oversized::Skip };
                let (offset, upper_bound) = (Offset(self.share(at)), Offset(self.share(upper)));
                let max_bytes = u32::from(max_bytes) % 3000;
                self.read(&ReadRequest {
                    offset,
                    max_bytes,
                    oversized_first_batch: oversized,
                    upper_bound,
                });
            }
            Op::FindTime(skew) => self.find_time(self.model.clock_ms + i64::from(skew)),
        }
        self.check();
    }

    fn reopen(&mut self) {
        self.open = Some(open_log(&self.io, &self.root, "boot", &self.config));
    }

    fn append(&mut self, sizes: &[(u8, u8)], skew: i16) {
        self.model.clock_ms += 1000;
        let timestamp = self.model.clock_ms + i64::from(skew);
        let all: Vec<_> = sizes.iter().map(|&size| [values(size, timestamp)]).collect();
        let mut results = Vec::new();
        let (epoch, now) = (self.model.epoch, now_ms(self.model.clock_ms as u64));
        let appends = all.iter().map(|batches| &batches[..]);
        self.log().append_all_as_leader(appends, LeaderEpoch(epoch), now, &mut results);
        for (result, [batch]) in results.into_iter().zip(&all) {
            let appended = result.unwrap();
            assert_eq!(appended.first_offset.0, self.model.log_end);
            self.model.batches.push(stored(batch, self.model.log_end, epoch));
            self.model.log_end = appended.last_offset.0 + 1;
        }
    }

    fn follow(&mut self, sizes: &[(u8, u8)], gap: i64) {
        let mut batches = Vec::new();
        for &size in sizes {
            let batch = values(size, self.model.clock_ms);
            let stored = stored(&batch, self.model.log_end + gap, self.model.epoch);
            self.model.log_end = stored.header.next_offset().0;
            batches.push(stored);
        }
        let now = now_ms(self.model.clock_ms as u64);
        self.log().append_as_follower(&batches, now).unwrap();
        self.model.batches.extend(batches);
    }

    fn truncate(&mut self, offset: i64) {
        let first_base = self.log().view().segments().next().unwrap().base_offset().0;
        let now = now_ms(self.model.clock_ms as u64);
        let end = self.log().truncate_to(Offset(offset), now).unwrap().0;
        if self.model.log_end <= offset {
            assert_eq!(end, self.model.log_end);
            return;
        }
        self.model.batches.retain(|batch| batch.header.last_offset().0 < offset);
        let last = self.model.batches.last().map(|batch| batch.header.next_offset().0);
        if offset <= first_base {
            assert_eq!(end, offset);
            self.model.log_start = offset;
        } else {
            // At least what is left, at most what was asked for: gaps may be cut or not.
            assert!(last.unwrap_or(first_base) <= end && end <= offset, "{end} of {offset}");
        }
        self.model.log_end = end;
        self.model.log_start = self.model.log_start.min(end);
    }

    fn read(&mut self, request: &ReadRequest) {
        let view = self.log().view();
        let slice = view.locate(request, ReadMode::Wait).unwrap();
        let upper = request.upper_bound.0;
        let next = |offset: i64| {
            let batches = &self.model.batches;
            let found = batches.iter().find(|batch| offset <= batch.header.last_offset().0);
            found.filter(|batch| batch.header.base_offset.0 < upper)
        };
        let mut expected = next(request.offset.0).filter(|_| request.offset.0 < upper);
        let Some(slice) = slice else {
            let skipped = request.oversized_first_batch == Oversized::Skip
                && expected.is_some_and(|batch| (request.max_bytes as usize) < batch.bytes.len());
            assert!(expected.is_none() || skipped, "{request:?}: nothing, not {expected:?}");
            return;
        };
        let found: Vec<Batch> = ottla_protocol::record_batch::batches(slice.read().unwrap())
            .map(Result::unwrap)
            .collect();
        for batch in &found {
            assert_eq!(Some(batch), expected, "{request:?}");
            expected = next(batch.header.next_offset().0);
        }
        assert!(slice.len() <= request.max_bytes || found.len() == 1);
        // It ends because of a bound, or with the segment.
        let end = found.last().unwrap().header.next_offset();
        let is_segment_end = view.segments().any(|segment| segment.end_offset() == end)
            || view.segments().any(|segment| {
                expected.is_some_and(|b| {
                    segment.base_offset() == b.header.base_offset
                        || (segment.base_offset() > end
                            && segment.base_offset() <= b.header.base_offset)
                })
            });
        let is_full = expected.is_some_and(|batch| {
            (request.max_bytes as usize) < slice.len() as usize + batch.bytes.len()
        });
        assert!(
            expected.is_none() || is_full || is_segment_end,
            "{request:?} ended early at {end}"
        );
    }

    fn find_time(&mut self, timestamp: i64) {
        let log_start = self.model.log_start;
        let all = records(&self.model.batches);
        let readable = || all.iter().filter(|(offset, ..)| log_start <= *offset);
        let expected = readable().find(|(_, at, _)| timestamp <= *at).map(|(o, at, _)| (*o, *at));
        let view = self.log().view();
        let found = view.offset_for_timestamp(timestamp, Limits::default()).unwrap();
        assert_eq!(found.map(|found| (found.offset.0, found.timestamp)), expected);
        let largest = readable().map(|(_, at, _)| *at).max();
        let found = view.max_timestamp(Limits::default()).unwrap();
        // A largest record before the log's start may hide the others of its segment, as in Kafka.
        if log_start == 0 {
            assert_eq!(found.map(|found| found.timestamp), largest);
        }
    }

    fn check(&mut self) {
        let (start, end) = (self.model.log_start, self.model.log_end);
        let view = self.log().view();
        assert_eq!((view.log_start().0, view.log_end().0), (start, end));
        assert!(view.flushed_end() <= view.log_end());
        let size: u64 = view.segments().map(|segment| segment.size()).sum();
        assert_eq!(view.size(), size);
        let out_of_range = view.locate(&request(end + 1, 100), ReadMode::Wait);
        assert!(matches!(out_of_range, Err(ReadError::OffsetOutOfRange { .. })));
        let mut offset = start;
        for batch in self.model.batches.iter().filter(|b| start <= b.header.last_offset().0) {
            let slice = view.locate(&request(offset, 1), ReadMode::Wait).unwrap().unwrap();
            assert_eq!(slice.read().unwrap(), batch.bytes);
            let (at, epoch) =
                (batch.header.base_offset.0.max(start), batch.header.partition_leader_epoch);
            assert_eq!(view.epochs().epoch_at(Offset(at)), Some(epoch));
            offset = batch.header.next_offset().0;
        }
    }
}

fn values((count, len): (u8, u8), timestamp: i64) -> ottla_storage::LeaderBatch {
    let value = vec![b'v'; usize::from(len)];
    let values: Vec<&[u8]> = (0..count).map(|_| &value[..]).collect();
    batch(&values, timestamp)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_log_on_a_simulated_disk_is_its_model(ops in prop::collection::vec(op(), 1..60)) {
        let mut pair = Pair::new(SimIo::new(1), Path::new("/data"));
        for op in ops {
            pair.apply(op, &SimIo::process_crash);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    #[test]
    fn a_log_on_a_real_disk_is_its_model(ops in prop::collection::vec(op(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let mut pair = Pair::new(RealIo, &dir.path().join("data"));
        for op in ops {
            // Dropping the log without closing it is a crash of the process.
            pair.apply(op, &|_| {});
        }
    }
}
