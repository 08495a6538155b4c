//! IncrementalAlterConfigs, versions 0 and 1, and its elder AlterConfigs, versions 0 to 2, which replaces
//! the whole set of a resource. Topics, brokers and groups have configs; log levels are a broker's own.

use std::collections::BTreeSet;

use ottla_metadata::config::AlterOp;
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource as IncrementalResource, AlterableConfig as IncrementalConfig,
};
use ottla_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, alter_configs_request, alter_configs_response,
    incremental_alter_configs_response,
};
use ottla_protocol::{ErrorCode, Str};

use super::{Call, Handler, Relayed};
use crate::admin::{
    AdminError, Answer, ConfigAlteration, ConfigChange, ConfigOp, ConfigReplacement,
    ConfigResource, Options, Unavailable,
};

pub(super) struct IncrementalAlterConfigs;
pub(super) struct AlterConfigs;

impl Handler for IncrementalAlterConfigs {
    type Request = IncrementalAlterConfigsRequest;

    async fn handle(
        call: &Call<'_>,
        request: IncrementalAlterConfigsRequest,
    ) -> Result<Relayed<IncrementalAlterConfigsResponse>, Unavailable> {
        let options = Options { validate_only: request.validate_only, timeout: call.deadline };
        let outcomes = Outcomes::new(request.resources.iter().map(|resource| {
            let key = (resource.resource_type, resource.resource_name.clone());
            (key, alteration(resource))
        }));
        let asked = outcomes.asked();
        let answer = call.admin.alter_configs(&call.caller, asked, options).await?;
        let revision = answer.revision;
        let responses =
            outcomes.merge(answer, |(resource_type, resource_name), (code, message)| {
                incremental_alter_configs_response::AlterConfigsResourceResponse {
                    error_code: code.code(),
                    error_message: message,
                    resource_type,
                    resource_name,
                    ..Default::default()
                }
            });
        let response = IncrementalAlterConfigsResponse {
            responses,
            ..IncrementalAlterConfigsResponse::default()
        };
        Ok(Relayed { response, revision })
    }
}

impl Handler for AlterConfigs {
    type Request = AlterConfigsRequest;

    async fn handle(
        call: &Call<'_>,
        request: AlterConfigsRequest,
    ) -> Result<Relayed<AlterConfigsResponse>, Unavailable> {
        let options = Options { validate_only: request.validate_only, timeout: call.deadline };
        let outcomes = Outcomes::new(request.resources.iter().map(|resource| {
            let key = (resource.resource_type, resource.resource_name.clone());
            (key, replacement(resource))
        }));
        let asked = outcomes.asked();
        let answer = call.admin.replace_configs(&call.caller, asked, options).await?;
        let revision = answer.revision;
        let responses =
            outcomes.merge(answer, |(resource_type, resource_name), (code, message)| {
                alter_configs_response::AlterConfigsResourceResponse {
                    error_code: code.code(),
                    error_message: message,
                    resource_type,
                    resource_name,
                    ..Default::default()
                }
            });
        let response = AlterConfigsResponse { responses, ..AlterConfigsResponse::default() };
        Ok(Relayed { response, revision })
    }
}

/// How a request names a resource.
type ResourceKey = (i8, Str);
/// What a resource is answered.
type Verdict = (ErrorCode, Option<Str>);

/// The resources of a request, some of which are refused before the writer is asked.
struct Outcomes<I>(Vec<(ResourceKey, Result<I, AdminError>)>);

impl<I: Clone> Outcomes<I> {
    fn new(resources: impl Iterator<Item = (ResourceKey, Result<I, AdminError>)>) -> Self {
        Self(resources.collect())
    }

    fn asked(&self) -> Vec<I> {
        self.0.iter().filter_map(|(_, item)| item.as_ref().ok().cloned()).collect()
    }

    /// One answer for each resource, in the request's order; one named twice is answered once.
    fn merge<R>(self, answer: Answer<()>, to_response: fn(ResourceKey, Verdict) -> R) -> Vec<R> {
        let mut results = answer.results.into_iter();
        let mut answered = BTreeSet::new();
        let mut responses = Vec::with_capacity(self.0.len());
        for (key, item) in self.0 {
            let result = item.and_then(|_| results.next().unwrap_or(Ok(())));
            if answered.insert(key.clone()) {
                let verdict = match result {
                    Ok(()) => (ErrorCode::None, None),
                    Err(error) => (error.code, Some(error.message.into())),
                };
                responses.push(to_response(key, verdict));
            }
        }
        responses
    }
}

fn alteration(resource: &IncrementalResource) -> Result<ConfigAlteration, AdminError> {
    Ok(ConfigAlteration {
        resource: resource_of(resource.resource_type, &resource.resource_name)?,
        changes: resource.configs.iter().map(change).collect::<Result<_, _>>()?,
    })
}

fn change(config: &IncrementalConfig) -> Result<ConfigChange, AdminError> {
    let op = match AlterOp::from_code(config.config_operation) {
        Some(AlterOp::Set) => ConfigOp::Set,
        Some(AlterOp::Delete) => ConfigOp::Delete,
        Some(AlterOp::Append) => ConfigOp::Append,
        Some(AlterOp::Subtract) => ConfigOp::Subtract,
        None => {
            let message = format!(
                "{} asks for operation {}, which does not exist",
                config.name, config.config_operation
            );
            return Err(AdminError::new(ErrorCode::InvalidRequest, message));
        }
    };
    let value = config.value.as_ref().map(|value| value.as_str().to_owned());
    Ok(ConfigChange { name: config.name.as_str().to_owned(), op, value })
}

fn replacement(
    resource: &alter_configs_request::AlterConfigsResource,
) -> Result<ConfigReplacement, AdminError> {
    let config = |config: &alter_configs_request::AlterableConfig| {
        let value = config.value.as_ref().map(|value| value.as_str().to_owned());
        (config.name.as_str().to_owned(), value)
    };
    Ok(ConfigReplacement {
        resource: resource_of(resource.resource_type, &resource.resource_name)?,
        configs: resource.configs.iter().map(config).collect(),
    })
}

fn resource_of(resource_type: i8, name: &str) -> Result<ConfigResource, AdminError> {
    match resource_type {
        TOPIC => Ok(ConfigResource::Topic(name.to_owned())),
        BROKER if name.is_empty() => Ok(ConfigResource::Broker(None)),
        BROKER => name.parse().map(|id| ConfigResource::Broker(Some(id))).map_err(|_| {
            let message = format!("{name:?} is not the id of a broker");
            AdminError::new(ErrorCode::InvalidRequest, message)
        }),
        GROUP => Ok(ConfigResource::Group(name.to_owned())),
        other => {
            let message = format!("resources of type {other} have no configs that can be changed");
            Err(AdminError::new(ErrorCode::InvalidRequest, message))
        }
    }
}

/// Kafka's number for topics.
const TOPIC: i8 = 2;
/// Kafka's number for brokers.
const BROKER: i8 = 4;
/// Kafka's number for groups.
const GROUP: i8 = 32;
