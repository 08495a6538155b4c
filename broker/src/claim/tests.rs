//! Claims on the embedded store.

use std::collections::BTreeMap;

use ottla_metadata::image::{FeedConfig, Image, ImageFeed, ImageReader};
use ottla_metadata::model::{PreviousLife, Rest};
use ottla_metadata::store::embedded::{EmbeddedStore, Fault};
use ottla_protocol::Uuid;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;

const TTL: Duration = Duration::from_secs(1);

fn claimant(store: &EmbeddedStore, incarnation: u8, dirs: &[u8]) -> Claimant {
    let claim = BrokerClaim {
        listeners: Vec::new(),
        inter_broker_listener: "PLAINTEXT".into(),
        rack: None,
        log_dirs: dirs.iter().map(|dir| Uuid::from_bytes([*dir; 16])).collect(),
        boot_id: "b".into(),
        incarnation_id: Uuid::from_bytes([incarnation; 16]),
        version: "0".into(),
        previous: PreviousLife::None,
        features: BTreeMap::new(),
        http: None,
        rest: Rest::new(),
    };
    Claimant {
        store: Arc::new(store.clone()),
        keys: KeySpace::default(),
        broker_id: BrokerId(1),
        session_timeout: TTL,
        claim,
    }
}

fn no_image() -> ImageReader {
    ImageReader::fixed(Image::default())
}

async fn current(store: &EmbeddedStore) -> Option<(i64, BrokerClaim)> {
    let key = KeySpace::default().format(&Key::BrokerClaim(1));
    let held = read_key(store, &key).await.unwrap()?;
    Some((held.create_revision, model::decode(&key, &held.value).unwrap()))
}

#[tokio::test]
async fn epoch_is_the_revision_that_created_the_claim() {
    let store = EmbeddedStore::in_memory(1);
    let claimed = claimant(&store, 1, &[1]).claim(None).await.unwrap();
    assert_eq!(current(&store).await.unwrap().0, claimed.broker_epoch);
}

#[tokio::test]
async fn former_life_is_taken_over_at_once() {
    let store = EmbeddedStore::in_memory(1);
    let before = claimant(&store, 1, &[1, 2]).claim(None).await.unwrap();
    // Its directories, which only a dead process can have let go.
    let after = claimant(&store, 2, &[2, 3]).claim(None).await.unwrap();
    assert!(before.broker_epoch < after.broker_epoch);
    // Its lease.
    let again = claimant(&store, 3, &[9]).claim(Some(after.lease)).await.unwrap();
    assert_eq!(current(&store).await.unwrap().0, again.broker_epoch);
}

#[tokio::test]
async fn id_of_a_living_broker_is_refused_and_of_a_dead_one_is_not() {
    let store = EmbeddedStore::in_memory(1);
    let first = claimant(&store, 1, &[1]);
    let claimed = first.claim(None).await.unwrap();
    // Nobody renews: it lapses, and the second takes the id.
    let second = claimant(&store, 2, &[2]).claim(None).await.unwrap();
    assert!(claimed.broker_epoch < second.broker_epoch);

    let dir = tempfile::tempdir().unwrap();
    let (epochs, _) = watch::channel(-1);
    let stop = CancellationToken::new();
    let lease = FormerLease::in_dir(dir.path());
    let keeper = Keeper::new(claimant(&store, 2, &[2]), second, lease.clone(), no_image(), epochs);
    let kept = tokio::spawn(keeper.run(stop.clone()));
    let error = claimant(&store, 3, &[3]).claim(None).await.unwrap_err();
    assert!(matches!(error, ClaimError::InUse { id: BrokerId(1), .. }), "{error}");
    assert_eq!(lease.read(), Some(second.lease));
    stop.cancel();
    kept.await.unwrap().unwrap();
    assert!(current(&store).await.is_none(), "an orderly end gives the claim up");
    assert_eq!(lease.read(), None);
}

#[tokio::test]
async fn lapsed_claim_is_made_anew_with_a_new_epoch() {
    let store = EmbeddedStore::in_memory(1);
    let claimant = claimant(&store, 1, &[1]);
    let claimed = claimant.claim(None).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (epochs, mut told) = watch::channel(-1);
    let lease = FormerLease::in_dir(dir.path());
    let keeper = Keeper::new(claimant, claimed, lease, no_image(), epochs);
    let kept = tokio::spawn(keeper.run(CancellationToken::new()));
    store.lease_revoke(claimed.lease).await.unwrap();
    let epoch = *told.wait_for(|epoch| claimed.broker_epoch < *epoch).await.unwrap();
    let (held, claim) = current(&store).await.unwrap();
    assert_eq!(held, epoch);
    // The same process on the same disks: the cluster is told that nothing was lost.
    let broker_epoch = claimed.broker_epoch;
    assert_eq!(claim.previous, PreviousLife::ProcessCrash { broker_epoch });
    kept.abort();
}

#[tokio::test]
async fn store_without_an_answer_is_asked_again_and_one_claim_is_made() {
    for fault in [Fault::LoseAnswer, Fault::LoseRequest] {
        let store = EmbeddedStore::in_memory(1);
        store.inject(fault);
        let claimed = claimant(&store, 1, &[1]).claim(None).await.unwrap();
        assert_eq!(current(&store).await.unwrap().0, claimed.broker_epoch);
    }
}

#[tokio::test]
async fn claim_that_the_image_no_longer_shows_is_made_anew_although_its_lease_stands() {
    let store = EmbeddedStore::in_memory(1);
    // The lease is not looked at for longer than this test may take.
    let claimant = Claimant { session_timeout: 300 * TTL, ..claimant(&store, 1, &[1]) };
    let claimed = claimant.claim(None).await.unwrap();
    let key = KeySpace::default().format(&Key::BrokerClaim(1));
    let config = FeedConfig::new(KeySpace::default());
    let (feed, image) = ImageFeed::new(Arc::new(store.clone()), config);
    let fed = tokio::spawn(feed.run(CancellationToken::new()));
    image.clone().wait_for(claimed.broker_epoch, TTL * 10).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (epochs, mut told) = watch::channel(-1);
    let lease = FormerLease::in_dir(dir.path());
    let keeper = Keeper::new(claimant, claimed, lease, image, epochs);
    let kept = tokio::spawn(keeper.run(CancellationToken::new()));
    let delete = GuardedWrite::new()
        .when(Compare::CreateRevision(key.clone().into(), claimed.broker_epoch))
        .delete(KeyRange::key(&key));
    let deleted = commit_until_known(&store, &delete, POLICY).await.unwrap();
    assert!(matches!(deleted, Outcome::Committed { .. }));
    let again = told.wait_for(|epoch| claimed.broker_epoch < *epoch);
    let epoch = *tokio::time::timeout(TTL * 10, again).await.unwrap().unwrap();
    let (held, claim) = current(&store).await.unwrap();
    assert_eq!((held, claim.incarnation_id), (epoch, Uuid::from_bytes([1; 16])));
    let gone = store.lease_keep_alive(claimed.lease).await;
    assert!(matches!(gone, Err(StoreError::LeaseNotFound(_))), "the former lease is ended");
    kept.abort();
    fed.abort();
}
