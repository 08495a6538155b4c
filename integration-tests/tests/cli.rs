//! `ottla` as a person uses it: one process with everything, and the commands on it.

use std::{
    fs,
    io::Write,
    process::{Command, Output, Stdio},
    time::Duration,
};

use ottla_integration_tests::harness::{PortBlock, Process, Signal, binary, eventually};
use serde_json::Value;

/// `ottla dev`, and the commands that are pointed at it.
struct Dev {
    process: Process,
    address: String,
    folder: tempfile::TempDir,
    ports: PortBlock,
}

impl Dev {
    fn start() -> Self {
        let (ports, folder) = (PortBlock::claim(), tempfile::tempdir().expect("a folder"));
        let process = Self::spawn(&ports, &folder);
        let address = format!("127.0.0.1:{}", ports.port(0));
        let dev = Self { process, address, folder, ports };
        dev.await_ready();
        dev
    }

    fn spawn(ports: &PortBlock, folder: &tempfile::TempDir) -> Process {
        let mut command = Command::new(binary("ottla"));
        command.arg("dev").args(["--port", &ports.port(0).to_string()]);
        command.args(["--rest-port", &ports.port(1).to_string()]);
        command.args(["--http-port", &ports.port(2).to_string()]);
        command.arg("--data-dir").arg(folder.path().join("data"));
        Process::spawn("ottla dev", &folder.path().join("log"), command)
    }

    fn await_ready(&self) {
        eventually("ottla dev answers", Duration::from_secs(30), || {
            self.run(&["cluster", "describe"]).status.success().then_some(())
        });
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary("ottla"));
        command.args(["-b", &self.address]).args(arguments).stdin(Stdio::null());
        command.output().expect("ottla runs")
    }

    /// What a command prints; it must succeed.
    fn say(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// What a command complains of; it must fail.
    fn complain(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?} succeeded");
        String::from_utf8(output.stderr).expect("text")
    }

    fn produce(&self, topic: &str, lines: &str, arguments: &[&str]) {
        let mut command = Command::new(binary("ottla"));
        command.args(["-b", &self.address, "produce", topic]).args(arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("ottla runs");
        let mut input = child.stdin.take().expect("a piped input");
        input.write_all(lines.as_bytes()).expect("ottla reads");
        drop(input);
        assert!(child.wait().expect("its end").success());
    }
}

#[test]
fn topics_are_created_listed_described_altered_and_deleted() {
    let dev = Dev::start();
    let created = dev.say(&[
        "topics",
        "create",
        "orders",
        "--partitions",
        "3",
        "--config",
        "retention.ms=60000",
    ]);
    assert_eq!(created, "created topic orders with 3 partitions, replication factor 1\n");
    assert!(dev.say(&["topics", "list"]).contains("orders           3                   1"));
    let described = dev.say(&["topics", "describe", "orders"]);
    assert!(described.contains("configs: retention.ms=60000"), "{described}");
    dev.say(&["topics", "alter", "orders", "--partitions", "4", "--delete-config", "retention.ms"]);
    let json: Value =
        serde_json::from_str(&dev.say(&["topics", "describe", "orders", "-o", "json"])).unwrap();
    assert_eq!(json[0]["partitions"].as_array().unwrap().len(), 4);
    assert_eq!(json[0]["configs"].as_array().unwrap().len(), 0);
    let twice = dev.complain(&["topics", "create", "orders"]);
    assert!(twice.contains("TOPIC_ALREADY_EXISTS"), "{twice}");
    dev.say(&["topics", "create", "orders", "--if-not-exists"]);
    dev.say(&["topics", "delete", "orders"]);
    assert!(!dev.say(&["topics", "list"]).contains("orders"));
}

