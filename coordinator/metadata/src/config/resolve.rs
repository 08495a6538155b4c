//! Which of several values of a config holds, and where it comes from.
//!
//! The order, strongest first: the topic's own value, the value of one broker, the value of all brokers,
//! the node's file, the default. A config whose default comes from another config (a topic's
//! `retention.ms` from the brokers' `log.retention.ms`, and that from `log.retention.hours`) asks for
//! those in turn.

use super::ConfigMap;
use super::def::{ConfigDef, DefaultValue, Resource, Synonym, Unit};
use super::table;

/// Where a value comes from, numbered as DescribeConfigs does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic = 1,
    /// Set on one broker while the cluster runs.
    DynamicBroker = 2,
    /// Set for all brokers while the cluster runs.
    DynamicDefault = 3,
    /// In the node's file.
    Static = 4,
    /// Nobody set it.
    Default = 5,
    /// Set on the group.
    Group = 8,
}

impl ConfigSource {
    /// The number that DescribeConfigs uses.
    pub const fn code(self) -> i8 {
        self as i8
    }

    /// Kafka's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Topic => "DYNAMIC_TOPIC_CONFIG",
            Self::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
            Self::DynamicDefault => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            Self::Static => "STATIC_BROKER_CONFIG",
            Self::Default => "DEFAULT_CONFIG",
            Self::Group => "DYNAMIC_GROUP_CONFIG",
        }
    }
}

/// The values that were set, layer by layer. A layer that nobody filled is empty.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    /// Set on the topic (or group) itself.
    pub own: &'a ConfigMap,
    /// Set on one broker while the cluster runs.
    pub dynamic_broker: &'a ConfigMap,
    /// Set for all brokers while the cluster runs.
    pub dynamic_default: &'a ConfigMap,
    /// In the node's file: `ServerConfig::values`.
    pub file: &'a ConfigMap,
}

impl Default for Layers<'_> {
    fn default() -> Self {
        static EMPTY: ConfigMap = ConfigMap::new();
        Self { own: &EMPTY, dynamic_broker: &EMPTY, dynamic_default: &EMPTY, file: &EMPTY }
    }
}

/// A config with the value that holds, as DescribeConfigs answers it.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// Its name; with a listener's prefix where it was set with one.
    pub name: String,
    /// Its definition.
    pub def: &'static ConfigDef,
    /// The value that holds; `None` if there is none. A secret is here in clear: [`Self::shown`] hides it.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
    /// Every value that was considered, strongest first.
    pub synonyms: Vec<ResolvedSynonym>,
}

/// One value that was considered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedSynonym {
    /// The config that it was set under.
    pub name: String,
    /// The value; `None` for a secret.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
}

impl Resolved {
    /// The value for others to see: `None` for a secret.
    pub fn shown(&self) -> Option<&str> {
        if self.def.is_sensitive() { None } else { self.value.as_deref() }
    }
}

/// Every config of a topic, by name. `layers.own` is what is set on the topic.
pub fn describe_topic(layers: &Layers<'_>) -> Vec<Resolved> {
    table::TOPIC.iter().map(|def| resolve_topic(def, layers)).collect()
}

/// Every config of a group, by name. `layers.own` is what is set on the group.
pub fn describe_group(layers: &Layers<'_>) -> Vec<Resolved> {
    table::GROUP.iter().map(|def| resolve_topic(def, layers)).collect()
}

