//! OffsetFetch, 1 to 10: where groups have come to, from version 8 on several groups at a time.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequest;
use ottla_protocol::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponseTopic,
};
use ottla_protocol::{ErrorCode, Str};

use super::{GroupRequest, relay};
use crate::handlers::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves OffsetFetch.
#[derive(Debug)]
pub struct OffsetFetch;

/// First version with an error for the group as a whole.
const OWN_ERROR_FROM: i16 = 2;
/// First version with many groups.
const MANY_FROM: i16 = 8;

impl Handler for OffsetFetch {
    type Request = OffsetFetchRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=10;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: OffsetFetchRequest,
    ) -> Answer {
        relay(services, context, request)
    }
}

impl GroupRequest for OffsetFetchRequest {
    fn groups(&self) -> Vec<&str> {
        // Which of the two there is depends on the version.
        if self.groups.is_empty() {
            return vec![&self.group_id];
        }
        self.groups.iter().map(|group| &*group.group_id).collect()
    }

    fn refuse(&self, version: i16, error: ErrorCode) -> OffsetFetchResponse {
        let topics = self.topics.iter().flatten().filter(|_| version < OWN_ERROR_FROM);
        let topics = topics.map(|topic| {
            let partitions =
                topic.partition_indexes.iter().map(|index| OffsetFetchResponsePartition {
                    partition_index: *index,
                    committed_offset: -1,
                    metadata: Some(Str::new()),
                    error_code: error.code(),
                    ..OffsetFetchResponsePartition::default()
                });
            let partitions = partitions.collect();
            OffsetFetchResponseTopic { name: topic.name.clone(), partitions, ..Default::default() }
        });
        let groups = self.groups.iter().map(|group| OffsetFetchResponseGroup {
            group_id: group.group_id.clone(),
            error_code: error.code(),
            ..OffsetFetchResponseGroup::default()
        });
        let is_single = (OWN_ERROR_FROM..MANY_FROM).contains(&version);
        OffsetFetchResponse {
            topics: topics.collect(),
            error_code: if is_single { error.code() } else { ErrorCode::None.code() },
            groups: groups.collect(),
            ..OffsetFetchResponse::default()
        }
    }
}
