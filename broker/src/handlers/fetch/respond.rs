//! What a fetch is answered with.

use bytes::Bytes;
use ottla_protocol::messages::fetch_request::FetchRequest;
use ottla_protocol::messages::fetch_response::{
    EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint,
    PartitionData,
};
use ottla_protocol::wire::Records;
use ottla_protocol::{ErrorCode, Str, Uuid};

use super::read::{Candidate, Marks, PartitionRead, Reading};
use super::{Poll, Reader};
use crate::data_path::{LeaderHint, Unroutable};
use crate::fetch_session::{Told, TopicKey};
use crate::handlers::{FileSlice, Reply, RequestContext};

/// Answers nothing but an error.
pub(super) fn refusal(context: &RequestContext, error: ErrorCode) -> Reply {
    let response = FetchResponse { error_code: error.code(), ..FetchResponse::default() };
    Reply::new::<FetchRequest>(context, &response)
}

/// Answers with what was read, and notes in the session what was said.
pub(super) fn respond(poll: &Poll, candidates: &[Candidate], reading: Reading) -> Reply {
    let session = &poll.session;
    if session.id != 0 && !session.is_current(poll.epoch) {
        return refusal(&poll.context, ErrorCode::InvalidFetchSessionEpoch);
    }
    let names_leaders = 16 <= poll.context.api_version;
    let mut answer = Collected { names_leaders, ..Collected::default() };
    // What had records goes to the end of the line, behind what had no turn.
    let mut had_records = Vec::new();
    for (candidate, result) in candidates.iter().zip(reading.results) {
        let end = readable_end(poll.terms.reader, &result);
        let (data, hint, told) = answer.partition(candidate, result);
        let figures = &poll.data.figures;
        figures.failed_fetch.inc_by(u64::from(data.error_code != 0));
        figures.bytes_out.inc_by(data.records.as_ref().map_or(0, |records| records.len() as u64));
        let is_read = matches!(data.records, Some(Records::External { .. }));
        let is_settled = !is_read
            && data.error_code == 0
            && data.diverging_epoch.epoch == -1
            && data.preferred_read_replica == -1;
        let is_new = session.with_entry(candidate.index, |entry| {
            let is_new = entry.told != told;
            entry.told = told;
            if is_read {
                had_records.push(candidate.index);
            } else if !is_settled
                || candidate.wanted.fetch_offset < end
                // Nothing tells when it is led elsewhere.
                || candidate.empty.is_some()
            {
                entry.mark_dirty(&session.watcher);
            }
            is_new
        });
        if poll.is_full || !is_settled || is_new.unwrap_or(false) {
            answer.add(&candidate.topic, data);
            answer.hints.extend(hint);
        }
    }
    for index in had_records {
        session.with_entry(index, |entry| entry.mark_dirty(&session.watcher));
    }
    let session_id = session.id;
    answer.into_reply(poll, session_id)
}

#[derive(Default)]
struct Collected {
    /// From version 16 on.
    names_leaders: bool,
    topics: Vec<FetchableTopicResponse>,
    slices: Vec<FileSlice>,
    hints: Vec<LeaderHint>,
}

impl Collected {
    fn partition(
        &mut self,
        candidate: &Candidate,
        result: PartitionRead,
    ) -> (PartitionData, Option<LeaderHint>, Told) {
        let empty = Some(Records::Memory(Bytes::new()));
        let mut data = PartitionData {
            partition_index: candidate.partition,
            high_watermark: -1,
            records: empty,
            ..PartitionData::default()
        };
        match result {
            PartitionRead::Failed(Unroutable { error, leader }) => {
                data.error_code = error.code();
                let leader = leader.filter(|_| self.names_leaders);
                if let Some(hint) = leader {
                    data.current_leader = current_leader(hint);
                }
                (data, leader, Told::NOTHING)
            }
            PartitionRead::Diverged(view, epoch, end_offset) => {
                let marks = Marks::of(&view);
                set_marks(&mut data, marks);
                data.diverging_epoch = EpochEndOffset {
                    epoch: epoch.0,
                    end_offset: end_offset.0,
                    ..EpochEndOffset::default()
                };
                (data, None, told(marks))
            }
            PartitionRead::Elsewhere(marks, replica) => {
                set_marks(&mut data, marks);
                data.preferred_read_replica = replica.0;
                (data, None, told(marks))
            }
            PartitionRead::Read(marks, located) => {
                set_marks(&mut data, marks);
                if let Some(located) = located {
                    let id = self.slices.len() as u32;
                    data.records = Some(Records::External { id, len: located.len });
                    self.slices.push(FileSlice {
                        id,
                        source: located.source,
                        position: located.position,
                        len: located.len,
                    });
                }
                (data, None, told(marks))
            }
        }
    }

    /// Partitions of one topic that follow each other share an entry.
    fn add(&mut self, topic: &TopicKey, data: PartitionData) {
        let (name, id) = match topic {
            TopicKey::Name(name) => (name.clone(), Uuid::ZERO),
            TopicKey::Id(id) => (Str::new(), *id),
        };
        match self.topics.last_mut() {
            Some(last) if last.topic == name && last.topic_id == id => last.partitions.push(data),
            _ => self.topics.push(FetchableTopicResponse {
                topic: name,
                topic_id: id,
                partitions: vec![data],
                ..FetchableTopicResponse::default()
            }),
        }
    }

    fn into_reply(mut self, poll: &Poll, session_id: i32) -> Reply {
        let context = &poll.context;
        let mut response = FetchResponse { session_id, ..FetchResponse::default() };
        for partition in self.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            if poll.terms.is_committed_only {
                // None that was aborted is in a log yet.
                partition.aborted_transactions = Some(Vec::new());
            } else {
                partition.aborted_transactions = None;
            }
        }
        if !self.hints.is_empty() {
            let resolver = poll.data.resolver();
            let listener = &context.connection.listener;
            let endpoints = resolver.endpoints(self.hints.into_iter(), listener);
            response.node_endpoints = (endpoints.into_iter())
                .map(|endpoint| NodeEndpoint {
                    node_id: endpoint.node,
                    host: endpoint.host,
                    port: endpoint.port,
                    rack: endpoint.rack,
                    ..NodeEndpoint::default()
                })
                .collect();
        }
        response.responses = self.topics;
        Reply::with_files::<FetchRequest>(context, &response, self.slices)
    }
}

/// Whoever wants less had no turn, or the view was outrun: it has to be looked at again.
fn readable_end(reader: Reader, result: &PartitionRead) -> i64 {
    match (reader, result) {
        (Reader::Replica { .. }, PartitionRead::Read(marks, _)) => marks.log_end.0,
        (_, PartitionRead::Read(marks, _)) => marks.high_watermark.0,
        _ => -1,
    }
}

fn current_leader(hint: LeaderHint) -> LeaderIdAndEpoch {
    LeaderIdAndEpoch {
        leader_id: hint.leader.0,
        leader_epoch: hint.leader_epoch.0,
        ..LeaderIdAndEpoch::default()
    }
}

fn set_marks(data: &mut PartitionData, marks: Marks) {
    data.high_watermark = marks.high_watermark.0;
    data.last_stable_offset = marks.last_stable.0;
    data.log_start_offset = marks.log_start.0;
}

fn told(marks: Marks) -> Told {
    Told { high_watermark: marks.high_watermark.0, log_start: marks.log_start.0 }
}
