//! Brokers, those that are fenced included.

use ottla_protocol::messages::UnregisterBrokerRequest;
use ottla_protocol::types::BrokerId;

use crate::admin::Admin;
use crate::error::{ClientError, check};
use crate::metadata_cache::Broker;

/// A broker in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerListing {
    /// The broker.
    pub broker: Broker,
    /// Whether it takes no part; never told by old brokers, which list only those that do.
    pub is_fenced: bool,
}

impl Admin {
    /// The brokers by id, those that are fenced included where the cluster tells of them.
    pub async fn list_brokers(&self) -> Result<Vec<BrokerListing>, ClientError> {
        let cluster = self.describe_cluster().await?;
        let listed = |is_fenced| move |broker| BrokerListing { broker, is_fenced };
        let alive = cluster.brokers.into_iter().map(listed(false));
        let mut brokers: Vec<_> =
            alive.chain(cluster.fenced.into_iter().map(listed(true))).collect();
        brokers.sort_unstable_by_key(|listing| listing.broker.id);
        Ok(brokers)
    }

    /// Forgets a broker that is gone for good. It stays a replica of what it had.
    pub async fn unregister_broker(&self, broker: BrokerId) -> Result<(), ClientError> {
        let request =
            UnregisterBrokerRequest { broker_id: broker.0, ..UnregisterBrokerRequest::default() };
        let response = self.call_controller(&request, |response| vec![response.error_code]).await?;
        check(response.error_code, response.error_message.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::ErrorCode;
    use ottla_protocol::messages::describe_cluster_response::DescribeClusterBroker;
    use ottla_protocol::messages::{
        DescribeClusterRequest, DescribeClusterResponse, UnregisterBrokerResponse,
    };

    use super::*;
    use crate::client::Client;
    use crate::testing::{FakeCluster, Reaction, decode};

    #[tokio::test]
    async fn fenced_brokers_are_asked_for() {
        let cluster = FakeCluster::new(
            1,
            Box::new(|_, header, body| {
                let request: DescribeClusterRequest = decode(header, body);
                assert!(request.include_fenced_brokers);
                let broker = |broker_id, is_fenced| DescribeClusterBroker {
                    broker_id,
                    is_fenced,
                    port: 9092,
                    ..DescribeClusterBroker::default()
                };
                let response = DescribeClusterResponse {
                    brokers: vec![broker(2, true), broker(1, false)],
                    ..DescribeClusterResponse::default()
                };
                Reaction::answer(header, &response)
            }),
        );
        let brokers = Admin::new(Client::new(cluster.config())).list_brokers().await.unwrap();
        let told: Vec<_> = brokers.iter().map(|it| (it.broker.id.0, it.is_fenced)).collect();
        assert_eq!(told, [(1, false), (2, true)]);
    }

    #[tokio::test]
    async fn unregistering_a_stranger_is_an_error() {
        let cluster = FakeCluster::new(
            1,
            Box::new(|_, header, body| {
                let request: UnregisterBrokerRequest = decode(header, body);
                let known = request.broker_id == 3;
                let error = if known { ErrorCode::None } else { ErrorCode::BrokerIdNotRegistered };
                let error_code = error.code();
                let response =
                    UnregisterBrokerResponse { error_code, ..UnregisterBrokerResponse::default() };
                Reaction::answer(header, &response)
            }),
        );
        let admin = Admin::new(Client::new(cluster.config()));
        assert_eq!(admin.unregister_broker(BrokerId(3)).await, Ok(()));
        let error = admin.unregister_broker(BrokerId(9)).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::BrokerIdNotRegistered));
    }
}
