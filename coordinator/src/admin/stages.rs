//! Stages that every admin request passes, whichever way it came: may the caller do this, and who did
//! what. There are no access rules yet, so everybody may; what is done is logged.

use std::fmt::Debug;

use super::{AdminError, Caller};

/// What a caller wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    CreateTopic,
    DeleteTopic,
    CreatePartitions,
    AlterConfigs,
    ElectLeaders,
    ReassignPartitions,
    UnregisterBroker,
    DrainBroker,
    UpdateFeatures,
    ReadGroup,
    DescribeGroup,
    DeleteGroup,
    DeleteOffsets,
}

/// Whether `caller` may do this to one item of its request.
pub(crate) fn authorise<I: Debug>(
    _caller: &Caller,
    _operation: Operation,
    _item: &I,
) -> Result<(), AdminError> {
    Ok(())
}

/// Writes down what became of one item.
pub(crate) fn audit<I: Debug, O>(
    caller: &Caller,
    operation: Operation,
    item: &I,
    result: &Result<O, AdminError>,
) {
    let principal = format!("{}:{}", caller.principal_type, caller.principal_name);
    let client = caller.client_id.as_deref().unwrap_or_default();
    match result {
        Ok(_) => tracing::info!(?operation, ?item, %principal, client, "done"),
        Err(error) => tracing::debug!(?operation, ?item, %principal, client, %error, "refused"),
    }
}
