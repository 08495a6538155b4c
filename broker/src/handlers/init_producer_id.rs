//! InitProducerId, 0 to 5: an id for an idempotent producer.
//!
//! - Without a transactional id: a new producer id with epoch 0, also for a producer that had one
//!   before; it starts a new sequence.
//! - An empty transactional id is INVALID_REQUEST.
//! - Transactions are not built: a transactional id is refused for good
//!   (TRANSACTIONAL_ID_AUTHORIZATION_FAILED), so that its producer fails at once and does not wait for a
//!   coordinator that never comes.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::init_producer_id_response::InitProducerIdResponse;

use super::{Answer, Handler, Reply, RequestContext};
use crate::relay::RelayError;
use crate::services::Services;

/// Serves InitProducerId.
#[derive(Debug)]
pub struct InitProducerId;

impl Handler for InitProducerId {
    type Request = InitProducerIdRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: InitProducerIdRequest,
    ) -> Answer {
        let error = match &request.transactional_id {
            None => ErrorCode::None,
            Some(id) if id.is_empty() => ErrorCode::InvalidRequest,
            Some(_) => ErrorCode::TransactionalIdAuthorizationFailed,
        };
        if error != ErrorCode::None {
            return Answer::ready::<InitProducerIdRequest>(context, &refuse(error));
        }
        let producer_ids = services.producer_ids.clone();
        let context = context.clone();
        Answer::later(async move {
            let response = match producer_ids.next().await {
                Ok(producer_id) => InitProducerIdResponse {
                    producer_id,
                    producer_epoch: 0,
                    ..InitProducerIdResponse::default()
                },
                Err(error) => refuse(code(&error)),
            };
            Reply::new::<InitProducerIdRequest>(&context, &response)
        })
    }
}

/// Producers ask again after either of these.
fn code(error: &RelayError) -> ErrorCode {
    match error {
        RelayError::NoAnswer(_) | RelayError::Refused { .. } => {
            ErrorCode::CoordinatorLoadInProgress
        }
        RelayError::NoCoordinator | RelayError::Overloaded | RelayError::Malformed(_) => {
            ErrorCode::CoordinatorNotAvailable
        }
    }
}

fn refuse(error: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse {
        error_code: error.code(),
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdResponse::default()
    }
}
