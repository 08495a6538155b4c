use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::Uuid;
use proptest::prelude::*;

use super::{Assignor, Input, InputMember, InputTopic};
use crate::group::consumer::partitions::Partitions;

fn id(number: usize) -> Uuid {
    Uuid::from_bytes((number as u128 + 1).to_be_bytes())
}

fn topic(number: usize, partitions: i32) -> InputTopic {
    InputTopic { id: id(number), partitions, racks: Vec::new() }
}

fn member(number: usize, topics: &[usize]) -> InputMember {
    InputMember {
        id: format!("m{number:05}").into(),
        instance_id: None,
        rack: None,
        topics: topics.into(),
        target: Arc::default(),
    }
}

fn group(topics: &[i32], members: &[&[usize]]) -> Input {
    Input {
        topics: topics.iter().enumerate().map(|(at, count)| topic(at, *count)).collect(),
        members: members.iter().enumerate().map(|(at, topics)| member(at, topics)).collect(),
    }
}

fn keep(input: &mut Input, targets: &[Arc<Partitions>]) {
    for (member, target) in input.members.iter_mut().zip(targets) {
        member.target = Arc::clone(target);
    }
}

fn shown(target: &Partitions) -> String {
    let topic = |(id, partitions): (Uuid, &BTreeSet<i32>)| {
        format!("{}:{partitions:?}", u128::from_be_bytes(*id.as_bytes()) - 1)
    };
    target.topics().map(topic).collect::<Vec<_>>().join(" ")
}

fn all_shown(targets: &[Arc<Partitions>]) -> Vec<String> {
    targets.iter().map(|target| shown(target)).collect()
}

/// Every partition that anybody wants has one owner, who wants it.
fn check_complete(input: &Input, targets: &[Arc<Partitions>]) {
    let mut owners = BTreeMap::new();
    for (member, target) in input.members.iter().zip(targets) {
        let wanted: BTreeSet<Uuid> = member.topics.iter().map(|at| input.topics[*at].id).collect();
        for (topic, partition) in target.iter() {
            assert!(wanted.contains(&topic), "{} does not want {topic}", member.id);
            let other = owners.insert((topic, partition), &member.id);
            assert_eq!(other, None, "{topic}-{partition} has two owners");
        }
    }
    let wanted: BTreeSet<usize> =
        input.members.iter().flat_map(|member| member.topics.iter().copied()).collect();
    let count: i32 = wanted.iter().map(|at| input.topics[*at].partitions).sum();
    assert_eq!(owners.len(), count as usize, "partitions without an owner");
}

fn kept(before: &[Arc<Partitions>], after: &[Arc<Partitions>]) -> usize {
    before
        .iter()
        .zip(after)
        .map(|(a, b)| a.iter().filter(|(t, p)| b.contains(*t, *p)).count())
        .sum()
}

#[test]
fn range_gives_ranges_in_the_order_of_members_and_the_rest_to_the_first() {
    let input = group(&[5, 3], &[&[0, 1], &[0, 1]]);
    let targets = Assignor::Range.assign(&input);
    assert_eq!(all_shown(&targets), ["0:{0, 1, 2} 1:{0, 1}", "0:{3, 4} 1:{2}"]);
    // More members than partitions.
    let input = group(&[2], &[&[0], &[0], &[0]]);
    assert_eq!(all_shown(&Assignor::Range.assign(&input)), ["0:{0}", "0:{1}", ""]);
    // Each topic is divided among those that want it.
    let input = group(&[4, 4], &[&[0], &[0, 1], &[1]]);
    let targets = Assignor::Range.assign(&input);
    assert_eq!(all_shown(&targets), ["0:{0, 1}", "0:{2, 3} 1:{0, 1}", "1:{2, 3}"]);
}

#[test]
fn range_keeps_the_place_of_a_static_member_that_has_another_id_now() {
    let mut input = group(&[4], &[&[0], &[0]]);
    input.members[1].instance_id = Some("a".into());
    assert_eq!(all_shown(&Assignor::Range.assign(&input)), ["0:{2, 3}", "0:{0, 1}"]);
    input.members[1].id = "a-last-id".into();
    assert_eq!(all_shown(&Assignor::Range.assign(&input)), ["0:{2, 3}", "0:{0, 1}"]);
}

#[test]
fn uniform_spreads_the_partitions_of_each_topic() {
    let input = group(&[4, 4], &[&[0, 1], &[0, 1]]);
    let targets = Assignor::Uniform.assign(&input);
    assert_eq!(all_shown(&targets), ["0:{0, 2} 1:{0, 2}", "0:{1, 3} 1:{1, 3}"]);
}

