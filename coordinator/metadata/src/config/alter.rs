//! Changing what is set on a topic, a broker or all brokers: from the old values and a request to the
//! new values, or to the error that Kafka answers.

use std::collections::BTreeSet;

use ottla_protocol::ErrorCode;

use super::ConfigMap;
use super::def::{ConfigDef, ConfigType, Update};
use super::nearest::nearest_name;
use super::resolve::{Layers, resolve_broker, topic_value};
use super::table;
use super::value::split_list;

/// What to do to one config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlterOp {
    /// Set it.
    Set,
    /// Forget it, so that the next wider value holds. Forgetting what is not set, or a name that
    /// nobody knows, changes nothing.
    Delete,
    /// Add items to a list. Those already in it stay where they are.
    Append,
    /// Remove items from a list. Those not in it are ignored.
    Subtract,
}

impl AlterOp {
    /// The operation that IncrementalAlterConfigs numbers so.
    pub fn from_code(code: i8) -> Option<Self> {
        [Self::Set, Self::Delete, Self::Append, Self::Subtract]
            .get(usize::try_from(code).ok()?)
            .copied()
    }
}

/// One change of one config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alteration<'a> {
    /// Its name.
    pub name: &'a str,
    /// What to do.
    pub op: AlterOp,
    /// The value, or the items; ignored by `Delete`.
    pub value: Option<&'a str>,
}

/// Which brokers a dynamic config is set on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerScope {
    /// One.
    Broker,
    /// All.
    All,
}

/// Why a change is refused; nothing of the request is then done to that resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AlterError {
    /// `INVALID_CONFIG` or `INVALID_REQUEST`.
    pub code: ErrorCode,
    /// What is wrong, and what is allowed.
    pub message: String,
}

