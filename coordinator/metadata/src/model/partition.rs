//! A partition: its replicas, who leads, and who is in sync.

use ottla_protocol::Uuid;
use serde::{Deserialize, Serialize};

use super::{Rest, Value};

/// "Nobody leads", as Kafka writes it.
pub const NO_LEADER: i32 = -1;

/// In place of a log directory: the replica's log cannot be used, wherever it is. Kafka's `DirectoryId.LOST`.
pub const LOST_DIR: Uuid = Uuid::ONE;

/// The key `partitions/<topic-id>/<p>`. Its mod revision is the partition epoch. Replicas, and a
/// reassignment under way, are written nowhere else, so any controller can go on with it.
///
/// Invariants that the controller keeps: `isr`, `elr`, `adding` and `removing` are subsets of `replicas`;
/// `isr` and `elr` are disjoint; `leader` is [`NO_LEADER`] or in `isr`, except in an unclean election,
/// which also sets `recovering`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Partition {
    /// Broker ids in order of preference.
    pub replicas: Vec<i32>,
    /// The log directory of each replica, in the order of `replicas`; zero where none is assigned yet,
    /// [`LOST_DIR`] where its log cannot be used.
    /// Empty or as long as `replicas`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "super::value::uuids")]
    pub log_dirs: Vec<Uuid>,
    /// Replicas that a reassignment is adding.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adding: Vec<i32>,
    /// Replicas that a reassignment is removing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removing: Vec<i32>,
    /// The in-sync replicas.
    pub isr: Vec<i32>,
    /// Eligible leader replicas: out of the ISR, but with everything that was acknowledged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elr: Vec<i32>,
    /// While nobody leads, the one that led last comes first, also if it is still eligible. Then replicas that
    /// were eligible before an unclean end of their broker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_known_elr: Vec<i32>,
    /// The leader's broker id, or [`NO_LEADER`].
    pub leader: i32,
    /// Raised at every election, and when the leader returns in a new life.
    pub leader_epoch: i32,
    /// The life of the leader that this election means; a broker leads only if it is its own.
    /// -1 without a leader.
    pub leader_broker_epoch: i64,
    /// The leader was elected outside the ISR and has not yet answered for its log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recovering: bool,
    /// Fields of later versions.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Partition {
    /// The leader, if there is one.
    pub fn leader(&self) -> Option<i32> {
        (self.leader != NO_LEADER).then_some(self.leader)
    }

    /// The log directory that `broker` keeps this partition in; zero if none is assigned or it has no replica.
    pub fn log_dir_of(&self, broker: i32) -> Uuid {
        let position = self.replicas.iter().position(|replica| *replica == broker);
        position.and_then(|at| self.log_dirs.get(at)).copied().unwrap_or(Uuid::ZERO)
    }

    /// True while a reassignment is under way.
    pub fn is_reassigning(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// The replicas once the reassignment under way is done; all of them if none is.
    pub fn target_replicas(&self) -> Vec<i32> {
        self.replicas.iter().copied().filter(|id| !self.removing.contains(id)).collect()
    }

    /// Replaces the replicas; each keeps its log directory, and a new one has none yet. ISR, ELR and leader
    /// are left as they are.
    pub fn set_replicas(&mut self, replicas: Vec<i32>) {
        let dirs = replicas.iter().map(|id| self.log_dir_of(*id)).collect();
        self.replicas = replicas;
        self.set_log_dirs(dirs);
    }

    /// Sets the log directory of every replica, in the order of the replicas.
    pub fn set_log_dirs(&mut self, dirs: Vec<Uuid>) {
        self.log_dirs = if dirs.iter().all(Uuid::is_zero) { Vec::new() } else { dirs };
    }
}

impl Value for Partition {}
