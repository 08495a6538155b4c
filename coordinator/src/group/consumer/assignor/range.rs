//! Ranges of each topic, in the order of the members.

use std::sync::Arc;

use super::Input;
use crate::group::consumer::partitions::Partitions;

struct Share {
    members: i32,
    /// Members that still get one partition more.
    extra: i32,
    /// The first partition that nobody has.
    next: i32,
}

/// Static members come first, by their instance ids, then the others by their ids: a static member that comes back
/// under another member id has the same ranges.
pub fn assign(input: &Input) -> Vec<Arc<Partitions>> {
    let mut order: Vec<usize> = (0..input.members.len()).collect();
    order.sort_by_key(|at| {
        let member = &input.members[*at];
        (member.instance_id.is_none(), member.instance_id.as_deref(), &*member.id)
    });

    let mut shares: Vec<Share> =
        input.topics.iter().map(|_| Share { members: 0, extra: 0, next: 0 }).collect();
    for topic in input.members.iter().flat_map(|member| member.topics.iter()) {
        shares[*topic].members += 1;
    }
    for (share, topic) in shares.iter_mut().zip(&input.topics) {
        share.extra = topic.partitions.checked_rem(share.members).unwrap_or(0);
    }

    let mut targets: Vec<Arc<Partitions>> =
        input.members.iter().map(|member| Arc::clone(&member.target)).collect();
    for at in order {
        let member = &input.members[at];
        let mut target = Partitions::default();
        for index in member.topics.iter() {
            let (topic, share) = (&input.topics[*index], &mut shares[*index]);
            let mut quota = topic.partitions / share.members;
            if 0 < share.extra {
                share.extra -= 1;
                quota += 1;
            }
            let end = (share.next + quota).min(topic.partitions);
            target.insert_range(topic.id, share.next..end);
            share.next = end;
        }
        if *member.target != target {
            targets[at] = Arc::new(target);
        }
    }
    targets
}
