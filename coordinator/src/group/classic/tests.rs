//! Tests of classic groups.

mod random;
mod script;

use ottla_protocol::Message;
use ottla_protocol::messages::{
    JoinGroupRequest, JoinGroupResponse, LeaveGroupResponse, SyncGroupResponse,
};

use super::*;
use crate::group::scenario;

#[test]
fn scenarios() {
    scenario::run::<script::Scripted>("classic");
}

#[test]
fn refusals_can_be_said_in_every_version() {
    for error in [ErrorCode::UnknownMemberId, ErrorCode::MemberIdRequired] {
        for version in JoinGroupRequest::MIN_VERSION..=JoinGroupRequest::MAX_VERSION {
            let answer = join_error("m", error, version);
            let bytes = answer.encode_all(version).unwrap();
            let read = JoinGroupResponse::decode_all(bytes, version).unwrap();
            assert_eq!((read.error_code, &*read.member_id), (error.code(), "m"));
        }
        for version in SyncGroupResponse::MIN_VERSION..=SyncGroupResponse::MAX_VERSION {
            sync_error(error).encode_all(version).unwrap();
        }
        for version in LeaveGroupResponse::MIN_VERSION..=LeaveGroupResponse::MAX_VERSION {
            leave_error(error).encode_all(version).unwrap();
        }
    }
}

#[test]
fn group_that_is_not_there_is_dead_and_from_version_6_on_an_error() {
    let old = describe_unknown("g", 5);
    assert_eq!((&*old.group_state, old.error_code), ("Dead", 0));
    let new = describe_unknown("g", 6);
    assert_eq!((&*new.group_state, new.error_code), ("Dead", 69));
}
