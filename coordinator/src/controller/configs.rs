//! Configs of topics, of one broker, of all brokers, and of groups.

use std::collections::BTreeMap;

use ottla_metadata::config::{
    self, AlterError, AlterOp, Alteration, BrokerScope, ConfigMap, Layers,
};
use ottla_metadata::image::{Image, Versioned};
use ottla_metadata::keys::{ConfigResource as StoredResource, Key};
use ottla_metadata::model::{ConfigEntry, Partition, Rest};
use ottla_protocol::{ErrorCode, Uuid};

use super::brokers::rules;
use super::decision::{Context, Decision, duplicates};
use super::election::{self, Rules};
use super::plan::{Change, Unit};
use crate::admin::{
    AdminError, ConfigAlteration, ConfigChange, ConfigOp, ConfigReplacement, ConfigResource,
    EffectiveConfig,
};

/// Decides on changes of single configs.
pub fn alter(
    context: &Context<'_>,
    alterations: &[ConfigAlteration],
    validate_only: bool,
) -> Decision<()> {
    let resources = alterations.iter().map(|alteration| &alteration.resource);
    let edits = alterations.iter().map(|alteration| Edit::Alter(&alteration.changes));
    decide(context, resources.zip(edits).collect(), validate_only)
}

/// Decides on whole new sets of configs.
pub fn replace(
    context: &Context<'_>,
    replacements: &[ConfigReplacement],
    validate_only: bool,
) -> Decision<()> {
    let resources = replacements.iter().map(|replacement| &replacement.resource);
    let edits = replacements.iter().map(|replacement| Edit::Replace(&replacement.configs));
    decide(context, resources.zip(edits).collect(), validate_only)
}

/// The configs that a new topic is to be stored with.
pub(super) fn of_creation(
    image: &Image,
    file: &ConfigMap,
    configs: &[(String, Option<String>)],
) -> Result<ConfigMap, AdminError> {
    let none = ConfigMap::new();
    Ok(config::topic_configs_of_creation(configs, &topic_layers(image, file, &none))?)
}

/// Every config of a topic on which `own` is set, with the value in force. `file` is the coordinator's own;
/// what is written in the files of brokers is theirs and not known here.
pub fn effective(image: &Image, file: &ConfigMap, own: &ConfigMap) -> Vec<EffectiveConfig> {
    let resolved = config::describe_topic(&topic_layers(image, file, own));
    let effective = resolved.into_iter().map(|resolved| EffectiveConfig {
        value: resolved.shown().map(str::to_owned),
        source: resolved.source as i8,
        read_only: resolved.def.is_read_only(),
        is_sensitive: resolved.def.is_sensitive(),
        name: resolved.name,
    });
    effective.collect()
}

