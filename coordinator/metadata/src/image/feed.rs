//! How an image is fed: a state machine without IO.
//!
//! | phase | what arrives | what follows |
//! |---|---|---|
//! | listing | first page | the watch is opened from its revision + 1, so that compaction cannot overtake a slow list |
//! | listing | watch open | the next page: of the newest state, or of the first page's revision if the watch tells no progress |
//! | listing | page | keys are staged, the newer revision of a key wins |
//! | listing | change | staged likewise; a deletion leaves a tombstone |
//! | listing | last page, and the watch has passed its revision | image published; following |
//! | following | batch | one step of the image, published |
//! | any | broken watch | probe that the store did not go backwards, then watch from the last revision + 1 |
//! | any | compacted, unreadable value | list again from the start, the old image stays published |

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::apply::Delta;
use super::entry::Entry;
use super::picture::Image;
use crate::highest_seen::{self, History};
use crate::keys::{Key, KeySpace};
use crate::model::{ModelError, Recovery};
use crate::store::{
    Event, KeyRange, KeyValue, Page, RangeRequest, StoreError, WatchBatch, WatchItem,
};

/// What happened to the feed's IO.
#[derive(Debug)]
pub enum Input {
    /// The page asked for last.
    Page(Result<Page, StoreError>),
    /// The watch asked for last: whether it tells progress.
    Watching(Result<bool, StoreError>),
    /// From the open watch.
    Item(WatchItem),
}

/// IO that the feed wants.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Read a page, instead of any page asked for before.
    List(RangeRequest, Delay),
    /// Open a watch from this revision, instead of any other.
    Watch(i64, Delay),
    /// Drop the watch, open or opening.
    DropWatch,
    /// Ask the watch how far it is.
    RequestProgress,
    /// Show this image to readers.
    Publish(Arc<Image>),
}

/// When to do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delay {
    /// At once.
    None,
    /// After a pause that grows while nothing succeeds.
    Backoff,
    /// After a random time, since every process lists at the same moment.
    Jitter,
}

/// What the feed cannot go on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A value that this process is too old for.
    Value(ModelError),
    /// Not the store, or not the history, that was seen before.
    WentBackwards {
        /// The store found.
        store_id: u64,
        /// Its revision.
        revision: i64,
    },
    /// The store was put right under a running process, whose image is of the history before.
    Recovered,
}

/// What a former life of the process remembers of the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Remembered {
    store_id: Option<u64>,
    revision: i64,
    recovery: Option<Recovery>,
}

/// The machine. It owns the newest image and what is being staged; it never reads a clock nor does IO.
#[derive(Debug)]
pub struct Feed {
    keys: KeySpace,
    page_items: usize,
    /// Compared when the first list is complete, since only then it is known whether the cluster was recovered.
    remembered: Option<Remembered>,
    store_id: Option<u64>,
    highest_revision: i64,
    /// What `highest_revision` was when the page that is awaited was asked for.
    asked_at: i64,
    image: Arc<Image>,
    phase: Phase,
    trouble: Option<String>,
}

#[derive(Debug)]
enum Phase {
    /// Waiting for the first page.
    Starting,
    Listing(Listing),
    Following,
    /// A watch broke; waiting for a page that shows whether the store is still the same.
    Probing(Box<Phase>),
}

#[derive(Debug)]
struct Listing {
    /// The revision of the first page.
    base: i64,
    /// The revision that makes the list complete once the watch has passed it; set by the last page.
    last: Option<i64>,
    /// List at `base`, since the watch tells no progress. Not known before the watch is open.
    pinned: Option<bool>,
    /// The last key listed.
    cursor: Option<Bytes>,
    /// Everything up to here was delivered by the watch.
    watched: i64,
    staged: BTreeMap<Bytes, Staged>,
}

#[derive(Debug)]
struct Staged {
    revision: i64,
    /// `None` is a tombstone. An unreadable value may still be replaced before the list is complete.
    entry: Option<Result<Entry, ModelError>>,
}

impl Feed {
    /// A feed that refuses a store other than `store_id`, or one behind `highest_revision`.
    pub fn new(
        keys: KeySpace,
        page_items: usize,
        store_id: Option<u64>,
        highest_revision: i64,
    ) -> Self {
        let image = Arc::new(Image::default());
        let phase = Phase::Starting;
        Self {
            keys,
            page_items,
            remembered: Some(Remembered { store_id, revision: highest_revision, recovery: None }),
            store_id: None,
            highest_revision: 0,
            asked_at: 0,
            image,
            phase,
            trouble: None,
        }
    }

