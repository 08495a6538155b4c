//! How long writes stand still when a leader goes, with default settings: the longest gap between two acknowledgements of
//! acks=all on one partition of three replicas, over several rounds.
//!
//! Three brokers, a coordinator and an etcd on this machine; a record every millisecond. `cargo bench --bench failover`.

use std::time::{Duration, Instant};

use ottla_integration_tests::harness::{
    Cluster, Shape, eventually,
    history::{Load, LoadOptions},
};

const TOPIC: &str = "watched";
const ROUNDS: usize = 5;
const MANY: i32 = 3_000;
const LARGE: i32 = 10_000;

/// What happens to the leader.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Killed,
    Stopped,
    Paused,
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

fn main() {
    println!("{:<58} {:>9} {:>9}", "failover, three brokers", "median", "worst");
    for (fate, what) in [
        (Fate::Killed, "gap in acks=all writes, leader killed (SIGKILL)"),
        (Fate::Stopped, "gap in acks=all writes, leader stopped (SIGTERM)"),
        (Fate::Paused, "gap in acks=all writes, leader paused (SIGSTOP)"),
    ] {
        report(what, gaps(fate));
    }
    many_leaders();
    large_topic();
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{what:<58} {:>6} ms {:>6} ms", median.as_millis(), worst.as_millis());
}

/// The longest gap of each round.
fn gaps(fate: Fate) -> Vec<Duration> {
    let mut cluster = Cluster::start(&Shape::of(3));
    cluster.create_topic(TOPIC, 1, 3, &[("min.insync.replicas", "2")]);
    cluster.await_in_sync();
    let options = LoadOptions {
        producers: 1,
        pace: Duration::from_millis(1),
        reader: false,
        ..LoadOptions::new(TOPIC, 1)
    };
    let load = Load::start(&cluster.bootstrap(), options);
    let mut begins = Vec::new();
    for _ in 0..ROUNDS {
        load.await_more(1_000);
        let leader = cluster.leader_of(TOPIC, 0);
        begins.push(load.elapsed());
        match fate {
            Fate::Killed => cluster.broker(leader).kill(),
            Fate::Stopped => drop(cluster.broker(leader).stop()),
            Fate::Paused => cluster.broker(leader).pause(),
        }
        load.await_each();
        load.await_more(1_000);
        match fate {
            Fate::Killed | Fate::Stopped => cluster.restart_broker(leader),
            Fate::Paused => cluster.broker(leader).resume(),
        }
        cluster.await_in_sync();
    }
    let history = load.finish();
    history.assert_sound();
    let gap = |(from, to): (&Duration, &Duration)| history.longest_gap_within(0, *from, *to);
    let ends = begins.iter().skip(1).chain([&Duration::MAX]);
    begins.iter().zip(ends).filter_map(gap).collect()
}

/// Until every partition that a killed broker led has another leader, and until the broker is ready again.
fn many_leaders() {
    let mut cluster = Cluster::start(&Shape::of(3));
    cluster.create_topic("many", MANY, 3, &[]);
    cluster.await_in_sync();
    let victim = cluster.leader_of("many", 0);
    let start = now();
    cluster.broker(victim).kill();
    eventually("other leaders", Duration::from_secs(120), || {
        let elsewhere = |id| {
            let states = cluster.describe_by(id, "many")?;
            let moved = states.iter().all(|s| s.leader.is_some_and(|leader| leader != victim));
            moved.then_some(())
        };
        cluster.brokers_up().all(|id| elsewhere(id).is_some()).then_some(())
    });
    let led = MANY / 3;
    report(&format!("{led} leaders moved, seen by both others"), vec![start.elapsed()]);
    let start = now();
    cluster.restart_broker(victim);
    report(&format!("{MANY} replicas ready again after SIGKILL"), vec![start.elapsed()]);
    cluster.await_in_sync();
    report(&format!("{MANY} partitions in sync again"), vec![start.elapsed()]);
    cluster.broker(victim).stop();
    let start = now();
    cluster.restart_broker(victim);
    report(&format!("{MANY} replicas ready again after a clean stop"), vec![start.elapsed()]);
}

fn large_topic() {
    let cluster = Cluster::start(&Shape::of(3));
    let start = now();
    cluster.create_topic("large", LARGE, 3, &[]);
    report(&format!("creation of {LARGE} partitions answered"), vec![start.elapsed()]);
    cluster.await_in_sync();
    report(&format!("{LARGE} partitions led and in sync, seen by all"), vec![start.elapsed()]);
}
