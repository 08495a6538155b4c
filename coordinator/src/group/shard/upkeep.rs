//! What nobody asks for: offsets that get old, topics that go, groups that are over.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_protocol::Uuid;

use super::{Shard, World};

/// What a sweep forgot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Offsets that were too old, or of topics that are gone.
    pub offsets: usize,
    /// Groups without members and offsets.
    pub groups: usize,
}

impl Shard {
    /// Forgets what is too old, and groups of which nothing is left. For every
    /// `offsets.retention.check.interval.ms`.
    pub fn sweep(&mut self, world: &mut World<'_>) -> Swept {
        let mut swept = Swept::default();
        let names: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for name in names {
            let Some(group) = self.groups.get_mut(&name) else { continue };
            swept.offsets += group.offsets.drop_deleted_topics(&name, world.image, world.out);
            let expiry = group.membership.expiry();
            swept.offsets += group.offsets.expire(&name, &expiry, &mut world.context(&name));
            if group.offsets.is_empty() && group.membership.can_be_deleted() {
                group.membership.delete(&mut world.context(&name));
                self.forget(&name);
                swept.groups += 1;
            }
        }
        swept
    }

    /// Topics came, went or grew: the offsets of those that went are forgotten.
    pub fn topics_changed(&mut self, changed: &BTreeSet<Uuid>, world: &mut World<'_>) {
        let names: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for name in names {
            self.step(&name, world, |group, cx| {
                if changed.iter().any(|topic| cx.image.topic_by_id(*topic).is_none()) {
                    group.offsets.drop_deleted_topics(&name, cx.image, cx.out);
                }
                group.membership.topics_changed(changed, cx);
            });
        }
    }
}
