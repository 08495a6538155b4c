//! Equal shares of all partitions, where all members want the same topics.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::Input;
use crate::group::consumer::partitions::Partitions;

/// A partition: the index of its topic, and its number.
type Place = (usize, i32);

/// Everybody keeps what it has, up to its share: the total divided by the members, and one more for as many as
/// the remainder, who are those that have it already. What is left goes to members in the rack of a replica, and then
/// to whoever lacks something, in turns, so that the partitions of one topic do not end with one member.
pub fn assign(input: &Input) -> Vec<Arc<Partitions>> {
    let members = input.members.len();
    let mut topics = HashMap::new();
    let mut total = 0;
    for index in input.members[0].topics.iter() {
        topics.insert(input.topics[*index].id, *index);
        total += usize::try_from(input.topics[*index].partitions).unwrap_or(0);
    }

    let mut work = Work {
        input,
        held: Vec::with_capacity(members),
        taken: HashMap::new(),
        changed: vec![false; members],
    };
    for at in 0..members {
        work.take_over(at, &topics);
    }
    let lacking = work.level(total / members, total % members);
    let mut free = work.free();
    let mut lacking = Lacking::new(input, lacking);
    free.retain(|place| match lacking.in_rack_of(input, *place) {
        Some(at) => {
            work.give(at, *place);
            false
        }
        None => true,
    });
    for place in free {
        if let Some(at) = lacking.next() {
            work.give(at, place);
        }
    }
    work.finish()
}

struct Work<'a> {
    input: &'a Input,
    /// What each member keeps or gets.
    held: Vec<Vec<Place>>,
    /// Who has a partition.
    taken: HashMap<Place, usize>,
    /// Who has something else than before.
    changed: Vec<bool>,
}

impl Work<'_> {
    /// What a member was to have and still may.
    fn take_over(&mut self, at: usize, topics: &HashMap<ottla_protocol::Uuid, usize>) {
        let mut held = Vec::new();
        for (id, partition) in self.input.members[at].target.iter() {
            let topic = topics.get(&id).copied();
            let place = topic.filter(|topic| partition < self.input.topics[*topic].partitions);
            match place.map(|topic| (topic, partition)) {
                Some(place) if !self.taken.contains_key(&place) => {
                    self.taken.insert(place, at);
                    held.push(place);
                }
                _ => self.changed[at] = true,
            }
        }
        self.held.push(held);
    }

    /// Takes from members what exceeds their share; returns how much each of the others lacks.
    fn level(&mut self, quota: usize, mut extra: usize) -> Vec<usize> {
        let mut lacks = vec![0; self.held.len()];
        let mut may_have_one_more = Vec::new();
        for (at, lack) in lacks.iter_mut().enumerate() {
            let count = self.held[at].len();
            if quota < count && 0 < extra {
                extra -= 1;
                self.shrink(at, quota + 1);
            } else if quota < count {
                self.shrink(at, quota);
            } else {
                *lack = quota - count;
                may_have_one_more.push(at);
            }
        }
        for at in may_have_one_more.into_iter().take(extra) {
            lacks[at] += 1;
        }
        lacks
    }

    /// Takes partitions from a member, first those without a replica in its rack.
    fn shrink(&mut self, at: usize, quota: usize) {
        let rack = self.input.members[at].rack;
        let held = &mut self.held[at];
        if held.len() <= quota {
            return;
        }
        if let Some(rack) = rack {
            // Stable: within both halves the order stays.
            held.sort_by_key(|(topic, partition)| {
                !self.input.topics[*topic].racks_of(*partition).contains(&rack)
            });
        }
        for place in held.split_off(quota) {
            self.taken.remove(&place);
        }
        self.changed[at] = true;
    }

    /// Partitions that nobody has, topic by topic.
    fn free(&self) -> Vec<Place> {
        let topics = self.input.members[0].topics.iter();
        let places = topics.flat_map(|topic| {
            (0..self.input.topics[*topic].partitions).map(move |partition| (*topic, partition))
        });
        places.filter(|place| !self.taken.contains_key(place)).collect()
    }

    fn give(&mut self, at: usize, place: Place) {
        self.held[at].push(place);
        self.changed[at] = true;
    }

    fn finish(self) -> Vec<Arc<Partitions>> {
        let members = self.input.members.iter().zip(self.held).zip(self.changed);
        members
            .map(|((member, held), changed)| {
                if !changed {
                    return Arc::clone(&member.target);
                }
                let place = |(topic, partition): Place| (self.input.topics[topic].id, partition);
                Arc::new(held.into_iter().map(place).collect())
            })
            .collect()
    }
}

/// Members that lack partitions, in turns.
struct Lacking {
    lacks: Vec<usize>,
    turns: VecDeque<usize>,
    by_rack: BTreeMap<u32, VecDeque<usize>>,
}

impl Lacking {
    fn new(input: &Input, lacks: Vec<usize>) -> Self {
        let turns: VecDeque<usize> = (0..lacks.len()).filter(|at| 0 < lacks[*at]).collect();
        let mut by_rack = BTreeMap::<u32, VecDeque<usize>>::new();
        for at in &turns {
            if let Some(rack) = input.members[*at].rack {
                by_rack.entry(rack).or_default().push_back(*at);
            }
        }
        Self { lacks, turns, by_rack }
    }

    /// Whose turn it is among those in a rack of the partition's replicas.
    fn in_rack_of(&mut self, input: &Input, (topic, partition): Place) -> Option<usize> {
        for rack in input.topics[topic].racks_of(partition) {
            let Some(turns) = self.by_rack.get_mut(rack) else { continue };
            if let Some(at) = take_turn(turns, &mut self.lacks) {
                return Some(at);
            }
        }
        None
    }

    /// Whose turn it is.
    fn next(&mut self) -> Option<usize> {
        take_turn(&mut self.turns, &mut self.lacks)
    }
}

fn take_turn(turns: &mut VecDeque<usize>, lacks: &mut [usize]) -> Option<usize> {
    while let Some(at) = turns.pop_front() {
        if lacks[at] == 0 {
            continue;
        }
        lacks[at] -= 1;
        if 0 < lacks[at] {
            turns.push_back(at);
        }
        return Some(at);
    }
    None
}
