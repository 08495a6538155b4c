//! `cooperative-sticky`: as even as it gets, with as few moves as it takes.
//!
//! A partition that moves is given to nobody at first: its owner gives it up, joins again, and only then does
//! another member get it.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::Str;
use ottla_protocol::types::PartitionId;

use super::{Assignment, Subscription};
use crate::consumer::TopicPartition;

/// The state of one division.
struct Division<'a> {
    members: &'a [Subscription],
    /// What each member gets, in the order of `members`.
    assigned: Vec<BTreeSet<TopicPartition>>,
    /// Members by how much they have.
    by_load: BTreeSet<(usize, usize)>,
    /// Members that read a topic.
    readers: BTreeMap<&'a Str, Vec<usize>>,
}

pub(super) fn assign(members: &[Subscription], topics: &BTreeMap<Str, i32>) -> Assignment {
    let owners = owners(members, topics);
    let mut division = Division::new(members, topics);
    for (partition, &owner) in &owners {
        division.give(owner, partition.clone());
    }
    let all = topics
        .iter()
        .flat_map(|(topic, &count)| (0..count).map(move |id| (topic.clone(), PartitionId(id))));
    let mut free: Vec<TopicPartition> = all.filter(|one| !owners.contains_key(one)).collect();
    // Those that few members read first: they have the least choice.
    free.sort_by_cached_key(|(topic, _)| division.readers.get(topic).map_or(0, Vec::len));
    for partition in free {
        if let Some(reader) = division.least_loaded(&partition.0) {
            division.give(reader, partition);
        }
    }
    division.balance();
    let is_moving = |partition: &TopicPartition, to: usize| {
        owners.get(partition).is_some_and(|&owner| owner != to)
    };
    let assigned = division.assigned.iter().enumerate().map(|(index, own)| {
        let own = own.iter().filter(|partition| !is_moving(partition, index)).cloned().collect();
        (members[index].member_id.clone(), own)
    });
    assigned.collect()
}

/// Who has what: of two that say they have the same, the one who says it of a later generation; neither, if both
/// say it of the same one. Nobody keeps what is not there or what it does not want any more.
fn owners(
    members: &[Subscription],
    topics: &BTreeMap<Str, i32>,
) -> BTreeMap<TopicPartition, usize> {
    let mut claims: BTreeMap<TopicPartition, (i32, Option<usize>)> = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        for partition in &member.owned {
            let exists = topics.get(&partition.0).is_some_and(|count| partition.1.0 < *count);
            if !exists || !member.topics.contains(&partition.0) {
                continue;
            }
            let claim = (member.generation, Some(index));
            claims
                .entry(partition.clone())
                .and_modify(|best| match best.0.cmp(&member.generation) {
                    std::cmp::Ordering::Less => *best = claim,
                    std::cmp::Ordering::Equal => best.1 = None,
                    std::cmp::Ordering::Greater => {}
                })
                .or_insert(claim);
        }
    }
    claims.into_iter().filter_map(|(partition, (_, owner))| Some((partition, owner?))).collect()
}

impl<'a> Division<'a> {
    fn new(members: &'a [Subscription], topics: &'a BTreeMap<Str, i32>) -> Self {
        let mut readers: BTreeMap<&Str, Vec<usize>> = BTreeMap::new();
        for topic in topics.keys() {
            let reads = |index: &usize| members[*index].topics.contains(topic);
            readers.insert(topic, (0..members.len()).filter(reads).collect());
        }
        Self {
            members,
            assigned: vec![BTreeSet::new(); members.len()],
            by_load: (0..members.len()).map(|index| (0, index)).collect(),
            readers,
        }
    }

    fn load(&self, member: usize) -> usize {
        self.assigned[member].len()
    }

    fn give(&mut self, to: usize, partition: TopicPartition) {
        self.by_load.remove(&(self.load(to), to));
        self.assigned[to].insert(partition);
        self.by_load.insert((self.load(to), to));
    }

    fn take(&mut self, from: usize, partition: &TopicPartition) {
        self.by_load.remove(&(self.load(from), from));
        self.assigned[from].remove(partition);
        self.by_load.insert((self.load(from), from));
    }

    /// The member with the least that reads `topic`.
    fn least_loaded(&self, topic: &Str) -> Option<usize> {
        let readers = self.readers.get(topic)?;
        if readers.len() == self.members.len() {
            return self.by_load.first().map(|(_, member)| *member);
        }
        readers.iter().copied().min_by_key(|member| (self.load(*member), *member))
    }

