use ottla_metadata::model::FeatureRange;
use ottla_protocol::time::Now;

use super::*;
use crate::controller::cluster::found;
use crate::controller::decision::AdminSettings;
use crate::controller::testing::{World, random};

fn founded() -> World {
    let mut world = World::new();
    let unit = found(world.image(), &mut random(1)).unwrap();
    world.commit(vec![unit]);
    world
}

fn ask(world: &mut World, updates: &[(&str, i16, LevelChange)]) -> Result<(), ErrorCode> {
    let settings = AdminSettings::default();
    let mut random = random(1);
    let image = world.image().clone();
    let mut context =
        Context { image: &image, settings: &settings, now: Now::default(), random: &mut random };
    let updates = updates.iter().map(|(feature, level, change)| FeatureLevel {
        feature: (*feature).to_owned(),
        level: *level,
        change: *change,
    });
    let item = FeatureUpdates { updates: updates.collect() };
    let mut decision = update(&mut context, &[item], false);
    world.commit(decision.units);
    decision.results.remove(0).map_err(|error| error.code)
}

fn level(world: &World, feature: &str) -> Option<i16> {
    world.image().cluster().unwrap().features.get(feature).copied()
}

const ELR: &str = "eligible.leader.replicas.version";
use LevelChange::{SafeDowngrade, UnsafeDowngrade, Upgrade};

#[test]
fn levels_go_down_only_when_asked_to_and_up_again() {
    let mut world = founded();
    for (change, level) in [(Upgrade, 29), (Upgrade, 0), (SafeDowngrade, 31)] {
        let refused = ask(&mut world, &[(METADATA_VERSION, level, change)]);
        assert_eq!(refused, Err(ErrorCode::InvalidUpdateVersion), "{change:?} {level}");
    }
    ask(&mut world, &[(METADATA_VERSION, 29, SafeDowngrade)]).unwrap();
    ask(&mut world, &[(ELR, 0, UnsafeDowngrade)]).unwrap();
    assert_eq!((level(&world, METADATA_VERSION), level(&world, ELR)), (Some(29), None));
    ask(&mut world, &[(METADATA_VERSION, 30, Upgrade), (ELR, 1, Upgrade)]).unwrap();
    assert_eq!((level(&world, METADATA_VERSION), level(&world, ELR)), (Some(30), Some(1)));
}

#[test]
fn one_bad_update_stops_all_of_them() {
    for bad in [
        ("no.such.feature", 1, Upgrade),
        (METADATA_VERSION, 6, SafeDowngrade),
        (METADATA_VERSION, 31, Upgrade),
        (METADATA_VERSION, 0, UnsafeDowngrade),
        (METADATA_VERSION, -1, UnsafeDowngrade),
    ] {
        let mut world = founded();
        let refused = ask(&mut world, &[(ELR, 0, SafeDowngrade), bad]);
        assert_eq!(refused, Err(ErrorCode::InvalidUpdateVersion), "{bad:?}");
        assert_eq!(level(&world, ELR), Some(1));
    }
}

#[test]
fn level_that_a_broker_does_not_support_is_refused() {
    let mut world = founded();
    ask(&mut world, &[(METADATA_VERSION, 20, SafeDowngrade)]).unwrap();
    world.start_broker(1);
    world.change_broker(1, |record| {
        record.features.insert(METADATA_VERSION.to_owned(), FeatureRange { min: 7, max: 25 });
    });
    let refused = ask(&mut world, &[(METADATA_VERSION, 26, Upgrade)]);
    assert_eq!(refused, Err(ErrorCode::InvalidUpdateVersion));
    ask(&mut world, &[(METADATA_VERSION, 25, Upgrade)]).unwrap();
}
