//! What a group wants done.

use bytes::Bytes;
use ottla_metadata::journal::Record;
use ottla_metadata::keys::{GroupKey, ShardKey};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use ottla_protocol::messages::{
    ConsumerGroupHeartbeatResponse, HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse,
    OffsetCommitResponse, OffsetDeleteResponse, SyncGroupResponse,
    consumer_group_describe_response, describe_groups_response,
};

/// Names a request that waits for its answer; unique within the life of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// To JoinGroup.
    JoinGroup(JoinGroupResponse),
    /// To SyncGroup.
    SyncGroup(SyncGroupResponse),
    /// To Heartbeat.
    Heartbeat(HeartbeatResponse),
    /// To LeaveGroup.
    LeaveGroup(LeaveGroupResponse),
    /// To ConsumerGroupHeartbeat.
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse),
    /// To OffsetCommit.
    OffsetCommit(OffsetCommitResponse),
    /// To OffsetFetch, for one group of it.
    OffsetFetch(OffsetFetchResponseGroup),
    /// To OffsetDelete.
    OffsetDelete(OffsetDeleteResponse),
    /// To DeleteGroups, for one group of it.
    Delete(ErrorCode),
    /// To DescribeGroups, for one group of it.
    Describe(describe_groups_response::DescribedGroup),
    /// To ConsumerGroupDescribe, for one group of it.
    DescribeConsumer(consumer_group_describe_response::DescribedGroup),
}

/// When an answer may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// At once, also while the store is away: it says nothing that a write has yet to make true.
    Nothing,
    /// Once everything that the shard has decided so far, this step included, is durable.
    Writes,
}

/// One answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Whose.
    pub ticket: Ticket,
    /// What it says.
    pub response: Response,
    /// When it may leave.
    pub after: After,
}

/// Writes and answers of one step, in order. Reused from step to step.
///
/// Writes may be split over several transactions of the journal, which are applied in their order. A reader
/// may thus find any prefix of them: what makes the others valid (a group's `meta`) comes after what it needs,
/// and before the deletion of what it no longer needs.
#[derive(Debug, Default)]
pub struct Effects {
    /// What the journal is to hold.
    pub writes: Vec<Record>,
    /// Whom to answer.
    pub answers: Vec<Answer>,
}

impl Effects {
    /// Puts a value of a group.
    pub fn put(&mut self, group: &str, key: GroupKey, value: Bytes) {
        let key = ShardKey::Group(group.to_owned(), key);
        self.writes.push(Record { key, value: Some(value) });
    }

    /// Deletes a value of a group.
    pub fn delete(&mut self, group: &str, key: GroupKey) {
        let key = ShardKey::Group(group.to_owned(), key);
        self.writes.push(Record { key, value: None });
    }

    /// Answers once everything decided so far is durable.
    pub fn answer(&mut self, ticket: Ticket, response: Response) {
        self.answers.push(Answer { ticket, response, after: After::Writes });
    }

    /// Answers at once.
    pub fn answer_now(&mut self, ticket: Ticket, response: Response) {
        self.answers.push(Answer { ticket, response, after: After::Nothing });
    }
}
