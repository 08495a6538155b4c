//! One step of a script.

use std::collections::BTreeSet;
use std::time::Duration;

use datadriven::TestCase;

/// The directive and its arguments. Those that a step does not ask for are a mistake in the script.
#[derive(Debug)]
pub(crate) struct Case {
    case: TestCase,
    used: BTreeSet<String>,
}

impl Case {
    pub fn new(case: TestCase) -> Self {
        Self { case, used: BTreeSet::new() }
    }

    pub fn directive(&self) -> &str {
        &self.case.directive
    }

    /// The lines below the directive.
    pub fn input(&self) -> &str {
        self.case.input.trim_end()
    }

    /// The one argument without a value.
    pub fn subject(&mut self) -> String {
        self.try_subject().unwrap_or_else(|| panic!("{}: who?", self.case.directive))
    }

    /// The one argument without a value, which is still to be asked for.
    pub fn peek_subject(&mut self) -> String {
        let name = self.subject();
        self.used.remove(&name);
        name
    }

    pub fn try_subject(&mut self) -> Option<String> {
        let is_bare = |(name, values): &(&String, &Vec<String>)| {
            values.is_empty() && !self.used.contains(*name)
        };
        let name = self.case.args.iter().find(is_bare).map(|(name, _)| name.clone())?;
        self.used.insert(name.clone());
        Some(name)
    }

    /// The values of `name=value` or `name=(a,b)`.
    pub fn list(&mut self, name: &str) -> Option<Vec<String>> {
        let values = self.case.args.get(name).filter(|values| !values.is_empty())?.clone();
        self.used.insert(name.to_owned());
        Some(values)
    }

    /// The value of `name=value`; a lone point stands for an empty one.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let mut values = self.list(name)?;
        assert_eq!(values.len(), 1, "{name} has one value");
        values.pop().map(|value| if value == "." { String::new() } else { value })
    }

    pub fn number<T: std::str::FromStr>(&mut self, name: &str) -> Option<T> {
        let text = self.text(name)?;
        Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: a number is expected")))
    }

    pub fn time(&mut self, name: &str) -> Option<Duration> {
        self.text(name).map(|text| duration(&text))
    }

    pub(super) fn unused(&self) -> Vec<&String> {
        self.case.args.keys().filter(|name| !self.used.contains(*name)).collect()
    }
}

/// `500ms`, `3s`, `2m`, `1h`.
pub(super) fn duration(text: &str) -> Duration {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().unwrap_or_else(|_| panic!("{text}: a time is expected"));
    match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_mins(number),
        "h" => Duration::from_hours(number),
        _ => panic!("{text}: ms, s, m or h?"),
    }
}

/// As scripts show a time.
pub(super) fn seconds(time: Duration) -> String {
    format!("{}s", time.as_secs_f64())
}