#[test]
fn records_are_produced_and_consumed() {
    let dev = Dev::start();
    dev.produce(
        "lines",
        "k1:one\nk2:two\nk3:\n",
        &["-K", ":", "-Z", "-H", "from=test", "-z", "zstd"],
    );
    let all = ["consume", "lines", "--offset", "earliest", "--exit-at-end", "--format"];
    let printed = dev.say(&[&all[..], &[r"%o %k=%s (%S) %h\n"]].concat());
    assert_eq!(printed, "0 k1=one (3) from=test\n1 k2=two (3) from=test\n2 k3= (-1) from=test\n");
    let json = dev.say(&["-o", "json", "consume", "lines", "--offset", "1", "--count", "1"]);
    let record: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&record["key"], &record["value"]), (&"k2".into(), &"two".into()));
    let wrong = dev.complain(&["consume", "nothing"]);
    assert!(wrong.contains("there is no topic nothing"), "{wrong}");
}

#[test]
fn groups_are_joined_listed_described_reset_and_deleted() {
    let dev = Dev::start();
    dev.say(&["topics", "create", "orders", "--partitions", "2"]);
    let lines: String = (0..10).map(|line| format!("{line}\n")).collect();
    dev.produce("orders", &lines, &[]);
    let member = ["consume", "orders", "--group", "billing", "--offset", "earliest"];
    let read = |more: &[&str]| -> Vec<String> {
        let printed = dev.say(&[&member[..], more].concat());
        printed.lines().map(str::to_owned).collect()
    };
    // Another member goes on where the one before it stopped.
    let first = read(&["--count", "4"]);
    let mut all = [first.clone(), read(&["--exit-at-end"])].concat();
    all.sort();
    assert_eq!((first.len(), all), (4, (0..10).map(|line| line.to_string()).collect()));
    let listed = dev.say(&["groups", "list"]);
    assert!(listed.contains("billing  classic  Empty  consumer"), "{listed}");

    let describe = || -> Value {
        let json = dev.say(&["groups", "describe", "billing", "-o", "json"]);
        serde_json::from_str::<Value>(&json).unwrap()[0].clone()
    };
    assert_eq!((&describe()["lag"], &describe()["state"]), (&0.into(), &"Empty".into()));
    let reset = ["groups", "reset", "billing", "--to-earliest"];
    dev.say(&[&reset[..], &["--dry-run"]].concat());
    assert_eq!(describe()["lag"], 0);
    dev.say(&reset);
    assert_eq!(describe()["lag"], 10);
    let again = read(&["--exit-at-end", "--group-protocol", "consumer"]);
    assert_eq!(again.len(), 10, "{again:?}");
    assert_eq!((&describe()["lag"], &describe()["type"]), (&0.into(), &"Consumer".into()));

    dev.say(&["groups", "delete", "billing"]);
    assert!(!dev.say(&["groups", "list"]).contains("billing"));
    let gone = dev.complain(&["groups", "describe", "billing"]);
    assert!(gone.contains("GROUP_ID_NOT_FOUND"), "{gone}");
    dev.complain(&["consume", "orders", "--group", "billing", "--offset", "7"]);
}

#[test]
fn data_is_kept_through_a_crash_and_an_orderly_end() {
    let mut dev = Dev::start();
    let all = ["consume", "kept", "--offset", "earliest", "--exit-at-end"];
    dev.produce("kept", "first\n", &[]);
    dev.process.kill();
    dev.process = Dev::spawn(&dev.ports, &dev.folder);
    dev.await_ready();
    dev.produce("kept", "second\n", &[]);
    dev.process.signal(Signal::INT);
    assert!(dev.process.wait().success(), "{}", dev.process.log_text());
    dev.process = Dev::spawn(&dev.ports, &dev.folder);
    dev.await_ready();
    assert_eq!(dev.say(&all), "first\nsecond\n");
}

