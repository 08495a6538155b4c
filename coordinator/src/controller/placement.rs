//! Which brokers get the replicas of new partitions.
//!
//! Each partition's leader goes to the broker with the fewest leaders *of that topic*, its followers
//! to racks that have no replica of it yet, and there to the brokers with the fewest replicas of that
//! topic. What the whole cluster already carries decides between equals, so that a broker that has
//! just joined gets its share of each new topic and never all of it. What is still equal is decided by
//! a hash of the partition, so that two brokers do not share all of their partitions.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::ErrorCode;

use crate::admin::AdminError;

/// A broker that can take replicas: neither fenced nor draining.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: i32,
    /// Where it stands; brokers that do not say share one nameless rack.
    pub rack: Option<String>,
    /// Partitions that it leads now, over all topics.
    pub leaders: u32,
    /// Replicas that it has now, over all topics.
    pub replicas: u32,
}

/// How many partitions are to be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Number of the first new partition; above zero when a topic grows.
    pub first: i32,
    /// New partitions.
    pub count: usize,
    /// Replicas of each.
    pub replication_factor: usize,
}

/// Replicas of each new partition, preferred leader first. `seed` decides between equals.
///
/// Loads of `candidates` are counted up, so that the topics of one request see each other.
pub fn place(
    candidates: &mut [Candidate],
    demand: Demand,
    seed: u64,
) -> Result<Vec<Vec<i32>>, AdminError> {
    if candidates.len() < demand.replication_factor {
        return Err(AdminError::new(
            ErrorCode::InvalidReplicationFactor,
            format!(
                "replication factor {} is more than the {} brokers that can take replicas",
                demand.replication_factor,
                candidates.len()
            ),
        ));
    }
    let mut topic_loads = vec![TopicLoad::default(); candidates.len()];
    let first = u64::try_from(demand.first).unwrap_or(0);
    let placed = (0..demand.count as u64)
        .map(|index| {
            let mut round =
                Round { candidates, loads: &mut topic_loads, seed: mix(seed, first + index) };
            round.place_partition(demand.replication_factor)
        })
        .collect();
    Ok(placed)
}

/// What a broker got of the topic that is being placed.
#[derive(Debug, Clone, Copy, Default)]
struct TopicLoad {
    leaders: u32,
    replicas: u32,
}

/// The placement of one partition.
struct Round<'a> {
    candidates: &'a mut [Candidate],
    loads: &'a mut [TopicLoad],
    seed: u64,
}

impl Round<'_> {
    fn place_partition(&mut self, replication_factor: usize) -> Vec<i32> {
        let mut chosen = Vec::with_capacity(replication_factor);
        let mut racks: BTreeMap<Option<String>, u32> = BTreeMap::new();
        for position in 0..replication_factor {
            let next = self.best(&chosen, &racks);
            let candidate = &mut self.candidates[next];
            let load = &mut self.loads[next];
            if position == 0 {
                load.leaders += 1;
                candidate.leaders += 1;
            }
            load.replicas += 1;
            candidate.replicas += 1;
            *racks.entry(candidate.rack.clone()).or_default() += 1;
            chosen.push(next);
        }
        chosen.into_iter().map(|index| self.candidates[index].id).collect()
    }

    fn best(&self, chosen: &[usize], racks: &BTreeMap<Option<String>, u32>) -> usize {
        let is_leader = chosen.is_empty();
        (0..self.candidates.len())
            .filter(|index| !chosen.contains(index))
            .min_by_key(|&index| {
                let (candidate, load) = (&self.candidates[index], self.loads[index]);
                let in_rack = racks.get(&candidate.rack).copied().unwrap_or(0);
                let leaders = if is_leader { (load.leaders, candidate.leaders) } else { (0, 0) };
                (
                    in_rack,
                    leaders.0,
                    load.replicas,
                    leaders.1,
                    candidate.replicas,
                    mix(self.seed, u64::from(candidate.id.unsigned_abs())),
                )
            })
            .expect("there are at least as many candidates as replicas")
    }
}

