//! What the broker asks of the machine it runs on.

use std::fs;
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::oneshot;

/// The id that the kernel drew when the machine started: the same as in a former life means that the
/// page cache lived on. Where there is none, a random one, so that nothing is taken for granted.
pub fn boot_id() -> String {
    match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(text) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => format!("unknown-{:032x}", rand::random::<u128>()),
    }
}

/// Bytes of memory that this process may use: the machine's, or the limit of its control group.
pub fn memory_bytes() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_of(&text));
    let machine = machine.unwrap_or(FALLBACK_MEMORY);
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limit = limits.iter().filter_map(|path| fs::read_to_string(path).ok());
    let limit = limit.filter_map(|text| text.trim().parse::<u64>().ok()).min();
    limit.map_or(machine, |limit| limit.min(machine))
}

/// Lets this process open as many files as the system allows it to, and logs how many. Every connection
/// takes one, and every segment that is in use several; systems start programs with few. For the start of a
/// program; a limit that cannot be raised is told and left.
pub fn raise_open_files() {
    let before = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: before.maximum, ..before };
    if before.current != wanted.current
        && let Err(error) = setrlimit(Resource::Nofile, wanted)
    {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let now = getrlimit(Resource::Nofile);
    let (was, soft, hard) = (figure(before.current), figure(now.current), figure(now.maximum));
    tracing::info!(%was, %soft, %hard, "limit of open files");
    if is_low(now.maximum) {
        tracing::warn!(%hard, "few files may be open at once; allow at least {OPEN_FILES_MIN} \
            (`ulimit -n` in a shell, LimitNOFILE of a systemd unit)");
    }
}

/// Open files that a broker should be allowed to have.
const OPEN_FILES_MIN: u64 = 10_000;

fn is_low(limit: Option<u64>) -> bool {
    limit.is_some_and(|limit| limit < OPEN_FILES_MIN)
}

fn figure(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}

/// Runs something that waits for the disk on a thread of its own. For the start, the end, and what
/// happens every few seconds at most; never for a request.
pub async fn on_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    let run = move || {
        // Whoever waited may be gone.
        let _ = done.send(work());
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
    result.await.map_err(|_| io::Error::other(format!("the thread {name} panicked")))
}

/// Where the system does not tell.
const FALLBACK_MEMORY: u64 = 2 << 30;

fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        assert_eq!(total_of("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(total_of("MemFree: 1 kB\n"), None);
        assert!(1 << 20 < memory_bytes());
    }

    #[test]
    fn open_files_are_raised_to_what_the_system_allows() {
        // Raising harms no test that runs beside this one.
        let hard = getrlimit(Resource::Nofile).maximum;
        if let Some(low) = hard.and_then(|hard| hard.checked_sub(1)) {
            let lowered = Rlimit { current: Some(low), maximum: hard };
            setrlimit(Resource::Nofile, lowered).unwrap();
        }
        raise_open_files();
        let now = getrlimit(Resource::Nofile);
        assert_eq!((now.current, now.maximum), (hard, hard));
    }

    #[test]
    fn only_a_small_limit_of_open_files_is_warned_of() {
        assert!(is_low(Some(9_999)));
        assert!(!is_low(Some(10_000)));
        assert!(!is_low(None));
        assert_eq!((figure(Some(1024)), figure(None)), ("1024".into(), "unlimited".into()));
    }

    #[test]
    fn boot_id_stays_the_same() {
        assert_eq!(boot_id(), boot_id());
    }
}
