//! DescribeCluster, 0 to 2: cluster id, controller and brokers, from the image.
//!
//! - From version 1 on the client says which kind of node it wants; only brokers are here.
//! - From version 2 on fenced brokers may be asked for and are told as such.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_protocol::messages::describe_cluster_response::{
    DescribeClusterBroker, DescribeClusterResponse,
};
use ottla_protocol::{ErrorCode, Str};

use super::topology::{ALL_CLUSTER_OPERATIONS, OPERATIONS_NOT_ASKED};
use super::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves DescribeCluster.
#[derive(Debug)]
pub struct DescribeCluster;

/// Endpoint type of brokers.
const BROKERS: i8 = 1;
/// Endpoint type of controllers.
const CONTROLLERS: i8 = 2;

impl Handler for DescribeCluster {
    type Request = DescribeClusterRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: DescribeClusterRequest,
    ) -> Answer {
        let response = match request.endpoint_type {
            BROKERS => describe(services, &context.connection.listener, &request),
            CONTROLLERS => refuse(
                ErrorCode::MismatchedEndpointType,
                "this is a broker; controllers are not reachable by Kafka clients",
            ),
            _ => refuse(ErrorCode::UnsupportedEndpointType, "no such endpoint type"),
        };
        Answer::ready::<DescribeClusterRequest>(context, &response)
    }
}

fn describe(
    services: &Services,
    listener: &str,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let image = services.image.load();
    let told =
        image.brokers().filter(|(_, record)| !record.fenced || request.include_fenced_brokers);
    let brokers = told.filter_map(|(id, record)| {
        let listener = record.listener(listener)?;
        Some(DescribeClusterBroker {
            broker_id: id,
            host: Str::from(listener.host.as_str()),
            port: listener.port.into(),
            rack: record.rack.as_deref().map(Str::from),
            is_fenced: record.fenced,
            ..DescribeClusterBroker::default()
        })
    });
    DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: services.identity.cluster_id.clone(),
        controller_id: services.identity.broker_id.0,
        brokers: brokers.collect(),
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            ALL_CLUSTER_OPERATIONS
        } else {
            OPERATIONS_NOT_ASKED
        },
        ..DescribeClusterResponse::default()
    }
}

fn refuse(error: ErrorCode, message: &'static str) -> DescribeClusterResponse {
    DescribeClusterResponse {
        error_code: error.code(),
        error_message: Some(Str::from_static(message)),
        endpoint_type: BROKERS,
        ..DescribeClusterResponse::default()
    }
}
