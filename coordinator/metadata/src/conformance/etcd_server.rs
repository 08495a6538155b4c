//! Real members of etcd for tests: on ephemeral ports of the loopback, in a folder that goes away.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::store::etcd::{EtcdConfig, EtcdStore};
use crate::store::{MetaStore, StoreError};

/// One or three members, killed when dropped.
pub(crate) struct EtcdServer {
    binary: PathBuf,
    dir: TempDir,
    members: Vec<RunningMember>,
    flags: Vec<String>,
    scheme: &'static str,
}

struct RunningMember {
    client_port: u16,
    peer_port: u16,
    child: Option<Child>,
}

impl EtcdServer {
    /// A single member; `None`, and a printed line, where there is no etcd. In CI that is a failure.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(1, &[]).await
    }

    /// Members with more flags.
    pub(crate) async fn start_with(count: usize, flags: &[&str]) -> Option<Self> {
        Self::start_scheme("http", count, flags).await
    }

    /// A member that asks for certificates; `dir` has `ca.pem`, `cert.pem` and `key.pem`. It is not waited for.
    pub(crate) async fn start_encrypted(dir: &Path) -> Option<Self> {
        let path = |name: &str| dir.join(name).display().to_string();
        let flags = [
            format!("--trusted-ca-file={}", path("ca.pem")),
            format!("--cert-file={}", path("cert.pem")),
            format!("--key-file={}", path("key.pem")),
            "--client-cert-auth".to_owned(),
        ];
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        Self::start_scheme("https", 1, &flags).await
    }

    async fn start_scheme(scheme: &'static str, count: usize, flags: &[&str]) -> Option<Self> {
        let Some(binary) = binary() else {
            assert!(std::env::var_os("CI").is_none(), "CI needs etcd: set $ETCD or install it");
            println!("skipped: no etcd found; set $ETCD or install it");
            return None;
        };
        for _ in 0..10 {
            let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
            let mut server = Self {
                binary: binary.clone(),
                dir: temp_dir(),
                members: Vec::new(),
                flags,
                scheme,
            };
            server.members = (0..count).map(|_| RunningMember::planned()).collect();
            for at in 0..count {
                server.restart(at);
            }
            if scheme == "https" || server.is_ready().await {
                return Some(server);
            }
            // Another process may have taken a port since it was chosen.
        }
        panic!("etcd does not start");
    }

    /// A client of this server.
    pub(crate) fn config(&self) -> EtcdConfig {
        EtcdConfig::new(
            self.members.iter().map(|member| format!("127.0.0.1:{}", member.client_port)),
        )
    }

    /// A store with short deadlines.
    pub(crate) fn store(&self) -> Arc<EtcdStore> {
        Arc::new(EtcdStore::new(self.config()).unwrap())
    }

    /// Where a member listens for clients.
    pub(crate) fn client_port(&self, at: usize) -> u16 {
        self.members[at].client_port
    }

    /// Kills a member.
    pub(crate) fn kill(&mut self, at: usize) {
        if let Some(mut child) = self.members[at].child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops or continues a member's process.
    pub(crate) fn signal(&self, at: usize, signal: &str) {
        let pid = self.members[at].child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Starts a member on the data that it left.
    pub(crate) fn restart(&mut self, at: usize) {
        let cluster: Vec<String> = self.members.iter().enumerate().map(peer).collect();
        let member = &self.members[at];
        let client = format!("{}://127.0.0.1:{}", self.scheme, member.client_port);
        let peer = format!("http://127.0.0.1:{}", member.peer_port);
        let log = File::create(self.dir.path().join(format!("m{at}.log"))).unwrap();
        let mut command = Command::new(&self.binary);
        command
            .arg(format!("--name=m{at}"))
            .arg(format!("--data-dir={}", self.dir.path().join(format!("m{at}")).display()))
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster={}", cluster.join(",")))
            .args(["--heartbeat-interval=20", "--election-timeout=200", "--logger=zap"])
            .args(&self.flags)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.members[at].child = Some(command.spawn().unwrap());
    }

    async fn is_ready(&mut self) -> bool {
        let store = self.store();
        for _ in 0..10 {
            match store.status().await {
                Ok(_) => return true,
                // It answers, which is enough.
                Err(StoreError::Denied { .. }) => return true,
                Err(_) if self.has_exited() => return false,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        false
    }

    fn has_exited(&mut self) -> bool {
        self.members.iter_mut().any(|member| match &mut member.child {
            Some(child) => child.try_wait().is_ok_and(|status| status.is_some()),
            None => true,
        })
    }
}

impl RunningMember {
    fn planned() -> Self {
        Self { client_port: free_port(), peer_port: free_port(), child: None }
    }
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        for at in 0..self.members.len() {
            self.kill(at);
        }
    }
}

fn peer((at, member): (usize, &RunningMember)) -> String {
    format!("m{at}=http://127.0.0.1:{}", member.peer_port)
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn binary() -> Option<PathBuf> {
    if let Some(binary) = std::env::var_os("ETCD") {
        return Some(binary.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("etcd")).find(|binary| binary.is_file())
}

/// In memory where the system has such a place, since etcd syncs every write.
fn temp_dir() -> TempDir {
    let builder = || tempfile::Builder::new().prefix("ottla-etcd-").to_owned();
    builder().tempdir_in("/dev/shm").or_else(|_| builder().tempdir()).unwrap()
}
