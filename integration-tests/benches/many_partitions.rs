//! A cluster of many partitions: made, left alone, with a broker that dies or is restarted, and with a controller that dies.
//!
//! `cargo bench -p ottla-integration-tests --bench many_partitions`. `PARTITIONS=10000` (of three replicas on three brokers),
//! `REST_SECS=20`,
//! `IDLE_SECS=30` and `ROUNDS=3` change what is done. Release binaries, default settings, an etcd of one member.

mod support;

use std::{fs, path::Path, thread, time::Duration};

use ottla_integration_tests::harness::{Cluster, Shape, eventually};
use support::{cpu_time, median, mib, ms, now, print_load, report, resident_bytes, size};

const TOPIC: &str = "many";
const LONG: Duration = Duration::from_secs(600);

fn main() {
    if !support::is_prepared() {
        return;
    }
    print_load();
    let partitions = i32::try_from(size("PARTITIONS", 10_000)).expect("a count");
    report(&format!("{partitions} partitions of three replicas"), "figure");
    let mut cluster = Cluster::start(&Shape { brokers: 3, coordinators: 2, ..Shape::default() });
    create(&cluster, partitions);
    idle(&cluster);
    move_leaders(&mut cluster);
    restart(&mut cluster);
    lose_the_controller(&mut cluster);
    print_load();
}

fn create(cluster: &Cluster, partitions: i32) {
    let start = now();
    // A request that took too long was answered so, and done: asked again, the topic is there.
    let (code, message) = cluster.try_create_topic(TOPIC, partitions, 3, &[]);
    assert!([0, 36].contains(&code), "{code}: {message}");
    report("creation answered", &ms(start.elapsed()));
    await_whole(cluster, partitions);
    report("led and in sync, seen by all", &ms(start.elapsed()));
}

fn await_whole(cluster: &Cluster, partitions: i32) {
    let count = usize::try_from(partitions).expect("a count");
    eventually("every broker knows the topic", LONG, || {
        let knows = |id| cluster.describe_by(id, TOPIC).is_some_and(|found| found.len() == count);
        cluster.broker_ids().all(knows).then_some(())
    });
    cluster.await_in_sync_within(LONG);
}

/// What the processes take that have nothing to do.
fn idle(cluster: &Cluster) {
    // What follows a creation comes to rest.
    thread::sleep(Duration::from_secs(size("REST_SECS", 20)));
    let processes: Vec<_> =
        [&cluster.brokers, &cluster.coordinators, &cluster.etcds].into_iter().flatten().collect();
    let before: Vec<_> = processes.iter().map(|process| cpu_time(process.pid())).collect();
    let start = now();
    thread::sleep(Duration::from_secs(size("IDLE_SECS", 30)));
    let elapsed = start.elapsed().as_secs_f64();
    for (process, before) in processes.into_iter().zip(before) {
        let used = cpu_time(process.pid()).saturating_sub(before).as_secs_f64();
        let resident = mib(resident_bytes(process.pid()));
        report(
            &format!("idle: {}, of a core", process.name()),
            &format!("{:.2} %", 100.0 * used / elapsed),
        );
        report(&format!("idle: {}, resident", process.name()), &resident);
    }
}

/// A broker is killed: until the others show that somebody else leads what it led. Then it comes back.
fn move_leaders(cluster: &mut Cluster) {
    let victim = cluster.leader_of(TOPIC, 0);
    let states = cluster.describe_by(victim, TOPIC).expect("a topic");
    let led = states.iter().filter(|state| state.leader == Some(victim)).count();
    let start = now();
    cluster.broker(victim).kill();
    let is_moved = |id| {
        let states = cluster.describe_by(id, TOPIC)?;
        states.iter().all(|s| s.leader.is_some_and(|leader| leader != victim)).then_some(())
    };
    eventually("other leaders", LONG, || {
        cluster.brokers_up().all(|id| is_moved(id).is_some()).then_some(())
    });
    report(
        &format!("{led} leaders moved after SIGKILL, seen by both others"),
        &ms(start.elapsed()),
    );
    let start = now();
    cluster.restart_broker(victim);
    report("ready again after SIGKILL", &ms(start.elapsed()));
    cluster.await_in_sync_within(LONG);
    report("in sync again after SIGKILL", &ms(start.elapsed()));
}

fn restart(cluster: &mut Cluster) {
    let start = now();
    assert!(cluster.broker(2).stop().success());
    report("clean stop, its leaders handed over", &ms(start.elapsed()));
    let start = now();
    cluster.restart_broker(2);
    report("ready again after a clean stop", &ms(start.elapsed()));
    cluster.await_in_sync_within(LONG);
    report("in sync again after a clean stop", &ms(start.elapsed()));
    report("  beside: to sync every log of it", &ms(sync_logs(&cluster.broker_log_dir(2))));
}

/// The least that recovery after a crash cannot do without.
fn sync_logs(folder: &Path) -> Duration {
    let start = now();
    for partition in fs::read_dir(folder).expect("the log dir").flatten() {
        let Ok(files) = fs::read_dir(partition.path()) else { continue };
        for file in files.flatten().filter(|f| f.path().extension().is_some_and(|e| e == "log")) {
            // A log that is removed meanwhile needs none.
            let _ = fs::File::open(file.path()).and_then(|file| file.sync_data());
        }
    }
    start.elapsed()
}

/// The active coordinator is killed: until a topic is created.
fn lose_the_controller(cluster: &mut Cluster) {
    let mut times = Vec::new();
    for round in 0..size("ROUNDS", 3) {
        let active = cluster.active_coordinator();
        let start = now();
        cluster.coordinator(active).kill();
        cluster.create_topic(&format!("after-{round}"), 1, 3, &[]);
        times.push(start.elapsed());
        cluster.restart_coordinator(active);
    }
    let worst = times.iter().max().copied().unwrap_or_default();
    report("controller killed, until a topic is created (its lease: 3 s), worst", &ms(worst));
    report("  median", &ms(median(times)));
}
