//! `range`: of each topic a run of neighbours.

use std::collections::BTreeMap;

use ottla_protocol::Str;
use ottla_protocol::types::PartitionId;

use super::{Assignment, Subscription};

/// Members in the order of their instance ids, or else their ids, so that a static member gets the same again.
pub(super) fn assign(members: &[Subscription], topics: &BTreeMap<Str, i32>) -> Assignment {
    let mut assignment: Assignment =
        members.iter().map(|member| (member.member_id.clone(), Vec::new())).collect();
    for (topic, &partitions) in topics {
        let mut readers: Vec<&Subscription> =
            members.iter().filter(|member| member.topics.contains(topic)).collect();
        readers.sort_by_key(|member| member.instance_id.as_ref().unwrap_or(&member.member_id));
        let count = i32::try_from(readers.len()).unwrap_or(i32::MAX);
        let mut next = 0;
        for (place, reader) in (0..).zip(readers) {
            let more = i32::from(place < partitions % count);
            let end = next + partitions / count + more;
            if let Some(own) = assignment.get_mut(&reader.member_id) {
                own.extend((next..end).map(|id| (topic.clone(), PartitionId(id))));
            }
            next = end;
        }
    }
    assignment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_stay_together_and_the_first_get_more() {
        let member = |id: &'static str, instance: Option<&'static str>, topics: &[&'static str]| {
            Subscription {
                member_id: id.into(),
                instance_id: instance.map(Str::from_static),
                topics: topics.iter().map(|topic| Str::from_static(topic)).collect(),
                owned: Vec::new(),
                generation: -1,
            }
        };
        let members = [
            member("b", Some("1"), &["t", "u"]),
            member("a", None, &["t"]),
            member("c", None, &[]),
        ];
        let topics = [("t".into(), 5), ("u".into(), 2)].into();
        let assigned = assign(&members, &topics);
        let of = |id: &str| -> Vec<String> {
            assigned[id].iter().map(|(topic, partition)| format!("{topic}{partition}")).collect()
        };
        assert_eq!(of("b"), ["t0", "t1", "t2", "u0", "u1"]);
        assert_eq!(of("a"), ["t3", "t4"]);
        assert!(of("c").is_empty());
    }
}
