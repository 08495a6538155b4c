//! Remembers how new the store was, so that a store which was set back is noticed after a restart.

use std::path::PathBuf;
use std::time::Duration;

use ottla_metadata::highest_seen::HighestSeen;
use ottla_metadata::image::{Image, ImageReader};
use ottla_metadata::model::{Recovery, Rest};
use tokio_util::sync::CancellationToken;

use crate::machine;

/// The state that an image shows.
pub(crate) fn of(image: &Image) -> HighestSeen {
    HighestSeen {
        store_id: image.store_id(),
        revision: image.revision(),
        controller_term: term(image).unwrap_or(0),
        recovery: recovery(image),
        rest: Rest::new(),
    }
}

/// The term of the current controller.
pub(crate) fn term(image: &Image) -> Option<i64> {
    image.controller().map(|controller| controller.create_revision)
}

/// The last recovery of the cluster.
pub(crate) fn recovery(image: &Image) -> Option<Recovery> {
    image.cluster().and_then(|cluster| cluster.recovery)
}

/// Writes `seen` to `dir` every few seconds while the image moves on, at once for a new term, and when
/// `stop` comes.
pub(crate) async fn keep(
    mut seen: HighestSeen,
    dir: PathBuf,
    image: ImageReader,
    stop: CancellationToken,
) {
    loop {
        let now = image.load();
        let _ = seen.raise(now.revision(), term(&now));
        write(&seen, &dir).await;
        if stop.is_cancelled() {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = until(image.clone(), |image| seen.controller_term < term(image).unwrap_or(0)) => {}
            () = async {
                tokio::time::sleep(INTERVAL).await;
                until(image.clone(), |image| seen.revision < image.revision()).await;
            } => {}
        }
    }
}

/// Waits until the image is as it should be; for ever if the feed has ended.
async fn until(mut image: ImageReader, is_reached: impl Fn(&Image) -> bool) {
    while !is_reached(&image.load()) {
        if image.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn write(seen: &HighestSeen, dir: &std::path::Path) {
    let (seen, dir) = (seen.clone(), dir.to_owned());
    match machine::on_thread("metadata-seen", move || seen.write(&dir)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "cannot remember the newest state of the store"),
        Err(error) => tracing::error!(%error, "cannot remember the newest state of the store"),
    }
}

/// Least time between two writes.
const INTERVAL: Duration = Duration::from_secs(5);
