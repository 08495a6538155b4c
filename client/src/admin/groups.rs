//! Groups: which there are, who is in them, and what they have committed.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use ottla_protocol::messages::consumer_group_describe_response as modern;
use ottla_protocol::messages::delete_groups_response::DeletableGroupResult;
use ottla_protocol::messages::describe_groups_response as classic;
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest,
    OffsetDeleteRequest,
};
use ottla_protocol::types::{BrokerId, Offset, PartitionId};
use ottla_protocol::{ErrorCode, Str};

use crate::admin::{Admin, unanswered};
use crate::consumer::TopicPartition;
use crate::consumer::group::{CommittedOffset, commit_as_nobody, committed, decode_assignment};
use crate::coordinator::Coordinator;
use crate::error::{ClientError, check};

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    /// Its id.
    pub group_id: Str,
    /// `Classic`, `Consumer`, …; empty from old brokers.
    pub group_type: Str,
    /// Such as `Stable`; empty from old brokers.
    pub state: Str,
    /// What its members are: `consumer`, `connect`, …; empty if it never had any.
    pub protocol_type: Str,
}

/// A group and its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its id.
    pub group_id: Str,
    /// `Classic` or `Consumer`.
    pub group_type: Str,
    /// Such as `Stable`.
    pub state: Str,
    /// How partitions are assigned; empty while nothing is.
    pub assignor: Str,
    /// The broker that its requests go to.
    pub coordinator: BrokerId,
    /// Its members.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Its id.
    pub member_id: Str,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Str>,
    /// `client.id`.
    pub client_id: Str,
    /// Its address.
    pub host: Str,
    /// What it reads; none where that cannot be known.
    pub assignment: Vec<TopicPartition>,
}