    /// What is remembered is of the history since this recovery of the cluster. One that is not known yet is
    /// why the store may be another, or behind.
    #[must_use]
    pub fn since(mut self, recovery: Option<Recovery>) -> Self {
        if let Some(remembered) = &mut self.remembered {
            remembered.recovery = recovery;
        }
        self
    }

    /// The first effect.
    pub fn start(&mut self, out: &mut Vec<Effect>) {
        self.restart(Delay::None, out);
    }

    /// True while a list waits for the watch to pass its last page: progress should be asked for often.
    pub fn wants_progress(&self) -> bool {
        matches!(&self.phase, Phase::Listing(listing) if listing.last.is_some())
    }

    /// True while a watch runs behind a complete list.
    pub fn is_following(&self) -> bool {
        matches!(self.phase, Phase::Following)
    }

    /// What keeps the image from moving.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Takes one input; appends what is to be done to `out`.
    pub fn handle(&mut self, input: Input, out: &mut Vec<Effect>) -> Result<(), Fault> {
        let before = out.len();
        let result = self.handle_input(input, out);
        if out[before..].iter().any(|effect| matches!(effect, Effect::List(..))) {
            self.asked_at = self.highest_revision;
        }
        result
    }

    fn handle_input(&mut self, input: Input, out: &mut Vec<Effect>) -> Result<(), Fault> {
        match input {
            Input::Page(Ok(page)) => self.handle_page(page, out),
            Input::Page(Err(error)) => {
                self.handle_list_failed(&error, out);
                Ok(())
            }
            Input::Watching(Ok(tells_progress)) => {
                self.handle_watching(tells_progress, out);
                Ok(())
            }
            Input::Watching(Err(StoreError::Compacted { .. })) => {
                self.restart(Delay::Jitter, out);
                Ok(())
            }
            Input::Watching(Err(error)) => {
                self.trouble = Some(error.to_string());
                self.resume_watch(Delay::Backoff, out);
                Ok(())
            }
            Input::Item(WatchItem::Batch(batch)) => self.handle_batch(&batch, out),
            Input::Item(WatchItem::Compacted { .. }) => {
                self.restart(Delay::Jitter, out);
                Ok(())
            }
            Input::Item(WatchItem::Broken { reason }) => {
                self.trouble = Some(format!("the watch broke ({reason}), resuming"));
                self.probe(out);
                Ok(())
            }
        }
    }

    fn handle_page(&mut self, page: Page, out: &mut Vec<Effect>) -> Result<(), Fault> {
        self.check_store(&page)?;
        match std::mem::replace(&mut self.phase, Phase::Starting) {
            Phase::Starting => {
                self.store_id = Some(page.store_id);
                let mut listing = Listing::new(page.revision);
                listing.stage_page(&self.keys, &page);
                self.phase = Phase::Listing(listing);
                out.push(Effect::Watch(page.revision + 1, Delay::None));
                if page.more { Ok(()) } else { self.maybe_complete(out) }
            }
            Phase::Listing(mut listing) => {
                listing.stage_page(&self.keys, &page);
                let next = page.more.then(|| self.next_page(&listing));
                self.phase = Phase::Listing(listing);
                match next {
                    Some(request) => out.push(Effect::List(request, Delay::None)),
                    None => {
                        self.maybe_complete(out)?;
                        if self.wants_progress() {
                            out.push(Effect::RequestProgress);
                        }
                    }
                }
                Ok(())
            }
            Phase::Probing(before) => {
                self.phase = *before;
                self.check_history(&page)?;
                self.resume_watch(Delay::None, out);
                if let Phase::Listing(listing) = &self.phase
                    && listing.last.is_none()
                    && listing.pinned.is_some()
                {
                    out.push(Effect::List(self.next_page(listing), Delay::None));
                }
                Ok(())
            }
            Phase::Following => {
                self.phase = Phase::Following;
                Ok(())
            }
        }
    }

