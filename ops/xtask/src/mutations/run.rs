//! Trying the mutations: each is applied to a copy of the tree, built there, and its test must fail.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::list::{FILE, List, Mutation, Seeds};
use super::tree::Copy;
use crate::tidy::tracked_files;

/// A build may take this long; the first has every dependency to build.
const BUILD_MAX: Duration = Duration::from_secs(30 * 60);
/// A test may take this long; one that goes on has not failed.
const TEST_MAX: Duration = Duration::from_secs(5 * 60);
/// A test that forgets its bounds must not eat the machine: its address space, in KiB. No etcd starts in so little.
const TEST_MEMORY_MAX_KIB: u64 = 4 << 20;

/// What became of a mutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Caught,
    NotCaught,
    DoesNotCompile,
    TookTooLong,
    /// The text is not there, or the test does not pass without the mutation either.
    NotTried,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::NotCaught => "NOT CAUGHT",
            Self::DoesNotCompile => "DOES NOT COMPILE",
            Self::TookTooLong => "TOOK TOO LONG",
            Self::NotTried => "NOT TRIED",
        }
    }
}

/// Tries every mutation of which the rule, the mutation, the file or the test contains `filter`.
///
/// # Errors
/// If one is not caught.
pub fn run(root: &Path, filter: &str) -> Result<()> {
    let list = List::read(root)?;
    let matches = |mutation: &&Mutation| {
        let Mutation { rule, mutation, file, test, .. } = mutation;
        [rule, mutation, file, test].iter().any(|text| text.contains(filter))
    };
    let chosen: Vec<&Mutation> = list.mutations.iter().filter(matches).collect();
    if chosen.is_empty() {
        bail!("no mutation in {FILE} matches {filter:?}");
    }
    let bench = Bench::set_up(root)?;
    println!("{} mutations; what cargo says is in {}", chosen.len(), bench.logs.display());
    let sound = bench.sound_tests(&chosen)?;
    let mut rows = Vec::new();
    for (index, mutation) in chosen.iter().enumerate() {
        print_start(&format!(
            "[{}/{}] {}: {}",
            index + 1,
            chosen.len(),
            mutation.rule,
            mutation.mutation
        ));
        let start = now();
        let outcome =
            if sound[index] { bench.attempt(mutation, index)? } else { Outcome::NotTried };
        let seconds = start.elapsed().as_secs();
        println!(" … {} ({seconds} s)", outcome.name());
        rows.push((*mutation, outcome, seconds));
    }
    print_table(&rows);
    let missed = rows.iter().filter(|(_, outcome, _)| *outcome != Outcome::Caught).count();
    if 0 < missed {
        bail!("{missed} of {} mutations were not caught", rows.len());
    }
    println!("all {} mutations were caught", rows.len());
    Ok(())
}

/// A copy of the tree with its own target folder, kept for the next time.
struct Bench {
    copy: Copy,
    target: PathBuf,
    logs: PathBuf,
}

impl Bench {
    fn set_up(root: &Path) -> Result<Self> {
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
        let base = root.join(target).join("mutations");
        let copy = Copy::refresh(root, &tracked_files(root)?, &base.join("tree"))?;
        let logs = base.join("logs");
        fs::create_dir_all(&logs)?;
        Ok(Self { copy, target: base.join("target"), logs })
    }

    /// Which of the tests pass while nothing is mutated; each target is built and run once.
    fn sound_tests(&self, chosen: &[&Mutation]) -> Result<Vec<bool>> {
        let mut sound = vec![true; chosen.len()];
        let place = |mutation: &Mutation| {
            (mutation.package.clone(), mutation.target.clone(), mutation.seeds)
        };
        let mut places = Vec::new();
        for mutation in chosen {
            if !places.contains(&place(mutation)) {
                places.push(place(mutation));
            }
        }
        for (number, (package, target, seeds)) in places.iter().enumerate() {
            let same =
                |mutation: &Mutation| place(mutation) == (package.clone(), target.clone(), *seeds);
            let mut tests: Vec<&str> =
                chosen.iter().filter(|m| same(m)).map(|mutation| mutation.test.as_str()).collect();
            tests.sort_unstable();
            tests.dedup();
            print_start(&format!("without a mutation: {package} {target}"));
            let log = self.logs.join(format!("without-{number}.log"));
            let cargo = Cargo { bench: self, package, target, seeds: *seeds, log: &log };
            let passed = cargo.build()? == Ended::Well && cargo.test(&tests)? == Ended::Well;
            let ran = tests_run(&fs::read_to_string(&log)?);
            let is_sound = passed && tests.len() <= ran;
            let word = if is_sound { "pass" } else { "DO NOT PASS" };
            println!(" … {} tests of {ran} that ran {word}", tests.len());
            for (sound, mutation) in sound.iter_mut().zip(chosen) {
                *sound &= is_sound || !same(mutation);
            }
        }
        Ok(sound)
    }

