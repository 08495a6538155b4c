//! UnregisterBroker, version 0.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use super::{Call, Handler, Relayed};
use crate::admin::{Options, Unavailable};

pub(super) struct UnregisterBroker;

impl Handler for UnregisterBroker {
    type Request = UnregisterBrokerRequest;

    async fn handle(
        call: &Call<'_>,
        request: UnregisterBrokerRequest,
    ) -> Result<Relayed<UnregisterBrokerResponse>, Unavailable> {
        let options = Options { validate_only: false, timeout: call.deadline };
        let brokers = vec![request.broker_id];
        let answer = call.admin.unregister_brokers(&call.caller, brokers, options).await?;
        let (code, message) = match answer.results.into_iter().next() {
            Some(Err(error)) => (error.code, Some(error.message.into())),
            Some(Ok(())) | None => (ErrorCode::None, None),
        };
        let response = UnregisterBrokerResponse {
            error_code: code.code(),
            error_message: message,
            ..UnregisterBrokerResponse::default()
        };
        Ok(Relayed { response, revision: answer.revision })
    }
}
