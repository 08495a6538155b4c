//! Groups on a real etcd.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ottla_metadata::store::MetaStore;
use ottla_metadata::store::etcd::{EtcdConfig, EtcdStore};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::OffsetCommitRequest;
use tempfile::TempDir;

use crate::broker::FakeBroker;
use crate::groups::{commit, commit_one, committed};
use crate::link::Link;
use crate::support::{PATIENCE, config, create, soon, start_with, stop, topic};

/// One member, killed when dropped.
struct Etcd {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl Etcd {
    /// `None`, and a printed line, where there is no etcd. In CI that is a failure.
    async fn start() -> Option<Self> {
        let Some(binary) = binary() else {
            assert!(std::env::var_os("CI").is_none(), "CI needs etcd: set $ETCD or install it");
            println!("skipped: no etcd found; set $ETCD or install it");
            return None;
        };
        for _ in 0..10 {
            let mut etcd = Self::spawn(&binary);
            for _ in 0..100 {
                if etcd.store().status().await.is_ok() {
                    return Some(etcd);
                }
                // Another process may have taken a port since it was chosen.
                if etcd.child.try_wait().is_ok_and(|status| status.is_some()) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        panic!("etcd does not start");
    }

    fn spawn(binary: &PathBuf) -> Self {
        let dir = tempfile::Builder::new().prefix("ottla-etcd-").tempdir().expect("a folder");
        let (port, peer) = (free_port(), free_port());
        let (client, peer) =
            (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
        let child = Command::new(binary)
            .arg(format!("--data-dir={}", dir.path().join("m").display()))
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster=default={peer}"))
            .args(["--logger=zap", "--log-level=error"])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd runs");
        Self { child, port, _dir: dir }
    }

    fn store(&self) -> EtcdStore {
        let mut config = EtcdConfig::new([format!("127.0.0.1:{}", self.port)]);
        config.call_timeout = Duration::from_millis(300);
        EtcdStore::new(config).expect("a store")
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.expect("kill runs").success());
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn binary() -> Option<PathBuf> {
    if let Some(binary) = std::env::var_os("ETCD") {
        return Some(binary.into());
    }
    let path = std::env::var_os("PATH")?;
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/ottla"));
    let dirs = std::env::split_paths(&path).chain(home);
    dirs.map(|dir| dir.join("etcd")).find(|binary| binary.is_file())
}

/// Commits ten partitions again and again, and returns the last offset that was answered and how long each
/// answer took.
async fn commit_rounds(mut link: Link, group: String, rounds: i64) -> (i64, Vec<Duration>) {
    let partitions: Vec<i32> = (0..10).collect();
    let mut took = Vec::new();
    let mut told = 0;
    for offset in 1..=rounds {
        let began = tokio::time::Instant::now();
        let request: OffsetCommitRequest = commit(&group, "t", &partitions, offset);
        let (answer, _) = link.relay(9, &request).await;
        let codes =
            answer.topics[0].partitions.iter().map(|it| ErrorCode::from_code(it.error_code));
        // While etcd is away a commit is told to try again.
        if codes.into_iter().all(|code| code == ErrorCode::None) {
            told = offset;
        }
        took.push(began.elapsed());
    }
    (told, took)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_outlive_an_etcd_that_stands_still_and_their_coordinator() {
    let Some(etcd) = Etcd::start().await else { return };
    let handle = start_with(config(1), etcd.store()).await;
    assert!(handle.until_active(PATIENCE).await);
    let (_broker, mut link) = FakeBroker::start(1, &handle).await;
    assert!(create(&handle, vec![topic("t", 10)]).await.expect("an answer").results[0].is_ok());
    assert_eq!(commit_one(&mut link, "first", 1).await, ErrorCode::None);

    // `OTTLA_COMMITS=64x500` measures: so many clients, so many commits of each.
    let measured = std::env::var("OTTLA_COMMITS").ok();
    let sizes = measured.as_deref().and_then(|text| text.split_once('x'));
    let (clients, rounds): (usize, i64) = sizes.map_or((16, 40), |(clients, rounds)| {
        (clients.parse().expect("a number"), rounds.parse().expect("a number"))
    });
    let began = tokio::time::Instant::now();
    let mut tasks = Vec::new();
    for number in 0..clients {
        let mut link = Link::memory(&handle);
        link.hello_as_tool().await;
        tasks.push(tokio::spawn(commit_rounds(link, format!("g{number}"), rounds)));
    }
    if measured.is_none() {
        etcd.signal("-STOP");
        tokio::time::sleep(Duration::from_millis(900)).await;
        etcd.signal("-CONT");
    }
    let (mut told, mut took) = (Vec::new(), Vec::new());
    for task in tasks {
        let (last, times) =
            tokio::time::timeout(PATIENCE * 6, task).await.expect("in time").expect("done");
        told.push(last);
        took.extend(times);
    }
    if measured.is_some() {
        took.sort_unstable();
        let rate = took.len() as f64 / began.elapsed().as_secs_f64();
        let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
        println!(
            "{rate:.0} commits/s, p50 {:?}, p99 {:?}, max {:?}",
            at(50),
            at(99),
            took[took.len() - 1]
        );
        let text = handle.services().metrics.text();
        text.lines()
            .filter(|line| line.contains("group_journal"))
            .for_each(|line| println!("{line}"));
    }
    stop(handle).await;

    let handle = start_with(config(2), etcd.store()).await;
    assert!(handle.until_active(PATIENCE).await);
    let mut link = Link::memory(&handle);
    link.hello_as_tool().await;
    for (number, told) in told.into_iter().enumerate() {
        let found = soon("what is committed", committed(&mut link, &format!("g{number}"))).await;
        assert!(
            told <= found && found <= rounds,
            "g{number}: {told} was answered, {found} is there"
        );
    }
    stop(handle).await;
}
