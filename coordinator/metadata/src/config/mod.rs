//! Every config that Ottla knows: Kafka's own names, and a few of Ottla's.
//!
//! The tables under [`table`] are the one source of names, types, defaults and documentation. What
//! reads `server.properties`, answers DescribeConfigs, checks an alteration or prints the reference
//! page derives from them.
//!
//! Nothing here reads a file, a clock or the network.

mod alter;
mod def;
mod names;
mod nearest;
mod properties;
mod reference;
mod resolve;
mod server;
pub mod table;
mod topic_config;
mod validate;
mod value;

pub mod listeners;

pub use alter::{
    AlterError, AlterOp, Alteration, BrokerScope, alter_broker_configs, alter_group_configs,
    alter_topic_configs, replace_broker_configs, replace_group_configs, replace_topic_configs,
    topic_configs_of_creation, validate_topic_configs,
};
pub use def::{
    ConfigDef, ConfigType, DefaultValue, Effect, Importance, Resource, Synonym, Unit, Update,
    Validator,
};
pub use names::{
    MAX_TOPIC_NAME_LEN, TopicNameError, collision_key, names_collide, validate_topic_name,
};
pub use nearest::nearest_name;
pub use properties::{PropertiesError, Property, read_properties};
pub use reference::render_reference;
pub use resolve::{
    ConfigSource, Layers, Resolved, ResolvedSynonym, describe_broker, describe_broker_defaults,
    describe_group, describe_topic, resolve_broker, resolve_topic,
};
pub use server::{ConfigProblem, LoadError, Loaded, Role, ServerConfig, load_server_properties};
pub use table::{Lookup, lookup_broker, lookup_group, lookup_topic};
pub use topic_config::{CleanupPolicy, CompressionType, TimestampType, TopicConfig};
pub use value::{ConfigValue, ValueError};

/// Values by name, as they are set on one resource: what the store keeps for a topic, a broker or all
/// brokers.
pub type ConfigMap = std::collections::BTreeMap<String, String>;
