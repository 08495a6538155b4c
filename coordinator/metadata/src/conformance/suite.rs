//! What every store has to do. Each case has a store of its own.

use std::time::Duration;

use bytes::Bytes;

use super::subject::Subject;
use crate::store::{
    Compare, Event, GuardedWrite, KeyRange, KeyValue, LeaseId, Limits, MetaStore, Outcome,
    RangeRequest, RetryPolicy, StoreError, Watch, WatchBatch, WatchItem, commit_until_known,
    read_all, read_key,
};

pub(super) async fn write_happens_only_if_every_compare_holds(subject: &dyn Subject) {
    let store = subject.store();
    let first = put(store, "a", "1").await;
    let second = put(store, "a", "2").await;
    let key = Bytes::from("a");
    let none = Bytes::from("none");
    let cases = [
        (Compare::ModRevision(key.clone(), second), true),
        (Compare::ModRevision(key.clone(), first), false),
        (Compare::ModRevision(none.clone(), second), false),
        (Compare::CreateRevision(key.clone(), first), true),
        (Compare::CreateRevision(key.clone(), second), false),
        (Compare::Absent(none.clone()), true),
        (Compare::Absent(key.clone()), false),
        (Compare::Exists(key.clone()), true),
        (Compare::Exists(none.clone()), false),
        (Compare::Value(key.clone(), "2".into()), true),
        (Compare::Value(key.clone(), "1".into()), false),
        (Compare::Value(none.clone(), "".into()), false),
    ];
    for (compare, holds) in cases {
        let shown = format!("{compare:?}");
        let write = GuardedWrite::new()
            .when(compare)
            .when(Compare::Exists(key.clone()))
            .put("b", shown.clone())
            .read_back("a")
            .read_back("none");
        match store.txn(write).await.unwrap() {
            Outcome::Committed { revision } => {
                assert!(holds, "{shown}");
                let kv = read_key(store, "b").await.unwrap().unwrap();
                assert_eq!((kv.mod_revision, kv.value), (revision, shown.into()));
            }
            Outcome::Refused { revision, current } => {
                assert!(!holds, "{shown}");
                assert!(second <= revision);
                assert_eq!(values(&current), [("a", "2")]);
                let kv = read_key(store, "b").await.unwrap();
                assert!(kv.is_none_or(|kv| kv.value != shown), "{shown}");
            }
            Outcome::Unknown { reason } => panic!("{reason}"),
        }
    }
}

pub(super) async fn keys_of_one_transaction_share_a_revision(subject: &dyn Subject) {
    let store = subject.store();
    let before = put(store, "x", "0").await;
    let revision = commit(store, GuardedWrite::new().put("x", "1").put("y", "1")).await;
    assert_eq!(revision, before + 1);
    let all = read_all(store, everything()).await.unwrap();
    assert_eq!(all.revision, revision);
    let seen = all.items.iter().map(|kv| (kv.create_revision, kv.mod_revision));
    assert_eq!(seen.collect::<Vec<_>>(), [(before, revision), (revision, revision)]);

    // A key that was deleted starts a new life.
    commit(store, GuardedWrite::new().delete(KeyRange::key("x"))).await;
    let again = put(store, "x", "2").await;
    assert_eq!(read_key(store, "x").await.unwrap().unwrap().create_revision, again);

    // What changes nothing takes no revision.
    let none = commit(store, GuardedWrite::new().delete(KeyRange::key("none"))).await;
    assert_eq!(none, again);
}

pub(super) async fn deletions_are_part_of_a_transaction(subject: &dyn Subject) {
    let store = subject.store();
    let keys = ["d/1", "d/2", "d/3", "e"];
    let write = keys.iter().fold(GuardedWrite::new(), |write, key| write.put(key, "v"));
    let before = commit(store, write).await;
    let mut watch = store.watch(everything(), before + 1).await.unwrap();
    let write = GuardedWrite::new()
        .when_unchanged("e", before)
        .delete(KeyRange::prefix("d/"))
        .delete(KeyRange::between("d/2", "d/9"))
        .delete(KeyRange::key("e"))
        .put("f", "moved");
    let revision = commit(store, write).await;
    assert_eq!(values(&read_all(store, everything()).await.unwrap().items), [("f", "moved")]);
    let batch = next_change(&mut *watch).await;
    assert_eq!(batch.revision, revision);
    let mut seen: Vec<_> = batch.events.iter().map(shown).collect();
    seen.sort();
    assert_eq!(seen, ["-d/1", "-d/2", "-d/3", "-e", "f=moved"]);
    assert!(batch.events.iter().all(|event| event.revision() == revision));

    let refused = GuardedWrite::new().when_unchanged("e", before).delete(KeyRange::key("f"));
    let outcome = store.txn(refused).await.unwrap();
    assert_eq!(outcome, Outcome::Refused { revision, current: vec![] });
}

