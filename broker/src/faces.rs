//! Which broker speaks for which groups: the leaders of `__consumer_offsets`, as the image has them.

use ottla_metadata::image::{Image, Versioned};
use ottla_metadata::internal_topics::CONSUMER_OFFSETS;
use ottla_metadata::model::Topic;
use ottla_metadata::shard_of;
use ottla_protocol::types::BrokerId;

/// The shards of groups and their brokers, over one image.
#[derive(Debug, Clone, Copy)]
pub struct Faces<'a> {
    image: &'a Image,
    topic: &'a Versioned<Topic>,
}

impl<'a> Faces<'a> {
    /// `None` as long as no group was ever looked for in this cluster.
    pub fn of(image: &'a Image) -> Option<Self> {
        let topic = image.topic(CONSUMER_OFFSETS)?;
        Some(Self { image, topic })
    }

    /// The shard of a group.
    pub fn shard(self, group: &str) -> i32 {
        shard_of(group, self.topic.partitions)
    }

    /// The broker that speaks for a shard, if one does.
    pub fn broker(self, shard: i32) -> Option<BrokerId> {
        let partition = self.image.partition(self.topic.id, shard)?;
        partition.leader().map(BrokerId)
    }

    /// The shards of `broker`, in order: those of these groups, each once.
    pub fn shards_of_groups<'b>(
        self,
        broker: BrokerId,
        groups: impl Iterator<Item = &'b str>,
    ) -> Vec<i32> {
        let shards = groups.map(|group| self.shard(group));
        let mut fronted: Vec<i32> =
            shards.filter(|shard| self.broker(*shard) == Some(broker)).collect();
        fronted.sort_unstable();
        fronted.dedup();
        fronted
    }

    /// All shards of `broker`, in order.
    pub fn all_shards(self, broker: BrokerId) -> Vec<i32> {
        let partitions = self.image.partitions_of(self.topic.id);
        let fronted = partitions.filter(|(_, partition)| partition.leader == broker.0);
        fronted.map(|(shard, _)| shard).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ImageBuilder;

    #[test]
    fn shards_belong_to_the_leaders_of_their_partitions() {
        let leaders: Vec<i32> = (0..50).map(|shard| [1, 2, -1][shard % 3]).collect();
        let image = ImageBuilder::new().topic(CONSUMER_OFFSETS, &leaders, &[1, 2]).build();
        let faces = Faces::of(&image).unwrap();
        // "group" and "a" are in shard 47, "my-group" is in 12, "größe" in 7.
        assert_eq!(faces.broker(faces.shard("group")), None);
        assert_eq!(faces.broker(faces.shard("my-group")), Some(BrokerId(1)));
        let groups = ["my-group", "größe", "group", "a", "my-group"];
        assert_eq!(faces.shards_of_groups(BrokerId(1), groups.into_iter()), [12]);
        assert_eq!(faces.shards_of_groups(BrokerId(2), groups.into_iter()), [7]);
        assert_eq!(faces.all_shards(BrokerId(1)).len(), 17);
        assert!(faces.all_shards(BrokerId(3)).is_empty());
        assert!(Faces::of(&ImageBuilder::new().build()).is_none());
    }
}