#[test]
fn uniform_moves_no_more_than_it_must_when_members_come_and_go() {
    let mut input = group(&[900], &[&[0]]);
    let mut targets = Assignor::Uniform.assign(&input);
    for count in 2..=10 {
        keep(&mut input, &targets);
        input.members.push(member(count, &[0]));
        let next = Assignor::Uniform.assign(&input);
        check_complete(&input, &next);
        // The new one gets its share, and nothing else moves.
        assert_eq!(kept(&targets, &next), 900 - 900 / count);
        targets = next;
    }
    keep(&mut input, &targets);
    let gone = input.members.remove(3);
    targets.remove(3);
    let next = Assignor::Uniform.assign(&input);
    check_complete(&input, &next);
    assert_eq!(kept(&targets, &next), 900 - gone.target.len());
}

#[test]
fn uniform_lets_those_keep_one_more_who_have_it() {
    let mut input = group(&[3], &[&[0], &[0]]);
    let targets = [
        Arc::new([(id(0), 0)].into_iter().collect::<Partitions>()),
        Arc::new([(id(0), 1), (id(0), 2)].into_iter().collect::<Partitions>()),
    ];
    keep(&mut input, &targets);
    let next = Assignor::Uniform.assign(&input);
    assert!(next.iter().zip(&targets).all(|(a, b)| Arc::ptr_eq(a, b)), "nothing has to move");
}

#[test]
fn uniform_prefers_members_in_the_rack_of_a_replica() {
    let mut input = group(&[6], &[&[0], &[0], &[0]]);
    for (at, member) in input.members.iter_mut().enumerate() {
        member.rack = Some(at as u32);
    }
    input.topics[0].racks = (0..6).map(|partition| vec![(partition % 3) as u32]).collect();
    let targets = Assignor::Uniform.assign(&input);
    assert_eq!(all_shown(&targets), ["0:{0, 3}", "0:{1, 4}", "0:{2, 5}"]);

    // Whoever has too much gives up first what is far.
    let all: Partitions = (0..6).map(|partition| (id(0), partition)).collect();
    keep(&mut input, &[Arc::new(all), Arc::default(), Arc::default()]);
    let targets = Assignor::Uniform.assign(&input);
    assert_eq!(all_shown(&targets), ["0:{0, 3}", "0:{1, 4}", "0:{2, 5}"]);
}

#[test]
fn balance_comes_before_racks() {
    let mut input = group(&[4], &[&[0], &[0]]);
    input.members[0].rack = Some(0);
    input.members[1].rack = Some(1);
    input.topics[0].racks = vec![vec![0]; 4];
    let targets = Assignor::Uniform.assign(&input);
    assert_eq!(targets.iter().map(|it| it.len()).collect::<Vec<_>>(), [2, 2]);
}

#[test]
fn different_wishes_are_balanced_as_far_as_they_allow() {
    // One member wants only the small topic; the other takes the large one alone.
    let input = group(&[2, 6], &[&[0, 1], &[0]]);
    let targets = Assignor::Uniform.assign(&input);
    assert_eq!(all_shown(&targets), ["1:{0, 1, 2, 3, 4, 5}", "0:{0, 1}"]);
}

#[test]
fn nobody_wants_anything() {
    for assignor in [Assignor::Uniform, Assignor::Range] {
        assert!(assignor.assign(&group(&[3], &[])).is_empty());
        let targets = assignor.assign(&group(&[], &[&[], &[]]));
        assert_eq!(all_shown(&targets), ["", ""]);
    }
}

#[derive(Debug, Clone)]
struct Case {
    topics: Vec<(i32, Vec<Vec<u32>>)>,
    members: Vec<(BTreeSet<usize>, Option<u32>)>,
}

fn case(same_wishes: bool) -> impl Strategy<Value = Case> {
    let racks = prop::collection::vec(prop::collection::vec(0..3u32, 0..3), 0..12);
    let topic = (0..12i32, racks);
    (prop::collection::vec(topic, 1..6), 1..9usize).prop_flat_map(move |(topics, members)| {
        let count = topics.len();
        let wishes = prop::collection::btree_set(0..count, 0..=count);
        let rack = prop::option::of(0..3u32);
        let members = if same_wishes {
            (wishes, prop::collection::vec(rack, members))
                .prop_map(|(wishes, racks)| {
                    racks.into_iter().map(|rack| (wishes.clone(), rack)).collect::<Vec<_>>()
                })
                .boxed()
        } else {
            prop::collection::vec((wishes, rack), members).boxed()
        };
        members.prop_map(move |members| Case { topics: topics.clone(), members })
    })
}

