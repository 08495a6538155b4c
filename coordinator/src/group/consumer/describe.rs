//! What a consumer group shows of itself.

use ottla_metadata::image::Image;
use ottla_protocol::messages::consumer_group_describe_response::DescribedGroup;
use ottla_protocol::messages::list_groups_response::ListedGroup;

use super::ConsumerGroup;
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
    /// Where the group is.
    pub fn state(&self) -> ConsumerGroupState {
        ConsumerGroupState::Empty
    }

    /// True without members.
    pub fn is_empty(&self) -> bool {
        self.state() == ConsumerGroupState::Empty
    }

    /// The group's epoch: it rises with every rebalance.
    pub fn epoch(&self) -> i32 {
        self.epoch
    }

    /// For ConsumerGroupDescribe; whoever answers adds authorized operations.
    pub fn describe(&self, _image: &Image, _settings: &GroupSettings) -> DescribedGroup {
        DescribedGroup {
            group_id: self.id.as_str().into(),
            group_state: self.state().name().into(),
            group_epoch: self.epoch,
            ..Default::default()
        }
    }

    /// For ListGroups.
    pub fn listed(&self) -> ListedGroup {
        ListedGroup {
            group_id: self.id.as_str().into(),
            protocol_type: "consumer".into(),
            group_state: self.state().name().into(),
            group_type: "Consumer".into(),
            ..Default::default()
        }
    }
}
