//! Proposals of assignments: where replicas should go, with as few moves as possible.
//!
//! Functions of plain data, so that they serve whoever knows a cluster: the REST API from the image, a tool
//! from what brokers told it. They change nothing.

use std::collections::{BTreeMap, BTreeSet};

/// A broker that may take replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its id.
    pub id: i32,
    /// Where it stands; brokers that do not say share one nameless rack.
    pub rack: Option<String>,
    /// Replicas that it has, those of partitions that are not concerned included.
    pub replicas: usize,
}

/// A partition with its replicas, the preferred leader first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placement {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Ids of its brokers.
    pub replicas: Vec<i32>,
}

/// A partition whose replicas should change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// How it is.
    pub before: Placement,
    /// How it should be.
    pub after: Placement,
}

impl Move {
    /// Brokers that get a replica.
    pub fn adding(&self) -> impl Iterator<Item = i32> {
        let before = &self.before.replicas;
        self.after.replicas.iter().copied().filter(move |id| !before.contains(id))
    }
}

/// Why there is no proposal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{topic}-{partition} has {replicas} replicas, more than the {targets} brokers that may take them"
)]
pub struct TooFewBrokers {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// How many replicas it has.
    pub replicas: usize,
    /// How many brokers may have them.
    pub targets: usize,
}

/// Moves every replica off the brokers `leaving`, and leaves all others where they are. Each goes to a rack
/// that has no replica of the partition yet, and there to the broker with the fewest replicas.
pub fn empty(
    targets: &[Target],
    partitions: &[Placement],
    leaving: &BTreeSet<i32>,
) -> Result<Vec<Move>, TooFewBrokers> {
    let stays = |id: i32| !leaving.contains(&id);
    let targets: Vec<Target> = targets.iter().filter(|it| stays(it.id)).cloned().collect();
    let mut layout = Layout::new(&targets, partitions);
    layout.replace(stays)?;
    Ok(layout.moves(partitions))
}

/// Spreads the partitions evenly over `targets`: what is elsewhere moves there, then replicas move from the
/// brokers with most of them to those with fewest, then preferred leaders are evened out by mere changes of
/// order. A rack never has more replicas of a partition because of it.
pub fn spread(targets: &[Target], partitions: &[Placement]) -> Result<Vec<Move>, TooFewBrokers> {
    let ids: BTreeSet<i32> = targets.iter().map(|target| target.id).collect();
    let mut layout = Layout::new(targets, partitions);
    layout.replace(|id| ids.contains(&id))?;
    while layout.even_out() {}
    layout.even_out_leaders();
    Ok(layout.moves(partitions))
}

/// An assignment in the making.
struct Layout {
    racks: BTreeMap<i32, Option<String>>,
    /// Replicas of each target, those of other partitions included.
    totals: BTreeMap<i32, usize>,
    /// Replicas of each target, of the partitions concerned.
    loads: BTreeMap<i32, usize>,
    rows: Vec<Placement>,
    /// The rows that each target has.
    held: BTreeMap<i32, BTreeSet<usize>>,
}

impl Layout {
    fn new(targets: &[Target], partitions: &[Placement]) -> Self {
        let mut held: BTreeMap<i32, BTreeSet<usize>> = BTreeMap::new();
        for (row, placement) in partitions.iter().enumerate() {
            for id in &placement.replicas {
                held.entry(*id).or_default().insert(row);
            }
        }
        let load = |target: &Target| (target.id, held.get(&target.id).map_or(0, BTreeSet::len));
        Self {
            racks: targets.iter().map(|target| (target.id, target.rack.clone())).collect(),
            totals: targets.iter().map(|target| (target.id, target.replicas)).collect(),
            loads: targets.iter().map(load).collect(),
            rows: partitions.to_vec(),
            held,
        }
    }

    /// Replaces every replica that may not stay.
    fn replace(&mut self, stays: impl Fn(i32) -> bool) -> Result<(), TooFewBrokers> {
        for row in 0..self.rows.len() {
            for seat in 0..self.rows[row].replicas.len() {
                if stays(self.rows[row].replicas[seat]) {
                    continue;
                }
                let Some(to) = self.best(row, seat) else {
                    let placement = &self.rows[row];
                    return Err(TooFewBrokers {
                        topic: placement.topic.clone(),
                        partition: placement.partition,
                        replicas: placement.replicas.len(),
                        targets: self.racks.len(),
                    });
                };
                self.assign(row, seat, to);
            }
        }
        Ok(())
    }