    fn handle_list_failed(&mut self, error: &StoreError, out: &mut Vec<Effect>) {
        self.trouble = Some(error.to_string());
        match (&self.phase, error) {
            (Phase::Listing(listing), error) if error.is_retryable() => {
                out.push(Effect::List(self.next_page(listing), Delay::Backoff));
            }
            (Phase::Probing(_), _) => out.push(Effect::List(self.probe_page(), Delay::Backoff)),
            (_, StoreError::Compacted { .. }) => self.restart(Delay::Jitter, out),
            _ => self.restart(Delay::Backoff, out),
        }
    }

    fn handle_watching(&mut self, tells_progress: bool, out: &mut Vec<Effect>) {
        match &mut self.phase {
            Phase::Listing(listing) if listing.pinned.is_none() => {
                listing.pinned = Some(!tells_progress);
                let next = listing.last.is_none();
                if next && let Phase::Listing(listing) = &self.phase {
                    out.push(Effect::List(self.next_page(listing), Delay::None));
                }
            }
            // The resumed watch tells no progress, so the newest state that was listed cannot be proved.
            Phase::Listing(listing) if !tells_progress && listing.pinned == Some(false) => {
                self.restart(Delay::Backoff, out);
            }
            Phase::Following => self.trouble = None,
            _ => {}
        }
    }

    fn handle_batch(&mut self, batch: &WatchBatch, out: &mut Vec<Effect>) -> Result<(), Fault> {
        self.highest_revision = self.highest_revision.max(batch.revision);
        match &mut self.phase {
            Phase::Listing(listing) => {
                listing.stage_batch(&self.keys, batch);
                self.maybe_complete(out)
            }
            Phase::Following => {
                match Delta::decode(&self.keys, batch, self.image.revision()) {
                    Ok(delta) if delta.is_empty() && batch.revision <= self.image.revision() => {}
                    Ok(delta) => self.publish(self.image.with(delta), out)?,
                    Err(error) => self.handle_unreadable(error, out)?,
                }
                Ok(())
            }
            Phase::Starting | Phase::Probing(_) => Ok(()),
        }
    }

    /// Publishes the staged image if the list is complete and the watch has passed its last page.
    fn maybe_complete(&mut self, out: &mut Vec<Effect>) -> Result<(), Fault> {
        let Phase::Listing(listing) = &mut self.phase else { return Ok(()) };
        if listing.last.is_none_or(|last| listing.watched < last) {
            return Ok(());
        }
        let staged = std::mem::take(&mut listing.staged);
        let mut image = Image {
            store_id: self.store_id.unwrap_or_default(),
            revision: listing.watched,
            ..Image::default()
        };
        for staged in staged.into_values() {
            match staged.entry {
                Some(Ok(entry)) => image.put(entry),
                Some(Err(error)) => return self.handle_unreadable(error, out),
                None => {}
            }
        }
        self.phase = Phase::Following;
        self.trouble = None;
        self.publish(image, out)
    }

    /// Shows an image, unless it is of another history than what this process knows.
    fn publish(&mut self, image: Image, out: &mut Vec<Effect>) -> Result<(), Fault> {
        let recovery = |image: &Image| image.cluster().and_then(|cluster| cluster.recovery);
        let found = recovery(&image);
        if let Some(remembered) = self.remembered.take() {
            let is_other = match highest_seen::compare(remembered.recovery, found) {
                History::Same => {
                    remembered.store_id.is_some_and(|id| id != image.store_id())
                        || image.revision() < remembered.revision
                }
                History::Recovered => false,
                History::Other => true,
            };
            if is_other {
                let (store_id, revision) = (image.store_id(), image.revision());
                return Err(Fault::WentBackwards { store_id, revision });
            }
        } else if found != recovery(&self.image) {
            return Err(Fault::Recovered);
        }
        self.image = Arc::new(image);
        out.push(Effect::Publish(self.image.clone()));
        Ok(())
    }

    /// The cluster's own key is a fingerprint of the history: a recovery writes it. If it was last written by a
    /// revision that the watch has passed, the image has that write, or is of another history.
    fn check_history(&self, page: &Page) -> Result<(), Fault> {
        let (Phase::Following, Some(found)) = (&self.phase, page.items.first()) else {
            return Ok(());
        };
        let known = self.image.cluster().map(|cluster| cluster.mod_revision);
        if found.mod_revision <= self.image.revision() && known != Some(found.mod_revision) {
            return Err(Fault::Recovered);
        }
        Ok(())
    }

