//! What benchmarks of whole processes share.
#![allow(dead_code, reason = "each benchmark uses some of it")]

use std::{
    env, fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// Makes sure of an etcd and of the programs as they ship. False where this process has only started another that has them.
/// Compiled without optimisation, to try a benchmark out, it takes the programs that are there.
pub fn is_prepared() -> bool {
    if env::var_os("ETCD").is_none() {
        again_with_etcd();
        return false;
    }
    if cfg!(debug_assertions) {
        return true;
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--quiet"]);
    cargo.args(["-p", "ottla-broker", "-p", "ottla-coordinator", "-p", "ottla-cli"]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(cargo.status().expect("cargo").success(), "the release binaries cannot be built");
    true
}

/// Runs this program once more, with the etcd that tests use.
fn again_with_etcd() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../ops/local/etcd-path");
    let found = Command::new(script).stderr(Stdio::inherit()).output().expect("a shell");
    assert!(found.status.success(), "no etcd");
    let etcd = String::from_utf8_lossy(&found.stdout);
    let program = env::current_exe().expect("this program");
    let arguments = env::args_os().skip(1);
    let mut again = Command::new(program);
    let status = again.args(arguments).env("ETCD", etcd.trim()).status().expect("this program");
    assert!(status.success(), "{status}");
}

/// A size that can be asked for.
pub fn size(name: &str, default: u64) -> u64 {
    let parse = |text: String| text.parse().unwrap_or_else(|_| panic!("{name}={text}"));
    env::var(name).map_or(default, parse)
}

/// The load of the machine when a figure was taken belongs to the figure.
pub fn print_load() {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load of this machine: {}", load.split(' ').take(3).collect::<Vec<_>>().join(" "));
}

pub fn report(what: &str, figure: &str) {
    println!("{what:<64} {figure:>14}");
}

pub fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

pub fn rate(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / f64::from(1 << 20) / time.as_secs_f64()
}

pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The 99th percentile.
pub fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}

/// What of a process is in memory.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().expect("a number");
    kib << 10
}

/// How long a process has used a processor.
pub fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    // Behind the name, which may contain anything, from the third column on.
    let (_, columns) = stat.rsplit_once(')').expect("a name");
    let columns: Vec<&str> = columns.split_whitespace().collect();
    let ticks: u64 = columns[11..13].iter().map(|text| text.parse::<u64>().expect("ticks")).sum();
    // Linux counts hundredths of a second, whatever its own clock does.
    Duration::from_millis(10 * ticks)
}