    /// The target that should have this seat of the row.
    fn best(&self, row: usize, seat: usize) -> Option<i32> {
        let replicas = &self.rows[row].replicas;
        let candidates = self.racks.keys().copied().filter(|id| !replicas.contains(id));
        candidates.min_by_key(|id| {
            (self.neighbours(row, seat, *id), self.loads[id], self.totals[id], *id)
        })
    }

    /// How many other replicas of the row stand in the rack of `id`.
    fn neighbours(&self, row: usize, seat: usize, id: i32) -> usize {
        let rack = &self.racks[&id];
        let others = self.rows[row].replicas.iter().enumerate().filter(|(at, _)| *at != seat);
        others.filter(|(_, other)| self.racks.get(other).is_some_and(|it| it == rack)).count()
    }

    fn assign(&mut self, row: usize, seat: usize, to: i32) {
        let from = std::mem::replace(&mut self.rows[row].replicas[seat], to);
        if let Some(rows) = self.held.get_mut(&from) {
            rows.remove(&row);
        }
        self.held.entry(to).or_default().insert(row);
        for counts in [&mut self.loads, &mut self.totals] {
            if let Some(count) = counts.get_mut(&from) {
                *count = count.saturating_sub(1);
            }
            *counts.entry(to).or_default() += 1;
        }
    }

    /// Moves one replica from a broker with many to one with at least two fewer; false if none can move. Every
    /// such move brings the loads closer together, so they come to an end.
    fn even_out(&mut self) -> bool {
        let mut ids: Vec<i32> = self.loads.keys().copied().collect();
        ids.sort_by_key(|id| (self.loads[id], self.totals[id], *id));
        for from in ids.iter().rev() {
            for to in &ids {
                if self.loads[from] < self.loads[to] + 2 {
                    break;
                }
                if let Some((row, seat)) = self.movable(*from, *to) {
                    self.assign(row, seat, *to);
                    return true;
                }
            }
        }
        false
    }

    /// A replica that can move between two brokers without crowding a rack; rather not a preferred leader.
    fn movable(&self, from: i32, to: i32) -> Option<(usize, usize)> {
        let mut leader = None;
        for row in self.held.get(&from)? {
            let replicas = &self.rows[*row].replicas;
            let Some(seat) = replicas.iter().position(|id| *id == from) else { continue };
            let crowds = self.neighbours(*row, seat, from) < self.neighbours(*row, seat, to);
            if replicas.contains(&to) || crowds {
                continue;
            }
            if 0 < seat {
                return Some((*row, seat));
            }
            leader = leader.or(Some((*row, seat)));
        }
        leader
    }

