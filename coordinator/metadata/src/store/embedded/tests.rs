use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::core::Core;
use super::*;
use crate::store::{Compare, Limits, WatchBatch};

const NOW: Duration = Duration::ZERO;

fn commit(core: &mut Core, write: &GuardedWrite) -> i64 {
    match core.txn(write, NOW).unwrap() {
        Outcome::Committed { revision } => revision,
        outcome => panic!("{outcome:?}"),
    }
}

fn put(core: &mut Core, key: &str, value: &str) -> i64 {
    commit(core, &GuardedWrite::new().put(key, value.to_owned()))
}

fn everything() -> KeyRange {
    KeyRange::between("\0", "\u{7f}")
}

fn state(core: &Core) -> Page {
    core.range(&RangeRequest::newest(everything())).unwrap()
}

fn open(dir: &Path) -> Core {
    Core::open(dir, 5, NOW).unwrap()
}

/// All that a watch from `from` has to say now.
fn changes(core: &mut Core, from: i64) -> Vec<WatchBatch> {
    let watch = core.watch(everything(), from).unwrap();
    let mut seen = Vec::new();
    while let Some(item) = core.poll_watch(watch) {
        match item {
            WatchItem::Batch(batch) => seen.push(batch),
            item => panic!("{item:?}"),
        }
        assert!(seen.len() < 1000, "the watch delivers without end");
    }
    core.unwatch(watch);
    seen
}

#[test]
fn everything_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut core = open(dir.path());
    let lease = core.lease_grant(Duration::from_secs(5), NOW).unwrap();
    for n in 0..5 {
        put(&mut core, &format!("k{n}"), "v");
    }
    commit(&mut core, &GuardedWrite::new().put_leased("leased", "v", lease.id));
    commit(&mut core, &GuardedWrite::new().delete(KeyRange::key("k1")));
    core.compact(4, NOW).unwrap();
    let before = (state(&core), core.status().unwrap(), changes(&mut core, 5));
    drop(core);

    let mut core = open(dir.path());
    assert_eq!((state(&core), core.status().unwrap(), changes(&mut core, 5)), before);
    // The lease has its whole time again, and still owns its key.
    core.tick(Duration::from_secs(4));
    assert_eq!(state(&core).items.len(), 5);
    core.tick(Duration::from_secs(5));
    assert_eq!(state(&core).items.len(), 4);
    let next = core.lease_grant(Duration::from_secs(5), NOW).unwrap();
    assert_ne!(next.id, lease.id, "a lease id is never given twice");
}

#[test]
fn log_is_replaced_by_a_snapshot_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut core = open(dir.path());
    let value = "x".repeat(1_000_000);
    for n in 0..20 {
        put(&mut core, &format!("k{}", n % 3), &value);
    }
    let log = std::fs::metadata(dir.path().join("log")).unwrap().len();
    assert!(log < 10_000_000, "{log}");
    put(&mut core, "last", "v");
    let before = (state(&core), changes(&mut core, 2));
    drop(core);
    let mut core = open(dir.path());
    assert_eq!((state(&core), changes(&mut core, 2)), before);
    assert_eq!(
        core.range(&RangeRequest {
            at_revision: Some(3),
            ..RangeRequest::newest(KeyRange::key("k1"))
        })
        .unwrap()
        .items[0]
            .mod_revision,
        3
    );
}

#[test]
fn crash_between_snapshot_and_new_log_is_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut core = open(dir.path());
    let value = "x".repeat(1_000_000);
    let mut before = Vec::new();
    for n in 0..20 {
        put(&mut core, &format!("k{}", n % 3), &value);
        let now = std::fs::read(&log).unwrap();
        if now.len() < before.len() {
            break;
        }
        before = now;
    }
    let expected = (state(&core), changes(&mut core, 2));
    drop(core);
    assert_eq!(std::fs::read(&log).unwrap().len(), 0, "the snapshot was just written");
    std::fs::write(&log, before).unwrap();
    let mut core = open(dir.path());
    assert_eq!((state(&core), changes(&mut core, 2)), expected);
}