pub(super) async fn largest_transaction_is_accepted_and_larger_ones_are_refused(
    subject: &dyn Subject,
) {
    let store = subject.store();
    let with = |count: usize| {
        (0..count).fold(GuardedWrite::new(), |write, n| {
            let key = format!("k{n}");
            write.when(Compare::Absent(key.clone().into())).put(&key, "v").read_back(&key)
        })
    };
    commit(store, with(128)).await;
    let error = store.txn(with(129)).await.unwrap_err();
    assert_eq!(error, StoreError::TooManyOperations { operations: 129 });

    let room = Limits::REQUEST_BYTES_MAX - GuardedWrite::new().put("big", "").size();
    commit(store, GuardedWrite::new().put("big", vec![b'x'; room])).await;
    let error = store.txn(GuardedWrite::new().put("big", vec![b'x'; room + 1])).await.unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    let small = GuardedWrite::new().put("a", "").put("b", "").put("c", "");
    let each = (Limits::REQUEST_BYTES_MAX - small.size()) / 3;
    let write = ["a", "b", "c"]
        .iter()
        .fold(GuardedWrite::new(), |write, key| write.put(key, vec![b'y'; each]));
    commit(store, write).await;

    for write in [
        GuardedWrite::new().put("twice", "1").put("twice", "2"),
        GuardedWrite::new().put("p/1", "1").delete(KeyRange::prefix("p/")),
    ] {
        let error = store.txn(write).await.unwrap_err();
        assert!(matches!(error, StoreError::DuplicateKey { .. }), "{error}");
    }
    let error = store.txn(GuardedWrite::new().put("", "v")).await.unwrap_err();
    assert!(matches!(error, StoreError::Invalid { .. }), "{error}");
}

pub(super) async fn list_longer_than_one_answer_is_paged(subject: &dyn Subject) {
    let store = subject.store();
    for n in 0..7u8 {
        put(store, &format!("big/{n}"), vec![n; 1_000_000]).await;
    }
    let all = read_all(store, KeyRange::prefix("big/")).await.unwrap();
    assert!(!all.more);
    let seen = all.items.iter().map(|kv| (kv.value.len(), kv.value[0]));
    let expected: Vec<_> = (0..7).map(|n| (1_000_000, n)).collect();
    assert_eq!(seen.collect::<Vec<_>>(), expected);
}

pub(super) async fn many_keys_are_paged_in_order(subject: &dyn Subject) {
    let store = subject.store();
    let names: Vec<String> = (0..2500).map(|n| format!("n/{n:05}")).collect();
    for chunk in names.chunks(125) {
        let write = chunk.iter().fold(GuardedWrite::new(), |write, name| write.put(name, "v"));
        commit(store, write).await;
    }
    let request =
        RangeRequest { limit: 7, ..RangeRequest::newest(KeyRange::between("n/00010", "n/00100")) };
    let page = store.range(request).await.unwrap();
    assert!(page.more);
    assert_eq!(page.items.len(), 7);
    assert_eq!(page.items[6].key, "n/00016");
    let all = read_all(store, KeyRange::prefix("n/")).await.unwrap();
    assert_eq!(all.items.iter().map(|kv| kv.key.clone()).collect::<Vec<_>>(), names);
    assert!(read_all(store, KeyRange::prefix("m/")).await.unwrap().items.is_empty());
}

