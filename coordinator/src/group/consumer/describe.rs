//! What a consumer group shows of itself.

use ottla_metadata::image::Image;
use ottla_protocol::Uuid;
use ottla_protocol::messages::consumer_group_describe_response as described;
use ottla_protocol::messages::list_groups_response::ListedGroup;

use super::ConsumerGroup;
use super::member::Member;
use crate::group::GroupSettings;

/// The state of a consumer group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConsumerGroupState {
    /// It has no members.
    Empty,
    /// An assignment has to be computed for the present epoch.
    Assigning,
    /// Members are on their way to what the assignor wants.
    Reconciling,
    /// Every member has what the assignor wants.
    Stable,
}

impl ConsumerGroupState {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

impl ConsumerGroup {
    /// Where the group is. A static member that is away keeps it from being stable, as in Kafka.
    pub fn state(&self) -> ConsumerGroupState {
        if self.members.is_empty() {
            return ConsumerGroupState::Empty;
        }
        if self.assignment_epoch < self.epoch {
            return ConsumerGroupState::Assigning;
        }
        let epoch = self.assignment_epoch;
        if self.members.values().all(|member| member.is_reconciled_to(epoch)) {
            ConsumerGroupState::Stable
        } else {
            ConsumerGroupState::Reconciling
        }
    }

    /// True without members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The group's epoch: it rises with every rebalance.
    pub fn epoch(&self) -> i32 {
        self.epoch
    }

    /// How many members there are.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// For ConsumerGroupDescribe; whoever answers adds authorized operations.
    pub fn describe(&self, image: &Image, settings: &GroupSettings) -> described::DescribedGroup {
        described::DescribedGroup {
            group_id: self.id.as_str().into(),
            group_state: self.state().name().into(),
            group_epoch: self.epoch,
            assignment_epoch: self.assignment_epoch,
            assignor_name: self.assignor(settings).name().into(),
            members: self.members.values().map(|member| describe_member(member, image)).collect(),
            ..Default::default()
        }
    }

    /// For ListGroups.
    pub fn listed(&self) -> ListedGroup {
        ListedGroup {
            group_id: self.id.as_str().into(),
            protocol_type: "consumer".into(),
            group_state: self.state().name().into(),
            group_type: "consumer".into(),
            ..Default::default()
        }
    }
}

fn describe_member(member: &Member, image: &Image) -> described::Member {
    let about = &member.about;
    let text = |text: &Option<String>| text.as_deref().map(Into::into);
    let current = member.current.assigned.topics();
    let current = current.map(|(topic, partitions)| (topic, partitions.keys().copied().collect()));
    let target = member.target.topics();
    let target = target.map(|(topic, partitions)| (topic, partitions.iter().copied().collect()));
    described::Member {
        member_id: (*member.id).into(),
        instance_id: text(&about.instance_id),
        rack_id: text(&about.rack_id),
        member_epoch: member.current.epoch,
        client_id: about.client_id.as_str().into(),
        client_host: about.client_host.as_str().into(),
        subscribed_topic_names: about.topics.iter().map(Into::into).collect(),
        // Kafka shows an empty expression for none.
        subscribed_topic_regex: Some(about.topic_regex.as_deref().unwrap_or_default().into()),
        assignment: describe_assignment(current, image),
        target_assignment: describe_assignment(target, image),
        member_type: if member.classic.is_some() { CLASSIC } else { CONSUMER },
        ..Default::default()
    }
}

/// Topics that are no more are not shown.
fn describe_assignment(
    topics: impl Iterator<Item = (Uuid, Vec<i32>)>,
    image: &Image,
) -> described::Assignment {
    let topics = topics.filter_map(|(topic_id, partitions)| {
        let topic = image.topic_by_id(topic_id)?;
        Some(described::TopicPartitions {
            topic_id,
            topic_name: topic.name.as_str().into(),
            partitions,
            ..Default::default()
        })
    });
    described::Assignment { topic_partitions: topics.collect(), ..Default::default() }
}

/// The type of a member that speaks the classic protocol.
const CLASSIC: i8 = 0;
/// The type of a member that speaks the new one.
const CONSUMER: i8 = 1;