    /// Moves partitions from who has more to who has less, until no move makes it more even.
    fn balance(&mut self) {
        loop {
            let loaded: Vec<usize> = self.by_load.iter().rev().map(|(_, member)| *member).collect();
            let Some((from, to, partition)) = loaded.iter().find_map(|&from| self.better(from))
            else {
                return;
            };
            self.take(from, &partition);
            self.give(to, partition);
        }
    }

    /// A partition of `from` that somebody else should have rather, because it has at least two less.
    fn better(&self, from: usize) -> Option<(usize, usize, TopicPartition)> {
        let least = self.by_load.first()?.0;
        if self.load(from) <= least + 1 {
            return None;
        }
        let mut seen = None;
        // The last ones go, so that the first ones stay where they are.
        self.assigned[from].iter().rev().find_map(|partition| {
            if seen.replace(&partition.0) == Some(&partition.0) {
                return None;
            }
            let to = self.least_loaded(&partition.0)?;
            (self.load(to) + 1 < self.load(from)).then(|| (from, to, partition.clone()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, topics: &[&str], owned: &[(&str, i32)], generation: i32) -> Subscription {
        Subscription {
            member_id: id.into(),
            instance_id: None,
            topics: topics.iter().map(|topic| Str::from(*topic)).collect(),
            owned: owned.iter().map(|(topic, id)| (Str::from(*topic), PartitionId(*id))).collect(),
            generation,
        }
    }

    fn shown(assignment: &Assignment, id: &str) -> String {
        let own = assignment[id].iter().map(|(topic, partition)| format!("{topic}{partition}"));
        own.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn first_division_is_even() {
        let members = [member("a", &["t"], &[], -1), member("b", &["t"], &[], -1)];
        let assignment = assign(&members, &[("t".into(), 5)].into());
        assert_eq!(shown(&assignment, "a"), "t0 t2 t4");
        assert_eq!(shown(&assignment, "b"), "t1 t3");
    }

    #[test]
    fn what_moves_is_given_up_before_it_is_given_away() {
        let owned = [("t", 0), ("t", 1), ("t", 2), ("t", 3)];
        let topics = [("t".into(), 4)].into();
        let members = [member("a", &["t"], &owned, 1), member("b", &["t"], &[], -1)];
        let assignment = assign(&members, &topics);
        assert_eq!((&*shown(&assignment, "a"), &*shown(&assignment, "b")), ("t0 t1", ""));
        // The second rebalance, at once.
        let members = [member("a", &["t"], &owned[..2], 2), member("b", &["t"], &[], 2)];
        let assignment = assign(&members, &topics);
        assert_eq!((&*shown(&assignment, "a"), &*shown(&assignment, "b")), ("t0 t1", "t2 t3"));
    }

    #[test]
    fn who_leaves_moves_nobody_elses_partitions() {
        let topics = [("t".into(), 6)].into();
        let members = [
            member("a", &["t"], &[("t", 0), ("t", 1)], 4),
            member("c", &["t"], &[("t", 4), ("t", 5)], 4),
        ];
        let assignment = assign(&members, &topics);
        assert_eq!(shown(&assignment, "a"), "t0 t1 t2");
        assert_eq!(shown(&assignment, "c"), "t3 t4 t5");
    }

    #[test]
    fn later_claim_wins_and_equal_ones_are_void() {
        let topics = [("t".into(), 2)].into();
        let members =
            [member("a", &["t"], &[("t", 0), ("t", 1)], 3), member("b", &["t"], &[("t", 0)], 4)];
        let assignment = assign(&members, &topics);
        assert_eq!((&*shown(&assignment, "a"), &*shown(&assignment, "b")), ("t1", "t0"));
        let members = [member("a", &["t"], &[("t", 0)], 3), member("b", &["t"], &[("t", 0)], 3)];
        let assignment = assign(&members, &topics);
        assert_eq!((&*shown(&assignment, "a"), &*shown(&assignment, "b")), ("t0", "t1"));
    }

    #[test]
    fn different_subscriptions_are_as_even_as_they_allow() {
        let topics = [("t".into(), 2), ("u".into(), 6), ("gone".into(), 0)].into();
        let members = [
            member("a", &["t", "u"], &[], -1),
            member("b", &["u"], &[], -1),
            member("c", &["t", "nowhere"], &[("nowhere", 0)], 9),
        ];
        let assignment = assign(&members, &topics);
        assert_eq!(assignment["a"].len(), 3);
        assert_eq!(assignment["b"].len(), 3);
        assert_eq!(shown(&assignment, "c"), "t0 t1");
    }
}