pub(super) async fn past_is_readable_until_it_is_compacted(subject: &dyn Subject) {
    let store = subject.store();
    let first = put(store, "k", "1").await;
    let second = put(store, "k", "2").await;
    let third = commit(store, GuardedWrite::new().delete(KeyRange::key("k"))).await;
    let at = |revision| RangeRequest {
        at_revision: Some(revision),
        ..RangeRequest::newest(KeyRange::key("k"))
    };
    assert_eq!(values(&store.range(at(first)).await.unwrap().items), [("k", "1")]);
    assert_eq!(values(&store.range(at(second)).await.unwrap().items), [("k", "2")]);
    assert!(store.range(at(third)).await.unwrap().items.is_empty());
    let error = store.range(at(third + 1)).await.unwrap_err();
    assert!(matches!(error, StoreError::Invalid { .. }), "{error}");

    store.compact(second).await.unwrap();
    let error = store.range(at(first)).await.unwrap_err();
    assert!(matches!(error, StoreError::Compacted { .. }), "{error}");
    assert_eq!(values(&store.range(at(second)).await.unwrap().items), [("k", "2")]);
    // Twice is no error.
    store.compact(second).await.unwrap();
}

pub(super) async fn watch_replays_the_past_and_goes_on(subject: &dyn Subject) {
    let store = subject.store();
    put(store, "w/0", "too early").await;
    let first = put(store, "w/1", "1").await;
    put(store, "v/1", "other prefix").await;
    put(store, "w/1", "2").await;
    let mut watch = store.watch(KeyRange::prefix("w/"), first).await.unwrap();
    let mut seen = changes_until(&mut *watch, "w/1=2").await;
    assert_eq!(seen, ["w/1=1", "w/1=2"]);
    put(store, "w/2", "3").await;
    commit(store, GuardedWrite::new().delete(KeyRange::key("w/1"))).await;
    seen = changes_until(&mut *watch, "-w/1").await;
    assert_eq!(seen, ["w/2=3", "-w/1"]);

    // A single key, and from the future on.
    let next = put(store, "w/3", "4").await + 2;
    let mut watch = store.watch(KeyRange::key("w/3"), next).await.unwrap();
    for value in ["5", "6", "7"] {
        put(store, "w/3", value).await;
        put(store, "w/33", value).await;
    }
    assert_eq!(changes_until(&mut *watch, "w/3=7").await, ["w/3=6", "w/3=7"]);
}

pub(super) async fn watch_delivers_whole_revisions(subject: &dyn Subject) {
    let store = subject.store();
    let first = put(store, "t/0", "start").await + 1;
    for n in 0..40 {
        let write = (0..100).fold(GuardedWrite::new(), |write, key| {
            write.put(format!("t/{key:03}"), vec![b'0' + (n % 10); 100])
        });
        commit(store, write).await;
    }
    let mut watch = store.watch(KeyRange::prefix("t/"), first).await.unwrap();
    let (mut count, mut last) = (0, first - 1);
    while count < 4000 {
        let batch = next_change(&mut *watch).await;
        assert_eq!(batch.events.len() % 100, 0, "a part of a revision");
        for event in &batch.events {
            assert!(last <= event.revision() && event.revision() <= batch.revision);
            last = event.revision();
        }
        count += batch.events.len();
    }
}

pub(super) async fn broken_watch_is_resumed_without_loss(subject: &dyn Subject) {
    let (store, other) = (subject.store(), subject.other());
    let mut after = put(other, "b/0", "start").await;
    let mut watch = store.watch(KeyRange::prefix("b/"), after + 1).await.unwrap();
    let mut seen = Vec::new();
    for round in 0..3 {
        put(other, "b/1", format!("{round} before")).await;
        let batch = next_change(&mut *watch).await;
        seen.extend(batch.events.iter().map(shown));
        after = batch.revision;
        subject.break_watches();
        put(other, "b/2", format!("{round} during")).await;
        // What comes before the end counts.
        loop {
            match next_item(&mut *watch).await {
                WatchItem::Batch(batch) => {
                    seen.extend(batch.events.iter().map(shown));
                    after = batch.revision;
                }
                WatchItem::Broken { .. } => break,
                item => panic!("{item:?}"),
            }
        }
        assert!(matches!(watch.next().await, WatchItem::Broken { .. }), "it stays broken");
        watch = store.watch(KeyRange::prefix("b/"), after + 1).await.unwrap();
    }
    put(other, "b/3", "end").await;
    seen.extend(changes_until(&mut *watch, "b/3=end").await);
    let expected = [
        "b/1=0 before",
        "b/2=0 during",
        "b/1=1 before",
        "b/2=1 during",
        "b/1=2 before",
        "b/2=2 during",
        "b/3=end",
    ];
    assert_eq!(seen, expected);
}

