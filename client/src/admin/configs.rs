//! Configs of topics, brokers and groups.

use ottla_protocol::Str;
use ottla_protocol::messages::describe_configs_request::DescribeConfigsResource;
use ottla_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use ottla_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use ottla_protocol::types::BrokerId;

use crate::admin::{Admin, unanswered};
use crate::error::{ClientError, check};
use crate::node::Link;

/// What configs belong to; the numbers are the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i8)]
pub enum ConfigResourceType {
    /// A topic, by name.
    Topic = 2,
    /// A broker, by id; an empty name means the defaults of all.
    Broker = 4,
    /// A broker's log levels, by id.
    BrokerLogger = 8,
    /// Metrics subscriptions of clients.
    ClientMetrics = 16,
    /// A group, by id.
    Group = 32,
}

/// One thing that has configs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConfigResource {
    /// What it is.
    pub resource_type: ConfigResourceType,
    /// Which.
    pub name: Str,
}

/// A config as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: Str,
    /// Its value; none where it has none or must not be seen.
    pub value: Option<Str>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether it can only be set when the broker starts.
    pub is_read_only: bool,
    /// Whether its value is never shown.
    pub is_sensitive: bool,
    /// The type of its values.
    pub config_type: ConfigType,
    /// Where else it could come from, the one in force first. Only if asked for.
    pub synonyms: Vec<ConfigSynonym>,
    /// What it does. Only if asked for.
    pub documentation: Option<Str>,
}

/// Another place that a config's value could come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// Its name there.
    pub name: Str,
    /// Its value there.
    pub value: Option<Str>,
    /// Where that is.
    pub source: ConfigSource,
}

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// A number that this client does not know.
            Unknown(i8),
        }

        impl From<i8> for $name {
            fn from(number: i8) -> Self {
                match number {
                    $($number => Self::$variant,)+
                    other => Self::Unknown(other),
                }
            }
        }
    };
}

numbered! {
    /// Where a config's value comes from.
    ConfigSource {
        /// Set on the topic.
        DynamicTopic = 1,
        /// Set on this broker while running.
        DynamicBroker = 2,
        /// Set on all brokers while running.
        DynamicDefaultBroker = 3,
        /// From the broker's properties file.
        StaticBroker = 4,
        /// The built-in default.
        Default = 5,
        /// Set on a broker's logger while running.
        DynamicBrokerLogger = 6,
        /// Set on a metrics subscription.
        ClientMetrics = 7,
        /// Set on the group.
        Group = 8,
    }
}

numbered! {
    /// The type of a config's values.
    ConfigType {
        /// true or false.
        Boolean = 1,
        /// Text.
        String = 2,
        /// 32 bits.
        Int = 3,
        /// 16 bits.
        Short = 4,
        /// 64 bits.
        Long = 5,
        /// Floating point.
        Double = 6,
        /// Names with commas between.
        List = 7,
        /// The name of a Java class.
        Class = 8,
        /// A secret.
        Password = 9,
    }
}

/// One change to a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterConfig {
    /// The config's name.
    pub name: Str,
    /// What becomes of it.
    pub change: ConfigChange,
}

/// What becomes of a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    /// It gets this value.
    Set(Str),
    /// It goes back to its default.
    Delete,
    /// These entries are added to its list.
    Append(Str),
    /// These entries are taken from its list.
    Subtract(Str),
}

impl ConfigChange {
    fn parts(&self) -> (i8, Option<Str>) {
        match self {
            Self::Set(value) => (0, Some(value.clone())),
            Self::Delete => (1, None),
            Self::Append(value) => (2, Some(value.clone())),
            Self::Subtract(value) => (3, Some(value.clone())),
        }
    }
}

impl ConfigResource {
    /// A topic.
    pub fn topic(name: impl Into<Str>) -> Self {
        Self { resource_type: ConfigResourceType::Topic, name: name.into() }
    }

    /// A broker.
    pub fn broker(id: BrokerId) -> Self {
        Self { resource_type: ConfigResourceType::Broker, name: id.to_string().into() }
    }