fn input(case: &Case) -> Input {
    let topics = case.topics.iter().enumerate();
    let member = |(at, (wishes, rack)): (usize, &(BTreeSet<usize>, Option<u32>))| InputMember {
        rack: *rack,
        ..member(at, &wishes.iter().copied().collect::<Vec<_>>())
    };
    Input {
        topics: topics
            .map(|(at, (count, racks))| InputTopic { racks: racks.clone(), ..topic(at, *count) })
            .collect(),
        members: case.members.iter().enumerate().map(member).collect(),
    }
}

/// Nobody could be helped by one partition of somebody who has at least two more.
fn check_balanced(input: &Input, targets: &[Arc<Partitions>]) {
    for (giver, has) in targets.iter().enumerate() {
        for (at, member) in input.members.iter().enumerate() {
            let has_less = targets[at].len() + 1 < has.len();
            let could_take =
                has.topics().any(|(id, _)| member.topics.iter().any(|t| input.topics[*t].id == id));
            assert!(
                !(has_less && could_take),
                "m{giver} has {} and m{at} {}: {:?}",
                has.len(),
                targets[at].len(),
                all_shown(targets)
            );
        }
    }
}

proptest! {
    #[test]
    fn uniform_is_complete_and_balanced_within_one(case in case(true), joiner in any::<bool>()) {
        let mut input = input(&case);
        let targets = Assignor::Uniform.assign(&input);
        check_complete(&input, &targets);
        let sizes: Vec<usize> = targets.iter().map(|target| target.len()).collect();
        prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{:?}", sizes);

        // Again: nothing moves, and nothing is made anew.
        keep(&mut input, &targets);
        let again = Assignor::Uniform.assign(&input);
        prop_assert!(again.iter().zip(&targets).all(|(a, b)| Arc::ptr_eq(a, b)));

        // One comes or goes: only what has to move does.
        let total: usize = sizes.iter().sum();
        if joiner {
            let wishes = input.members[0].topics.to_vec();
            input.members.push(member(99, &wishes));
            let next = Assignor::Uniform.assign(&input);
            check_complete(&input, &next);
            let share = next.last().unwrap().len();
            prop_assert_eq!(kept(&targets, &next), total - share);
        } else if 1 < input.members.len() {
            let gone = input.members.remove(0);
            let next = Assignor::Uniform.assign(&input);
            check_complete(&input, &next);
            prop_assert_eq!(kept(&targets[1..], &next), total - gone.target.len());
        }
    }

    #[test]
    fn different_wishes_are_complete_balanced_and_stay(case in case(false)) {
        let mut input = input(&case);
        let targets = Assignor::Uniform.assign(&input);
        check_complete(&input, &targets);
        if !input.is_homogeneous() {
            check_balanced(&input, &targets);
        }
        keep(&mut input, &targets);
        let again = Assignor::Uniform.assign(&input);
        prop_assert_eq!(all_shown(&again), all_shown(&targets));
    }

    #[test]
    fn whatever_was_before_is_brought_in_order(case in case(false), seed in any::<u64>()) {
        let mut input = input(&case);
        // Targets of long ago: topics and partitions that are no more, the same for several.
        for (at, member) in input.members.iter_mut().enumerate() {
            let mut target = Partitions::default();
            for step in 0..8u64 {
                let x = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step * 77 + at as u64);
                target.insert(id((x >> 7) as usize % 8), ((x >> 20) % 14) as i32);
            }
            member.target = Arc::new(target);
        }
        for assignor in [Assignor::Uniform, Assignor::Range] {
            check_complete(&input, &assignor.assign(&input));
        }
    }

    #[test]
    fn range_is_complete_and_contiguous(case in case(false)) {
        let input = input(&case);
        let targets = Assignor::Range.assign(&input);
        check_complete(&input, &targets);
        for target in &targets {
            for (_, partitions) in target.topics() {
                let (first, last) = (partitions.first().unwrap(), partitions.last().unwrap());
                prop_assert_eq!(last - first + 1, partitions.len() as i32);
            }
        }
    }
}

#[test]
fn large_group_is_assigned() {
    let topics: Vec<i32> = vec![100; 100];
    let wishes: Vec<usize> = (0..100).collect();
    let mut input = group(&topics, &[]);
    let shared: Arc<[usize]> = wishes.into();
    for at in 0..2000 {
        input.members.push(InputMember { topics: Arc::clone(&shared), ..member(at, &[]) });
    }
    let targets = Assignor::Uniform.assign(&input);
    check_complete(&input, &targets);
    assert!(targets.iter().all(|target| target.len() == 5));
}
