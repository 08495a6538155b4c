//! Requests, by what they ask for.

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use ottla_protocol::messages::{OffsetCommitRequest, OffsetDeleteRequest, OffsetDeleteResponse};

use super::{Call, Group, Shard, World};
use crate::group::membership::Membership;
use crate::group::offsets::{Committable, Deletable, Offsets};
use crate::group::{Client, Request, Response};

impl Shard {
    pub(super) fn dispatch(&mut self, call: Call<'_>, world: &mut World<'_>) {
        let Call { ticket, client, group, request } = call;
        match request {
            Request::OffsetCommit(request) => {
                let answer = self.commit(client, group, &request, world);
                world.out.answer(ticket, Response::OffsetCommit(answer));
            }
            Request::OffsetFetch(request) => {
                let answer = self.fetch(client, group, &request, world);
                world.out.answer(ticket, Response::OffsetFetch(answer));
            }
            Request::OffsetDelete(request) => {
                let answer = self.delete_offsets(group, &request, world);
                world.out.answer(ticket, Response::OffsetDelete(answer));
            }
            Request::Delete => {
                let code = self.delete(group, world).err().unwrap_or(ErrorCode::None);
                world.out.answer(ticket, Response::Delete(code));
            }
            Request::Describe => {
                let answer = self.describe(group, client.version);
                world.out.answer(ticket, Response::Describe(answer));
            }
            Request::DescribeConsumer => {
                let answer = self.describe_consumer(group, world);
                world.out.answer(ticket, Response::DescribeConsumer(answer));
            }
            request => self.handle_member(Call { ticket, client, group, request }, world),
        }
    }

    fn commit(
        &mut self,
        client: &Client,
        group: &str,
        request: &OffsetCommitRequest,
        world: &mut World<'_>,
    ) -> ottla_protocol::messages::OffsetCommitResponse {
        let committable = Committable::new(request, client.version, world.image);
        if committable.existing(world.image).next().is_none() {
            return committable.refused(ErrorCode::None, world.image);
        }
        if !self.groups.contains_key(group) {
            if 0 <= request.generation_id_or_member_epoch {
                let code = match client.version {
                    FIRST_WITH_GROUP_ID_NOT_FOUND.. => ErrorCode::GroupIdNotFound,
                    _ => ErrorCode::IllegalGeneration,
                };
                return committable.refused(code, world.image);
            }
            // Whoever commits without being a member makes a group of his own.
            let membership = Membership::simple(group);
            self.groups.insert(Arc::from(group), Group::new(membership));
        }
        let Some(found) = self.groups.get_mut(group) else {
            return committable.refused(ErrorCode::GroupIdNotFound, world.image);
        };
        let mut cx = world.context(group);
        if let Err(code) = found.membership.check_commit(client, &committable, &mut cx) {
            return committable.refused(code, cx.image);
        }
        found.offsets.commit(group, &committable, &mut cx)
    }

    fn fetch(
        &self,
        client: &Client,
        group: &str,
        request: &OffsetFetchRequestGroup,
        world: &World<'_>,
    ) -> OffsetFetchResponseGroup {
        let found = self.groups.get(group);
        if let Some(found) = found
            && let Err(code) = found.membership.check_fetch(request)
        {
            return OffsetFetchResponseGroup {
                group_id: request.group_id.clone(),
                error_code: code.code(),
                ..OffsetFetchResponseGroup::default()
            };
        }
        let offsets = found.map(|found| &found.offsets);
        Offsets::fetch(offsets, request, client.version, world.image)
    }

    fn delete_offsets(
        &mut self,
        group: &str,
        request: &OffsetDeleteRequest,
        world: &mut World<'_>,
    ) -> OffsetDeleteResponse {
        let refused = |code: ErrorCode| OffsetDeleteResponse {
            error_code: code.code(),
            ..OffsetDeleteResponse::default()
        };
        if group.is_empty() {
            return refused(ErrorCode::InvalidGroupId);
        }
        let Some(found) = self.groups.get_mut(group) else {
            return refused(ErrorCode::GroupIdNotFound);
        };
        match found.membership.check_offset_delete() {
            Err(code) => refused(code),
            Ok(subscribed) => {
                let deletable = Deletable { group, request, subscribed };
                found.offsets.delete(&deletable, world.image, world.out)
            }
        }
    }

    /// Deletes a group that has no members, with everything that it committed.
    fn delete(&mut self, group: &str, world: &mut World<'_>) -> Result<(), ErrorCode> {
        let found = self.groups.get_mut(group).ok_or(ErrorCode::GroupIdNotFound)?;
        if !found.membership.is_empty() {
            return Err(ErrorCode::NonEmptyGroup);
        }
        found.offsets.drop_all(group, world.out);
        found.membership.delete(&mut world.context(group));
        self.forget(group);
        Ok(())
    }
}

/// The version of OffsetCommit from which on a group that does not exist is called so.
const FIRST_WITH_GROUP_ID_NOT_FOUND: i16 = 9;
