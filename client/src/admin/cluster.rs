//! The cluster as a whole, and offsets in it.

use std::sync::{Mutex, PoisonError};

use ottla_protocol::Str;
use ottla_protocol::messages::DescribeClusterRequest;
use ottla_protocol::types::{BrokerId, PartitionId};

use crate::admin::Admin;
use crate::connection::Address;
use crate::error::{ClientError, check};
use crate::metadata_cache::Broker;
use crate::offsets::{OffsetAt, OffsetFound, list_offsets_once};

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Its id.
    pub cluster_id: Str,
    /// The broker that takes administrative requests; −1 if there is none.
    pub controller: BrokerId,
    /// The brokers that are up, by id.
    pub brokers: Vec<Broker>,
    /// The brokers that are known and take no part, by id; none from clusters that do not tell.
    pub fenced: Vec<Broker>,
}

/// The first version that tells of fenced brokers too.
const FENCED_VERSION: i16 = 2;

impl Admin {
    /// The cluster's id, controller and brokers. Asks the metadata where the broker has no request for this.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, ClientError> {
        let make = |version| DescribeClusterRequest {
            include_fenced_brokers: FENCED_VERSION <= version,
            ..DescribeClusterRequest::default()
        };
        let timeout = self.client.config().api_timeout;
        let response = self.client.retry("describing the cluster", timeout, || async move {
            self.client.any_broker().await?.call_from(0, make).await
        });
        let response = match response.await {
            Err(ClientError::Unsupported(_)) => return self.describe_by_metadata().await,
            response => response?,
        };
        check(response.error_code, response.error_message.as_deref())?;
        let brokers = |fenced: bool| {
            let told = response.brokers.iter().filter(move |broker| broker.is_fenced == fenced);
            let mut brokers: Vec<_> = told
                .filter_map(|broker| {
                    let port = u16::try_from(broker.port).ok()?;
                    let address = Address { host: broker.host.to_string(), port };
                    let rack = broker.rack.clone();
                    Some(Broker { id: BrokerId(broker.broker_id), address, rack })
                })
                .collect();
            brokers.sort_unstable_by_key(|broker| broker.id);
            brokers
        };
        Ok(ClusterDescription {
            cluster_id: response.cluster_id.clone(),
            controller: BrokerId(response.controller_id),
            brokers: brokers(false),
            fenced: brokers(true),
        })
    }

    /// Offsets of partitions; each answer is of one attempt or of several until `default.api.timeout.ms`.
    pub async fn list_offsets(
        &self,
        queries: &[(Str, PartitionId, OffsetAt)],
    ) -> Vec<Result<OffsetFound, ClientError>> {
        let timeout = self.client.config().api_timeout;
        let results = Mutex::new(Vec::new());
        let keep = &results;
        let retried = self.client.retry("looking up offsets", timeout, || async move {
            let found = list_offsets_once(&self.client, queries).await;
            let error = found.iter().filter_map(|result| result.as_ref().err());
            let retriable = error.into_iter().find(|error| error.is_retriable()).cloned();
            *keep.lock().unwrap_or_else(PoisonError::into_inner) = found;
            retriable.map_or(Ok(()), Err)
        });
        // What could not be found until then is in the results.
        let failed = retried.await.err();
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = failed {
            results.resize(queries.len(), Err(error));
        }
        results
    }

    async fn describe_by_metadata(&self) -> Result<ClusterDescription, ClientError> {
        let metadata = self.client.refresh_metadata(&[]).await?;
        Ok(ClusterDescription {
            cluster_id: metadata.cluster_id.clone().unwrap_or_default(),
            controller: metadata.controller,
            brokers: metadata.brokers.values().cloned().collect(),
            fenced: Vec::new(),
        })
    }
}
