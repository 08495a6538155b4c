//! A broker that cannot start says why and what to do, and harms nobody; one that can wait, waits.

use std::{fs, net::TcpListener, process::Command, time::Duration};

use ottla_integration_tests::harness::{Cluster, Process, binary, eventually};

const SOON: Duration = Duration::from_secs(30);

/// A second broker beside broker 1, from its settings with some replaced; it is not waited for.
fn beside(cluster: &Cluster, name: &str, replace: &[(&str, &str)]) -> Process {
    let own = fs::read_to_string(cluster.folder().join("server-1.properties")).expect("settings");
    let mut lines: Vec<String> = own
        .lines()
        .filter(|line| !replace.iter().any(|(key, _)| line.starts_with(&format!("{key}="))))
        .map(str::to_owned)
        .collect();
    lines.extend(replace.iter().map(|(key, value)| format!("{key}={value}")));
    let file = cluster.folder().join(format!("{name}.properties"));
    fs::write(&file, lines.join("\n")).expect("settings");
    let mut command = Command::new(binary("ottla-broker"));
    command.arg("--config").arg(&file);
    Process::spawn(name, &cluster.folder().join(format!("{name}.log")), command)
}

/// Settings that collide with nothing of broker 1.
fn apart(cluster: &Cluster) -> Vec<(&'static str, String)> {
    vec![
        ("broker.id", "2".to_owned()),
        ("listeners", format!("PLAINTEXT://{}", cluster.broker_address(2))),
        ("http.listener", cluster.broker_http(2).to_string()),
        ("log.dirs", cluster.broker_log_dir(2).display().to_string()),
    ]
}

fn apart_but(cluster: &Cluster, name: &str, changes: &[(&'static str, String)]) -> Process {
    let mut settings = apart(cluster);
    settings.retain(|(key, _)| !changes.iter().any(|(changed, _)| key == changed));
    settings.extend_from_slice(changes);
    let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    beside(cluster, name, &settings)
}

/// The process ends by itself, unhappily, and its last words contain all of these.
fn assert_refuses(mut process: Process, words: &[&str]) {
    let status = process.wait();
    let log = process.log_text();
    assert!(!status.success(), "it ended well:\n{log}");
    for word in words {
        assert!(log.contains(word), "nothing of {word:?} in:\n{log}");
    }
}

#[test]
fn broker_id_in_use_is_refused() {
    let mut cluster = Cluster::single();
    let twin = apart_but(&cluster, "twin", &[("broker.id", "1".to_owned())]);
    assert_refuses(twin, &["broker id 1"]);
    assert!(cluster.brokers[0].is_running());
}

#[test]
fn port_in_use_is_refused() {
    let cluster = Cluster::single();
    let taken = cluster.broker_address(1);
    let process = apart_but(&cluster, "port", &[("listeners", format!("PLAINTEXT://{taken}"))]);
    assert_refuses(process, &[&taken.port().to_string(), "listeners"]);
    let http = TcpListener::bind(cluster.broker_http(3)).expect("a free port");
    let taken = http.local_addr().expect("its address").to_string();
    let process = apart_but(&cluster, "http", &[("http.listener", taken.clone())]);
    assert_refuses(process, &[&taken, "http.listener"]);
}

#[test]
fn log_dir_of_another_process_is_refused() {
    let cluster = Cluster::single();
    let dir = cluster.broker_log_dir(1).display().to_string();
    assert_refuses(apart_but(&cluster, "locked", &[("log.dirs", dir.clone())]), &[&dir, "lock"]);
}

#[test]
fn log_dir_that_is_a_file_is_refused() {
    let cluster = Cluster::single();
    let file = cluster.folder().join("a-file");
    fs::write(&file, "x").expect("a file");
    let dir = file.display().to_string();
    assert_refuses(apart_but(&cluster, "file", &[("log.dirs", dir.clone())]), &[&dir]);
}

#[test]
fn log_dir_of_another_broker_or_cluster_is_refused() {
    let mut cluster = Cluster::single();
    cluster.brokers[0].stop();
    let dir = cluster.broker_log_dir(1);
    let other_id = apart_but(&cluster, "other-id", &[("log.dirs", dir.display().to_string())]);
    assert_refuses(other_id, &[&dir.display().to_string(), "node.id", "log.dirs"]);
    let meta = dir.join("meta.properties");
    let text = fs::read_to_string(&meta).expect("meta.properties");
    let id = text.lines().find(|line| line.starts_with("cluster.id=")).expect("a cluster id");
    fs::write(&meta, text.replace(id, "cluster.id=AAAAAAAAAAAAAAAAAAAAAA")).expect("a change");
    let stranger = cluster.spawn_broker(1);
    assert_refuses(stranger, &["cluster", "AAAAAAAAAAAAAAAAAAAAAA"]);
}

#[test]
fn wrong_settings_are_all_named_before_anything_starts() {
    let cluster = Cluster::single();
    let wrong = [("num.partitions", "many".to_owned()), ("log.segment.bytes", "-4".to_owned())];
    assert_refuses(apart_but(&cluster, "wrong", &wrong), &["num.partitions", "log.segment.bytes"]);
    assert!(!cluster.broker_log_dir(2).exists(), "nothing was made");
}

#[test]
fn unknown_setting_is_a_warning_that_names_the_nearest() {
    let cluster = Cluster::single();
    let process = apart_but(&cluster, "misspelt", &[("log.retention.hour", "3".to_owned())]);
    eventually("the warning", SOON, || {
        process.log_text().contains("log.retention.hours").then_some(())
    });
}

#[test]
fn open_listener_off_loopback_is_refused_unless_asked_for() {
    let cluster = Cluster::single();
    let port = cluster.broker_address(2).port();
    let open = [("listeners", format!("PLAINTEXT://0.0.0.0:{port}"))];
    assert_refuses(apart_but(&cluster, "open", &open), &["allow.insecure.listeners"]);
}

#[test]
fn broker_waits_for_an_absent_etcd_and_says_so() {
    let mut cluster = Cluster::single();
    cluster.brokers[0].stop();
    cluster.etcd(1).pause();
    cluster.brokers[0] = cluster.spawn_broker(1);
    eventually("it says what it waits for", SOON, || {
        cluster.brokers[0].log_text().contains("etcd").then_some(())
    });
    cluster.etcd(1).resume();
    cluster.await_ready();
}

/// What tests use to lose data on purpose is no part of the program.
#[test]
fn the_broker_knows_no_way_to_break_its_disks() {
    let cluster = Cluster::single();
    for argument in ["--orders", "--boot-id"] {
        let mut command = Command::new(binary("ottla-broker"));
        command.arg("--config").arg(cluster.folder().join("server-1.properties"));
        command.arg(argument).arg("x");
        let log = cluster.folder().join("refused.log");
        assert_refuses(Process::spawn("refused", &log, command), &[argument]);
    }
    let help = Command::new(binary("ottla-broker")).arg("--help").output().expect("the broker");
    let help = String::from_utf8_lossy(&help.stdout);
    assert!(help.contains("--config"), "{help}");
    assert!(!help.contains("--orders") && !help.contains("--boot-id"), "{help}");
}
