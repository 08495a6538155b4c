//! One real process of a cluster: started with its output in a file, signalled, waited for, and never left behind.

use std::{
    env,
    fs::{self, OpenOptions},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, kill_process};

use super::wait::eventually;

pub use rustix::process::Signal;

const EXIT_WITHIN: Duration = Duration::from_secs(30);

/// A running (or ended) process; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
    /// Whether somebody asked for its end.
    is_over: bool,
    is_paused: bool,
}

impl Process {
    /// Starts `command` with its output appended to `log`.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn spawn(name: &str, log: &Path, mut command: Command) -> Self {
        let output = OpenOptions::new().create(true).append(true).open(log).expect("a log file");
        command.stdin(Stdio::null());
        command.stdout(output.try_clone().expect("a second handle of the log"));
        command.stderr(output).process_group(0);
        let child = command.spawn().unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        Self { child, name: name.to_owned(), log: log.to_owned(), is_over: false, is_paused: false }
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it is called in messages, and its log.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// When the system cannot say.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the state of a child").is_none()
    }

    /// Sends a signal; nothing where the process has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }

    /// SIGSTOP: it stands still, and its connections stay open, until [`Self::resume`].
    pub fn pause(&mut self) {
        self.is_paused = true;
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&mut self) {
        self.is_paused = false;
        self.signal(Signal::CONT);
    }

    /// Whether it can be expected to answer: it was neither ended nor paused by the test.
    #[must_use]
    pub fn is_up(&self) -> bool {
        !self.is_over && !self.is_paused
    }

    /// SIGKILL, and waits for the end: a process crash.
    ///
    /// # Panics
    /// When the system cannot say how it ended.
    pub fn kill(&mut self) {
        self.is_over = true;
        self.signal(Signal::KILL);
        self.child.wait().expect("the end of a killed child");
    }

    /// SIGTERM, and waits for an orderly end.
    ///
    /// # Panics
    /// When it does not end within half a minute.
    pub fn stop(&mut self) -> ExitStatus {
        self.is_over = true;
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for the process to end by itself.
    ///
    /// # Panics
    /// When it does not end within half a minute.
    pub fn wait(&mut self) -> ExitStatus {
        let what = format!("{} ends; its log:\n{}", self.name, self.log_text());
        eventually(&what, EXIT_WITHIN, || self.child.try_wait().expect("the state of a child"))
    }

    /// Everything that it has printed.
    #[must_use]
    pub fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.kill();
        }
    }
}

/// The path of one of the workspace's own programs, beside the running test.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = env::current_exe().expect("the running test's path");
    let folder = test.parent().and_then(Path::parent).expect("target/<profile>/deps");
    let path = folder.join(name);
    assert!(path.exists(), "{name} is not built; run `make test`, or `cargo build --workspace`");
    path
}
