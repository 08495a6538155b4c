//! The list of mutations, and whether it still fits the tree.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use serde::Deserialize;

/// Where the list is.
pub const FILE: &str = "integration-tests/mutations.json";
/// The page of which the list covers the section "Rules".
const PAGE: &str = "ARCHITECTURE.md";

/// The whole list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// What is tried.
    pub mutations: Vec<Mutation>,
    /// Rules that no mutation of the code can show, and why.
    #[serde(default)]
    pub untried: Vec<Untried>,
}

/// One change of the code that takes a rule away.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutation {
    /// Some words of the first column of the rule's row; they occur in one row only.
    pub rule: String,
    /// What is done to it, in a few words.
    pub mutation: String,
    /// The file that is changed.
    pub file: String,
    /// What is replaced; it occurs once in the file.
    pub find: String,
    /// By what.
    pub replace: String,
    /// The cargo package of the test.
    pub package: String,
    /// `lib`, or the name of a test in the package's folder `tests`.
    pub target: String,
    /// The name of the test function that must fail, behind as much of its path as makes it the only one.
    pub test: String,
    /// Which seeds of the simulator are run; its own choice by default.
    pub seeds: Option<Seeds>,
}

/// A range of the simulator's seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seeds {
    /// The first.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// A rule without a mutation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Untried {
    /// As in [`Mutation::rule`].
    pub rule: String,
    /// Why.
    pub why: String,
}

impl List {
    /// Reads the list of the tree at `root`.
    pub fn read(root: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(root.join(FILE)).with_context(|| format!("cannot read {FILE}"))?;
        serde_json::from_str(&text).with_context(|| format!("{FILE} is not valid"))
    }
}

impl Mutation {
    /// `text` with the rule taken away; the error says why it cannot be.
    pub fn apply(&self, text: &str) -> Result<String, String> {
        match text.matches(&self.find).count() {
            1 => Ok(text.replacen(&self.find, &self.replace, 1)),
            count => Err(format!("{:?} occurs {count} times in {}", self.find, self.file)),
        }
    }
}

/// What in the list does not fit the tree at `root`, of which `names` are the files.
pub fn findings(root: &Path, names: &[String]) -> Result<Vec<String>> {
    let list = List::read(root)?;
    let mut sources = BTreeMap::new();
    for name in names {
        let wanted = name.ends_with(".rs") || name.ends_with("Cargo.toml") || name == PAGE;
        if wanted && let Ok(text) = fs::read_to_string(root.join(name)) {
            sources.insert(name.as_str(), text);
        }
    }
    Ok(misfits(&list, &sources).into_iter().map(|misfit| format!("{FILE}: {misfit}")).collect())
}

/// `sources` is the tree: texts by file name.
fn misfits(list: &List, sources: &BTreeMap<&str, String>) -> Vec<String> {
    let mut misfits = Vec::new();
    let rules = rules(sources.get(PAGE).map_or("", String::as_str));
    let mut uncovered = rules.clone();
    let mut named: Vec<&str> =
        list.mutations.iter().map(|mutation| mutation.rule.as_str()).collect();
    named.extend(list.untried.iter().map(|untried| untried.rule.as_str()));
    for name in named {
        let count = rules.iter().filter(|rule| rule.contains(name)).count();
        if count != 1 {
            misfits.push(format!("{name:?} occurs in {count} rules of {PAGE}"));
        }
        uncovered.retain(|rule| !rule.contains(name));
    }
    misfits.extend(uncovered.iter().map(|rule| format!("no mutation shows the rule {rule:?}")));
    for mutation in &list.mutations {
        match sources.get(mutation.file.as_str()) {
            None => misfits.push(format!("there is no file {}", mutation.file)),
            Some(text) => misfits.extend(mutation.apply(text).err()),
        }
        if mutation.find == mutation.replace {
            misfits.push(format!("{:?} is replaced by itself", mutation.find));
        }
        if !has_test(mutation, sources) {
            let Mutation { package, target, test, .. } = mutation;
            misfits.push(format!("there is no test {test} in {target} of {package}"));
        }
    }
    misfits.extend(
        list.untried
            .iter()
            .filter(|untried| untried.why.is_empty())
            .map(|untried| format!("no reason why {:?} is untried", untried.rule)),
    );
    misfits
}

/// The first columns of the tables in the section "Rules", without emphasis and code marks.
fn rules(page: &str) -> Vec<String> {
    let section = page.lines().skip_while(|line| *line != "## Rules").skip(1);
    let section = section.take_while(|line| !line.starts_with("## "));
    let first_column = |line: &str| {
        let cell = line.strip_prefix("| ")?.split(" | ").next()?;
        (cell != "rule").then(|| cell.replace("**", "").replace('`', ""))
    };
    section.filter_map(first_column).collect()
}

