//! A node's own configuration: what its file and its command line say, checked as a whole before
//! anything starts.

mod checks;

use std::time::Duration;

use super::ConfigMap;
use super::def::DefaultValue;
use super::listeners::{self, Listener, SecurityProtocol};
use super::nearest::nearest_name;
use super::properties::read_properties;
use super::table::{self, Lookup};
use super::value::ConfigValue;

/// Which program reads the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `ottla-broker`.
    Broker,
    /// `ottla-coordinator`. Its file may also hold the brokers' configs that are defaults for topics.
    Coordinator,
}

/// Something in the configuration that is wrong, or that looks wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// File and line, or the word for the command line.
    pub place: String,
    /// What is wrong, naming the config, and what is allowed.
    pub problem: String,
}

impl std::fmt::Display for ConfigProblem {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}", self.place, self.problem)
    }
}

/// Everything that is wrong with a node's configuration, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    /// At least one.
    pub problems: Vec<ConfigProblem>,
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(out, "{end}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}

/// A configuration that can be used, and what should be looked at all the same.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: ServerConfig,
    /// Unknown names with the nearest known one, repetitions, old names; to be logged.
    pub warnings: Vec<ConfigProblem>,
}

/// A node's own configuration. Every value in it was checked.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    role: Role,
    values: ConfigMap,
}

/// Reads a node's file and command line.
///
/// `name` is the file's, for messages. `overrides` are `key=value` pairs of the command line and win
/// over the file.
///
/// # Errors
/// Every line that cannot be read, every value that is not allowed and everything that does not fit
/// together. Unknown names are warnings.
pub fn load_server_properties(
    role: Role,
    name: &str,
    text: &[u8],
    overrides: &[(String, String)],
) -> Result<Loaded, LoadError> {
    let text = decode(text);
    let (properties, unreadable) = read_properties(&text);
    let mut reading = Reading::new(role);
    for error in unreadable {
        reading.errors.push(ConfigProblem {
            place: format!("{name}:{}", error.line),
            problem: error.problem,
        });
    }
    for property in properties {
        reading.set(format!("{name}:{}", property.line), &property.key, &property.value);
    }
    reading.places_may_repeat = true;
    for (key, value) in overrides {
        reading.set(COMMAND_LINE.to_owned(), key, value);
    }
    reading.finish(name)
}

/// UTF-8 where it is, else Latin-1, in which Java writes such files.
fn decode(text: &[u8]) -> String {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    match std::str::from_utf8(text) {
        Ok(text) => text.to_owned(),
        Err(_) => text.iter().map(|byte| char::from(*byte)).collect(),
    }
}

struct Reading {
    role: Role,
    values: ConfigMap,
    /// Where each value was set.
    places: ConfigMap,
    /// Whether setting a name again is what was meant.
    places_may_repeat: bool,
    errors: Vec<ConfigProblem>,
    warnings: Vec<ConfigProblem>,
}

impl Reading {
    fn new(role: Role) -> Self {
        Self {
            role,
            values: ConfigMap::new(),
            places: ConfigMap::new(),
            places_may_repeat: false,
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn set(&mut self, place: String, key: &str, value: &str) {
        let Some(lookup) = lookup(self.role, key) else {
            self.warnings.push(ConfigProblem { place, problem: unknown(self.role, key) });
            return;
        };
        match lookup.def.parse(value) {
            Ok(value) => {
                self.values.insert(key.to_owned(), value.to_string());
                let before = self.places.insert(key.to_owned(), place.clone());
                if let Some(before) = before.filter(|_| !self.places_may_repeat) {
                    let problem = format!("{key} was set before, at {before}; this value holds");
                    self.warnings.push(ConfigProblem { place, problem });
                }
            }
            Err(mut error) => {
                key.clone_into(&mut error.name);
                self.errors.push(ConfigProblem { place, problem: error.to_string() });
            }
        }
    }

    fn finish(mut self, name: &str) -> Result<Loaded, LoadError> {
        if self.errors.is_empty() {
            checks::old_names(&mut self);
            checks::together(&mut self, name);
        }
        if self.errors.is_empty() {
            let config = ServerConfig { role: self.role, values: self.values };
            return Ok(Loaded { config, warnings: self.warnings });
        }
        Err(LoadError { problems: self.errors })
    }
}

fn lookup(role: Role, name: &str) -> Option<Lookup<'_>> {
    match role {
        Role::Broker => table::lookup_broker(name),
        Role::Coordinator => table::lookup_coordinator(name),
    }
}

fn unknown(role: Role, key: &str) -> String {
    if let Some((_, instead)) = table::GONE.iter().find(|(name, _)| *name == key) {
        return format!("{key} is ignored: {instead}");
    }
    let own: &[_] = if role == Role::Coordinator { table::OWN_COORDINATOR } else { &[] };
    let known = own.iter().chain(table::broker()).map(|def| def.name);
    match nearest_name(key, known) {
        Some(nearest) => {
            format!("{key:?} is not a known config and is ignored; did you mean {nearest}?")
        }
        None => format!("{key:?} is not a known config and is ignored"),
    }
}

/// How messages call the command line.
const COMMAND_LINE: &str = "command line";

impl ServerConfig {
    /// What was set, by name: the layer `file` of the resolution.
    pub fn values(&self) -> &ConfigMap {
        &self.values
    }