impl Admin {
    /// Every group, by id. Each broker is asked for those that it coordinates.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>, ClientError> {
        let timeout = self.client.config().api_timeout;
        let list = || async move { self.list_groups_once().await };
        self.client.retry("listing groups", timeout, list).await
    }

    async fn list_groups_once(&self) -> Result<Vec<GroupListing>, ClientError> {
        let metadata = self.client.refresh_metadata(&[]).await?;
        let asked = metadata.brokers.keys().map(|&id| async move {
            self.client.broker(id).await?.call(&ListGroupsRequest::default()).await
        });
        let mut groups = BTreeMap::new();
        for response in join_all(asked).await {
            let response = response?;
            check(response.error_code, None)?;
            for group in response.groups {
                let listing = GroupListing {
                    group_id: group.group_id.detach(),
                    group_type: group.group_type.detach(),
                    state: group.group_state.detach(),
                    protocol_type: group.protocol_type.detach(),
                };
                groups.insert(listing.group_id.clone(), listing);
            }
        }
        Ok(groups.into_values().collect())
    }

    /// The members of groups of consumers.
    pub async fn describe_groups(
        &self,
        groups: &[Str],
    ) -> Vec<Result<GroupDescription, ClientError>> {
        join_all(groups.iter().map(|group| self.describe_group(group))).await
    }

    async fn describe_group(&self, group: &Str) -> Result<GroupDescription, ClientError> {
        let coordinator = self.coordinator(group);
        // Whether it is one of the new kind only its coordinator knows, and whether there are any.
        match self.describe_modern(&coordinator).await {
            Err(error)
                if error.code() == Some(ErrorCode::GroupIdNotFound)
                    || matches!(error, ClientError::Unsupported(_)) =>
            {
                self.describe_classic(&coordinator).await
            }
            described => described,
        }
    }

    async fn describe_modern(
        &self,
        coordinator: &Coordinator,
    ) -> Result<GroupDescription, ClientError> {
        let group_ids = vec![coordinator.group().clone()];
        let request =
            |_| ConsumerGroupDescribeRequest { group_ids: group_ids.clone(), ..Default::default() };
        let response = coordinator
            .call_until_done("describing a group", (0, 1), request, |response| {
                response.groups.first().map_or(0, |group| group.error_code)
            })
            .await?;
        let group = response.groups.first().ok_or_else(unanswered)?;
        check(group.error_code, group.error_message.as_deref())?;
        Ok(GroupDescription {
            group_id: group.group_id.detach(),
            group_type: Str::from_static("Consumer"),
            state: group.group_state.detach(),
            assignor: group.assignor_name.detach(),
            coordinator: coordinator.id().await?,
            members: group.members.iter().map(modern_member).collect(),
        })
    }

    async fn describe_classic(
        &self,
        coordinator: &Coordinator,
    ) -> Result<GroupDescription, ClientError> {
        let groups = vec![coordinator.group().clone()];
        let request = |_| DescribeGroupsRequest { groups: groups.clone(), ..Default::default() };
        let response = coordinator
            .call_until_done("describing a group", (0, 6), request, |response| {
                response.groups.first().map_or(0, |group| group.error_code)
            })
            .await?;
        let group = response.groups.first().ok_or_else(unanswered)?;
        check(group.error_code, group.error_message.as_deref())?;
        if &*group.group_state == "Dead" {
            return Err(ClientError::server(ErrorCode::GroupIdNotFound, None));
        }
        Ok(GroupDescription {
            group_id: group.group_id.detach(),
            group_type: Str::from_static("Classic"),
            state: group.group_state.detach(),
            assignor: group.protocol_data.detach(),
            coordinator: coordinator.id().await?,
            members: group.members.iter().map(classic_member).collect(),
        })
    }

    /// What a group has committed, by partition.
    pub async fn group_offsets(
        &self,
        group: &Str,
    ) -> Result<BTreeMap<TopicPartition, CommittedOffset>, ClientError> {
        committed(&self.coordinator(group), None).await
    }

    /// Sets committed offsets of a group that has no members; a result for each, in their order.
    pub async fn set_group_offsets(
        &self,
        group: &Str,
        offsets: &[(TopicPartition, Offset)],
    ) -> Result<Vec<Result<(), ClientError>>, ClientError> {
        commit_as_nobody(&self.coordinator(group), offsets).await
    }

    /// Deletes committed offsets of topics that the group does not read; a result for each, in their order.
    pub async fn delete_group_offsets(
        &self,
        group: &Str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Result<(), ClientError>>, ClientError> {
        let mut topics = BTreeMap::<&Str, Vec<OffsetDeleteRequestPartition>>::new();
        for (topic, partition) in partitions {
            topics
                .entry(topic)
                .or_default()
                .push(OffsetDeleteRequestPartition { partition_index: partition.0 });
        }
        let topic = |(name, partitions): (&Str, Vec<_>)| OffsetDeleteRequestTopic {
            name: name.clone(),
            partitions,
        };
        let request = OffsetDeleteRequest {
            group_id: group.clone(),
            topics: topics.into_iter().map(topic).collect(),
        };
        let response = self
            .coordinator(group)
            .call_until_done("deleting offsets", (0, 0), |_| request.clone(), |r| r.error_code)
            .await?;
        check(response.error_code, None)?;
        let code = |(topic, partition): &TopicPartition| {
            let answered = response.topics.iter().filter(|answered| answered.name == *topic);
            let mut codes = answered.flat_map(|answered| &answered.partitions);
            codes.find(|one| one.partition_index == partition.0).map(|one| one.error_code)
        };
        let missing = ErrorCode::UnknownServerError.code();
        Ok(partitions.iter().map(|key| check(code(key).unwrap_or(missing), None)).collect())
    }

    /// Deletes groups that have no members, with all that they have committed.
    pub async fn delete_groups(&self, groups: &[Str]) -> Vec<Result<(), ClientError>> {
        let deleted = groups.iter().map(|group| async move {
            let groups_names = vec![group.clone()];
            let request = |_| DeleteGroupsRequest {
                groups_names: groups_names.clone(),
                ..Default::default()
            };
            let code = |results: &[DeletableGroupResult]| {
                results.first().map_or(ErrorCode::UnknownServerError.code(), |one| one.error_code)
            };
            let response = self
                .coordinator(group)
                .call_until_done("deleting a group", (0, 2), request, |r| code(&r.results))
                .await?;
            check(code(&response.results), None)
        });
        join_all(deleted).await
    }

    fn coordinator(&self, group: &Str) -> Coordinator {
        Coordinator::new(self.client.clone(), group.clone())
    }
}

fn modern_member(member: &modern::Member) -> GroupMember {
    let topics = &member.assignment.topic_partitions;
    let partitions = topics.iter().flat_map(|topic| {
        let name = topic.topic_name.detach();
        topic.partitions.iter().map(move |id| (name.clone(), PartitionId(*id)))
    });
    GroupMember {
        member_id: member.member_id.detach(),
        instance_id: member.instance_id.as_ref().map(Str::detach),
        client_id: member.client_id.detach(),
        host: member.client_host.detach(),
        assignment: partitions.collect(),
    }
}

fn classic_member(member: &classic::DescribedGroupMember) -> GroupMember {
    GroupMember {
        member_id: member.member_id.detach(),
        instance_id: member.group_instance_id.as_ref().map(Str::detach),
        client_id: member.client_id.detach(),
        host: member.client_host.detach(),
        // Members of other kinds than consumers say it in formats of their own.
        assignment: decode_assignment(&member.member_assignment).unwrap_or_default(),
    }
}