    /// The broker that must be asked, since only it knows.
    fn belongs_to(&self) -> Option<BrokerId> {
        match self.resource_type {
            ConfigResourceType::Broker | ConfigResourceType::BrokerLogger => {
                self.name.parse().ok().map(BrokerId)
            }
            _ => None,
        }
    }
}

impl Admin {
    /// All configs of each resource; with `synonyms` and `documentation` if asked for.
    pub async fn describe_configs(
        &self,
        resources: &[ConfigResource],
        with_details: bool,
    ) -> Vec<Result<Vec<ConfigEntry>, ClientError>> {
        let timeout = self.client.config().api_timeout;
        let mut results = Vec::with_capacity(resources.len());
        for resource in resources {
            let described = self.client.retry("describing configs", timeout, || async move {
                self.describe_config(resource, with_details).await
            });
            results.push(described.await);
        }
        results
    }

    /// Changes configs; with `validate_only` only says whether it would.
    pub async fn alter_configs(
        &self,
        changes: &[(ConfigResource, Vec<AlterConfig>)],
        validate_only: bool,
    ) -> Vec<Result<(), ClientError>> {
        let timeout = self.client.config().api_timeout;
        let mut results = Vec::with_capacity(changes.len());
        for (resource, changes) in changes {
            let request = IncrementalAlterConfigsRequest {
                resources: vec![altered(resource, changes)],
                validate_only,
                ..IncrementalAlterConfigsRequest::default()
            };
            let request = &request;
            let altered = self.client.retry("altering configs", timeout, || async move {
                let response = self.config_link(resource).await?.call(request).await?;
                let answered = response.responses.first().ok_or_else(unanswered)?;
                check(answered.error_code, answered.error_message.as_deref())
            });
            results.push(altered.await);
        }
        results
    }

    async fn describe_config(
        &self,
        resource: &ConfigResource,
        with_details: bool,
    ) -> Result<Vec<ConfigEntry>, ClientError> {
        let link = self.config_link(resource).await?;
        let make = |version| DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: resource.resource_type as i8,
                resource_name: resource.name.clone(),
                ..DescribeConfigsResource::default()
            }],
            include_synonyms: with_details && 1 <= version,
            include_documentation: with_details && 3 <= version,
            ..DescribeConfigsRequest::default()
        };
        let response = link.call_from(0, make).await?;
        let answered = response.results.first().ok_or_else(unanswered)?;
        check(answered.error_code, answered.error_message.as_deref())?;
        Ok(answered.configs.iter().map(entry).collect())
    }

    async fn config_link(&self, resource: &ConfigResource) -> Result<Link, ClientError> {
        match resource.belongs_to() {
            None => self.client.any_broker().await,
            Some(broker) => {
                if !self.client.metadata().brokers.contains_key(&broker) {
                    self.client.refresh_metadata(&[]).await?;
                }
                self.client.broker(broker).await
            }
        }
    }
}

fn altered(resource: &ConfigResource, changes: &[AlterConfig]) -> AlterConfigsResource {
    let config = |change: &AlterConfig| {
        let (config_operation, value) = change.change.parts();
        AlterableConfig {
            name: change.name.clone(),
            config_operation,
            value,
            ..AlterableConfig::default()
        }
    };
    AlterConfigsResource {
        resource_type: resource.resource_type as i8,
        resource_name: resource.name.clone(),
        configs: changes.iter().map(config).collect(),
        ..AlterConfigsResource::default()
    }
}

fn entry(config: &DescribeConfigsResourceResult) -> ConfigEntry {
    let synonyms = config.synonyms.iter().map(|synonym| ConfigSynonym {
        name: synonym.name.clone(),
        value: synonym.value.clone(),
        source: synonym.source.into(),
    });
    ConfigEntry {
        name: config.name.clone(),
        value: config.value.clone(),
        source: config.config_source.into(),
        is_read_only: config.read_only,
        is_sensitive: config.is_sensitive,
        config_type: config.config_type.into(),
        synonyms: synonyms.collect(),
        documentation: config.documentation.clone(),
    }
}
