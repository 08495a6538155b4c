//! DescribeConfigs, 1 to 4: the configs of topics and of this broker, where each value comes from, and
//! what it stands in for.
//!
//! - Topics, groups, this broker by its id, and what is set for all brokers (an empty broker name). Other kinds
//!   of resources are not built and are INVALID_REQUEST, as is the id of another broker: clients ask each
//!   broker for its own configs.
//! - Secrets are never told.
//! - Synonyms only if asked; documentation from version 3 on and only if asked.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ottla_metadata::config::{
    ConfigMap, Layers, Resolved, describe_broker, describe_broker_defaults, describe_group,
    describe_topic, validate_topic_name,
};
use ottla_metadata::image::Image;
use ottla_metadata::keys::ConfigResource;
use ottla_protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use ottla_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult,
    DescribeConfigsSynonym,
};
use ottla_protocol::{ErrorCode, Str};

use super::{Answer, Handler, RequestContext};
use crate::services::Services;

/// Serves DescribeConfigs.
#[derive(Debug)]
pub struct DescribeConfigs;

/// Kafka's codes of resources.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

impl Handler for DescribeConfigs {
    type Request = DescribeConfigsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=4;

    async fn handle(
        services: &Arc<Services>,
        context: &RequestContext,
        request: DescribeConfigsRequest,
    ) -> Answer {
        let image = services.image.load();
        let results =
            request.resources.iter().map(|resource| match describe(services, &image, resource) {
                Ok(configs) => told(&request, resource, &configs),
                Err((error, message)) => DescribeConfigsResult {
                    error_code: error.code(),
                    error_message: Some(Str::from(message)),
                    resource_type: resource.resource_type,
                    resource_name: resource.resource_name.clone(),
                    ..DescribeConfigsResult::default()
                },
            });
        let response = DescribeConfigsResponse {
            results: results.collect(),
            ..DescribeConfigsResponse::default()
        };
        Answer::ready::<DescribeConfigsRequest>(context, &response)
    }
}

fn describe(
    services: &Services,
    image: &Image,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Resolved>, (ErrorCode, String)> {
    let id = services.identity.broker_id.0;
    let dynamic = |resource| image.config(&resource).map(|entry| &entry.value.configs);
    let empty = ConfigMap::new();
    let layers = Layers {
        own: &empty,
        dynamic_broker: dynamic(ConfigResource::Broker(id)).unwrap_or(&empty),
        dynamic_default: dynamic(ConfigResource::BrokerDefault).unwrap_or(&empty),
        file: services.config.server.values(),
    };
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC => {
            validate_topic_name(name)
                .map_err(|error| (ErrorCode::InvalidTopicException, error.to_string()))?;
            let topic = image.topic(name).ok_or_else(|| {
                (ErrorCode::UnknownTopicOrPartition, format!("there is no topic {name}"))
            })?;
            Ok(describe_topic(&Layers { own: &topic.configs, ..layers }))
        }
        BROKER if name.is_empty() => Ok(describe_broker_defaults(layers.dynamic_default)),
        BROKER if name.parse() == Ok(id) => Ok(describe_broker(&layers)),
        BROKER => Err((
            ErrorCode::InvalidRequest,
            format!("this is broker {id}, which knows its own configs only; ask {name:?} itself"),
        )),
        GROUP if name.is_empty() => {
            Err((ErrorCode::InvalidRequest, "a group has a name that is not empty".to_owned()))
        }
        // A group has configs whether or not it exists.
        GROUP => {
            let own = dynamic(ConfigResource::Group(name.to_owned())).unwrap_or(&empty);
            Ok(describe_group(&Layers { own, ..layers }))
        }
        kind => Err((
            ErrorCode::InvalidRequest,
            format!("configs of resources of type {kind} are not supported"),
        )),
    }
}

fn told(
    request: &DescribeConfigsRequest,
    resource: &DescribeConfigsResource,
    configs: &[Resolved],
) -> DescribeConfigsResult {
    let is_asked = |config: &&Resolved| match &resource.configuration_keys {
        // None named means all, as for Kafka: some clients send an empty list for it.
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| **key == *config.name),
        _ => true,
    };
    let configs = configs.iter().filter(is_asked).map(|config| DescribeConfigsResourceResult {
        name: Str::from(config.name.as_str()),
        value: config.shown().map(Str::from),
        read_only: config.def.is_read_only(),
        config_source: config.source.code(),
        is_sensitive: config.def.is_sensitive(),
        synonyms: if request.include_synonyms { synonyms(config) } else { Vec::new() },
        config_type: config.def.kind.code(),
        documentation: request.include_documentation.then(|| Str::from_static(config.def.doc)),
        ..DescribeConfigsResourceResult::default()
    });
    DescribeConfigsResult {
        error_message: None,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        configs: configs.collect(),
        ..DescribeConfigsResult::default()
    }
}

fn synonyms(config: &Resolved) -> Vec<DescribeConfigsSynonym> {
    let synonyms = config.synonyms.iter().map(|synonym| DescribeConfigsSynonym {
        name: Str::from(synonym.name.as_str()),
        value: synonym.value.as_deref().map(Str::from),
        source: synonym.source.code(),
        ..DescribeConfigsSynonym::default()
    });
    synonyms.collect()
}