/// The values of a topic after some changes.
///
/// `layers` are the topic's values and the brokers'; lists grow and shrink from the value that holds.
///
/// # Errors
/// When a name occurs twice or is unknown, a value is missing or not allowed, a change of items is
/// asked of something that is no list, or the values together make no sense.
pub fn alter_topic_configs(
    alterations: &[Alteration<'_>],
    layers: &Layers<'_>,
) -> Result<ConfigMap, AlterError> {
    let configs = altered(alterations, layers, table::lookup_topic, unknown_topic_config)?;
    check_together(&configs, layers)?;
    Ok(configs)
}

/// The values of a topic after all of them were replaced: what is not named is forgotten.
///
/// # Errors
/// As for [`alter_topic_configs`].
pub fn replace_topic_configs(
    configs: &[(String, Option<String>)],
    layers: &Layers<'_>,
) -> Result<ConfigMap, AlterError> {
    let alterations = sets(configs);
    let nothing = ConfigMap::new();
    alter_topic_configs(&alterations, &Layers { own: &nothing, ..*layers })
}

/// The values of a topic that is created with some.
///
/// # Errors
/// As for [`alter_topic_configs`], but a missing value is an `INVALID_CONFIG` here.
pub fn topic_configs_of_creation(
    configs: &[(String, Option<String>)],
    layers: &Layers<'_>,
) -> Result<ConfigMap, AlterError> {
    if let Some((name, _)) = configs.iter().find(|(_, value)| value.is_none()) {
        return Err(config_error(format!("{name} has no value; a new topic's configs need one")));
    }
    replace_topic_configs(configs, layers)
}

/// Checks what is set on a topic, name by name and together.
///
/// # Errors
/// The first that is wrong.
pub fn validate_topic_configs(configs: &ConfigMap) -> Result<(), AlterError> {
    for (name, value) in configs {
        let def = table::lookup_topic(name).ok_or_else(|| unknown_topic_config(name))?;
        check_value(def, value)?;
    }
    check_together(configs, &Layers::default())
}

/// The values of a group after some changes.
///
/// `layers` are the group's values and the brokers'.
///
/// # Errors
/// When a name occurs twice or is unknown, a value is missing or not allowed, or beyond what the brokers' configs
/// allow for groups.
pub fn alter_group_configs(
    alterations: &[Alteration<'_>],
    layers: &Layers<'_>,
) -> Result<ConfigMap, AlterError> {
    let configs = altered(alterations, layers, table::lookup_group, unknown_group_config)?;
    check_group(&configs, layers)?;
    Ok(configs)
}

/// The values of a group after all of them were replaced: what is not named is forgotten.
///
/// # Errors
/// As for [`alter_group_configs`].
pub fn replace_group_configs(
    configs: &[(String, Option<String>)],
    layers: &Layers<'_>,
) -> Result<ConfigMap, AlterError> {
    let nothing = ConfigMap::new();
    alter_group_configs(&sets(configs), &Layers { own: &nothing, ..*layers })
}

/// The values of a topic or a group after some changes, each right by itself.
fn altered(
    alterations: &[Alteration<'_>],
    layers: &Layers<'_>,
    lookup: fn(&str) -> Option<&'static ConfigDef>,
    unknown: fn(&str) -> AlterError,
) -> Result<ConfigMap, AlterError> {
    refuse_repetitions(alterations.iter().map(|alteration| alteration.name))?;
    let mut configs = layers.own.clone();
    for alteration in alterations {
        let Some(def) = lookup(alteration.name) else {
            forget_unknown(&mut configs, alteration, || unknown(alteration.name))?;
            continue;
        };
        let current = || topic_value(def, layers).unwrap_or_default();
        match alter(def, alteration, current)? {
            Some(text) => configs.insert(def.name.to_owned(), check_value(def, &text)?),
            None => configs.remove(def.name),
        };
    }
    Ok(configs)
}

/// What brokers allow for groups, and what makes sense together.
fn check_group(configs: &ConfigMap, layers: &Layers<'_>) -> Result<(), AlterError> {
    let layers = Layers { own: configs, ..*layers };
    let group = |name: &str| -> Option<i64> {
        topic_value(table::lookup_group(name)?, &layers)?.parse().ok()
    };
    let broker = |name: &str| -> Option<i64> {
        let def = table::lookup_broker(name)?.def;
        resolve_broker(name, def, &layers).value?.parse().ok()
    };
    for what in ["session.timeout.ms", "heartbeat.interval.ms"] {
        let name = format!("consumer.{what}");
        let Some(value) = configs.get(&name).and_then(|value| value.parse::<i64>().ok()) else {
            continue;
        };
        let (min, max) =
            (format!("group.consumer.min.{what}"), format!("group.consumer.max.{what}"));
        if broker(&min).is_some_and(|min| value < min) {
            return Err(config_error(format!("{name} must be greater than or equal to {min}")));
        }
        if broker(&max).is_some_and(|max| max < value) {
            return Err(config_error(format!("{name} must be less than or equal to {max}")));
        }
    }
    let times = (group("consumer.session.timeout.ms"), group("consumer.heartbeat.interval.ms"));
    if let (Some(session), Some(heartbeat)) = times
        && session <= heartbeat
    {
        return Err(config_error(
            "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms"
                .to_owned(),
        ));
    }
    Ok(())
}

/// The values of a broker, or of all brokers, after some changes.
///
/// `layers` are what is set so far: `dynamic_broker` is changed for one broker, `dynamic_default` for
/// all.
///
/// # Errors
/// As for [`alter_topic_configs`], and when the config is read at start only, or differs between
/// brokers and is set for all of them.
pub fn alter_broker_configs(
    alterations: &[Alteration<'_>],
    scope: BrokerScope,
    layers: &Layers<'_>,
) -> Result<ConfigMap, AlterError> {
    refuse_repetitions(alterations.iter().map(|alteration| alteration.name))?;
    let base = match scope {
        BrokerScope::Broker => *layers,
        BrokerScope::All => Layers { dynamic_broker: Layers::default().own, ..*layers },
    };
    let mut configs = match scope {
        BrokerScope::Broker => layers.dynamic_broker.clone(),
        BrokerScope::All => layers.dynamic_default.clone(),
    };
    for alteration in alterations {
        let Some(lookup) = table::lookup_broker(alteration.name) else {
            forget_unknown(&mut configs, alteration, || unknown_broker_config(alteration.name))?;
            continue;
        };
        let def = lookup.def;
        let current = || resolve_broker(alteration.name, def, &base).value.unwrap_or_default();
        match alter(def, alteration, current)? {
            Some(text) => {
                check_scope(&lookup, alteration.name, scope)?;
                // Kafka answers a bad value of a broker's config with another code than a topic's.
                let value =
                    check_value(def, &text).map_err(|error| request_error(error.message))?;
                configs.insert(alteration.name.to_owned(), value);
            }
            None => {
                configs.remove(alteration.name);
            }
        }
    }
    Ok(configs)
}

/// The values of a broker, or of all brokers, after all of them were replaced.
///
/// # Errors
/// As for [`alter_broker_configs`].
pub fn replace_broker_configs(
    configs: &[(String, Option<String>)],
    scope: BrokerScope,
    layers: &Layers<'_>,
) -> Result<ConfigMap, AlterError> {
    let nothing = ConfigMap::new();
    let base = match scope {
        BrokerScope::Broker => Layers { dynamic_broker: &nothing, ..*layers },
        BrokerScope::All => Layers { dynamic_default: &nothing, ..*layers },
    };
    alter_broker_configs(&sets(configs), scope, &base)
}

fn sets(configs: &[(String, Option<String>)]) -> Vec<Alteration<'_>> {
    configs
        .iter()
        .map(|(name, value)| Alteration { name, op: AlterOp::Set, value: value.as_deref() })
        .collect()
}

/// The new text of a config, or `None` if it is to be forgotten.
fn alter(
    def: &ConfigDef,
    alteration: &Alteration<'_>,
    current: impl FnOnce() -> String,
) -> Result<Option<String>, AlterError> {
    let name = alteration.name;
    if alteration.op == AlterOp::Delete {
        return Ok(None);
    }
    let is_list = def.kind == ConfigType::List;
    if !is_list && matches!(alteration.op, AlterOp::Append | AlterOp::Subtract) {
        let kind = def.kind.name();
        return Err(config_error(format!(
            "items cannot be added to or removed from {name}: it is not a list but a {kind}"
        )));
    }
    let value = alteration
        .value
        .ok_or_else(|| request_error(format!("{name} has no value; to forget it, delete it")))?;
    if alteration.op == AlterOp::Set {
        return Ok(Some(value.to_owned()));
    }
    let items = |text: &str| {
        split_list(text.trim()).map_err(|problem| config_error(format!("{name}: {problem}")))
    };
    let (mut list, change) = (items(&current())?, items(value)?);
    match alteration.op {
        AlterOp::Append => {
            for item in change {
                if !list.contains(&item) {
                    list.push(item);
                }
            }
        }
        _ => list.retain(|item| !change.contains(item)),
    }
    Ok(Some(list.join(",")))
}

/// The value as it is stored.
fn check_value(def: &ConfigDef, text: &str) -> Result<String, AlterError> {
    let value = def.parse(text).map_err(|error| config_error(error.to_string()))?;
    Ok(value.to_string())
}

/// What no single config can tell.
fn check_together(configs: &ConfigMap, layers: &Layers<'_>) -> Result<(), AlterError> {
    let layers = Layers { own: configs, ..*layers };
    let number = |name: &str| -> Option<i64> {
        topic_value(table::lookup_topic(name)?, &layers)?.parse().ok()
    };
    let lags = (number("min.compaction.lag.ms"), number("max.compaction.lag.ms"));
    if let (Some(min), Some(max)) = lags
        && max < min
    {
        return Err(config_error(format!(
            "min.compaction.lag.ms ({min}) cannot be more than max.compaction.lag.ms ({max})"
        )));
    }
    if configs.get("remote.storage.enable").is_some_and(|value| value == "true") {
        return Err(config_error(
            "remote.storage.enable cannot be true: this cluster has no tiered storage".to_owned(),
        ));
    }
    Ok(())
}

fn check_scope(
    lookup: &table::Lookup<'_>,
    name: &str,
    scope: BrokerScope,
) -> Result<(), AlterError> {
    let def = lookup.def;
    match (def.update, scope) {
        (Update::ReadOnly | Update::PerResource, _) => Err(request_error(format!(
            "{name} cannot be changed while the broker runs; set it in the broker's file and restart it"
        ))),
        (Update::PerBroker, BrokerScope::All) => Err(request_error(format!(
            "{name} differs between brokers; name the broker to set it on"
        ))),
        _ if lookup.listener.is_none() && NEEDS_LISTENER.contains(&def.name) => Err(request_error(
            format!("{name} is set per listener; set listener.name.<listener>.{name}"),
        )),
        _ => Ok(()),
    }
}

fn refuse_repetitions<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), AlterError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(request_error(format!("{name} occurs twice in the request")));
        }
    }
    Ok(())
}

