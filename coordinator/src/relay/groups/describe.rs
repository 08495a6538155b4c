//! ListGroups, DescribeGroups, ConsumerGroupDescribe and DeleteGroups.

use ottla_protocol::messages::delete_groups_response::DeletableGroupResult;
use ottla_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DeleteGroupsRequest,
    DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, ListGroupsRequest,
    ListGroupsResponse,
};
use ottla_protocol::{ErrorCode, Str};

use super::super::{Call, Handler, Relayed, Unavailable};
use super::ask_each;
use super::member::NOTHING_OF_THE_IMAGE;
use crate::admin::AdminError;
use crate::admin::stages::{self, Operation};
use crate::group::{Filter, Request, Response};

pub(in super::super) struct ListGroups;
pub(in super::super) struct DescribeGroups;
pub(in super::super) struct ConsumerGroupDescribe;
pub(in super::super) struct DeleteGroups;

impl Handler for ListGroups {
    type Request = ListGroupsRequest;

    /// The groups of the shards that the broker speaks for, and no others: clients ask every broker.
    async fn handle(
        call: &Call<'_>,
        request: ListGroupsRequest,
    ) -> Result<Relayed<ListGroupsResponse>, Unavailable> {
        let leadership = call.admin.leadership();
        if !leadership.is_me {
            return Err(Unavailable::NotActive(leadership.active));
        }
        let listed = call.services.groups.list(call.shards, &Filter::from(&request)).await;
        let response = match listed {
            Ok(mut groups) => {
                groups.retain(|group| {
                    let name = &group.group_id;
                    stages::authorise(&call.caller, Operation::DescribeGroup, name).is_ok()
                });
                ListGroupsResponse { groups, ..ListGroupsResponse::default() }
            }
            Err(code) => {
                ListGroupsResponse { error_code: code.code(), ..ListGroupsResponse::default() }
            }
        };
        Ok(Relayed { response, revision: NOTHING_OF_THE_IMAGE })
    }
}

impl Handler for DescribeGroups {
    type Request = DescribeGroupsRequest;

    async fn handle(
        call: &Call<'_>,
        request: DescribeGroupsRequest,
    ) -> Result<Relayed<DescribeGroupsResponse>, Unavailable> {
        let asked = each(&request.groups, &Request::Describe);
        let answers = ask_each(call, Operation::DescribeGroup, asked).await?;
        let described = answers.into_iter().zip(&request.groups).filter_map(|(answer, group)| {
            let Response::Describe(mut described) = answer else { return None };
            described.group_id = group.clone();
            if request.include_authorized_operations && described.error_code == 0 {
                described.authorized_operations = AUTHORIZED_OPERATIONS;
            }
            Some(described)
        });
        let response = DescribeGroupsResponse {
            groups: described.collect(),
            ..DescribeGroupsResponse::default()
        };
        Ok(Relayed { response, revision: NOTHING_OF_THE_IMAGE })
    }
}

impl Handler for ConsumerGroupDescribe {
    type Request = ConsumerGroupDescribeRequest;

    async fn handle(
        call: &Call<'_>,
        request: ConsumerGroupDescribeRequest,
    ) -> Result<Relayed<ConsumerGroupDescribeResponse>, Unavailable> {
        let asked = each(&request.group_ids, &Request::DescribeConsumer);
        let answers = ask_each(call, Operation::DescribeGroup, asked).await?;
        let described =
            answers.into_iter().zip(&request.group_ids).filter_map(|(answer, group)| {
                let Response::DescribeConsumer(mut described) = answer else { return None };
                described.group_id = group.clone();
                if request.include_authorized_operations && described.error_code == 0 {
                    described.authorized_operations = AUTHORIZED_OPERATIONS;
                }
                Some(described)
            });
        let response = ConsumerGroupDescribeResponse {
            groups: described.collect(),
            ..ConsumerGroupDescribeResponse::default()
        };
        Ok(Relayed { response, revision: NOTHING_OF_THE_IMAGE })
    }
}

impl Handler for DeleteGroups {
    type Request = DeleteGroupsRequest;

    async fn handle(
        call: &Call<'_>,
        request: DeleteGroupsRequest,
    ) -> Result<Relayed<DeleteGroupsResponse>, Unavailable> {
        let asked = each(&request.groups_names, &Request::Delete);
        let answers = ask_each(call, Operation::DeleteGroup, asked).await?;
        let results = answers.into_iter().zip(&request.groups_names).map(|(answer, group)| {
            let code = match answer {
                Response::Delete(code) => code,
                _ => ErrorCode::UnknownServerError,
            };
            let result = if code == ErrorCode::None { Ok(()) } else { Err(AdminError::from(code)) };
            stages::audit(&call.caller, Operation::DeleteGroup, group, &result);
            DeletableGroupResult {
                group_id: group.clone(),
                error_code: code.code(),
                ..DeletableGroupResult::default()
            }
        });
        let response =
            DeleteGroupsResponse { results: results.collect(), ..DeleteGroupsResponse::default() };
        Ok(Relayed { response, revision: NOTHING_OF_THE_IMAGE })
    }
}

fn each(groups: &[Str], request: &Request) -> Vec<(String, Request)> {
    groups.iter().map(|group| (group.as_str().to_owned(), request.clone())).collect()
}

/// What everybody may do to a group while there are no access rules: read (bit 3), delete (6), describe (8),
/// describe configs (10), alter configs (11).
const AUTHORIZED_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