#[test]
fn log_cut_anywhere_loses_only_what_was_not_synced() {
    let dir = tempfile::tempdir().unwrap();
    let mut core = open(dir.path());
    let length =
        || usize::try_from(std::fs::metadata(dir.path().join("log")).unwrap().len()).unwrap();
    let mut ends = vec![(0, state(&core))];
    for n in 0..4 {
        put(&mut core, &format!("k{}", n % 2), &n.to_string());
        ends.push((length(), state(&core)));
    }
    drop(core);
    let log = std::fs::read(dir.path().join("log")).unwrap();
    for cut in 0..=log.len() {
        for zeros in [0, 3, 100] {
            let torn = tempfile::tempdir().unwrap();
            let snapshot = dir.path().join("snapshot");
            std::fs::copy(snapshot, torn.path().join("snapshot")).unwrap();
            let mut bytes = log[..cut].to_vec();
            bytes.resize(cut + zeros, 0);
            // Where a record ends in zeros, some of these may complete it.
            let whole = |end: usize| end <= bytes.len() && bytes[..end] == log[..end];
            let kept = ends.iter().rfind(|(end, _)| whole(*end)).unwrap();
            std::fs::write(torn.path().join("log"), &bytes).unwrap();
            let mut core = open(torn.path());
            assert_eq!(state(&core), kept.1, "cut at {cut}, {zeros} zeros");
            // It goes on from there, and the torn end does not come back.
            let revision = put(&mut core, "after", "v");
            drop(core);
            let core = open(torn.path());
            assert_eq!(state(&core).revision, revision);
        }
    }
}

#[test]
fn damage_before_the_end_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut core = open(dir.path());
    for n in 0..4 {
        put(&mut core, &format!("k{n}"), "v");
    }
    drop(core);
    for file in ["log", "snapshot"] {
        let path = dir.path().join(file);
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[20] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        let error = Core::open(dir.path(), 5, NOW).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(file), "{error}");
        std::fs::write(&path, &good).unwrap();
    }
    open(dir.path());
}

#[test]
fn folder_is_used_by_one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let core = open(dir.path());
    let error = Core::open(dir.path(), 5, NOW).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    drop(core);
    open(dir.path());
}

#[test]
fn paused_store_applies_later_what_it_was_sent() {
    let mut core = Core::in_memory(1);
    core.set_paused(true, NOW);
    let outcome = core.txn(&GuardedWrite::new().put("k", "v"), NOW).unwrap();
    assert!(matches!(outcome, Outcome::Unknown { .. }));
    assert!(core.range(&RangeRequest::newest(everything())).is_err());
    core.set_paused(false, NOW);
    assert_eq!(state(&core).items.len(), 1);
}

#[test]
fn history_is_bounded_although_nobody_compacts() {
    let mut core = Core::in_memory(1);
    for _ in 0..50_000 {
        put(&mut core, "k", "v");
    }
    let status = core.status().unwrap();
    assert_eq!(status.revision, 50_001);
    assert!(status.size < 20_001 * (2 + Limits::OVERHEAD as u64), "{status:?}");
}