/// Every config of one broker, and those set on it for single listeners.
pub fn describe_broker(layers: &Layers<'_>) -> Vec<Resolved> {
    let mut all: Vec<Resolved> =
        table::broker().map(|def| resolve_broker(def.name, def, layers)).collect();
    let set = [layers.dynamic_broker, layers.dynamic_default, layers.file];
    let mut prefixed: Vec<&String> = set.iter().flat_map(|layer| layer.keys()).collect();
    prefixed.sort_unstable();
    prefixed.dedup();
    for name in prefixed {
        if let Some(lookup) = table::lookup_broker(name).filter(|found| found.listener.is_some()) {
            all.push(resolve_broker(name, lookup.def, layers));
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// What is set for all brokers, and nothing else.
pub fn describe_broker_defaults(dynamic_default: &ConfigMap) -> Vec<Resolved> {
    let known = |name: &str| table::lookup_broker(name).map(|lookup| lookup.def);
    let resolve = |(name, value): (&String, &String)| {
        let def = known(name)?;
        let source = ConfigSource::DynamicDefault;
        let synonyms = vec![synonym(def, name, value, source)];
        Some(Resolved {
            name: name.clone(),
            def,
            value: Some(canonical(def, value)),
            source,
            synonyms,
        })
    };
    dynamic_default.iter().filter_map(resolve).collect()
}

/// One config of a topic or group.
pub fn resolve_topic(def: &'static ConfigDef, layers: &Layers<'_>) -> Resolved {
    let mut synonyms = Vec::new();
    if let Some(value) = layers.own.get(def.name) {
        let source =
            if def.resource == Resource::Group { ConfigSource::Group } else { ConfigSource::Topic };
        synonyms.push(synonym(def, def.name, value, source));
    }
    match def.synonyms {
        [first, ..] => {
            let names: Vec<&str> = def.synonyms.iter().map(|synonym| synonym.name).collect();
            synonyms.extend(chain(&names, first.name, layers));
        }
        [] if def.resource == Resource::Group => {
            if let DefaultValue::Value(text) = def.default {
                synonyms.push(synonym(def, def.name, text, ConfigSource::Default));
            }
        }
        [] => {}
    }
    let value = topic_value(def, layers);
    let source = synonyms.first().map_or(ConfigSource::Default, |synonym| synonym.source);
    Resolved { name: def.name.to_owned(), def, value, source, synonyms }
}

/// The value of [`resolve_topic`] alone, for where the way to it does not matter.
pub(super) fn topic_value(def: &ConfigDef, layers: &Layers<'_>) -> Option<String> {
    match layers.own.get(def.name) {
        Some(value) => Some(canonical(def, value)),
        None => inherited(def, layers),
    }
}

/// One config of a broker, under its name or the name with a listener's prefix.
pub fn resolve_broker(name: &str, def: &'static ConfigDef, layers: &Layers<'_>) -> Resolved {
    let mut names = vec![name];
    if name != def.name {
        names.push(def.name);
    }
    names.extend(def.synonyms.iter().map(|synonym| synonym.name));
    let synonyms = chain(&names, name, layers);
    let set =
        names[..names.len() - def.synonyms.len()].iter().find_map(|name| set_on(name, layers));
    let value = set.map(|value| canonical(def, value)).or_else(|| default_text(def));
    let source = synonyms.first().map_or(ConfigSource::Default, |synonym| synonym.source);
    Resolved { name: name.to_owned(), def, value, source, synonyms }
}

/// Everything set under the names, layer by layer. What stands before the first value of the name
/// `asked` is left out, as Kafka leaves it out: a value in hours is no synonym of one in milliseconds
/// that nobody set.
fn chain(names: &[&str], asked: &str, layers: &Layers<'_>) -> Vec<ResolvedSynonym> {
    let sources = [
        (layers.dynamic_broker, ConfigSource::DynamicBroker),
        (layers.dynamic_default, ConfigSource::DynamicDefault),
        (layers.file, ConfigSource::Static),
    ];
    let mut all = Vec::new();
    for (layer, source) in sources {
        for name in names {
            let known = table::lookup_broker(name).map(|lookup| lookup.def);
            if let (Some(def), Some(value)) = (known, layer.get(*name)) {
                all.push(synonym(def, name, value, source));
            }
        }
    }
    for name in names {
        let known = table::lookup_broker(name).filter(|lookup| lookup.listener.is_none());
        if let Some(def) = known.map(|lookup| lookup.def)
            && let DefaultValue::Value(text) = def.default
        {
            all.push(synonym(def, name, text, ConfigSource::Default));
        }
    }
    all.into_iter().skip_while(|synonym| synonym.name != asked).collect()
}

/// The value that a topic's config has from the brokers: the first of its synonyms that has one,
/// converted, or its own default.
fn inherited(def: &ConfigDef, layers: &Layers<'_>) -> Option<String> {
    for synonym in def.synonyms {
        let Some(broker) = table::lookup_broker(synonym.name).map(|lookup| lookup.def) else {
            continue;
        };
        let value =
            set_on(synonym.name, layers).map(str::to_owned).or_else(|| default_text(broker));
        if let Some(value) = value {
            return Some(convert(synonym, broker, &value));
        }
    }
    default_text(def)
}

fn convert(synonym: &Synonym, broker: &ConfigDef, value: &str) -> String {
    let text = canonical(broker, value);
    let scale = match synonym.unit {
        Unit::Same => return text,
        Unit::Minutes => 60_000,
        Unit::Hours => 3_600_000,
    };
    match text.parse::<i64>() {
        Ok(number) if number < 0 => "-1".to_owned(),
        Ok(number) => number.saturating_mul(scale).to_string(),
        Err(_) => text,
    }
}

fn set_on<'a>(name: &str, layers: &Layers<'a>) -> Option<&'a str> {
    let set = layers
        .dynamic_broker
        .get(name)
        .or_else(|| layers.dynamic_default.get(name))
        .or_else(|| layers.file.get(name));
    set.map(String::as_str)
}

fn default_text(def: &ConfigDef) -> Option<String> {
    match def.default {
        DefaultValue::Value(text) => Some(text.to_owned()),
        DefaultValue::Null | DefaultValue::Required => None,
    }
}

/// A value as it is shown. One that a later version of Ottla wrote and this one cannot read is shown
/// as it is.
fn canonical(def: &ConfigDef, value: &str) -> String {
    def.parse(value).map_or_else(|_| value.to_owned(), |value| value.to_string())
}

fn synonym(def: &ConfigDef, name: &str, value: &str, source: ConfigSource) -> ResolvedSynonym {
    let value = if def.is_sensitive() { None } else { Some(canonical(def, value)) };
    ResolvedSynonym { name: name.to_owned(), value, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> ConfigMap {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn show(resolved: &Resolved) -> String {
        let synonyms: Vec<String> = resolved
            .synonyms
            .iter()
            .map(|s| {
                format!("{}={}@{}", s.name, s.value.as_deref().unwrap_or("-"), s.source.code())
            })
            .collect();
        let value = resolved.shown().unwrap_or("-");
        format!("{value}@{} [{}]", resolved.source.code(), synonyms.join(" "))
    }

    fn topic(name: &str, layers: &Layers<'_>) -> String {
        show(&resolve_topic(table::lookup_topic(name).unwrap(), layers))
    }

    fn broker(name: &str, layers: &Layers<'_>) -> String {
        show(&resolve_broker(name, table::lookup_broker(name).unwrap().def, layers))
    }

    // The expectations of the next tests are what Apache Kafka 4.3.1 answered in the same situation.

    #[test]
    fn a_topic_without_values_has_the_defaults() {
        let layers = Layers::default();
        assert_eq!(topic("cleanup.policy", &layers), "delete@5 [log.cleanup.policy=delete@5]");
        assert_eq!(topic("retention.ms", &layers), "604800000@5 []");
        assert_eq!(topic("flush.ms", &layers), "9223372036854775807@5 []");
        assert_eq!(topic("remote.storage.enable", &layers), "false@5 []");
    }

    #[test]
    fn each_layer_covers_the_ones_below() {
        let (own, one, all) = (
            map(&[("retention.ms", "333333")]),
            map(&[("log.retention.ms", "222222")]),
            map(&[("log.retention.ms", "111111")]),
        );
        let mut layers = Layers { dynamic_default: &all, ..Layers::default() };
        let rest = "log.retention.ms=111111@3 log.retention.hours=168@5";
        assert_eq!(topic("retention.ms", &layers), format!("111111@3 [{rest}]"));
        assert_eq!(broker("log.retention.ms", &layers), format!("111111@3 [{rest}]"));
        layers.dynamic_broker = &one;
        let rest = format!("log.retention.ms=222222@2 {rest}");
        assert_eq!(topic("retention.ms", &layers), format!("222222@2 [{rest}]"));
        layers.own = &own;
        assert_eq!(
            topic("retention.ms", &layers),
            format!("333333@1 [retention.ms=333333@1 {rest}]")
        );
    }

    #[test]
    fn coarser_units_stand_in_and_are_converted() {
        let file = map(&[("log.retention.hours", "24"), ("log.roll.jitter.hours", "2")]);
        let layers = Layers { file: &file, ..Layers::default() };
        assert_eq!(topic("retention.ms", &layers), "86400000@5 []");
        assert_eq!(topic("segment.jitter.ms", &layers), "7200000@5 []");
        assert_eq!(broker("log.retention.ms", &layers), "-@5 []");
        assert_eq!(
            broker("log.retention.hours", &layers),
            "24@4 [log.retention.hours=24@4 log.retention.hours=168@5]"
        );
        let file = map(&[("log.retention.hours", "24"), ("log.retention.minutes", "-1")]);
        let layers = Layers { file: &file, ..Layers::default() };
        assert_eq!(topic("retention.ms", &layers), "-1@5 []");
    }

    #[test]
    fn all_brokers_show_only_what_is_set_for_all() {
        let all = map(&[("num.io.threads", " 4 "), ("unknown.to.us", "1")]);
        let described = describe_broker_defaults(&all);
        assert_eq!(described.len(), 1);
        assert_eq!(show(&described[0]), "4@3 [num.io.threads=4@3]");
    }

    #[test]
    fn a_secret_is_never_shown() {
        let one = map(&[("listener.name.a.ssl.key.password", "geheim")]);
        let layers = Layers { dynamic_broker: &one, ..Layers::default() };
        let described = describe_broker(&layers);
        let entry =
            described.iter().find(|e| e.name == "listener.name.a.ssl.key.password").unwrap();
        assert_eq!(show(entry), "-@2 [listener.name.a.ssl.key.password=-@2]");
        assert!(!format!("{:?}", entry.synonyms).contains("geheim"));
    }

    #[test]
    fn a_group_inherits_from_the_brokers() {
        let file = map(&[("group.consumer.session.timeout.ms", "50000")]);
        let layers = Layers { file: &file, ..Layers::default() };
        let of = |name: &str| show(&resolve_topic(table::lookup_group(name).unwrap(), &layers));
        assert_eq!(
            of("consumer.session.timeout.ms"),
            "50000@4 [group.consumer.session.timeout.ms=50000@4 \
             group.consumer.session.timeout.ms=45000@5]"
        );
        assert_eq!(of("share.auto.offset.reset"), "latest@5 [share.auto.offset.reset=latest@5]");
        assert_eq!(describe_group(&layers).len(), table::GROUP.len());
    }

    #[test]
    fn everything_that_kafka_describes_is_described() {
        let layers = Layers::default();
        assert_eq!(describe_topic(&layers).len(), 33);
        let all = describe_broker(&layers);
        assert_eq!(all.len(), table::broker().count());
        assert!(all.is_sorted_by_key(|entry| entry.name.clone()));
    }
}