    fn attempt(&self, mutation: &Mutation, index: usize) -> Result<Outcome> {
        let whole = self.copy.read(&mutation.file)?;
        let broken = match mutation.apply(&whole) {
            Ok(broken) => broken,
            Err(why) => {
                print!(" … {why}");
                return Ok(Outcome::NotTried);
            }
        };
        self.copy.write(&mutation.file, &broken)?;
        let outcome = self.outcome(mutation, &self.logs.join(format!("{}.log", index + 1)));
        self.copy.write(&mutation.file, &whole)?;
        outcome
    }

    fn outcome(&self, mutation: &Mutation, log: &Path) -> Result<Outcome> {
        let Mutation { package, target, seeds, test, .. } = mutation;
        let cargo = Cargo { bench: self, package, target, seeds: *seeds, log };
        match cargo.build()? {
            Ended::Well => {}
            Ended::Badly => return Ok(Outcome::DoesNotCompile),
            Ended::TooLate => return Ok(Outcome::TookTooLong),
        }
        Ok(match cargo.test(&[test])? {
            Ended::Well => Outcome::NotCaught,
            Ended::Badly => Outcome::Caught,
            Ended::TooLate => Outcome::TookTooLong,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Well,
    Badly,
    TooLate,
}

/// Cargo, for one test target in the copy.
struct Cargo<'a> {
    bench: &'a Bench,
    package: &'a str,
    target: &'a str,
    seeds: Option<Seeds>,
    log: &'a Path,
}

impl Cargo<'_> {
    fn build(&self) -> Result<Ended> {
        File::create(self.log)?;
        self.test_command(BUILD_MAX, &["--no-run"], "unlimited")
    }

    /// Runs the tests of which the names contain one of `filters`. They are built already, so what fails is a test.
    fn test(&self, filters: &[&str]) -> Result<Ended> {
        let arguments = [&["--"], filters].concat();
        self.test_command(TEST_MAX, &arguments, &TEST_MEMORY_MAX_KIB.to_string())
    }

    /// `timeout` ends what cargo started, too.
    fn test_command(&self, max: Duration, arguments: &[&str], memory: &str) -> Result<Ended> {
        let log = File::options().append(true).open(self.log)?;
        let limits = "ulimit -v \"$1\"; shift; exec timeout -k 10 \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", limits, "sh", memory, &max.as_secs().to_string()]);
        command.args(["cargo", "test", "-p", self.package]);
        match self.target {
            "lib" => command.arg("--lib"),
            test => command.args(["--test", test]),
        };
        command.args(arguments);
        command.current_dir(self.bench.copy.root()).env("CARGO_TARGET_DIR", &self.bench.target);
        // Nobody debugs them, and linking is most of what a mutation costs.
        command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_TEST_DEBUG", "0");
        if let Some(Seeds { first, count }) = self.seeds {
            command.env("OTTLA_SIM_FIRST_SEED", first.to_string());
            command.env("OTTLA_SIM_SEEDS", count.to_string());
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let status = command.status().context("cannot start cargo by sh and timeout")?;
        Ok(match status.code() {
            Some(0) => Ended::Well,
            Some(TIMED_OUT | KILLED) => Ended::TooLate,
            _ => Ended::Badly,
        })
    }
}

/// What `timeout` says when it had to end the command, politely or not.
const TIMED_OUT: i32 = 124;
const KILLED: i32 = 137;

/// How many tests ran, from what libtest printed.
fn tests_run(log: &str) -> usize {
    let count =
        |line: &str| line.strip_prefix("running ")?.split(' ').next()?.parse::<usize>().ok();
    log.lines().filter_map(count).sum()
}

fn print_start(text: &str) {
    use std::io::Write;
    print!("{text}");
    // A pipe that is closed is found by the next line.
    let _ = std::io::stdout().flush();
}

fn print_table(rows: &[(&Mutation, Outcome, u64)]) {
    let width = |of: fn(&Mutation) -> &str| {
        rows.iter().map(|(mutation, ..)| of(mutation).chars().count()).max().unwrap_or_default()
    };
    let (rule, change) = (width(|m| &m.rule), width(|m| &m.mutation));
    println!("\n{:rule$}  {:change$}  {:16}  seconds", "rule", "mutation", "outcome");
    for (mutation, outcome, seconds) in rows {
        let outcome = outcome.name();
        println!(
            "{:rule$}  {:change$}  {outcome:16}  {seconds:>7}",
            mutation.rule, mutation.mutation
        );
    }
}

#[expect(clippy::disallowed_methods, reason = "a chore that tells how long it took")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_ran_are_counted() {
        assert_eq!(
            tests_run("running 3 tests\ntest a ... ok\n\nrunning 1 test\nrunning late\n"),
            4
        );
    }
}