    /// Whether somebody set it.
    pub fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The node's id, by its new or old name.
    pub fn node_id(&self) -> i32 {
        self.int("node.id")
    }

    /// The broker's listeners. No host means loopback.
    pub fn listeners(&self) -> Vec<Listener> {
        let text = self.text("listeners").unwrap_or_default();
        listeners::parse_listeners(&text).expect("checked when it was loaded")
    }

    /// What clients are told to connect to: one address for each listener, in the listeners' order.
    pub fn advertised_listeners(&self) -> Vec<Listener> {
        let given = self
            .text("advertised.listeners")
            .map(|text| listeners::parse_listeners(&text).expect("checked when it was loaded"));
        let given = given.unwrap_or_default();
        let advertise = |listener: Listener| {
            given.iter().find(|other| other.name == listener.name).cloned().unwrap_or(listener)
        };
        self.listeners().into_iter().map(advertise).collect()
    }

    /// What protects a listener.
    pub fn listener_protocol(&self, listener: &str) -> Option<SecurityProtocol> {
        let text = self.text("listener.security.protocol.map").unwrap_or_default();
        let map = listeners::parse_map(&text).expect("checked when it was loaded");
        map.into_iter().find(|(name, _)| name == listener).map(|(_, protocol)| protocol)
    }

    /// The folders for partitions.
    pub fn log_dirs(&self) -> Vec<String> {
        let dirs = if self.is_set("log.dirs") { "log.dirs" } else { "log.dir" };
        self.list(dirs)
    }

    /// A truth value, or its default.
    ///
    /// # Panics
    /// Here and below: if no config of that name and type exists, or it has neither value nor default.
    pub fn boolean(&self, name: &str) -> bool {
        match self.value(name) {
            Some(ConfigValue::Boolean(value)) => value,
            other => panic!("{name} is no truth value: {other:?}"),
        }
    }

    /// A 32-bit or 16-bit number, or its default.
    pub fn int(&self, name: &str) -> i32 {
        match self.value(name) {
            Some(ConfigValue::Int(value)) => value,
            Some(ConfigValue::Short(value)) => value.into(),
            other => panic!("{name} is no 32-bit number: {other:?}"),
        }
    }

    /// A 64-bit number, or its default.
    pub fn long(&self, name: &str) -> i64 {
        match self.value(name) {
            Some(ConfigValue::Long(value)) => value,
            Some(ConfigValue::Int(value)) => value.into(),
            other => panic!("{name} is no whole number: {other:?}"),
        }
    }

    /// A floating-point number, or its default.
    pub fn double(&self, name: &str) -> f64 {
        match self.value(name) {
            Some(ConfigValue::Double(value)) => value,
            other => panic!("{name} is no number: {other:?}"),
        }
    }

    /// A number of milliseconds, or its default; negative ones are zero.
    pub fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(u64::try_from(self.long(name)).unwrap_or_default())
    }

    /// A list, or its default; empty if it has neither.
    pub fn list(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Some(ConfigValue::List(items)) => items,
            None => Vec::new(),
            other => panic!("{name} is no list: {other:?}"),
        }
    }

    /// Any config as text, or its default; `None` if it has neither. Secrets come in clear.
    pub fn text(&self, name: &str) -> Option<String> {
        self.value(name).map(|value| value.to_string())
    }

    fn value(&self, name: &str) -> Option<ConfigValue> {
        let def = lookup(self.role, name).unwrap_or_else(|| panic!("{name} is no config")).def;
        let text = match (self.values.get(name), def.default) {
            (Some(text), _) => text,
            (None, DefaultValue::Value(text)) => text,
            (None, DefaultValue::Null | DefaultValue::Required) => return None,
        };
        Some(def.parse(text).expect("checked when it was loaded"))
    }
}

#[cfg(test)]
mod tests;
