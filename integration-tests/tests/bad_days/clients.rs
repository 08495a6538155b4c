//! Clients by the thousand, and one that never reads.

use std::{io::Write, net::TcpStream, time::Duration};

use ottla_integration_tests::harness::{Cluster, WireClient, eventually};
use ottla_protocol::{frame::encode_request, messages::MetadataRequest, wire::Pieces};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::support::{assert_in_order, contents, create, mark, produce};

const IDLE: usize = 10_000;
/// Connections that are opened at once: fewer than the system queues until they are accepted.
const BURST: usize = 40;
/// What this process and the broker need beside the connections.
const SPARE_FILES: u64 = 500;

/// Lets this process open `count` files and some; false if the system forbids it.
fn raise_open_files(count: usize) -> bool {
    let wanted = u64::try_from(count).expect("a count") + SPARE_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|maximum| maximum < wanted) {
        return false;
    }
    let raised = Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, raised).is_ok()
}

#[test]
fn ten_thousand_idle_connections_disturb_nobody() {
    if !raise_open_files(IDLE) {
        let why = "10,000 connections need a limit of 10,500 open files (ulimit -Hn)";
        assert!(std::env::var_os("CI").is_none(), "CI skips nothing: {why}");
        eprintln!("{why}");
        return;
    }
    let mut cluster = Cluster::single();
    create(&cluster, "busy", (1, 1), &[]);
    let address = cluster.broker_address(1);
    let mut wire = WireClient::connect(address);
    let mut idle = Vec::with_capacity(IDLE);
    let mut sequence = 0;
    while idle.len() < IDLE {
        for _ in 0..BURST {
            idle.push(TcpStream::connect(address).expect("a connection"));
        }
        assert_eq!(produce(&mut wire, "busy", 0, mark(sequence)).0, 0);
        sequence += 1;
    }
    // The last of them is served, and so are those that come now.
    let mut last = WireClient::connect(address);
    for _ in 0..100 {
        assert_eq!(produce(&mut last, "busy", 0, mark(sequence)).0, 0);
        sequence += 1;
    }
    let end = i64::try_from(sequence).expect("few");
    assert_eq!(assert_in_order(&contents(&cluster, "busy", end)), sequence);
    drop(idle);
    assert_eq!(produce(&mut wire, "busy", 0, mark(sequence)).0, 0);
    assert!(cluster.broker(1).is_running());
}

#[test]
fn client_that_never_reads_is_held_back_and_disturbs_nobody() {
    /// Far more than sockets and the broker's own bound hold together.
    const SENT_MAX: usize = 512 << 20;
    let mut cluster = Cluster::single();
    create(&cluster, "busy", (1, 1), &[]);
    let topics: Vec<_> = (0..50).map(|number| format!("filler-{number}")).collect();
    for topic in &topics {
        cluster.create_topic(topic, 20, 1, &[]);
    }
    let address = cluster.broker_address(1);
    let memory = resident_bytes(cluster.broker(1).pid());
    // Each small request has an answer of many kilobytes.
    let all = MetadataRequest { topics: None, ..MetadataRequest::default() };
    let frame = encode_request(1, Some(&"deaf".into()), 9, &all);
    let frame = frame.and_then(Pieces::into_contiguous).expect("a frame").repeat(64);
    let mut deaf = TcpStream::connect(address).expect("a connection");
    deaf.set_write_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    let mut sent = 0;
    while let Ok(()) = deaf.write_all(&frame) {
        sent += frame.len();
        assert!(sent < SENT_MAX, "it takes requests for ever");
    }
    // It waits, or was cut off; either way others are served and memory is bounded.
    let mut wire = WireClient::connect(address);
    for sequence in 0..100 {
        assert_eq!(produce(&mut wire, "busy", 0, mark(sequence)).0, 0);
    }
    assert_eq!(assert_in_order(&contents(&cluster, "busy", 100)), 100);
    let pid = cluster.broker(1).pid();
    let bound = memory + (64 << 20);
    assert!(resident_bytes(pid) < bound, "{} of {bound} bytes", resident_bytes(pid));
    drop(deaf);
    eventually("memory stays bounded", Duration::from_secs(10), || {
        (resident_bytes(pid) < bound).then_some(())
    });
    assert!(cluster.broker(1).is_running());
}

fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().expect("a number");
    kib << 10
}
