//! What a broker costs that does nothing, and how soon one is there: `cargo bench -p ottla-integration-tests --bench footprint`.
//!
//! Release binaries, default settings, real processes. Each time stands beside what this machine needs for the least of the
//! same kind; bytes of memory are what the kernel counts as resident.

mod support;

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpStream},
    ops::Range,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use ottla_integration_tests::harness::{
    Cluster, PortBlock, Process, Shape, WireClient, binary, eventually,
};
use ottla_protocol::messages::{ApiVersionsRequest, MetadataRequest};
use support::{median, mib, ms, now, report, resident_bytes};

const STARTS: usize = 5;
const TOPICS: usize = 10;
const MORE_TOPICS: usize = 40;
const PARTITIONS_EACH: i32 = 100;
const PARTITIONS: usize = 1000;
const CONNECTIONS: usize = 1000;
const SOON: Duration = Duration::from_secs(120);

fn main() {
    if !support::is_prepared() {
        return;
    }
    report("footprint", "figure");
    for name in ["ottla", "ottla-broker", "ottla-coordinator"] {
        let len = fs::metadata(binary(name)).expect("a program").len();
        report(&format!("size of {name}"), &mib(len));
    }
    let started = median((0..STARTS).map(|_| start_dev()).collect());
    let floor = median((0..STARTS).map(|_| start_nothing()).collect());
    report("`ottla dev`, from start to the first Metadata answer", &ms(started));
    report("  beside: `ottla --version`", &ms(floor));
    broker();
}

/// An idle broker, then with partitions, with connections, and its restart.
fn broker() {
    let mut cluster = Cluster::start(&Shape::default());
    let idle = settled(&mut cluster);
    report("memory of an idle broker", &mib(idle));
    let empty = restart(&mut cluster);

    let before = settled(&mut cluster);
    let folder = cluster.broker_log_dir(1);
    let with_partitions = add_topics(&mut cluster, 0..TOPICS);
    report("  each of 1,000 idle partitions", &each(before, with_partitions, PARTITIONS));

    let address = cluster.broker_address(1);
    let connections: Vec<WireClient> = (0..CONNECTIONS)
        .map(|_| {
            let mut client = WireClient::connect(address);
            client.call(3, &ApiVersionsRequest::default());
            client
        })
        .collect();
    let with_connections = settled(&mut cluster);
    report("  each idle connection", &each(with_partitions, with_connections, CONNECTIONS));
    drop(connections);

    let full = restart(&mut cluster);
    report("broker, from start to ready, no partitions", &ms(empty));
    report("broker, from start to ready, 1,000 cleanly closed ones", &ms(full));
    report("  beside: to read every file of them", &ms(read_files(&folder)));

    // Without what the first ones cost once and for all: buffers, caches of threads, tables that grow by doubling.
    let before = settled(&mut cluster);
    let after = add_topics(&mut cluster, TOPICS..TOPICS + MORE_TOPICS);
    let more = MORE_TOPICS * PARTITIONS_EACH as usize;
    report(&format!("memory of each of {more} more idle partitions"), &each(before, after, more));
}

/// Creates topics, waits until the broker has all their partitions, and returns what memory it takes then.
fn add_topics(cluster: &mut Cluster, numbers: Range<usize>) -> u64 {
    let folder = cluster.broker_log_dir(1);
    let wanted = numbers.end * PARTITIONS_EACH as usize;
    for number in numbers {
        cluster.create_topic(&format!("idle-{number}"), PARTITIONS_EACH, 1, &[]);
    }
    eventually("every partition has its folder", SOON, || {
        (wanted <= partition_folders(&folder)).then_some(())
    });
    settled(cluster)
}

fn each(before: u64, after: u64, count: usize) -> String {
    format!("{:.2} KiB", after.saturating_sub(before) as f64 / 1024.0 / count as f64)
}

fn start_dev() -> Duration {
    let ports = PortBlock::claim();
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(binary("ottla"));
    command.arg("dev").arg("--data-dir").arg(folder.path().join("data"));
    for (option, port) in [("--port", 0), ("--rest-port", 1), ("--http-port", 2)] {
        command.arg(option).arg(ports.port(port).to_string());
    }
    let address = SocketAddr::from(([127, 0, 0, 1], ports.port(0)));
    let start = now();
    let mut process = Process::spawn("ottla dev", &folder.path().join("log"), command);
    let request = MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() };
    let elapsed = loop {
        assert!(process.is_running(), "it ended:\n{}", process.log_text());
        // No pause: a millisecond more or less is what is measured.
        if let Ok(mut client) = WireClient::try_connect(address, SOON)
            && let Ok(response) = client.try_call(9, &request)
        {
            assert_eq!(response.brokers.len(), 1);
            break start.elapsed();
        }
    };
    process.stop();
    elapsed
}

fn start_nothing() -> Duration {
    let mut command = Command::new(binary("ottla"));
    let start = now();
    assert!(command.arg("--version").stdout(Stdio::null()).status().expect("ottla").success());
    start.elapsed()
}

/// Resident bytes of broker 1, as soon as they do not change any more.
fn settled(cluster: &mut Cluster) -> u64 {
    let pid = cluster.broker(1).pid();
    let mut last = 0;
    let mut same = 0;
    eventually("memory does not change any more", SOON, || {
        let resident = resident_bytes(pid);
        same = if resident == last { same + 1 } else { 0 };
        last = resident;
        (50 <= same).then_some(resident)
    })
}

/// Stops the broker cleanly and starts it again; the time until it is ready.
fn restart(cluster: &mut Cluster) -> Duration {
    cluster.broker(1).stop();
    let http = cluster.broker_http(1);
    let start = now();
    cluster.start_broker(1);
    while !is_ready(http) {
        assert!(start.elapsed() < SOON && cluster.broker(1).is_running(), "it is not ready");
        std::thread::sleep(Duration::from_millis(1));
    }
    start.elapsed()
}

fn is_ready(http: SocketAddr) -> bool {
    // The socket is tried first, so that nothing waits while there is none.
    TcpStream::connect(http).is_ok_and(|mut stream| stream.flush().is_ok())
        && ottla_integration_tests::harness::http_ok(http, "/ready")
}

fn partition_folders(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).expect("the log dir").flatten();
    entries.filter(|entry| entry.path().is_dir()).count()
}

fn read_files(folder: &Path) -> Duration {
    let start = now();
    for partition in fs::read_dir(folder).expect("the log dir").flatten() {
        let Ok(files) = fs::read_dir(partition.path()) else { continue };
        for file in files.flatten() {
            // Logs are empty; a folder in a folder is none of ours.
            let _ = fs::read(file.path());
        }
    }
    start.elapsed()
}
