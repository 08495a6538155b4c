//! The settings of all groups, resolved from what is set where.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_metadata::config::{
    ConfigMap, Layers, lookup_broker, lookup_group, resolve_broker, resolve_topic,
};
use ottla_metadata::image::Image;
use ottla_metadata::keys::ConfigResource;

use super::GroupSettings;

/// What holds for each group: most have nothing of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsTable {
    defaults: GroupSettings,
    groups: BTreeMap<String, GroupSettings>,
    /// `offsets.retention.check.interval.ms`.
    pub sweep_interval: Duration,
    /// `offsets.commit.timeout.ms`: a commit that is not durable by then is answered with an error.
    pub commit_timeout: Duration,
}

impl Default for SettingsTable {
    fn default() -> Self {
        Self {
            defaults: GroupSettings::default(),
            groups: BTreeMap::new(),
            sweep_interval: Duration::from_mins(10),
            commit_timeout: Duration::from_secs(5),
        }
    }
}

impl SettingsTable {
    /// The same for every group.
    pub fn fixed(defaults: GroupSettings) -> Self {
        Self { defaults, ..Self::default() }
    }

    /// What holds for one group.
    pub fn of(&self, group: &str) -> &GroupSettings {
        self.groups.get(group).unwrap_or(&self.defaults)
    }

    /// What the coordinator's file, the defaults of all brokers and the configs of groups say.
    pub fn resolve(image: &Image, file: &ConfigMap) -> Self {
        let mut layers = Layers { file, ..Layers::default() };
        if let Some(defaults) = image.config(&ConfigResource::BrokerDefault) {
            layers.dynamic_default = &defaults.configs;
        }
        let source = Source(layers);
        let defaults = source.settings();
        let groups = image.configs().filter_map(|(resource, entry)| {
            let ConfigResource::Group(group) = resource else { return None };
            let own = Source(Layers { own: &entry.configs, ..layers });
            let settings = GroupSettings {
                consumer_session_timeout: own.group_millis("consumer.session.timeout.ms"),
                consumer_heartbeat_interval: own.group_millis("consumer.heartbeat.interval.ms"),
                consumer_assignment_interval: own.group_millis("consumer.assignment.interval.ms"),
                ..defaults.clone()
            };
            Some((group.clone(), settings))
        });
        Self {
            groups: groups.collect(),
            sweep_interval: source.millis("offsets.retention.check.interval.ms"),
            commit_timeout: source.millis("offsets.commit.timeout.ms"),
            defaults,
        }
    }
}

/// Where settings are read. Every value was checked when it was set; one that cannot be read is 0.
#[derive(Debug, Clone, Copy)]
struct Source<'a>(Layers<'a>);

impl Source<'_> {
    fn settings(&self) -> GroupSettings {
        let policy = self.text("group.consumer.migration.policy").to_lowercase();
        let minutes = self.number("offsets.retention.minutes");
        GroupSettings {
            session_timeout_min: self.millis("group.min.session.timeout.ms"),
            session_timeout_max: self.millis("group.max.session.timeout.ms"),
            initial_rebalance_delay: self.millis("group.initial.rebalance.delay.ms"),
            size_max: self.count("group.max.size"),
            consumer_session_timeout: self.millis("group.consumer.session.timeout.ms"),
            consumer_heartbeat_interval: self.millis("group.consumer.heartbeat.interval.ms"),
            consumer_assignment_interval: self.millis("group.consumer.assignment.interval.ms"),
            consumer_size_max: self.count("group.consumer.max.size"),
            consumer_assignors: self
                .text("group.consumer.assignors")
                .split(',')
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty())
                .collect(),
            allows_upgrade: matches!(policy.as_str(), "bidirectional" | "upgrade"),
            allows_downgrade: matches!(policy.as_str(), "bidirectional" | "downgrade"),
            offset_metadata_max: self.count("offset.metadata.max.bytes"),
            offsets_retention: Duration::from_secs(minutes.saturating_mul(60)),
            ..GroupSettings::default()
        }
    }

    fn text(&self, name: &str) -> String {
        let def = lookup_broker(name).map(|found| found.def);
        def.and_then(|def| resolve_broker(name, def, &self.0).value).unwrap_or_default()
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }

    fn count(&self, name: &str) -> usize {
        usize::try_from(self.number(name)).unwrap_or(usize::MAX)
    }

    fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.number(name))
    }

    fn group_millis(&self, name: &str) -> Duration {
        let value = lookup_group(name).and_then(|def| resolve_topic(def, &self.0).value);
        Duration::from_millis(value.and_then(|text| text.parse().ok()).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use ottla_metadata::keys::Key;
    use ottla_metadata::model::{ConfigEntry, Rest};

    use super::*;
    use crate::controller::testing::World;

    fn map(pairs: &[(&str, &str)]) -> ConfigMap {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn set(world: &mut World, resource: ConfigResource, pairs: &[(&str, &str)]) {
        let entry = ConfigEntry { configs: map(pairs), rest: Rest::new() };
        world.put(Key::Config(resource), &entry);
    }

    #[test]
    fn defaults_are_kafkas() {
        let world = World::new();
        assert_eq!(
            SettingsTable::resolve(world.image(), &ConfigMap::new()),
            SettingsTable::default()
        );
    }

    #[test]
    fn group_wins_over_all_brokers_and_these_over_the_file() {
        let mut world = World::new();
        let file = map(&[
            ("group.consumer.session.timeout.ms", "50000"),
            ("group.consumer.heartbeat.interval.ms", "6000"),
            ("group.consumer.migration.policy", "upgrade"),
            ("offsets.retention.minutes", "5"),
        ]);
        let session = "group.consumer.session.timeout.ms";
        set(&mut world, ConfigResource::BrokerDefault, &[(session, "55000")]);
        let own = [("consumer.heartbeat.interval.ms", "7000")];
        set(&mut world, ConfigResource::Group("g".to_owned()), &own);
        let table = SettingsTable::resolve(world.image(), &file);
        let seconds = |group: &str| {
            let settings = table.of(group);
            let session = settings.consumer_session_timeout.as_secs();
            (session, settings.consumer_heartbeat_interval.as_secs())
        };
        assert_eq!((seconds("g"), seconds("h")), ((55, 7), (55, 6)));
        assert_eq!(table.of("g").offsets_retention, Duration::from_mins(5));
        assert!(table.of("h").allows_upgrade && !table.of("h").allows_downgrade);
    }
}
