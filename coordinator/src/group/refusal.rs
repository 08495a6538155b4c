//! How each request is told that nothing was done.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use ottla_protocol::messages::{
    ConsumerGroupHeartbeatResponse, OffsetDeleteResponse, consumer_group_describe_response,
    describe_groups_response,
};

use super::classic::{heartbeat_error, join_error, leave_error, sync_error};
use super::offsets::refused_commit;
use super::{Request, Response};

/// The answer to a request, in this version, that was not carried out because of `code`.
pub fn refusal(request: &Request, version: i16, code: ErrorCode) -> Response {
    let error_code = code.code();
    match request {
        Request::JoinGroup(request) => {
            Response::JoinGroup(join_error(&request.member_id, code, version))
        }
        Request::SyncGroup(_) => Response::SyncGroup(sync_error(code)),
        Request::Heartbeat(_) => Response::Heartbeat(heartbeat_error(code)),
        Request::LeaveGroup(_) => Response::LeaveGroup(leave_error(code)),
        Request::ConsumerGroupHeartbeat(_) => {
            Response::ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse {
                error_code,
                ..ConsumerGroupHeartbeatResponse::default()
            })
        }
        Request::OffsetCommit(request) => Response::OffsetCommit(refused_commit(request, code)),
        Request::OffsetFetch(request) => Response::OffsetFetch(OffsetFetchResponseGroup {
            group_id: request.group_id.clone(),
            error_code,
            ..OffsetFetchResponseGroup::default()
        }),
        Request::OffsetDelete(_) => Response::OffsetDelete(OffsetDeleteResponse {
            error_code,
            ..OffsetDeleteResponse::default()
        }),
        Request::Delete => Response::Delete(code),
        Request::Describe => Response::Describe(describe_groups_response::DescribedGroup {
            error_code,
            ..Default::default()
        }),
        Request::DescribeConsumer => {
            Response::DescribeConsumer(consumer_group_describe_response::DescribedGroup {
                error_code,
                ..Default::default()
            })
        }
    }
}
