//! Whole clusters on virtual time, from seeds: nothing acknowledged is lost, everything heals, and a seed
//! tells the same story twice.
//!
//! `OTTLA_SIM_SEEDS` (default 1000) and `OTTLA_SIM_FIRST_SEED` (default 1) choose the seeds. A seed that
//! fails is printed with the last lines of its log; `OTTLA_SIM_LINES` asks for more of them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_integration_tests::sim::{Mutation, Options, Report, run};

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    }
}

fn seeds() -> u64 {
    number("OTTLA_SIM_SEEDS", 1000)
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
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
        for _ in 0..threads() {
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
    run_all(seeds().div_ceil(20), |seed| {
        let (one, two) = (run(seed, Options::default()), run(seed, Options::default()));
        if one == two { Ok(one) } else { Err(format!("{one:?}\n{two:?}")) }
    });
}

/// Some seed fails when a rule is taken away; the first that is tried is one that did.
fn fails_with(mutation: Mutation, first: u64) {
    let first = number("OTTLA_SIM_MUTATED_FROM", first);
    let found =
        (first..first + number("OTTLA_SIM_MUTATED_SEEDS", MUTATED_SEEDS)).find_map(|seed| {
            let report = run(seed, Options { mutation: Some(mutation), ..Options::default() });
            Some((seed, report.objections.into_iter().next()?))
        });
    let (seed, objection) = found.unwrap_or_else(|| panic!("no seed fails with {mutation:?}"));
    println!("{mutation:?}: seed {seed}: {objection}");
}

/// Seeds that are tried until one fails.
const MUTATED_SEEDS: u64 = 300;

/// The seeds of the mutations, with every rule in place.
#[test]
fn with_all_rules_nothing_is_objected_to() {
    run_all(seeds().div_ceil(20), |seed| {
        let keep_lines = usize::try_from(number("OTTLA_SIM_LINES", 0)).unwrap_or(usize::MAX);
        let mutation = Some(Mutation::Nothing);
        let report = run(seed, Options { mutation, keep_lines });
        match report.objections.first() {
            Some(objection) => {
                Err(format!("{}\n{objection}\nwith denser faults", report.tail.join("\n")))
            }
            None => Ok(report),
        }
    });
}

macro_rules! mutations {
    ($($name:ident: $mutation:ident from $first:literal;)*) => {
        $(#[test]
        fn $name() {
            fails_with(Mutation::$mutation, $first);
        })*
    };
}

mutations! {
    epoch_that_is_kept_in_a_new_life_is_objected_to: KeepsEpochInNewLife from 1;
    controller_that_compares_nothing_is_objected_to: ComparesNothing from 1;
    leading_in_any_life_is_objected_to: LeadsInAnyLife from 1;
    seats_that_survive_a_machine_crash_are_objected_to: KeepsSeatsAfterMachineCrash from 1;
    watermark_over_agreed_members_alone_is_objected_to: CountsAgreedMembersOnly from 117;
    shrinking_without_asking_is_objected_to: ShrinksWithoutAsking from 201;
    cutting_at_the_high_watermark_is_objected_to: CutsAtHighWatermark from 1;
    acknowledging_at_the_log_end_is_objected_to: AcknowledgesAtItsOwnEnd from 1;
    counting_what_is_not_flushed_is_objected_to: CountsWhatIsNotFlushed from 36;
    clocks_that_run_on_in_a_pause_are_objected_to: ClocksRunOnInPause from 11;
    lives_of_members_that_are_ignored_are_objected_to: IgnoresLivesOfMembers from 209;
    recovery_that_does_not_sync_is_objected_to: RecoversWithoutSync from 19;
}
