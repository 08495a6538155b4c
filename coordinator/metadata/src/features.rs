//! Kafka's features as far as Ottla serves what they announce: clients and tools switch behaviour by the
//! finalised levels, so a feature whose APIs are not built stays away.

use std::collections::BTreeMap;

use crate::image::Image;
use crate::model::FeatureRange;

/// One feature of this version of the software.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// Kafka's name.
    pub name: &'static str,
    /// Levels that this software can run at.
    pub supported: FeatureRange,
    /// The level of a new cluster.
    pub default: i16,
}

/// The features, by name.
pub const FEATURES: [Feature; 3] = [
    // The controller keeps eligible replicas.
    Feature {
        name: "eligible.leader.replicas.version",
        supported: FeatureRange { min: 0, max: 1 },
        default: 1,
    },
    Feature { name: GROUP_VERSION, supported: FeatureRange { min: 0, max: 1 }, default: 1 },
    // 4.3-IV0; tools read "how new is this cluster" from it, and need 3.3-IV3 at least.
    Feature { name: METADATA_VERSION, supported: FeatureRange { min: 7, max: 30 }, default: 30 },
];

/// Level 1 has the consumer protocol of KIP-848.
pub const GROUP_VERSION: &str = "group.version";

/// The feature that stands for the cluster as a whole, and cannot be switched off.
pub const METADATA_VERSION: &str = "metadata.version";

/// The feature called `name`.
pub fn feature(name: &str) -> Option<&'static Feature> {
    FEATURES.iter().find(|feature| feature.name == name)
}

/// What a node of this version says that it supports.
pub fn supported() -> BTreeMap<String, FeatureRange> {
    FEATURES.iter().map(|feature| (feature.name.to_owned(), feature.supported)).collect()
}

/// The levels of a new cluster.
pub fn defaults() -> BTreeMap<String, i16> {
    FEATURES.iter().map(|feature| (feature.name.to_owned(), feature.default)).collect()
}

/// The finalised features, with their levels, that this version does not support. It must not act for the
/// cluster then: a newer version may have written what it does not understand.
pub fn unsupported(image: &Image) -> Vec<String> {
    let Some((levels, _)) = finalized(image) else { return Vec::new() };
    let supports = |name: &str, level: i16| {
        let range = feature(name).map(|feature| feature.supported);
        range.is_some_and(|range| (range.min..=range.max).contains(&level))
    };
    let outside = levels.into_iter().filter(|(name, level)| !supports(name, *level));
    outside.map(|(name, level)| format!("{name} {level}")).collect()
}

/// The levels in force, 0 left out, and the epoch that grows with each change; `None` before the cluster is
/// founded.
pub fn finalized(image: &Image) -> Option<(BTreeMap<&str, i16>, i64)> {
    let cluster = image.cluster()?;
    let levels = cluster.features.iter().filter(|(_, level)| 0 < **level);
    Some((levels.map(|(name, level)| (name.as_str(), *level)).collect(), cluster.mod_revision))
}