    /// A newer value stops the process; a broken one leaves the old image in place until somebody mends it.
    fn handle_unreadable(&mut self, error: ModelError, out: &mut Vec<Effect>) -> Result<(), Fault> {
        match error {
            ModelError::NewerVersion { .. } => Err(Fault::Value(error)),
            ModelError::Malformed { .. } => {
                self.restart(Delay::Backoff, out);
                self.trouble = Some(error.to_string());
                Ok(())
            }
        }
    }

    /// A range is linearizable, so a revision below one that was seen when the page was asked for is not lag
    /// but another history. What the watch has delivered since may well be newer.
    fn check_store(&mut self, page: &Page) -> Result<(), Fault> {
        let another = self.store_id.is_some_and(|id| id != page.store_id);
        if another || page.revision < self.asked_at {
            return Err(Fault::WentBackwards { store_id: page.store_id, revision: page.revision });
        }
        self.highest_revision = self.highest_revision.max(page.revision);
        Ok(())
    }

    fn restart(&mut self, delay: Delay, out: &mut Vec<Effect>) {
        self.phase = Phase::Starting;
        out.push(Effect::DropWatch);
        let keys = self.keys.image();
        let request = RangeRequest { keys, limit: self.page_items, at_revision: None };
        out.push(Effect::List(request, delay));
    }

    fn probe(&mut self, out: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Starting | Phase::Probing(_)) {
            return;
        }
        let before = std::mem::replace(&mut self.phase, Phase::Starting);
        self.phase = Phase::Probing(Box::new(before));
        out.push(Effect::DropWatch);
        out.push(Effect::List(self.probe_page(), Delay::Backoff));
    }

    fn resume_watch(&mut self, delay: Delay, out: &mut Vec<Effect>) {
        let after = match &self.phase {
            Phase::Listing(listing) => listing.watched,
            Phase::Following => self.image.revision(),
            Phase::Starting | Phase::Probing(_) => return,
        };
        out.push(Effect::Watch(after + 1, delay));
    }

    fn next_page(&self, listing: &Listing) -> RangeRequest {
        let all = self.keys.image();
        let keys = listing.cursor.as_ref().map_or_else(|| all.clone(), |last| all.after(last));
        let at_revision = (listing.pinned == Some(true)).then_some(listing.base);
        RangeRequest { keys, limit: self.page_items, at_revision }
    }

    fn probe_page(&self) -> RangeRequest {
        let keys = KeyRange::key(self.keys.format(&Key::Cluster));
        RangeRequest { keys, limit: 1, at_revision: None }
    }
}

impl Listing {
    fn new(base: i64) -> Self {
        Self {
            base,
            last: None,
            pinned: None,
            cursor: None,
            watched: base,
            staged: BTreeMap::new(),
        }
    }

    fn stage_page(&mut self, keys: &KeySpace, page: &Page) {
        for kv in &page.items {
            self.stage_put(keys, kv);
        }
        if let Some(last) = page.items.last() {
            self.cursor = Some(last.key.clone());
        }
        if !page.more {
            let pinned = self.pinned == Some(true);
            self.last = Some(if pinned { self.base } else { page.revision });
        }
    }

    fn stage_batch(&mut self, keys: &KeySpace, batch: &WatchBatch) {
        for event in &batch.events {
            match event {
                Event::Put(kv) => self.stage_put(keys, kv),
                Event::Delete { key, revision } => {
                    if self.is_newer(key, *revision) {
                        let tombstone = Staged { revision: *revision, entry: None };
                        self.staged.insert(key.clone(), tombstone);
                    }
                }
            }
        }
        self.watched = self.watched.max(batch.revision);
    }

    fn stage_put(&mut self, keys: &KeySpace, kv: &KeyValue) {
        if self.is_newer(&kv.key, kv.mod_revision) {
            let entry = Some(Entry::decode(keys, kv));
            self.staged.insert(kv.key.clone(), Staged { revision: kv.mod_revision, entry });
        }
    }

    fn is_newer(&self, key: &Bytes, revision: i64) -> bool {
        self.staged.get(key).is_none_or(|staged| staged.revision < revision)
    }
}