pub(super) async fn watch_of_compacted_past_says_so(subject: &dyn Subject) {
    let store = subject.store();
    let first = put(store, "c", "1").await;
    let last = commit(store, GuardedWrite::new().delete(KeyRange::key("c"))).await;
    store.compact(last).await.unwrap();
    // The deletion at the compacted revision itself is not told by every etcd.
    for from in [first, last] {
        let item = match store.watch(KeyRange::key("c"), from).await {
            Ok(mut watch) => next_item(&mut *watch).await,
            Err(StoreError::Compacted { compacted }) => WatchItem::Compacted { compacted },
            Err(error) => panic!("{error}"),
        };
        assert!(matches!(item, WatchItem::Compacted { .. }), "{from}: {item:?}");
    }
    let mut watch = store.watch(KeyRange::key("c"), last + 1).await.unwrap();
    put(store, "c", "2").await;
    assert_eq!(changes_until(&mut *watch, "c=2").await, ["c=2"]);
}

pub(super) async fn watch_tells_progress_only_after_all_changes(subject: &dyn Subject) {
    let store = subject.store();
    let first = put(store, "p/0", "0").await;
    for n in 1..200 {
        put(store, &format!("p/{n}"), "v").await;
    }
    let mut watch = store.watch(KeyRange::prefix("p/"), first).await.unwrap();
    watch.request_progress();
    let newest = put(store, "elsewhere", "v").await;
    let mut count = 0;
    loop {
        let WatchItem::Batch(batch) = next_item_asking(&mut *watch).await else { panic!("ended") };
        count += batch.events.len();
        if batch.events.is_empty() {
            assert!(batch.revision < first || count == 200, "progress before {count} changes");
            if !watch.tells_progress() {
                assert!(batch.revision < newest);
                if count == 200 {
                    break;
                }
            } else if batch.revision == newest {
                break;
            }
        }
    }
    assert_eq!(count, 200);
}

pub(super) async fn compaction_does_not_overtake_a_slow_lister(subject: &dyn Subject) {
    let (store, other) = (subject.store(), subject.other());
    for n in 0..30 {
        put(other, &format!("s/{n:02}"), "old").await;
    }
    let keys = KeyRange::prefix("s/");
    let page = |keys: KeyRange, at_revision| RangeRequest { keys, limit: 10, at_revision };
    let first = store.range(page(keys.clone(), None)).await.unwrap();
    let mut watch = store.watch(keys.clone(), first.revision + 1).await.unwrap();
    // Behind, at and before the place where the lister is.
    put(other, "s/05", "new").await;
    put(other, "s/25", "new").await;
    put(other, "s/27", "new").await;
    commit(other, GuardedWrite::new().delete(KeyRange::key("s/26"))).await;
    let newest = commit(other, GuardedWrite::new().delete(KeyRange::key("s/06"))).await;
    // A live watch outlives the compaction of what it has taken; this one has had time to.
    let mut seen = changes_until(&mut *watch, "-s/06").await;
    other.compact(newest).await.unwrap();
    let rest = keys.after(&first.items[9].key);
    let pinned = store.range(page(rest.clone(), Some(first.revision))).await;
    assert!(matches!(pinned, Err(StoreError::Compacted { .. })), "{pinned:?}");
    let mut listed = values_owned(&first.items);
    let mut next = rest;
    loop {
        let page = store.range(page(next.clone(), None)).await.unwrap();
        listed.extend(values_owned(&page.items));
        let Some(last) = page.items.last().filter(|_| page.more) else { break };
        next = keys.after(&last.key);
    }
    assert_eq!(listed.len(), 29, "the unpinned list is not stopped by the compaction");
    put(other, "s/end", "v").await;
    seen.extend(changes_until(&mut *watch, "s/end=v").await);
    assert_eq!(seen, ["s/05=new", "s/25=new", "s/27=new", "-s/26", "-s/06", "s/end=v"]);
}

