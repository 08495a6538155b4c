//! Feature levels that the whole cluster agrees on.

use ottla_metadata::features::{self, METADATA_VERSION};
use ottla_metadata::keys::Key;
use ottla_protocol::ErrorCode;

use super::decision::{Context, Decision};
use super::plan::{Change, Unit};
use crate::admin::{AdminError, FeatureLevel, FeatureUpdates, LevelChange};

/// Decides on requests to change levels. Each request is carried out as a whole or not at all.
pub fn update(
    context: &mut Context<'_>,
    items: &[FeatureUpdates],
    validate_only: bool,
) -> Decision<()> {
    let mut decision = Decision::without_writes(Vec::with_capacity(items.len()));
    for (index, item) in items.iter().enumerate() {
        let change = if index == 0 {
            decide(context, item)
        } else {
            Err(AdminError::new(ErrorCode::InvalidRequest, "one change of features at a time"))
        };
        decision.results.push(change.map(|change| {
            if let Some(change) = change.filter(|_| !validate_only) {
                decision.units.push(Unit::completing(vec![change], index));
            }
        }));
    }
    decision
}

/// `None` if nothing changes.
fn decide(context: &Context<'_>, item: &FeatureUpdates) -> Result<Option<Change>, AdminError> {
    let cluster = context.image.cluster().ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let mut next = cluster.value.clone();
    let mut named = std::collections::BTreeSet::new();
    for update in &item.updates {
        if !named.insert(&update.feature) {
            let message = format!("the request names feature {} twice", update.feature);
            return Err(AdminError::new(ErrorCode::InvalidRequest, message));
        }
        let current = next.features.get(&update.feature).copied().unwrap_or(0);
        check(context, update, current)?;
        if update.level == 0 {
            next.features.remove(&update.feature);
        } else {
            next.features.insert(update.feature.clone(), update.level);
        }
    }
    let change = || Change::put(Key::Cluster, cluster.mod_revision, &next);
    Ok((next != cluster.value).then(change))
}

fn check(context: &Context<'_>, update: &FeatureLevel, current: i16) -> Result<(), AdminError> {
    let FeatureLevel { feature: name, level, change } = update;
    let invalid = |why: String| {
        let message = format!("level {level} of feature {name}: {why}");
        Err(AdminError::new(ErrorCode::InvalidUpdateVersion, message))
    };
    let Some(feature) = features::feature(name) else {
        return invalid("the coordinator does not know this feature".to_owned());
    };
    if *level < 0 {
        return invalid("a level is never below 0".to_owned());
    }
    if *level < current && *change == LevelChange::Upgrade {
        return invalid(format!(
            "it is {current} now, and a downgrade has to be asked for as one, safe or unsafe"
        ));
    }
    if current < *level && *change != LevelChange::Upgrade {
        return invalid(format!("it is {current} now, so this is no downgrade"));
    }
    let switches_off = *level == 0 && name != METADATA_VERSION;
    let range = feature.supported;
    if !switches_off && (*level < range.min || range.max < *level) {
        return invalid(format!("the coordinator supports {} to {}", range.min, range.max));
    }
    let lagging = context.image.brokers().find(|(_, record)| {
        let supported = record.features.get(name);
        !switches_off && supported.is_some_and(|range| *level < range.min || range.max < *level)
    });
    match lagging {
        Some((broker, _)) => invalid(format!("broker {broker} does not support it")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
