//! Who leads a partition, and who is in its ISR and ELR: functions of one partition and of the standing
//! of its brokers.
//!
//! They are written to be repeated: [`reconcile`] of a reconciled partition changes nothing, so whatever
//! was left half done, by this controller or its predecessor, is finished by looking again.

use std::collections::BTreeMap;

use ottla_metadata::model::{LOST_DIR, NO_LEADER, Partition};
use ottla_protocol::Uuid;

use super::reassignment;

/// Whether a broker may lead and be in an ISR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// May lead and be in an ISR.
    Active,
    /// Going to stop: hands over what it leads and leaves every ISR.
    Draining,
    /// Not known to be alive in the life that its epoch names.
    Fenced,
}

/// A broker as elections see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The life that is meant.
    pub broker_epoch: i64,
    /// What it may do.
    pub standing: Standing,
}

/// The log directories of a broker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directories {
    /// Those that it had when its life began; empty = not told.
    pub all: Vec<Uuid>,
    /// Those of them that failed since.
    pub offline: Vec<Uuid>,
}

impl Directories {
    /// True if none is left: such a broker can serve nothing.
    pub fn all_failed(&self) -> bool {
        !self.all.is_empty() && self.all.iter().all(|dir| self.offline.contains(dir))
    }

    /// The one directory of a broker that has no other.
    fn only(&self) -> Option<Uuid> {
        if let [only] = self.all[..] { Some(only) } else { None }
    }

    fn lacks(&self, dir: Uuid) -> bool {
        dir == LOST_DIR || (!dir.is_zero() && !self.all.is_empty() && !self.all.contains(&dir))
    }
}

/// Every registered broker by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    members: BTreeMap<i32, Member>,
    directories: BTreeMap<i32, Directories>,
    /// Brokers whose process has claimed anew: the first epoch that still means the same process.
    reclaimed: BTreeMap<i32, i64>,
}

impl Members {
    /// True if `id` may lead and be in an ISR, as far as the whole broker goes.
    pub fn is_active(&self, id: i32) -> bool {
        self.members.get(&id).is_some_and(|member| member.standing == Standing::Active)
    }

    /// True if `id` may lead this partition and be in its ISR: it is active, and the directory that its
    /// replica is in, as far as that is known, is there and did not fail.
    pub fn can_serve(&self, partition: &Partition, id: i32) -> bool {
        let dir = partition.log_dir_of(id);
        let has_failed = self
            .directories
            .get(&id)
            .is_some_and(|dirs| dirs.offline.contains(&dir) || dirs.lacks(dir));
        self.is_active(id) && !has_failed
    }

    /// The broker called `id`.
    pub fn member(&self, id: i32) -> Option<Member> {
        self.members.get(&id).copied()
    }

    /// Adds or replaces a broker.
    pub fn set(&mut self, id: i32, member: Member) {
        self.members.insert(id, member);
    }

    /// What directories a broker has.
    pub fn set_directories(&mut self, id: i32, directories: Directories) {
        self.directories.insert(id, directories);
    }

    /// The process of `id`, which `recorded` stands for, has claimed anew: its epoch is another one, and the
    /// disks are the same.
    pub fn set_reclaimed(&mut self, id: i32, recorded: i64) {
        self.reclaimed.insert(id, recorded);
    }

    /// True if `epoch` means the process that `id` is now.
    fn is_present(&self, id: i32, epoch: i64) -> bool {
        self.members.get(&id).is_some_and(|member| {
            let first = self.reclaimed.get(&id).copied().unwrap_or(member.broker_epoch);
            (first..=member.broker_epoch).contains(&epoch)
        })
    }

    /// Forgets a broker.
    pub fn remove(&mut self, id: i32) {
        self.members.remove(&id);
        self.reclaimed.remove(&id);
        self.directories.remove(&id);
    }

    /// Where a new replica on `id` goes, if the broker has no choice; zero = the broker will tell.
    pub fn directory_for(&self, id: i32) -> Uuid {
        self.directories.get(&id).and_then(Directories::only).unwrap_or(Uuid::ZERO)
    }

    /// Ids and standings in the order of ids.
    pub fn iter(&self) -> impl Iterator<Item = (i32, Member)> {
        self.members.iter().map(|(id, member)| (*id, *member))
    }

    /// A log that cannot be used waits for its broker to say that it can.
    fn lacks_directory(&self, partition: &Partition, id: i32) -> bool {
        let dir = partition.log_dir_of(id);
        dir != LOST_DIR && self.directories.get(&id).is_some_and(|dirs| dirs.lacks(dir))
    }
}

impl FromIterator<(i32, Member)> for Members {
    fn from_iter<T: IntoIterator<Item = (i32, Member)>>(members: T) -> Self {
        Self { members: members.into_iter().collect(), ..Self::default() }
    }
}