fn has_test(mutation: &Mutation, sources: &BTreeMap<&str, String>) -> bool {
    let manifest = format!("name = \"{}\"\n", mutation.package);
    let package = sources.iter().find_map(|(name, text)| {
        let folder = name.strip_suffix("Cargo.toml")?;
        text.contains(&manifest).then_some(folder)
    });
    let Some(package) = package else { return false };
    let places = match mutation.target.as_str() {
        "lib" => vec![format!("{package}src/")],
        test => vec![format!("{package}tests/{test}.rs"), format!("{package}tests/{test}/")],
    };
    let name = mutation.test.rsplit("::").next().unwrap_or_default();
    let function = format!("fn {name}(");
    let is_there = |name: &str| places.iter().any(|place| name.starts_with(place.as_str()));
    sources.iter().any(|(name, text)| is_there(name) && text.contains(&function))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{"mutations": [{
        "rule": "the lid is shut", "mutation": "it stays open", "file": "box/src/lib.rs",
        "find": "shut()", "replace": "open()", "package": "box", "target": "lib", "test": "is_shut"
    }]}"#;

    fn tree() -> BTreeMap<&'static str, String> {
        let page = "## Rules\n\n| rule | shown by |\n|---|---|\n| After **use** the `lid` is shut. | x |\n\n## More\n| no | x |\n";
        BTreeMap::from([
            (PAGE, page.to_owned()),
            ("box/Cargo.toml", "[package]\nname = \"box\"\n".to_owned()),
            ("box/src/lib.rs", "lid.shut();\n".to_owned()),
            ("box/src/tests.rs", "fn is_shut() {}\n".to_owned()),
        ])
    }

    fn check(list: &str, change: impl FnOnce(&mut BTreeMap<&'static str, String>)) -> Vec<String> {
        let mut tree = tree();
        change(&mut tree);
        misfits(&serde_json::from_str(list).unwrap(), &tree)
    }

    #[test]
    fn list_that_fits_has_no_findings() {
        assert_eq!(check(LIST, |_| {}), Vec::<String>::new());
    }

    #[test]
    fn text_that_is_gone_or_there_twice_is_found() {
        let gone = |tree: &mut BTreeMap<_, _>| drop(tree.insert("box/src/lib.rs", String::new()));
        assert_eq!(check(LIST, gone), [r#""shut()" occurs 0 times in box/src/lib.rs"#]);
        let twice = |tree: &mut BTreeMap<_, String>| {
            tree.insert("box/src/lib.rs", "shut() shut()".to_owned());
        };
        assert_eq!(check(LIST, twice), [r#""shut()" occurs 2 times in box/src/lib.rs"#]);
        let no_file = |tree: &mut BTreeMap<_, _>| drop(tree.remove("box/src/lib.rs"));
        assert_eq!(check(LIST, no_file), ["there is no file box/src/lib.rs"]);
    }

    #[test]
    fn test_that_is_gone_or_elsewhere_is_found() {
        let gone = |tree: &mut BTreeMap<_, _>| drop(tree.remove("box/src/tests.rs"));
        assert_eq!(check(LIST, gone), ["there is no test is_shut in lib of box"]);
        let elsewhere = LIST.replace("\"lib\"", "\"lids\"");
        assert_eq!(check(&elsewhere, |_| {}), ["there is no test is_shut in lids of box"]);
        let there = |tree: &mut BTreeMap<_, _>| {
            drop(tree.insert("box/tests/lids.rs", "fn is_shut() {}".to_owned()));
        };
        assert_eq!(check(&elsewhere, there), Vec::<String>::new());
    }

    #[test]
    fn every_rule_needs_a_mutation_or_a_reason() {
        let page = |tree: &mut BTreeMap<_, String>| {
            tree.entry(PAGE).and_modify(|page| page.insert_str(9, "| Boxes are dry. | |\n"));
        };
        assert_eq!(check(LIST, page), [r#"no mutation shows the rule "Boxes are dry.""#]);
        let untried = |why: &str| {
            let untried = format!(r#"], "untried": [{{"rule": "dry", "why": "{why}"}}]}}"#);
            LIST.strip_suffix("]}").unwrap().to_owned() + &untried
        };
        assert_eq!(check(&untried("no water"), page), Vec::<String>::new());
        assert_eq!(check(&untried(""), page), [r#"no reason why "dry" is untried"#]);
        let unknown = LIST.replace("the lid is", "the door is");
        let findings = check(&unknown, |_| {});
        assert_eq!(findings[0], r#""the door is shut" occurs in 0 rules of ARCHITECTURE.md"#);
        assert_eq!(findings.len(), 2);
    }
}
