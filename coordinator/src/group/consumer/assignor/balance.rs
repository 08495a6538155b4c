//! Shares as equal as can be where members want different topics.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::HashMap;
use std::sync::Arc;

use super::Input;
use crate::group::consumer::partitions::Partitions;

/// Everybody keeps what it has and still wants. What is left goes, from the topic with the fewest readers on, to the
/// reader that has least. Then partitions move, one by one, from a member to another that wants the topic too and has at
/// least two less, until nobody can be helped so.
pub fn assign(input: &Input) -> Vec<Arc<Partitions>> {
    let mut work = Work::new(input);
    work.take_over();
    let mut topics: Vec<usize> = (0..input.topics.len()).collect();
    topics.sort_by_key(|topic| (work.readers[*topic].len(), *topic));
    for topic in &topics {
        work.hand_out(*topic);
    }
    for _ in 0..ROUNDS_MAX {
        let mut moved = false;
        for topic in &topics {
            moved |= work.level(*topic);
        }
        if !moved {
            break;
        }
    }
    work.finish()
}

struct Work<'a> {
    input: &'a Input,
    /// The members that want a topic.
    readers: Vec<Vec<usize>>,
    /// Who has a partition, by topic and number.
    owners: Vec<Vec<Option<usize>>>,
    /// How much each member has.
    load: Vec<usize>,
}

impl<'a> Work<'a> {
    fn new(input: &'a Input) -> Self {
        let mut readers = vec![Vec::new(); input.topics.len()];
        for (at, member) in input.members.iter().enumerate() {
            for topic in member.topics.iter() {
                readers[*topic].push(at);
            }
        }
        let partitions = |count: i32| vec![None; usize::try_from(count).unwrap_or(0)];
        let owners = input.topics.iter().map(|topic| partitions(topic.partitions)).collect();
        Self { input, readers, owners, load: vec![0; input.members.len()] }
    }

    fn take_over(&mut self) {
        let ids: HashMap<_, _> =
            self.input.topics.iter().enumerate().map(|(at, topic)| (topic.id, at)).collect();
        for (at, member) in self.input.members.iter().enumerate() {
            for (id, partition) in member.target.iter() {
                let Some(topic) = ids.get(&id).copied() else { continue };
                if member.topics.binary_search(&topic).is_err() {
                    continue;
                }
                let number = usize::try_from(partition).unwrap_or(usize::MAX);
                if let Some(owner @ None) = self.owners[topic].get_mut(number) {
                    *owner = Some(at);
                    self.load[at] += 1;
                }
            }
        }
    }

    fn hand_out(&mut self, topic: usize) {
        let loads = self.readers[topic].iter().map(|at| Reverse((self.load[*at], *at)));
        let mut least: BinaryHeap<_> = loads.collect();
        for partition in 0..self.owners[topic].len() {
            if self.owners[topic][partition].is_some() {
                continue;
            }
            let near = self.near(topic, partition, &least);
            let Some(at) = near.or_else(|| least.peek().map(|Reverse((_, at))| *at)) else {
                return;
            };
            self.owners[topic][partition] = Some(at);
            self.load[at] += 1;
            if least.peek().is_some_and(|Reverse((_, first))| *first == at) {
                least.pop();
                least.push(Reverse((self.load[at], at)));
            } else {
                let loads = self.readers[topic].iter().map(|at| Reverse((self.load[*at], *at)));
                least = loads.collect();
            }
        }
    }

    /// A reader in the rack of a replica, if it has no more than whoever has least.
    fn near(
        &self,
        topic: usize,
        partition: usize,
        least: &BinaryHeap<Reverse<(usize, usize)>>,
    ) -> Option<usize> {
        let racks =
            self.input.topics[topic].racks.get(partition).filter(|racks| !racks.is_empty())?;
        let Reverse((load, _)) = least.peek()?;
        let is_near = |at: &usize| {
            self.load[*at] == *load
                && self.input.members[*at].rack.is_some_and(|rack| racks.contains(&rack))
        };
        self.readers[topic].iter().copied().find(is_near)
    }

    /// Moves partitions of one topic from members that have more to members that have less.
    fn level(&mut self, topic: usize) -> bool {
        let mut held: HashMap<usize, Vec<usize>> = HashMap::new();
        for (partition, owner) in self.owners[topic].iter().enumerate() {
            if let Some(owner) = owner {
                held.entry(*owner).or_default().push(partition);
            }
        }
        let mut most: BinaryHeap<(usize, usize)> =
            held.keys().map(|at| (self.load[*at], *at)).collect();
        let mut least: BinaryHeap<Reverse<(usize, usize)>> =
            self.readers[topic].iter().map(|at| Reverse((self.load[*at], *at))).collect();
        let mut moved = false;
        while let (Some((high, from)), Some(Reverse((low, to)))) = (most.pop(), least.pop()) {
            // Entries of members that have given or got since are out of date.
            if high != self.load[from] {
                least.push(Reverse((low, to)));
                continue;
            }
            if low != self.load[to] {
                most.push((high, from));
                continue;
            }
            if high < low + 2 {
                break;
            }
            let Some(partition) = held.get_mut(&from).and_then(Vec::pop) else {
                least.push(Reverse((low, to)));
                continue;
            };
            self.owners[topic][partition] = Some(to);
            held.entry(to).or_default().push(partition);
            self.load[from] -= 1;
            self.load[to] += 1;
            moved = true;
            for at in [from, to] {
                most.push((self.load[at], at));
                least.push(Reverse((self.load[at], at)));
            }
        }
        moved
    }

    fn finish(self) -> Vec<Arc<Partitions>> {
        let mut targets = vec![Partitions::default(); self.input.members.len()];
        for (topic, owners) in self.input.topics.iter().zip(self.owners) {
            for (partition, owner) in (0..).zip(owners) {
                if let Some(owner) = owner {
                    targets[owner].insert(topic.id, partition);
                }
            }
        }
        let members = self.input.members.iter().zip(targets);
        members
            .map(|(member, target)| {
                if *member.target == target { Arc::clone(&member.target) } else { Arc::new(target) }
            })
            .collect()
    }
}

/// Rounds of moving. Each move evens loads out, so a few are enough; more would gain little and cost time.
const ROUNDS_MAX: usize = 100;