#[tokio::test]
async fn running_store_ends_leases_by_itself() {
    let store = EmbeddedStore::in_memory(1);
    let stop = CancellationToken::new();
    let running = store.clone();
    let stopped = stop.clone();
    let task = tokio::spawn(async move { running.run(stopped).await });
    let lease = store.lease_grant(Duration::from_secs(1)).await.unwrap();
    let write = GuardedWrite::new().put_leased("k", "v", lease.id);
    assert!(matches!(store.txn(write).await, Ok(Outcome::Committed { revision: 2 })));
    let mut watch = store.watch(KeyRange::key("k"), 3).await.unwrap();
    let item = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.unwrap();
    assert!(matches!(item, WatchItem::Batch(batch) if batch.revision == 3));
    stop.cancel();
    task.await.unwrap();
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    PutIf(u8, u8),
    Delete(u8, u8),
    Compact(u8),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6u8, any::<u8>()).prop_map(|(k, v)| Step::Put(k, v)),
        2 => (0..6u8, any::<u8>()).prop_map(|(k, v)| Step::PutIf(k, v)),
        2 => (0..6u8, 0..7u8).prop_map(|(a, b)| Step::Delete(a, b)),
        1 => any::<u8>().prop_map(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

type Model = BTreeMap<i64, BTreeMap<String, u8>>;

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn store_is_a_history_of_maps(steps in prop::collection::vec(step(), 0..40)) {
        let dir = tempfile::tempdir().unwrap();
        let mut core = open(dir.path());
        let mut model: Model = [(1, BTreeMap::new())].into();
        let mut compacted = 0;
        for step in steps {
            let (revision, mut map) =
                model.last_key_value().map(|(r, m)| (*r, m.clone())).unwrap();
            let before = map.clone();
            match step {
                Step::Put(key, value) => {
                    put(&mut core, &format!("k{key}"), &value.to_string());
                    map.insert(format!("k{key}"), value);
                    model.insert(revision + 1, map);
                }
                Step::PutIf(key, value) => {
                    let key = format!("k{key}");
                    let guard = Compare::Value(key.clone().into(), value.to_string().into());
                    let write = GuardedWrite::new().when(guard).put(&key, "0");
                    let outcome = core.txn(&write, NOW).unwrap();
                    if map.get(&key) == Some(&value) {
                        prop_assert_eq!(outcome, Outcome::Committed { revision: revision + 1 });
                        map.insert(key, 0);
                        model.insert(revision + 1, map);
                    } else {
                        prop_assert_eq!(outcome, Outcome::Refused { revision, current: vec![] });
                    }
                }
                Step::Delete(from, to) => {
                    let keys = KeyRange::between(format!("k{from}"), format!("k{to}"));
                    commit(&mut core, &GuardedWrite::new().delete(keys.clone()));
                    map.retain(|key, _| !keys.contains(key.as_bytes()));
                    if map != before {
                        model.insert(revision + 1, map);
                    }
                }
                Step::Compact(at) => {
                    let at = (i64::from(at) % revision).max(1);
                    core.compact(at, NOW).unwrap();
                    compacted = compacted.max(at);
                }
                Step::Reopen => {
                    drop(core);
                    core = open(dir.path());
                }
            }
        }
        check_against(&mut core, &model, compacted);
    }
}

fn check_against(core: &mut Core, model: &Model, compacted: i64) {
    let newest = *model.last_key_value().unwrap().0;
    for (revision, expected) in model {
        let request =
            RangeRequest { at_revision: Some(*revision), ..RangeRequest::newest(everything()) };
        let page = core.range(&request);
        if *revision < compacted {
            assert_eq!(page, Err(StoreError::Compacted { compacted }));
            continue;
        }
        let page = page.unwrap();
        assert_eq!(page.revision, newest);
        let found = page.items.iter().map(|kv| {
            let text = |bytes| std::str::from_utf8(bytes).unwrap().to_owned();
            (text(&kv.key), text(&kv.value).parse().unwrap())
        });
        assert_eq!(found.collect::<BTreeMap<String, u8>>(), *expected, "at {revision}");
        // The watch from here on leads to the newest state.
        let mut map: BTreeMap<String, u8> = expected.clone();
        for event in changes(core, revision + 1).into_iter().flat_map(|batch| batch.events) {
            let key = String::from_utf8(event.key().to_vec()).unwrap();
            match event {
                crate::store::Event::Put(kv) => {
                    map.insert(key, std::str::from_utf8(&kv.value).unwrap().parse().unwrap());
                }
                crate::store::Event::Delete { .. } => {
                    assert!(map.remove(&key).is_some());
                }
            }
        }
        assert_eq!(map, model[&newest], "from {revision}");
    }
}