#[test]
fn segments_are_dumped_without_a_server() {
    let dev = Dev::start();
    dev.produce("dumped", "a\nb\n", &[]);
    let segment = dev.folder.path().join("data/logs/dumped-0");
    let segment = segment.to_str().unwrap();
    let text = dev.say(&["log", "dump", segment, "--records"]);
    assert!(text.contains("offsets 0–1  records 2"), "{text}");
    assert!(text.contains("checksum ok"), "{text}");
    let file = dev.folder.path().join("garbage.log");
    fs::write(&file, [7; 100]).unwrap();
    dev.complain(&["log", "dump", file.to_str().unwrap()]);
}

#[test]
fn brokers_partitions_and_reassignments_are_looked_after() {
    let dev = Dev::start();
    let coordinator = format!("http://127.0.0.1:{}", dev.ports.port(1));
    dev.say(&["topics", "create", "kept", "--partitions", "2"]);
    let described = dev.say(&["topics", "describe", "kept"]);
    assert!(described.contains("ELIGIBLE"), "{described}");
    let json = |arguments: &[&str]| -> Value {
        serde_json::from_str(&dev.say(&[&["-o", "json"], arguments].concat())).expect("JSON")
    };
    let brokers = json(&["brokers", "list"]);
    assert_eq!((&brokers[0]["state"], &brokers[0]["leads"]), (&"active".into(), &2.into()));
    let broker = json(&["brokers", "describe", "1"]);
    assert_eq!(broker["log_dirs"][0]["replicas"], 2, "{broker}");
    let partitions = json(&["partitions", "list", "kept:1", "--lag"]);
    assert_eq!((partitions.as_array().map(Vec::len), &partitions[0]["lag"]), (Some(1), &0.into()));
    assert_eq!(json(&["partitions", "list", "--under-min-isr", "--offline"]).to_string(), "[]");
    let elected = json(&["partitions", "elect", "kept"]);
    assert_eq!(elected[1]["result"], "leads already", "{elected}");

    let plan = dev.folder.path().join("plan.json");
    let plan = plan.to_str().expect("text");
    let planned = dev.say(&["reassign", "plan", "--topic", "kept", "--out", plan]);
    assert!(planned.starts_with("nothing has to move"), "{planned}");
    assert_eq!(dev.say(&["reassign", "run", plan]), "the plan moves nothing\n");
    assert_eq!(dev.say(&["reassign", "status"]), "no reassignment is under way\n");
    let refused = dev.complain(&["reassign", "plan", "--empty-broker", "1"]);
    assert!(refused.contains("no broker may") || refused.contains("more than"), "{refused}");
    let refused = dev.complain(&["partitions", "move", "kept:0", "--to", "1,2"]);
    assert!(refused.contains("--allow-replication-factor-change"), "{refused}");

    let health = dev.say(&["cluster", "health", "--coordinator", &coordinator]);
    assert_eq!(health, "green: all is well\n");
    let needed = dev.complain(&["brokers", "drain", "1", "--coordinator", &coordinator]);
    assert!(needed.contains("ELIGIBLE_LEADERS_NOT_AVAILABLE"), "{needed}");
    dev.say(&["brokers", "drain", "1", "--force", "--coordinator", &coordinator]);
    eventually("the cluster is red", Duration::from_secs(30), || {
        let health = dev.run(&["cluster", "health", "--coordinator", &coordinator]);
        let told = String::from_utf8_lossy(&health.stdout).into_owned();
        (!health.status.success() && told.contains("broker 1 (drained)")).then_some(())
    });
    dev.say(&["brokers", "drain", "1", "--undo", "--coordinator", &coordinator]);
    eventually("the cluster is green", Duration::from_secs(30), || {
        dev.run(&["cluster", "health", "--coordinator", &coordinator])
            .status
            .success()
            .then_some(())
    });
    let unknown = dev.complain(&["brokers", "unregister", "7"]);
    assert!(unknown.contains("BROKER_ID_NOT_REGISTERED"), "{unknown}");
}

#[test]
fn absent_cluster_is_said_at_once() {
    let output =
        Command::new(binary("ottla")).args(["-b", "127.0.0.1:1", "topics", "list"]).output();
    let output = output.expect("ottla runs");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("127.0.0.1:1"));
}
