//! The reference page, made from the tables.

use std::fmt::Write;

use super::def::{ConfigDef, DefaultValue, Effect, Resource, Unit, Update, Validator};
use super::table;

/// The whole page as Markdown. A test keeps the page in the repository equal to it.
pub fn render_reference() -> String {
    let mut page = String::from(INTRODUCTION);
    section(&mut page, "Topics", table::TOPIC);
    section(&mut page, "Coordinators", table::OWN_COORDINATOR);
    for (title, defs) in table::BROKER_AREAS {
        section(&mut page, title, defs);
    }
    section(&mut page, "Single groups", table::GROUP);
    gone(&mut page);
    page
}

const INTRODUCTION: &str = "# Configuration

<!-- Made from the tables in coordinator/metadata/src/config/table: `UPDATE_DOCS=1 cargo test -p ottla-metadata` writes it. -->

Brokers read `server.properties`, coordinators a file of their own; both have the form of Java's property
files. The names are Kafka's, and a few are Ottla's own (marked *own*). Lists are separated by commas.

A value that is not allowed stops the program before anything starts, and names the file, the line, and what
is allowed. An unknown name is a warning that names the nearest known one.

Of several values the strongest holds: a topic's own, then one broker's (set while it runs), then all brokers',
then the file's, then the default.

*Change* says who may change a config while the cluster runs: `start` = only the file, at the next start;
`broker` = an admin, broker by broker; `cluster` = an admin, for one broker or for all; `topic`, `group` = an
admin, for one of them. A config in *italics* is known and checked, so that existing files and tools work, but
does nothing; the page says why.
";

fn section(page: &mut String, title: &str, defs: &[ConfigDef]) {
    let _ =
        write!(page, "\n## {title}\n\n| name | type | default | allowed | change | meaning |\n");
    page.push_str("|---|---|---|---|---|---|\n");
    let mut sorted: Vec<&ConfigDef> = defs.iter().collect();
    sorted.sort_by_key(|def| def.name);
    for def in sorted {
        row(page, def);
    }
}

fn row(page: &mut String, def: &ConfigDef) {
    let (open, close) = match def.effect {
        Effect::Honoured => ("`", "`"),
        Effect::KnownNoEffect(_) => ("*`", "`*"),
    };
    let change = match def.update {
        Update::ReadOnly => "start",
        Update::PerBroker => "broker",
        Update::ClusterWide => "cluster",
        Update::PerResource if table::lookup_topic(def.name).is_some() => "topic",
        Update::PerResource => "group",
    };
    let _ = writeln!(
        page,
        "| {open}{}{close} | {} | {} | {} | {change} | {} |",
        def.name,
        def.kind.name(),
        default(def),
        cell(&allowed(def)),
        cell(&meaning(def)),
    );
}

fn default(def: &ConfigDef) -> String {
    match def.default {
        DefaultValue::Required => "required".to_owned(),
        DefaultValue::Null => "none".to_owned(),
        DefaultValue::Value("") => "empty".to_owned(),
        DefaultValue::Value("9223372036854775807") => "largest number".to_owned(),
        DefaultValue::Value(text) => format!("`{text}`"),
    }
}

fn allowed(def: &ConfigDef) -> String {
    if def.validator == Validator::Any { String::new() } else { def.allowed() }
}

fn meaning(def: &ConfigDef) -> String {
    let mut text = def.doc.to_owned();
    if let [first, rest @ ..] = def.synonyms {
        let whose = if def.resource == Resource::Broker { "" } else { "the brokers' " };
        let _ = write!(text, " Default: {whose}`{}`", first.name);
        for synonym in rest {
            let unit = match synonym.unit {
                Unit::Same => "",
                Unit::Hours => " (hours)",
                Unit::Minutes => " (minutes)",
            };
            let _ = write!(text, ", else `{}`{unit}", synonym.name);
        }
        text.push('.');
    }
    if let Effect::KnownNoEffect(reason) = def.effect {
        let _ = write!(text, " No effect: {reason}.");
    }
    if def.own {
        text.push_str(" *own*");
    }
    text
}

fn gone(page: &mut String) {
    page.push_str("\n## Names of other versions of Kafka\n\nThey are ignored with a warning.\n\n");
    page.push_str("| name | instead |\n|---|---|\n");
    for (name, instead) in table::GONE {
        let _ = writeln!(page, "| `{name}` | {instead} |");
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_repository_is_the_one_made_from_the_tables() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let made = render_reference();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == made,
            "docs/configuration.md is out of date; UPDATE_DOCS=1 cargo test -p ottla-metadata"
        );
    }

    #[test]
    fn every_config_has_its_row() {
        let page = render_reference();
        for def in table::all() {
            assert!(page.contains(&format!("`{}`", def.name)), "{}", def.name);
        }
    }
}