fn forget_unknown(
    configs: &mut ConfigMap,
    alteration: &Alteration<'_>,
    error: impl FnOnce() -> AlterError,
) -> Result<(), AlterError> {
    if alteration.op != AlterOp::Delete {
        return Err(error());
    }
    configs.remove(alteration.name);
    Ok(())
}

fn unknown_topic_config(name: &str) -> AlterError {
    unknown("topic", name, nearest_name(name, table::TOPIC.iter().map(|def| def.name)))
}

fn unknown_group_config(name: &str) -> AlterError {
    unknown("group", name, nearest_name(name, table::GROUP.iter().map(|def| def.name)))
}

fn unknown_broker_config(name: &str) -> AlterError {
    let dynamic = table::broker().filter(|def| !def.is_read_only()).map(|def| def.name);
    unknown("broker", name, nearest_name(name, dynamic))
}

fn unknown(of: &str, name: &str, nearest: Option<&str>) -> AlterError {
    let hint = nearest.map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default();
    config_error(format!("{name:?} is not a config of a {of}{hint}"))
}

fn config_error(message: String) -> AlterError {
    AlterError { code: ErrorCode::InvalidConfig, message }
}

fn request_error(message: String) -> AlterError {
    AlterError { code: ErrorCode::InvalidRequest, message }
}

/// Configs of keys and certificates: they may change while the broker runs, but for one listener each.
const NEEDS_LISTENER: &[&str] = &[
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];

#[cfg(test)]
mod tests;