/// What a topic's configs say about elections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// `min.insync.replicas`, at least 1: with fewer in the ISR, those who left it stay eligible.
    pub min_isr: usize,
    /// `unclean.leader.election.enable`: whether a broker may lead that may lack acknowledged records.
    pub unclean: bool,
}

impl Rules {
    /// More than the replicas can never be in sync.
    pub fn min_isr_of(self, partition: &Partition) -> usize {
        self.min_isr.min(partition.replicas.len()).max(1)
    }
}

/// How a leader was found, from the safest way to the most dangerous.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Election {
    /// The leader stays, only the ISR or ELR changed.
    Kept,
    /// From the ISR.
    InSync,
    /// From the ELR: out of the ISR, but holding everything that was acknowledged.
    Eligible,
    /// The last leader, whose machine went down: unsynced records may be gone, and nobody has more.
    LastKnown,
    /// Any replica that lives, because the topic allows it: acknowledged records may be gone.
    Unclean,
    /// Nobody can lead.
    Offline,
}

/// A partition as it shall be written, and how its leader was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Elected {
    /// The new value.
    pub partition: Partition,
    /// How its leader was found.
    pub election: Election,
}

/// What a partition must become given the standing of its brokers; `None` if it is that already.
///
/// 1. Whoever is not active, or whose directory failed, leaves the ISR. While the ISR is smaller than `min.insync.replicas` those who
///    leave it are eligible (ELR), since acks=all stood still without them.
/// 2. A reassignment whose target is in sync is completed.
/// 3. A leader in the ISR, in the life that it was elected in, stays, also under a new epoch of the same process. Otherwise one is found, in the order
///    ISR, ELR, last known leader, unclean (where allowed), within each in the order of the replicas.
/// 4. Any change of the leader or of its life raises the leader epoch, and so does a replica less: what it
///    still asks of the leader is then of an epoch that is over.
pub fn reconcile(partition: &Partition, members: &Members, rules: Rules) -> Option<Elected> {
    let mut next = partition.clone();
    settle_directories(&mut next, members, rules);
    let able = |id: &i32| members.can_serve(&next, *id);
    let isr = next.isr.iter().copied().filter(able).collect();
    next.isr = isr;
    reassignment::complete(&mut next);
    settle_eligible(&mut next, partition, rules);
    let election = settle_leader(&mut next, partition, members, rules);
    (next != *partition).then_some(Elected { partition: next, election })
}

/// Finds a leader if `next`, which `before` became, has none that may stay, and raises the leader epoch
/// where that has to be.
pub(super) fn settle_leader(
    next: &mut Partition,
    before: &Partition,
    members: &Members,
    rules: Rules,
) -> Election {
    let election = if keeps_leader(next, members) {
        Election::Kept
    } else {
        choose_leader(next, members, rules)
    };
    next.leader_broker_epoch = members.member(next.leader).map_or(-1, |member| member.broker_epoch);
    if election == Election::Eligible {
        settle_eligible(next, before, rules);
    }
    if next.leader == NO_LEADER
        && let Some(last) = before.leader().filter(|last| next.replicas.contains(last))
    {
        // Whoever is elected without the ELR, it has to be the one that led last: nobody has more.
        next.last_known_elr.retain(|id| *id != last);
        next.last_known_elr.insert(0, last);
    }
    let has_lost_a_replica = before.replicas.iter().any(|id| !next.replicas.contains(id));
    if next.leader != before.leader
        || next.leader_broker_epoch != before.leader_broker_epoch
        || has_lost_a_replica
    {
        next.leader_epoch += 1;
    }
    election
}

/// Makes `leader`, which is in the ISR or eligible, the leader in a new epoch.
pub(super) fn hand_over(
    partition: &Partition,
    leader: i32,
    members: &Members,
    rules: Rules,
) -> Option<Partition> {
    let mut next = partition.clone();
    next.leader = leader;
    next.leader_broker_epoch = members.member(leader)?.broker_epoch;
    next.leader_epoch += 1;
    if !next.isr.contains(&leader) {
        crown(&mut next, leader, Election::Eligible);
        settle_eligible(&mut next, partition, rules);
    }
    Some(next)
}

/// Forgets directories that the brokers no longer have: what such a replica held is gone, and it starts
/// anew elsewhere. The only replica of a partition waits for its directory instead, unless the topic allows
/// that records are lost.
fn settle_directories(next: &mut Partition, members: &Members, rules: Rules) {
    let is_lost = |id: &i32| members.lacks_directory(next, *id);
    let waits = next.replicas.len() == 1 && !rules.unclean;
    if next.log_dirs.is_empty() || waits || !next.replicas.iter().any(is_lost) {
        return;
    }
    let dir = |id: &i32| {
        if is_lost(id) { members.directory_for(*id) } else { next.log_dir_of(*id) }
    };
    let dirs = next.replicas.iter().map(dir).collect();
    next.set_log_dirs(dirs);
}

