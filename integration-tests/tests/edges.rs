//! The layering: which crate of the workspace may depend on which. Nothing points back.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

const PROTOCOL: &str = "ottla-protocol";
const CLIENT: &str = "ottla-client";
const STORAGE: &str = "ottla-storage";
const METADATA: &str = "ottla-metadata";
const BROKER: &str = "ottla-broker";
const COORDINATOR: &str = "ottla-coordinator";
const SERVERS: &[&str] = &[PROTOCOL, CLIENT, STORAGE, METADATA, BROKER, COORDINATOR];

/// Every allowed edge. A new one is a decision: add it here and say why in ARCHITECTURE.md.
const ALLOWED: &[(&str, &[&str])] = &[
    (PROTOCOL, &[]),
    (CLIENT, &[PROTOCOL]),
    (STORAGE, &[PROTOCOL]),
    (METADATA, &[PROTOCOL]),
    (BROKER, &[PROTOCOL, CLIENT, STORAGE, METADATA]),
    (COORDINATOR, &[PROTOCOL, CLIENT, METADATA]),
    ("ottla-cli", SERVERS),
    ("ottla-xtask", &[]),
    ("ottla-integration-tests", SERVERS),
];

/// Disks that tests can break exist in this crate's programs alone: nothing that ships can be told to lose data.
#[test]
fn no_program_that_ships_has_disks_that_can_be_broken() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let metadata =
        MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo metadata");
    for package in &metadata.packages {
        for edge in &package.dependencies {
            let ships = package.name.as_str() != "ottla-integration-tests"
                && edge.kind != DependencyKind::Development;
            let asks = edge.features.iter().any(|feature| feature == "fault-injection");
            assert!(!(ships && asks), "{} asks for fault-injection", package.name);
            assert!(!asks || edge.name == STORAGE, "another crate has such a feature");
        }
        let defaults = package.features.get("default").cloned().unwrap_or_default();
        let passed_on = package.features.values().flatten().any(|f| f.contains("/fault-injection"));
        assert!(!defaults.iter().any(|f| f == "fault-injection"), "{}", package.name);
        assert!(!passed_on, "{} passes fault-injection on", package.name);
    }
}

#[test]
fn crates_depend_only_along_the_listed_edges() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        ALLOWED.iter().map(|(from, to)| (*from, to.iter().copied().collect())).collect();
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let metadata =
        MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo metadata");
    let mut seen = BTreeSet::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let may =
            allowed.get(name).unwrap_or_else(|| panic!("{name} is not in the list of crates"));
        seen.insert(name);
        for edge in &package.dependencies {
            let counts = edge.path.is_some() && edge.kind != DependencyKind::Development;
            assert!(
                !counts || may.contains(edge.name.as_str()),
                "{name} may not depend on {}",
                edge.name
            );
        }
    }
    assert_eq!(seen, allowed.keys().copied().collect(), "crates that are listed but gone");
}
