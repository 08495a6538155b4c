//! Which proposals are under way and what an answer means for them, without any IO.

use std::collections::{BTreeMap, VecDeque};

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_partition_request::{
    AlterPartitionRequest, BrokerState, PartitionData as ProposedPartition, TopicData,
};
use ottla_protocol::messages::alter_partition_response::{AlterPartitionResponse, PartitionData};
use ottla_protocol::types::{BrokerId, LeaderEpoch};

use super::proposals::{Key, Proposed};
use crate::partition::{Proposal, ProposalOutcome};

/// Proposals that have no definite answer yet.
#[derive(Debug, Default)]
pub struct Desk {
    open: BTreeMap<Key, Open>,
    /// Keys of `open`, each once: those that have waited longest come first.
    order: VecDeque<Key>,
}

#[derive(Debug)]
struct Open {
    proposed: Proposed,
    /// A copy of it may yet be carried out, although nobody says so.
    is_in_doubt: bool,
}

/// The part of the desk that a request carries.
#[derive(Debug)]
pub struct Sent {
    proposals: Vec<(Key, u64)>,
}

/// How a request ended.
#[derive(Debug)]
pub enum Answer {
    /// As the coordinator says.
    Answered(AlterPartitionResponse),
    /// Nothing left this node.
    NotSent,
    /// It may have been carried out.
    Lost,
}

/// Proposals in one request.
const PROPOSALS_MAX: usize = 500;

impl Desk {
    /// Whether everything that was taken is decided.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes a proposal, in place of an older one of the same partition: its leader has given that up.
    pub fn take(&mut self, proposed: Proposed) {
        let key = proposed.key();
        if self.open.insert(key, Open { proposed, is_in_doubt: false }).is_none() {
            self.order.push_back(key);
        }
    }

    /// The next request of this broker in this life.
    pub fn request(&self, broker: BrokerId, broker_epoch: i64) -> (Sent, AlterPartitionRequest) {
        let mut request = AlterPartitionRequest {
            broker_id: broker.0,
            broker_epoch,
            ..AlterPartitionRequest::default()
        };
        let mut keys: Vec<Key> = self.order.iter().take(PROPOSALS_MAX).copied().collect();
        // Partitions of a topic share an entry.
        keys.sort_unstable();
        let mut proposals = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(Open { proposed, .. }) = self.open.get(&key) else { continue };
            proposals.push((key, proposed.proposal.id));
            let partition = encode(key.1, &proposed.proposal, (broker, broker_epoch));
            match request.topics.last_mut() {
                Some(topic) if topic.topic_id == key.0 => topic.partitions.push(partition),
                _ => request.topics.push(TopicData {
                    topic_id: key.0,
                    partitions: vec![partition],
                    ..TopicData::default()
                }),
            }
        }
        (Sent { proposals }, request)
    }

    /// Takes the answer to a request; what it decides leaves the desk and is returned.
    pub fn settle(&mut self, sent: &Sent, answer: &Answer) -> Vec<(Proposed, ProposalOutcome)> {
        let mut settled = Vec::new();
        let mut again = Vec::new();
        for (key, id) in &sent.proposals {
            let is_same = |open: &&mut Open| open.proposed.proposal.id == *id;
            // One that was replaced meanwhile waits for its own answer.
            let Some(open) = self.open.get_mut(key).filter(is_same) else { continue };
            match outcome(answer, *key, open.is_in_doubt) {
                Verdict::Decided(outcome) => {
                    settled.extend(self.open.remove(key).map(|open| (open.proposed, outcome)));
                }
                Verdict::Again { is_in_doubt } => {
                    open.is_in_doubt |= is_in_doubt;
                    again.push(*key);
                }
            }
        }
        // Sorted, as keys were sent in their order.
        self.order.retain(|key| self.open.contains_key(key) && again.binary_search(key).is_err());
        self.order.extend(again);
        settled
    }
}

enum Verdict {
    Decided(ProposalOutcome),
    Again { is_in_doubt: bool },
}

fn outcome(answer: &Answer, (topic, index): Key, is_in_doubt: bool) -> Verdict {
    let response = match answer {
        Answer::NotSent => return Verdict::Again { is_in_doubt: false },
        Answer::Lost => return Verdict::Again { is_in_doubt: true },
        Answer::Answered(response) => response,
    };
    let of_topic = response.topics.iter().filter(|data| data.topic_id == topic);
    let mut partitions = of_topic.flat_map(|data| &data.partitions);
    let found = partitions.find(|data| data.partition_index == index);
    let Some(data) = found.filter(|_| response.error_code == ErrorCode::None.code()) else {
        // A coordinator whose term ends says so also of what it has passed on already.
        return Verdict::Again { is_in_doubt: true };
    };
    match ErrorCode::from_code(data.error_code) {
        ErrorCode::None => Verdict::Decided(accepted(data)),
        error if is_definite(error) => {
            Verdict::Decided(ProposalOutcome::Refused { error, is_in_doubt })
        }
        _ => Verdict::Again { is_in_doubt: true },
    }
}

fn accepted(data: &PartitionData) -> ProposalOutcome {
    ProposalOutcome::Accepted {
        leader_epoch: LeaderEpoch(data.leader_epoch),
        isr: data.isr.iter().map(|id| BrokerId(*id)).collect(),
        partition_epoch: data.partition_epoch,
        is_recovering: data.leader_recovery_state != 0,
    }
}

/// Whether the copy that was judged will never be carried out.
const fn is_definite(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::FencedLeaderEpoch
            | ErrorCode::InvalidUpdateVersion
            | ErrorCode::IneligibleReplica
            | ErrorCode::NewLeaderElected
            | ErrorCode::UnknownTopicId
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::InvalidRequest
    )
}

fn encode(
    partition_index: i32,
    proposal: &Proposal,
    (own, own_epoch): (BrokerId, i64),
) -> ProposedPartition {
    let seat = |(broker, epoch): &(BrokerId, i64)| BrokerState {
        broker_id: broker.0,
        broker_epoch: if *broker == own { own_epoch } else { *epoch },
        ..BrokerState::default()
    };
    ProposedPartition {
        partition_index,
        leader_epoch: proposal.leader_epoch.0,
        new_isr_with_epochs: proposal.isr.iter().map(seat).collect(),
        // The low 31 bits: only equality means anything.
        partition_epoch: (proposal.partition_epoch & i64::from(i32::MAX)) as i32,
        ..ProposedPartition::default()
    }
}

#[cfg(test)]
#[path = "desk/testing.rs"]
pub(crate) mod testing;
#[cfg(test)]
#[path = "desk/tests.rs"]
mod tests;
