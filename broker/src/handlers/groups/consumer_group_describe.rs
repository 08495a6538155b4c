//! ConsumerGroupDescribe, 0 and 1: consumer groups and their members (KIP-848). Without the feature
//! `group.version` it is UNSUPPORTED_VERSION.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use ottla_protocol::messages::consumer_group_describe_response::{
    ConsumerGroupDescribeResponse, DescribedGroup,
};

use super::{GroupRequest, has_consumer_protocol, relay};
use crate::handlers::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves ConsumerGroupDescribe.
#[derive(Debug)]
pub struct ConsumerGroupDescribe;

impl Handler for ConsumerGroupDescribe {
    type Request = ConsumerGroupDescribeRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: ConsumerGroupDescribeRequest,
    ) -> Answer {
        if !has_consumer_protocol(services) {
            let response = request.refuse(context.api_version, ErrorCode::UnsupportedVersion);
            return Answer::ready::<ConsumerGroupDescribeRequest>(context, &response);
        }
        relay(services, context, request)
    }
}

impl GroupRequest for ConsumerGroupDescribeRequest {
    fn groups(&self) -> Vec<&str> {
        self.group_ids.iter().map(|group| &**group).collect()
    }

    fn refuse(&self, _: i16, error: ErrorCode) -> ConsumerGroupDescribeResponse {
        let groups = self.group_ids.iter().map(|group| DescribedGroup {
            group_id: group.clone(),
            error_code: error.code(),
            ..DescribedGroup::default()
        });
        ConsumerGroupDescribeResponse {
            groups: groups.collect(),
            ..ConsumerGroupDescribeResponse::default()
        }
    }
}
