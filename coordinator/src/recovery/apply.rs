//! Reading the store that is to be put right, and writing the plan as a controller of its own term does.

use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::image::{FeedConfig, Image, ImageFeed};
use ottla_metadata::keys::{Key, KeySpace, ShardKey};
use ottla_metadata::model::{Cluster, Controller, Endpoint, ModelError, Rest, ShardHead, decode};
use ottla_metadata::store::{MetaStore, StoreError, read_all, read_key};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::plan::Plan;
use crate::controller::plan::{self, Transaction};
use crate::controller::writer::{Writer, Written};
use crate::leadership::campaign::{Candidate, Term};
use crate::leadership::former_claim::FormerClaim;

/// The store as it was read.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The cluster.
    pub image: Image,
    /// The fences of coordination shards, with the revisions that last wrote them.
    pub heads: Vec<(i32, i64, ShardHead)>,
}

/// Why the store was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The store does not answer, or refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It holds something that cannot be read.
    #[error(transparent)]
    Value(#[from] ModelError),
    /// A node is there.
    #[error(
        "{0} is active: stop all coordinators and brokers first (what a snapshot shows of them goes away \
         by itself a few seconds after etcd has started)"
    )]
    Active(String),
    /// The election cannot be won.
    #[error("another coordinator became active meanwhile: stop all of them and run this again")]
    NotElected,
    /// Something was written since the plan was made.
    #[error("the store has changed since it was read: run this again")]
    Changed,
}

/// Reads the store. Fails while somebody is active in it, after waiting up to `patience` for that to end.
///
/// # Errors
/// When the store does not answer, holds what cannot be read, or is in use.
pub async fn read(
    store: &dyn MetaStore,
    keys: &KeySpace,
    patience: Duration,
) -> Result<Snapshot, ApplyError> {
    let mut waited = Duration::ZERO;
    loop {
        let image = Image::from_items(keys, &read_all(store, keys.image()).await?)?;
        let Some(active) = active_in(&image) else {
            let heads = read_heads(store, keys, &image).await?;
            return Ok(Snapshot { image, heads });
        };
        if patience <= waited {
            return Err(ApplyError::Active(active));
        }
        tokio::time::sleep(PAUSE).await;
        waited += PAUSE;
    }
}

fn active_in(image: &Image) -> Option<String> {
    let controller = image.controller().map(|active| format!("coordinator {}", active.node_id));
    let other = || image.coordinators().next().map(|(id, _)| format!("coordinator {id}"));
    controller
        .or_else(other)
        .or_else(|| image.claims().next().map(|(broker, _)| format!("broker {broker}")))
}

async fn read_heads(
    store: &dyn MetaStore,
    keys: &KeySpace,
    image: &Image,
) -> Result<Vec<(i32, i64, ShardHead)>, ApplyError> {
    let count = |cluster: &Cluster| cluster.group_shards.max(cluster.transaction_shards);
    let shards = image.cluster().map_or(0, |cluster| count(cluster));
    let mut heads = Vec::new();
    for shard in 0..shards {
        let key = keys.format(&Key::Shard(shard, ShardKey::Head));
        if let Some(found) = read_key(store, &key).await? {
            heads.push((shard, found.mod_revision, decode(&key, &found.value)?));
        }
    }
    Ok(heads)
}

/// Writes a plan: wins the election, so that no coordinator does, writes behind its fence, and gives it up.
/// `session_timeout`: how long coordinators wait if this process dies.
///
/// # Errors
/// When the store is in use, or is no longer what the plan was made from. What was written until then is no
/// harm: nodes go on refusing the store, and a new plan begins from it.
pub async fn apply(
    store: Arc<dyn MetaStore>,
    keys: &KeySpace,
    plan: &Plan,
    session_timeout: Duration,
) -> Result<(), ApplyError> {
    let (feed, images) = ImageFeed::new(Arc::clone(&store), FeedConfig::new(keys.clone()));
    let stop = CancellationToken::new();
    let following = stop.clone().drop_guard();
    tokio::spawn(feed.run(stop));
    let (health, _) = watch::channel(true);
    let candidate = Candidate {
        store: Arc::clone(&store),
        keys: keys.clone(),
        images: images.clone(),
        session_timeout,
        announcement: announcement(),
        former_claim: FormerClaim::default(),
        health: health.clone(),
    };
    let won = tokio::time::timeout(WIN_WITHIN, candidate.win()).await;
    let term = won.map_err(|_| ApplyError::NotElected)?;
    let written = write(store, keys, plan, (&term, health), following).await;
    term.resign().await;
    written
}

async fn write(
    store: Arc<dyn MetaStore>,
    keys: &KeySpace,
    plan: &Plan,
    (term, health): (&Term, watch::Sender<bool>),
    following: DropGuard,
) -> Result<(), ApplyError> {
    let items = read_all(&*store, keys.image()).await?;
    let claims = Image::from_items(keys, &items)?;
    if let Some((broker, _)) = claims.claims().next() {
        return Err(ApplyError::Active(format!("broker {broker}")));
    }
    let writer = Writer::begin(store, keys.clone(), term, health).await;
    let mut writer = writer.ok_or(ApplyError::NotElected)?;
    let mut units = plan.units.clone();
    let mark = units.pop();
    for transaction in plan::pack(units) {
        carry_out(&mut writer, &transaction).await?;
    }
    // An image does not go on through a recovery, this one neither.
    drop(following);
    for transaction in plan::pack(mark.into_iter().collect()) {
        carry_out(&mut writer, &transaction).await?;
    }
    Ok(())
}

async fn carry_out(writer: &mut Writer, transaction: &Transaction) -> Result<(), ApplyError> {
    match writer.write(transaction).await {
        Written::Committed(_) => Ok(()),
        Written::Refused(_) => Err(ApplyError::Changed),
        Written::Failed(error) => Err(error.into()),
        Written::Deposed => Err(ApplyError::NotElected),
    }
}

/// Nobody connects to it.
fn announcement() -> Controller {
    let nowhere = || Endpoint { host: String::new(), port: 0 };
    Controller {
        node_id: -1,
        boot_id: String::new(),
        http: nowhere(),
        internode: nowhere(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        rest: Rest::new(),
    }
}

/// Between two looks at who is active.
const PAUSE: Duration = Duration::from_millis(250);
/// How long the election may take in a store in which nobody is active.
const WIN_WITHIN: Duration = Duration::from_secs(20);
