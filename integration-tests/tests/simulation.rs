//! Whole clusters on virtual time, from seeds: nothing acknowledged is lost, everything heals, and a seed
//! tells the same story twice.
//!
//! `OTTLA_SIM_SEEDS` (default 200) and `OTTLA_SIM_FIRST_SEED` (default 1) choose the seeds. A seed that
//! fails is printed with the last lines of its log; `OTTLA_SIM_LINES` asks for more of them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_integration_tests::sim::{Options, Report, Tamper, run};
use ottla_metadata::keys::{Key, KeySpace};
use ottla_metadata::model::{Partition, decode, encode};
use ottla_metadata::store::embedded::Core;
use ottla_metadata::store::{GuardedWrite, KeyRange, RangeRequest};

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    }
}

fn seeds() -> u64 {
    number("OTTLA_SIM_SEEDS", 200)
}

/// Runs seeds on all cores.
fn run_all(count: u64, check: impl Fn(u64) -> Result<Report, String> + Sync) -> Vec<Report> {
    let first = number("OTTLA_SIM_FIRST_SEED", 1);
    let next = AtomicU64::new(first);
    let outcomes = Mutex::new(Vec::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if first + count <= seed {
                return;
            }
            let outcome = check(seed);
            outcomes.lock().expect("no thread panics").push((seed, outcome));
        }
    };
    println!("{count} seeds from {first}");
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut outcomes = outcomes.into_inner().expect("no thread panics");
    outcomes.sort_by_key(|(seed, _)| *seed);
    let failed: Vec<_> = outcomes
        .iter()
        .filter_map(|(seed, outcome)| Some((seed, outcome.as_ref().err()?)))
        .collect();
    if let Some((seed, why)) = failed.first() {
        let last = |why: &String| why.lines().last().unwrap_or_default().to_owned();
        let others: Vec<_> =
            failed.iter().map(|(seed, why)| format!("seed {seed}: {}", last(why))).collect();
        panic!("seed {seed} failed\n{why}\n{} in all:\n{}", others.len(), others.join("\n"));
    }
    outcomes.into_iter().filter_map(|(_, outcome)| outcome.ok()).collect()
}

fn run_well(seed: u64) -> Result<Report, String> {
    let keep_lines = usize::try_from(number("OTTLA_SIM_LINES", 0)).unwrap_or(usize::MAX);
    let report = run(seed, Options { keep_lines, ..Options::default() });
    if report.objections.is_empty() {
        return Ok(report);
    }
    // The same again, with its log.
    let keep_lines = keep_lines.max(60);
    let again = run(seed, Options { keep_lines, ..Options::default() });
    Err(format!("{}\n{}", again.tail.join("\n"), again.objections.join("\n")))
}

#[test]
fn nothing_acknowledged_is_lost_and_everything_heals() {
    let reports = run_all(seeds(), run_well);
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    println!(
        "{} seeds, {} s of virtual time, {} events, {} batches, {} promises",
        reports.len(),
        sum(|report| report.took.as_secs()),
        sum(|report| report.trace_lines),
        sum(|report| report.batches as u64),
        sum(|report| report.promises as u64),
    );
    assert!(reports.iter().all(|report| 0 < report.batches), "a seed in which nothing happens");
}

#[test]
fn seed_tells_the_same_story_twice() {
    run_all(seeds().div_ceil(5), |seed| {
        let (one, two) = (run(seed, Options::default()), run(seed, Options::default()));
        if one == two { Ok(one) } else { Err(format!("{one:?}\n{two:?}")) }
    });
}

/// The first objection that some seed raises when `tamper` takes a rule away.
fn objection_without(tamper: Tamper) -> Option<String> {
    let mut seeds = TAMPERED_SEEDS;
    seeds.find_map(|seed| {
        let report = run(seed, Options { tamper: Some(tamper), ..Options::default() });
        report.objections.into_iter().next().map(|objection| format!("seed {seed}: {objection}"))
    })
}

/// A leader that returns in a new life keeps its epoch.
fn keep_epoch(core: &Core, write: &mut GuardedWrite) {
    let keys = KeySpace::default();
    for put in &mut write.puts {
        let Ok(Key::Partition(..)) = keys.parse(&put.key) else { continue };
        let request = RangeRequest::newest(KeyRange::key(&put.key));
        let Ok(page) = core.range(&request) else { continue };
        let Some(current) = page.items.first() else { continue };
        let read = |value: &[u8]| decode::<Partition>("tampered", value).ok();
        if let (Some(before), Some(mut after)) = (read(&current.value), read(&put.value))
            && before.leader == after.leader
        {
            after.leader_epoch = before.leader_epoch;
            put.value = encode(&after);
        }
    }
}

/// Writes of the controller compare nothing.
fn write_blindly(_: &Core, write: &mut GuardedWrite) {
    let head = KeySpace::default().controller_head();
    if write.puts.iter().any(|put| put.key == head) {
        write.compares.clear();
    }
}

#[test]
fn leader_that_keeps_its_epoch_in_a_new_life_is_objected_to() {
    let objection = objection_without(keep_epoch).expect("some seed fails");
    assert!(objection.contains("belongs to"), "{objection}");
}

#[test]
fn controller_that_compares_nothing_is_objected_to() {
    let objection = objection_without(write_blindly).expect("some seed fails");
    assert!(objection.contains("follows") || objection.contains("belongs to"), "{objection}");
}

/// Seeds that are tried until one fails; one that shows the rarest of these rules is near their start.
const TAMPERED_SEEDS: std::ops::Range<u64> = 101..600;