    /// Makes brokers with few preferred leaders first where brokers with many are.
    fn even_out_leaders(&mut self) {
        let mut leads: BTreeMap<i32, usize> = BTreeMap::new();
        for row in &self.rows {
            if let Some(first) = row.replicas.first() {
                *leads.entry(*first).or_default() += 1;
            }
        }
        for _ in 0..LEADER_ROUNDS_MAX {
            let mut changed = false;
            for row in &mut self.rows {
                let count = |id: &i32| leads.get(id).copied().unwrap_or(0);
                let Some(first) = row.replicas.first().copied() else { continue };
                let fewest = (1..row.replicas.len()).min_by_key(|at| count(&row.replicas[*at]));
                let Some(at) = fewest else { continue };
                if count(&row.replicas[at]) + 1 < count(&first) {
                    row.replicas.swap(0, at);
                    *leads.entry(first).or_default() -= 1;
                    *leads.entry(row.replicas[0]).or_default() += 1;
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
    }

    fn moves(self, partitions: &[Placement]) -> Vec<Move> {
        let pairs = partitions.iter().zip(self.rows);
        let changed = pairs.filter(|(before, after)| before.replicas != after.replicas);
        changed.map(|(before, after)| Move { before: before.clone(), after }).collect()
    }
}

/// Rounds over all partitions in which preferred leaders are evened out.
const LEADER_ROUNDS_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn targets(racks: &[&str]) -> Vec<Target> {
        let target = |(id, rack): (i32, &&str)| {
            let rack = (!rack.is_empty()).then(|| (*rack).to_owned());
            Target { id, rack, replicas: 0 }
        };
        (1..).zip(racks).map(target).collect()
    }

    fn placements(replicas: &[&[i32]]) -> Vec<Placement> {
        let placement = |(partition, replicas): (i32, &&[i32])| Placement {
            topic: "t".to_owned(),
            partition,
            replicas: replicas.to_vec(),
        };
        (0..).zip(replicas).map(placement).collect()
    }

    fn loads(moves: &[Move], partitions: &[Placement]) -> BTreeMap<i32, usize> {
        let mut loads = BTreeMap::new();
        for placement in partitions {
            let moved = moves.iter().find(|it| it.before == *placement);
            for id in &moved.map_or(placement, |it| &it.after).replicas {
                *loads.entry(*id).or_default() += 1;
            }
        }
        loads
    }

    #[test]
    fn leaving_broker_is_replaced_in_place_and_nothing_else_moves() {
        let partitions = placements(&[&[1, 2], &[2, 3], &[3, 4]]);
        let moves = empty(&targets(&["", "", "", ""]), &partitions, &BTreeSet::from([1])).unwrap();
        assert_eq!(moves.len(), 1);
        assert_eq!(moves[0].after.replicas, [4, 2], "the one with the fewest replicas");
        assert_eq!(moves[0].adding().collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn replacement_stands_in_a_rack_of_its_own() {
        let partitions = placements(&[&[1, 2]]);
        let racks = targets(&["a", "b", "b", "c"]);
        let moves = empty(&racks, &partitions, &BTreeSet::from([1])).unwrap();
        assert_eq!(moves[0].after.replicas, [4, 2]);
    }

    #[test]
    fn too_few_brokers_is_said() {
        let partitions = placements(&[&[1, 2]]);
        let refused = empty(&targets(&["", ""]), &partitions, &BTreeSet::from([1])).unwrap_err();
        assert_eq!((refused.replicas, refused.targets), (2, 1));
    }

    #[test]
    fn new_broker_gets_its_share() {
        let partitions = placements(&[&[1, 2], &[2, 1], &[1, 2], &[2, 1], &[1, 2], &[2, 1]]);
        let moves = spread(&targets(&["", "", ""]), &partitions).unwrap();
        assert_eq!(loads(&moves, &partitions), BTreeMap::from([(1, 4), (2, 4), (3, 4)]));
        assert_eq!(moves.iter().map(|it| it.adding().count()).sum::<usize>(), 4);
    }

    #[test]
    fn what_is_even_stays() {
        let partitions = placements(&[&[1, 2], &[2, 3], &[3, 1]]);
        assert_eq!(spread(&targets(&["", "", ""]), &partitions).unwrap(), []);
    }

    proptest! {
        #[test]
        fn proposals_are_valid_and_even(
            brokers in 2usize..8,
            factor in 1usize..4,
            count in 1usize..30,
            seed: u64,
        ) {
            let factor = factor.min(brokers);
            // Everything on the first brokers, as in a cluster that has just grown.
            let row = |at: usize| -> Vec<i32> {
                (0..factor).map(|seat| ((at + seat + seed as usize % 7) % factor) as i32 + 1).collect()
            };
            let rows: Vec<Vec<i32>> = (0..count).map(row).collect();
            let rows: Vec<&[i32]> = rows.iter().map(Vec::as_slice).collect();
            let partitions = placements(&rows);
            let racks = vec![""; brokers];
            let moves = spread(&targets(&racks), &partitions).unwrap();
            for it in &moves {
                let distinct: BTreeSet<_> = it.after.replicas.iter().collect();
                prop_assert_eq!(distinct.len(), factor);
            }
            let loads = loads(&moves, &partitions);
            let load = |id: usize| loads.get(&(id as i32)).copied().unwrap_or(0);
            let all: Vec<usize> = (1..=brokers).map(load).collect();
            let (least, most) = (all.iter().min().unwrap(), all.iter().max().unwrap());
            prop_assert!(most - least <= 1, "{:?}", all);
        }
    }
}