pub(super) async fn expired_lease_deletes_its_keys_and_is_watched(subject: &dyn Subject) {
    let store = subject.store();
    let lease = store.lease_grant(Duration::from_secs(1)).await.unwrap();
    assert!(Duration::from_secs(1) <= lease.ttl);
    let write = GuardedWrite::new()
        .put_leased("l/1", "v", lease.id)
        .put_leased("l/2", "v", lease.id)
        .put_leased("l/free", "v", lease.id)
        .put("l/other", "v");
    commit(store, write).await;
    // Written again without the lease, a key is no longer bound to it.
    let bound = put(store, "l/free", "v").await;
    let kv = read_key(store, "l/1").await.unwrap().unwrap();
    assert_eq!(kv.lease, Some(lease.id));
    let mut watch = store.watch(KeyRange::prefix("l/"), bound + 1).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        subject.pass(Duration::from_millis(500)).await;
        let waited = tokio::time::timeout(Duration::from_millis(100), watch.next()).await;
        if let Ok(WatchItem::Batch(batch)) = waited {
            seen.extend(batch.events.iter().map(shown));
        }
    }
    seen.sort();
    assert_eq!(seen, ["-l/1", "-l/2"]);
    let left = read_all(store, KeyRange::prefix("l/")).await.unwrap();
    assert_eq!(values(&left.items), [("l/free", "v"), ("l/other", "v")]);
    let error = store.lease_keep_alive(lease.id).await.unwrap_err();
    assert_eq!(error, StoreError::LeaseNotFound(lease.id));
    let write = GuardedWrite::new().put_leased("l/3", "v", lease.id).put("l/4", "v");
    let error = store.txn(write).await.unwrap_err();
    assert!(matches!(error, StoreError::LeaseNotFound(_)), "{error}");
    assert_eq!(read_key(store, "l/4").await.unwrap(), None);
}

pub(super) async fn kept_lease_lives_and_revoked_lease_ends(subject: &dyn Subject) {
    let store = subject.store();
    let lease = store.lease_grant(Duration::from_secs(2)).await.unwrap();
    let bound = commit(store, GuardedWrite::new().put_leased("k", "v", lease.id)).await;
    // Longer than the lease in the embedded store's time; for etcd, as long as a test may take.
    for _ in 0..30 {
        subject.pass(Duration::from_millis(500)).await;
        let left = store.lease_keep_alive(lease.id).await.unwrap();
        assert!(Duration::from_secs(1) <= left && left <= lease.ttl, "{left:?}");
    }
    assert_eq!(read_key(store, "k").await.unwrap().unwrap().mod_revision, bound);
    let mut watch = store.watch(KeyRange::key("k"), bound + 1).await.unwrap();
    store.lease_revoke(lease.id).await.unwrap();
    assert_eq!(changes_until(&mut *watch, "-k").await, ["-k"]);
    store.lease_revoke(lease.id).await.unwrap();
    store.lease_revoke(LeaseId(12345)).await.unwrap();
}

pub(super) async fn lost_answer_is_unknown_and_then_resolved(subject: &dyn Subject) {
    let store = subject.store();
    let revision = put(store, "head", "1").await;
    let write = GuardedWrite::new().when_unchanged("head", revision).put("head", "2").put("d", "x");
    subject.lose_answers();
    let outcome = store.txn(write.clone()).await.unwrap();
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    subject.heal();
    // The same transaction again: refused, and the refusal shows that it was applied before.
    let outcome = settle(store, &write).await;
    let head = read_key(store, "head").await.unwrap().unwrap();
    assert_eq!(values(std::slice::from_ref(&head)), [("head", "2")]);
    assert_eq!(head.mod_revision, revision + 1, "applied once");
    match outcome {
        Outcome::Refused { current, .. } => assert_eq!(current, [head]),
        outcome => panic!("{outcome:?}"),
    }

    // The helper does all that.
    let write = GuardedWrite::new().when_unchanged("head", revision + 1).put("head", "3");
    subject.lose_answers();
    let resolved = commit_until_known(store, &write, patient());
    let healed = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        subject.heal();
    };
    let (outcome, ()) = tokio::join!(resolved, healed);
    assert_eq!(outcome.unwrap(), Outcome::Committed { revision: revision + 2 });

    // A write that does not fence itself must not be repeated.
    let error = commit_until_known(store, &GuardedWrite::new().put("d", "y"), patient()).await;
    assert!(matches!(error, Err(StoreError::Invalid { .. })), "{error:?}");
}