/// What is asked for one resource.
enum Edit<'a> {
    Alter(&'a [ConfigChange]),
    Replace(&'a [(String, Option<String>)]),
}

fn decide(
    context: &Context<'_>,
    edits: Vec<(&ConfigResource, Edit<'_>)>,
    validate_only: bool,
) -> Decision<()> {
    let duplicate = duplicates(edits.iter().map(|(resource, _)| *resource));
    let mut decision = Decision::without_writes(Vec::with_capacity(edits.len()));
    let mut settled = Settled::default();
    for (index, (resource, edit)) in edits.iter().enumerate() {
        let change = if duplicate[index] {
            let message = "the request names this resource more than once";
            Err(AdminError::new(ErrorCode::InvalidRequest, message))
        } else {
            match resource {
                ConfigResource::Topic(name) => of_topic(context, name, edit, &mut settled),
                ConfigResource::Broker(broker) => of_broker(context, *broker, edit, &mut settled),
                ConfigResource::Group(group) => of_group(context, group, edit),
            }
        };
        decision.results.push(change.map(|change| {
            if let Some(change) = change.filter(|_| !validate_only) {
                decision.units.push(Unit::completing(vec![change], index));
            }
        }));
    }
    if !validate_only {
        let configs = std::mem::take(&mut decision.units);
        decision.units = settled.into_units().chain(configs).collect();
    }
    decision
}

/// Partitions that must be written before the configs are: whoever stops being eligible by a lower
/// `min.insync.replicas` stops before records are acknowledged that it does not have.
#[derive(Default)]
struct Settled(BTreeMap<(Uuid, i32), (i64, Partition)>);

impl Settled {
    fn settle(&mut self, image: &Image, topic: Uuid, rules: Rules) {
        for (number, partition) in image.partitions_of(topic) {
            let current = self.0.get(&(topic, number)).map_or(&partition.value, |(_, next)| next);
            if let Some(next) = election::without_stale_eligible(current, rules) {
                self.0.insert((topic, number), (partition.mod_revision, next));
            }
        }
    }

    fn into_units(self) -> impl Iterator<Item = Unit> {
        self.0.into_iter().map(|((topic, number), (mod_revision, partition))| {
            Change::put(Key::Partition(topic, number), mod_revision, &partition).into()
        })
    }
}

/// `None` if nothing changes.
fn of_topic(
    context: &Context<'_>,
    name: &str,
    edit: &Edit<'_>,
    settled: &mut Settled,
) -> Result<Option<Change>, AdminError> {
    let (image, file) = (context.image, &context.settings.file);
    let topic = image.topic(name).ok_or_else(|| {
        let message = format!("topic '{name}' does not exist");
        AdminError::new(ErrorCode::UnknownTopicOrPartition, message)
    })?;
    let layers = topic_layers(image, file, &topic.configs);
    let configs = match edit {
        Edit::Alter(changes) => config::alter_topic_configs(&alterations(changes), &layers)?,
        Edit::Replace(configs) => config::replace_topic_configs(configs, &layers)?,
    };
    if configs == topic.configs {
        return Ok(None);
    }
    let defaults = image.config(&StoredResource::BrokerDefault).map(|entry| &entry.configs);
    settled.settle(image, topic.id, rules(&configs, defaults, file));
    let mut changed = topic.value.clone();
    changed.configs = configs;
    Ok(Some(Change::put(Key::Topic(name.to_owned()), topic.mod_revision, &changed)))
}

/// `None` if nothing changes. Without `broker`: of all brokers.
fn of_broker(
    context: &Context<'_>,
    broker: Option<i32>,
    edit: &Edit<'_>,
    settled: &mut Settled,
) -> Result<Option<Change>, AdminError> {
    let (image, file) = (context.image, &context.settings.file);
    let (stored, scope) = match broker {
        None => (StoredResource::BrokerDefault, BrokerScope::All),
        Some(id) if image.broker(id).is_none() => {
            let message = format!("no broker with id {id} is registered");
            return Err(AdminError::new(ErrorCode::BrokerIdNotRegistered, message));
        }
        Some(id) => (StoredResource::Broker(id), BrokerScope::Broker),
    };
    let current = image.config(&stored);
    let none = ConfigMap::new();
    let own = current.map_or(&none, |entry| &entry.configs);
    let mut layers = topic_layers(image, file, &none);
    layers.dynamic_broker = if broker.is_some() { own } else { &none };
    let configs = match edit {
        Edit::Alter(changes) => {
            config::alter_broker_configs(&alterations(changes), scope, &layers)?
        }
        Edit::Replace(configs) => config::replace_broker_configs(configs, scope, &layers)?,
    };
    if configs == *own {
        return Ok(None);
    }
    if broker.is_none() {
        for topic in image.topics() {
            settled.settle(image, topic.id, rules(&topic.configs, Some(&configs), file));
        }
    }
    Ok(Some(stored_change(stored, current.map(|entry| &**entry), configs)))
}

/// `None` if nothing changes.
fn of_group(
    context: &Context<'_>,
    group: &str,
    edit: &Edit<'_>,
) -> Result<Option<Change>, AdminError> {
    if group.is_empty() {
        let message = "a group's name is missing; what holds for all groups is set on brokers";
        return Err(AdminError::new(ErrorCode::InvalidRequest, message));
    }
    let (image, file) = (context.image, &context.settings.file);
    let stored = StoredResource::Group(group.to_owned());
    let current = image.config(&stored);
    let none = ConfigMap::new();
    let own = current.map_or(&none, |entry| &entry.configs);
    let layers = topic_layers(image, file, own);
    let configs = match edit {
        Edit::Alter(changes) => config::alter_group_configs(&alterations(changes), &layers)?,
        Edit::Replace(configs) => config::replace_group_configs(configs, &layers)?,
    };
    if configs == *own {
        return Ok(None);
    }
    Ok(Some(stored_change(stored, current.map(|entry| &**entry), configs)))
}

/// Writes the configs of a resource, or deletes the key if there are none.
fn stored_change(
    resource: StoredResource,
    current: Option<&Versioned<ConfigEntry>>,
    configs: ConfigMap,
) -> Change {
    let mod_revision = current.map_or(0, |entry| entry.mod_revision);
    let rest = current.map_or_else(Rest::new, |entry| entry.rest.clone());
    let key = Key::Config(resource);
    if configs.is_empty() && rest.is_empty() {
        return Change::delete(key, mod_revision);
    }
    Change::put(key, mod_revision, &ConfigEntry { configs, rest })
}

/// What holds for a topic: its own configs, those of all brokers, those of the coordinator's file.
fn topic_layers<'a>(image: &'a Image, file: &'a ConfigMap, own: &'a ConfigMap) -> Layers<'a> {
    let mut layers = Layers { own, file, ..Layers::default() };
    if let Some(defaults) = image.config(&StoredResource::BrokerDefault) {
        layers.dynamic_default = &defaults.configs;
    }
    layers
}

fn alterations(changes: &[ConfigChange]) -> Vec<Alteration<'_>> {
    let op = |op| match op {
        ConfigOp::Set => AlterOp::Set,
        ConfigOp::Delete => AlterOp::Delete,
        ConfigOp::Append => AlterOp::Append,
        ConfigOp::Subtract => AlterOp::Subtract,
    };
    changes
        .iter()
        .map(|change| Alteration {
            name: &change.name,
            op: op(change.op),
            value: change.value.as_deref(),
        })
        .collect()
}

impl From<AlterError> for AdminError {
    fn from(error: AlterError) -> Self {
        Self { code: error.code, message: error.message }
    }
}

#[cfg(test)]
mod tests;