/// Checks replicas that were chosen by hand: `known` are the registered brokers, `active` those of
/// them that can lead. Every partition needs the same number of distinct, known brokers, one active.
pub fn check_manual(
    partition: i32,
    replicas: &[i32],
    known: &BTreeSet<i32>,
    active: &BTreeSet<i32>,
) -> Result<(), AdminError> {
    check_replicas(partition, replicas, known)?;
    if replicas.iter().all(|id| !active.contains(id)) {
        let message = format!(
            "all brokers in the assignment of partition {partition} are fenced or shutting down"
        );
        return Err(AdminError::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    Ok(())
}

/// Checks that replicas chosen by hand are distinct, registered brokers, at least one.
pub fn check_replicas(
    partition: i32,
    replicas: &[i32],
    known: &BTreeSet<i32>,
) -> Result<(), AdminError> {
    let invalid = |message| Err(AdminError::new(ErrorCode::InvalidReplicaAssignment, message));
    if replicas.is_empty() {
        return invalid(format!("the assignment of partition {partition} names no broker"));
    }
    let mut seen = BTreeSet::new();
    for id in replicas {
        if !seen.insert(*id) {
            return invalid(format!(
                "the assignment of partition {partition} names broker {id} more than once"
            ));
        }
        if !known.contains(id) {
            return invalid(format!(
                "the assignment of partition {partition} names broker {id}, which is not registered"
            ));
        }
    }
    Ok(())
}

/// A well mixed hash of two numbers (the finaliser of splitmix64), equal on every machine.
fn mix(seed: u64, value: u64) -> u64 {
    let mut mixed = seed ^ value.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn brokers(racks: &[Option<&str>]) -> Vec<Candidate> {
        let candidate = |(index, rack): (usize, &Option<&str>)| Candidate {
            id: index as i32 + 1,
            rack: rack.map(str::to_owned),
            leaders: 0,
            replicas: 0,
        };
        racks.iter().enumerate().map(candidate).collect()
    }

    fn demand(count: usize, replication_factor: usize) -> Demand {
        Demand { first: 0, count, replication_factor }
    }

    fn spread(counts: impl Iterator<Item = u32> + Clone) -> u32 {
        counts.clone().max().unwrap_or(0) - counts.min().unwrap_or(0)
    }

    #[test]
    fn too_few_brokers_is_an_error_that_says_how_many_there_are() {
        let refused = place(&mut brokers(&[None, None]), demand(1, 3), 7).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidReplicationFactor);
        assert!(refused.message.contains("the 2 brokers"), "{}", refused.message);
    }

    #[test]
    fn empty_broker_gets_its_share_of_a_topic_and_not_all_of_it() {
        let mut candidates = brokers(&[None; 3]);
        candidates[0].replicas = 100;
        candidates[0].leaders = 100;
        candidates[1].replicas = 100;
        candidates[1].leaders = 100;
        let placed = place(&mut candidates, demand(3, 1), 7).unwrap();
        let used: BTreeSet<i32> = placed.into_iter().flatten().collect();
        assert_eq!(used, BTreeSet::from([1, 2, 3]));
        let placed = place(&mut candidates, demand(1, 1), 7).unwrap();
        assert_eq!(placed, [[3]], "between equals the less loaded one");
    }

    #[test]
    fn partitions_of_one_leader_have_different_followers() {
        let placed = place(&mut brokers(&[None; 6]), demand(60, 2), 7).unwrap();
        let followers: BTreeSet<i32> =
            placed.iter().filter(|replicas| replicas[0] == 1).map(|replicas| replicas[1]).collect();
        assert!(3 < followers.len(), "{followers:?}");
    }

    #[test]
    fn assignment_by_hand_is_checked() {
        let known = BTreeSet::from([1, 2, 3]);
        let active = BTreeSet::from([1]);
        let check = |replicas: &[i32]| check_manual(0, replicas, &known, &active);
        assert_eq!(check(&[2, 1]), Ok(()));
        for bad in [&[][..], &[1, 1], &[1, 4], &[2, 3]] {
            assert_eq!(check(bad).unwrap_err().code, ErrorCode::InvalidReplicaAssignment);
        }
    }

    proptest! {
        #[test]
        fn replicas_are_distinct_balanced_and_in_different_racks(
            racks in prop::collection::vec(0usize..4, 1..12),
            count in 1usize..80,
            factor in 1usize..5,
            seed: u64,
        ) {
            let names = ["a", "b", "c", "d"];
            let racks: Vec<Option<&str>> = racks.into_iter().map(|rack| Some(names[rack])).collect();
            let factor = factor.min(racks.len());
            let mut candidates = brokers(&racks);
            let placed = place(&mut candidates, demand(count, factor), seed).unwrap();
            prop_assert_eq!(placed.len(), count);
            let rack_count = racks.iter().collect::<BTreeSet<_>>().len();
            for replicas in &placed {
                let distinct: BTreeSet<_> = replicas.iter().collect();
                prop_assert_eq!(distinct.len(), factor);
                let used: BTreeSet<_> =
                    replicas.iter().map(|id| racks[*id as usize - 1]).collect();
                prop_assert_eq!(used.len(), factor.min(rack_count));
            }
            prop_assert!(spread(candidates.iter().map(|c| c.leaders)) <= 1);
        }

        #[test]
        fn load_is_even_where_racks_are_even(
            per_rack in 1usize..4,
            rack_count in 1usize..4,
            count in 1usize..80,
            factor in 1usize..4,
            seed: u64,
        ) {
            let names = ["a", "b", "c"];
            let racks: Vec<Option<&str>> =
                (0..per_rack * rack_count).map(|index| Some(names[index % rack_count])).collect();
            let factor = factor.min(racks.len());
            let mut candidates = brokers(&racks);
            place(&mut candidates, demand(count, factor), seed).unwrap();
            prop_assert!(spread(candidates.iter().map(|c| c.leaders)) <= 1);
            prop_assert!(spread(candidates.iter().map(|c| c.replicas)) <= 2);
        }

        #[test]
        fn same_seed_gives_the_same_placement(seed: u64) {
            let once = place(&mut brokers(&[None; 5]), demand(20, 3), seed);
            let again = place(&mut brokers(&[None; 5]), demand(20, 3), seed);
            prop_assert_eq!(once, again);
        }
    }
}