pub(super) async fn late_application_is_refused_by_its_guard(subject: &dyn Subject) {
    let (store, other) = (subject.store(), subject.other());
    let revision = put(other, "head", "1").await;
    let late =
        GuardedWrite::new().when_unchanged("head", revision).put("head", "late").put("d", "late");
    subject.hold_writes();
    let outcome = store.txn(late.clone()).await.unwrap();
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    subject.heal();
    assert_eq!(read_key(other, "head").await.unwrap().unwrap().mod_revision, revision);
    // Somebody else takes over and bumps the head; only then does the old request arrive.
    let write = GuardedWrite::new().when_unchanged("head", revision).put("head", "mine");
    let mine = commit(other, write).await;
    subject.deliver_late().await;
    // Its former owner learns that it lost.
    let outcome = settle(store, &late).await;
    match outcome {
        Outcome::Refused { current, .. } => assert_eq!(values(&current), [("head", "mine")]),
        outcome => panic!("{outcome:?}"),
    }
    put(other, "barrier", "v").await;
    assert_eq!(read_key(other, "head").await.unwrap().unwrap().mod_revision, mine);
    assert_eq!(read_key(other, "d").await.unwrap(), None);

    // Without anybody in between, the late request is applied, and its owner learns that.
    let late = GuardedWrite::new().when_unchanged("head", mine).put("head", "late again");
    subject.hold_writes();
    let outcome = store.txn(late.clone()).await.unwrap();
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    subject.heal();
    subject.deliver_late().await;
    wait_until(async || read_key(other, "head").await.unwrap().unwrap().mod_revision != mine).await;
    let outcome = commit_until_known(store, &late, patient()).await.unwrap();
    assert!(matches!(outcome, Outcome::Committed { revision } if mine < revision), "{outcome:?}");
}

pub(super) async fn status_tells_store_and_revision(subject: &dyn Subject) {
    let store = subject.store();
    let revision = put(store, "k", "v").await;
    let status = store.status().await.unwrap();
    let page = store.range(RangeRequest::newest(everything())).await.unwrap();
    assert_eq!(status.store_id, page.store_id);
    assert_ne!(status.store_id, 0);
    assert_eq!((status.revision, page.revision), (revision, revision));
    assert!(!status.no_space);
    assert!(!status.version.is_empty());
    assert!(0 < status.size && status.size_in_use <= status.size);
}

async fn put(store: &dyn MetaStore, key: &str, value: impl Into<Bytes>) -> i64 {
    commit(store, GuardedWrite::new().put(key, value)).await
}

async fn commit(store: &dyn MetaStore, write: GuardedWrite) -> i64 {
    match store.txn(write).await.unwrap() {
        Outcome::Committed { revision } => revision,
        outcome => panic!("{outcome:?}"),
    }
}

/// Sends the same transaction until it is answered.
async fn settle(store: &dyn MetaStore, write: &GuardedWrite) -> Outcome {
    for _ in 0..20 {
        match store.txn(write.clone()).await {
            Ok(Outcome::Unknown { .. }) | Err(StoreError::Unavailable { .. }) => {}
            outcome => return outcome.unwrap(),
        }
    }
    panic!("never answered");
}

async fn next_item(watch: &mut dyn Watch) -> WatchItem {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("the watch delivers nothing")
}

async fn next_item_asking(watch: &mut dyn Watch) -> WatchItem {
    for _ in 0..200 {
        if let Ok(item) = tokio::time::timeout(Duration::from_millis(50), watch.next()).await {
            return item;
        }
        watch.request_progress();
    }
    panic!("the watch delivers nothing");
}

async fn next_change(watch: &mut dyn Watch) -> WatchBatch {
    loop {
        match next_item(watch).await {
            WatchItem::Batch(batch) if batch.events.is_empty() => {}
            WatchItem::Batch(batch) => return batch,
            item => panic!("{item:?}"),
        }
    }
}

async fn changes_until(watch: &mut dyn Watch, last: &str) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.last().is_none_or(|seen| seen != last) {
        seen.extend(next_change(watch).await.events.iter().map(shown));
    }
    seen
}

async fn wait_until(mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..200 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the condition never held");
}

fn shown(event: &Event) -> String {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    match event {
        Event::Put(kv) => format!("{}={}", text(&kv.key), text(&kv.value)),
        Event::Delete { key, .. } => format!("-{}", text(key)),
    }
}

fn values(items: &[KeyValue]) -> Vec<(&str, &str)> {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    items.iter().map(|kv| (text(&kv.key), text(&kv.value))).collect()
}

fn values_owned(items: &[KeyValue]) -> Vec<(String, String)> {
    values(items).into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn everything() -> KeyRange {
    KeyRange::between("\0", "\u{7f}")
}

fn patient() -> RetryPolicy {
    RetryPolicy { attempts: 30, ..RetryPolicy::default() }
}

const PATIENCE: Duration = Duration::from_secs(20);