/// Takes `broker` out of ISR and ELR because its disk may have lost what it had: its machine went down, or
/// its log directories are not those it had. It becomes a last known replica instead.
///
/// The only replica of a partition stays what it is: there is nobody to elect instead of it and nothing to
/// compare it with, so its partition continues with what its disk kept. That is the durability of one
/// replica; `flush.messages=1` makes it that of the disk.
pub fn demote(partition: &Partition, broker: i32) -> Option<Partition> {
    let held_seat = partition.isr.contains(&broker) || partition.elr.contains(&broker);
    if !held_seat || partition.replicas.len() == 1 {
        return None;
    }
    let led_last = partition.leader == broker || partition.last_known_elr.first() == Some(&broker);
    let mut next = partition.clone();
    next.isr.retain(|id| *id != broker);
    next.elr.retain(|id| *id != broker);
    next.last_known_elr.retain(|id| *id != broker);
    if led_last {
        next.last_known_elr.insert(0, broker);
    } else {
        next.last_known_elr.push(broker);
    }
    Some(next)
}

/// The partition that a creation writes for `replicas`, whose first active one leads; `None` if none is.
pub fn first_state(replicas: &[i32], members: &Members) -> Option<Partition> {
    let isr: Vec<i32> = replicas.iter().copied().filter(|id| members.is_active(*id)).collect();
    let leader = *isr.first()?;
    let mut partition = Partition {
        replicas: replicas.to_vec(),
        log_dirs: Vec::new(),
        adding: Vec::new(),
        removing: Vec::new(),
        isr,
        elr: Vec::new(),
        last_known_elr: Vec::new(),
        leader,
        leader_epoch: 0,
        leader_broker_epoch: members.member(leader)?.broker_epoch,
        recovering: false,
        rest: Default::default(),
    };
    partition.set_log_dirs(replicas.iter().map(|id| members.directory_for(*id)).collect());
    Some(partition)
}

/// The partition with the ISR that its leader proposed, which the caller has checked.
pub fn with_isr(partition: &Partition, isr: Vec<i32>, recovering: bool, rules: Rules) -> Partition {
    let mut next = partition.clone();
    next.isr = isr;
    next.recovering = recovering;
    settle_eligible(&mut next, partition, rules);
    next
}

/// The partition without those who are no longer eligible once `rules` hold; `None` if nobody loses that.
///
/// It has to be written before the rules are: below the old minimum nothing was acknowledged, and above the
/// new one records will be that those outside the ISR do not have.
pub(super) fn without_stale_eligible(partition: &Partition, rules: Rules) -> Option<Partition> {
    let mut next = partition.clone();
    settle_eligible(&mut next, partition, rules);
    (next != *partition).then_some(next)
}

/// Invariant afterwards: ISR and ELR are disjoint, and the ELR is empty when the ISR is large enough.
pub(super) fn settle_eligible(next: &mut Partition, before: &Partition, rules: Rules) {
    if rules.min_isr_of(next) <= next.isr.len() {
        next.elr.clear();
        next.last_known_elr.clear();
        return;
    }
    let held = |id: &i32| before.isr.contains(id) || before.elr.contains(id);
    next.elr =
        next.replicas.iter().filter(|id| held(id) && !next.isr.contains(id)).copied().collect();
    next.last_known_elr.retain(|id| next.replicas.contains(id) && !next.isr.contains(id));
}

fn keeps_leader(next: &Partition, members: &Members) -> bool {
    if next.leader == NO_LEADER {
        return false;
    }
    members.is_present(next.leader, next.leader_broker_epoch) && next.isr.contains(&next.leader)
}

fn choose_leader(next: &mut Partition, members: &Members, rules: Rules) -> Election {
    let electable = |id: &&i32| members.can_serve(next, **id);
    let in_order = |seats: &[i32]| {
        next.replicas.iter().filter(|id| seats.contains(id)).find(electable).copied()
    };
    if let Some(leader) = in_order(&next.isr) {
        next.leader = leader;
        return Election::InSync;
    }
    if let Some(leader) = in_order(&next.elr) {
        return crown(next, leader, Election::Eligible);
    }
    // Whoever was eligible may come back with everything, so a last known leader must wait for it.
    let last_known = next.last_known_elr.first().filter(electable).copied();
    if let Some(leader) = last_known.filter(|_| next.elr.is_empty()) {
        return crown(next, leader, Election::LastKnown);
    }
    if let Some(leader) = in_order(&next.replicas).filter(|_| rules.unclean) {
        return crown(next, leader, Election::Unclean);
    }
    next.leader = NO_LEADER;
    Election::Offline
}

/// Makes somebody outside the ISR the leader, and so the whole ISR.
fn crown(next: &mut Partition, leader: i32, election: Election) -> Election {
    next.leader = leader;
    next.isr = vec![leader];
    next.elr.retain(|id| *id != leader);
    if election != Election::Eligible {
        // What others hold beyond this leader's log is no longer part of the partition.
        next.elr.clear();
        next.last_known_elr.clear();
        next.recovering = true;
    }
    election
}

#[cfg(test)]
mod tests;
