//! The kinds of groups: who is a member, and what that allows.

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_protocol::messages::OffsetCommitRequest;
use ottla_protocol::messages::list_groups_response::ListedGroup;
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_protocol::messages::{consumer_group_describe_response, describe_groups_response};
use ottla_protocol::{ErrorCode, Uuid};

use super::classic::OffsetRetention;
use super::consumer::CommitClaim;
use super::offsets::{Committable, Expiry, Subscribed};
use super::{ClassicGroup, Client, ConsumerGroup, Context, Ticket};

/// The members of a group, by the protocol that they speak.
#[derive(Debug)]
pub enum Membership {
    /// Members assign partitions among themselves. Also where clients assign partitions to themselves and only
    /// commit, which Kafka shows as an empty classic group.
    Classic(Box<ClassicGroup>),
    /// The coordinator assigns partitions.
    Consumer(Box<ConsumerGroup>),
}

impl Membership {
    /// Nobody is a member.
    pub fn simple(group: &str) -> Self {
        Self::Classic(Box::new(ClassicGroup::new(group)))
    }

    /// The group as ListGroups shows it.
    pub fn listed(&self) -> ListedGroup {
        match self {
            Self::Classic(group) => group.listed(),
            Self::Consumer(group) => group.listed(),
        }
    }

    /// Rises with every rebalance.
    pub fn epoch(&self) -> i32 {
        match self {
            Self::Classic(group) => group.generation(),
            Self::Consumer(group) => group.epoch(),
        }
    }

    /// Whether this client may commit; if so, its session goes on.
    ///
    /// # Errors
    /// What every partition of the request is answered.
    pub fn check_commit(
        &mut self,
        client: &Client,
        committable: &Committable<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), ErrorCode> {
        let request: &OffsetCommitRequest = committable.request();
        let instance_id = request.group_instance_id.as_deref();
        let epoch = request.generation_id_or_member_epoch;
        match self {
            Self::Classic(group) => group.check_commit(&request.member_id, instance_id, epoch, cx),
            Self::Consumer(group) => {
                let member_id = &request.member_id;
                let claim = CommitClaim { member_id, instance_id, epoch, version: client.version };
                group.check_commit(&claim, committable.existing(cx.image))
            }
        }
    }

    /// Whether this client may see what is committed.
    ///
    /// # Errors
    /// What it is answered for the group.
    pub fn check_fetch(&self, request: &OffsetFetchRequestGroup) -> Result<(), ErrorCode> {
        let (member_id, epoch) = (request.member_id.as_deref(), request.member_epoch);
        match self {
            Self::Classic(group) => group.check_fetch(member_id, epoch),
            Self::Consumer(group) => group.check_fetch(member_id, epoch),
        }
    }

    /// Whether offsets may be deleted, and of which topics they may not.
    ///
    /// # Errors
    /// What is answered for the group.
    pub fn check_offset_delete(&self) -> Result<Subscribed, ErrorCode> {
        match self {
            Self::Classic(group) => {
                group.check_offset_delete()?;
                Ok(match group.subscribed_topics() {
                    Some(topics) => Subscribed::To(topics.clone()),
                    None if group.is_empty() => Subscribed::nothing(),
                    None => Subscribed::Unknown,
                })
            }
            Self::Consumer(group) => Ok(Subscribed::To(group.subscribed_topics())),
        }
    }

    /// Whether the group has no members.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_empty(),
            Self::Consumer(group) => group.is_empty(),
        }
    }

    /// Whether nothing is lost with the group but its offsets.
    pub fn can_be_deleted(&self) -> bool {
        match self {
            Self::Classic(group) => group.can_be_deleted(),
            Self::Consumer(group) => group.is_empty(),
        }
    }

    /// Whether nobody was ever a member.
    pub fn is_blank(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_simple(),
            Self::Consumer(group) => group.is_new(),
        }
    }

    /// How its offsets get old.
    pub fn expiry(&self) -> Expiry {
        match self {
            Self::Classic(group) => match group.offset_retention() {
                OffsetRetention::Keep => Expiry::Never,
                OffsetRetention::Since(at) => Expiry::SinceEmpty(at),
                OffsetRetention::SinceCommit => Expiry::SinceCommit(Subscribed::nothing()),
                OffsetRetention::UnsubscribedSinceCommit => {
                    let topics = group.subscribed_topics().cloned();
                    Expiry::SinceCommit(topics.map_or(Subscribed::Unknown, Subscribed::To))
                }
            },
            Self::Consumer(group) => Expiry::SinceCommit(Subscribed::To(group.subscribed_topics())),
        }
    }

    /// When something is due, in store-healthy time.
    pub fn next_deadline(&self) -> Option<Duration> {
        match self {
            Self::Classic(group) => group.next_deadline(),
            Self::Consumer(group) => group.next_deadline(),
        }
    }

    /// Does what is due.
    pub fn on_timer(&mut self, cx: &mut Context<'_>) {
        match self {
            Self::Classic(group) => group.on_timer(cx),
            Self::Consumer(group) => group.on_timer(cx),
        }
    }

    /// Topics came, went or grew.
    pub fn topics_changed(&mut self, changed: &BTreeSet<Uuid>, cx: &mut Context<'_>) {
        match self {
            Self::Classic(_) => {}
            Self::Consumer(group) => group.image_changed(changed, cx),
        }
    }

    /// Nobody waits for this request any more.
    pub fn abandon(&mut self, ticket: Ticket, cx: &mut Context<'_>) {
        match self {
            Self::Classic(group) => group.abandon(ticket, cx),
            // It lets nobody wait.
            Self::Consumer(_) => {}
        }
    }

    /// Forgets everything that is stored of the members. The group has none.
    pub fn delete(&mut self, cx: &mut Context<'_>) {
        match self {
            Self::Classic(group) => group.delete(cx.out),
            Self::Consumer(group) => group.delete(cx.out),
        }
    }

    /// Goes over to the other kind, if the last member that kept the group from it has gone.
    pub fn change_kind(&mut self, cx: &mut Context<'_>) {
        if let Self::Consumer(group) = self
            && let Some(parts) = group.take_downgrade(cx)
        {
            // What the new kind needs is written first, then what makes the group of that kind, and what the
            // old kind leaves behind goes last.
            let classic = ClassicGroup::from_parts(&parts, cx);
            group.delete_members(cx.out);
            *self = Self::Classic(Box::new(classic));
        }
    }

    /// The group in the words of classic groups, if it is one.
    pub fn describe(&self) -> Option<describe_groups_response::DescribedGroup> {
        match self {
            Self::Classic(group) => Some(group.describe()),
            Self::Consumer(_) => None,
        }
    }

    /// The group in the words of consumer groups, if it is one.
    pub fn describe_consumer(
        &self,
        cx: &Context<'_>,
    ) -> Option<consumer_group_describe_response::DescribedGroup> {
        match self {
            Self::Classic(_) => None,
            Self::Consumer(group) => Some(group.describe(cx.image, cx.settings)),
        }
    }
}
