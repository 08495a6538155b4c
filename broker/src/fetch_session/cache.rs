//! The incremental fetch sessions of all consumers (KIP-227).

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Session, SessionOwner};

/// A session that was not used for so long gives its place to any other, and one that has existed for
/// so long gives it to a larger one.
const EVICTION_AGE: Duration = Duration::from_secs(120);

/// Locks that the sessions are spread over.
const STRIPES_MAX: usize = 16;

/// At most `slots` sessions, by id. When it is full, an old or small one makes room, or the newcomer
/// goes without a session, which costs its client larger requests and nothing else. Replicas' sessions
/// make room for no consumer's unless they are not used any more, and take the place of any consumer's.
#[derive(Debug)]
pub struct Cache {
    stripes: Box<[Mutex<Stripe>]>,
    slots_per_stripe: usize,
    next_stripe: AtomicUsize,
}

type Stripe = HashMap<i32, Stored>;

#[derive(Debug)]
struct Stored {
    session: Arc<Session>,
    created: Duration,
    last_used: Duration,
    partitions: usize,
}

impl Stored {
    fn is_privileged(&self) -> bool {
        self.session.owner != SessionOwner::Consumer
    }
}

impl Cache {
    /// For `slots` sessions (`max.incremental.fetch.session.cache.slots`); 0 allows none.
    pub fn new(slots: usize) -> Self {
        let stripes = slots.clamp(1, STRIPES_MAX);
        Self {
            stripes: (0..stripes).map(|_| Mutex::default()).collect(),
            slots_per_stripe: slots / stripes,
            next_stripe: AtomicUsize::new(0),
        }
    }

    /// Takes a session in and returns its id, which is derived from `random`; `None` if there is no room.
    /// `make` gets the id. `now` is monotonic.
    pub fn create(
        &self,
        random: u32,
        partitions: usize,
        now: Duration,
        make: impl FnOnce(i32) -> Arc<Session>,
    ) -> Option<Arc<Session>> {
        let stripes = self.stripes.len();
        let at = self.next_stripe.fetch_add(1, Ordering::Relaxed) % stripes;
        let mut stripe = lock(&self.stripes[at]);
        let id = free_id(&stripe, random, (stripes, at));
        let session = make(id);
        let newcomer = (session.owner, partitions);
        if self.slots_per_stripe <= stripe.len() && !maybe_evict(&mut stripe, newcomer, now) {
            return None;
        }
        let stored =
            Stored { session: Arc::clone(&session), created: now, last_used: now, partitions };
        stripe.insert(id, stored);
        Some(session)
    }

    /// The session with this id, which counts as used now.
    pub fn find(&self, id: i32, now: Duration) -> Option<Arc<Session>> {
        let mut stripe = lock(self.stripe(id)?);
        let stored = stripe.get_mut(&id)?;
        stored.last_used = now;
        Some(Arc::clone(&stored.session))
    }

    /// Notes how many partitions a session has now.
    pub fn resize(&self, id: i32, partitions: usize) {
        let Some(stripe) = self.stripe(id) else { return };
        if let Some(stored) = lock(stripe).get_mut(&id) {
            stored.partitions = partitions;
        }
    }

    /// Ends a session; true if there was one.
    pub fn remove(&self, id: i32) -> bool {
        self.stripe(id).is_some_and(|stripe| lock(stripe).remove(&id).is_some())
    }

    /// Number of sessions.
    pub fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| lock(stripe).len()).sum()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn stripe(&self, id: i32) -> Option<&Mutex<Stripe>> {
        let id = usize::try_from(id).ok()?;
        Some(&self.stripes[id % self.stripes.len()])
    }
}

/// A positive id that is not taken and belongs to this stripe.
fn free_id(stripe: &Stripe, random: u32, (stripes, at): (usize, usize)) -> i32 {
    // Neither overflows: both are at most 16, and the quotient leaves room for them.
    let (stripes, at) = (stripes as i32, at as i32);
    let rounds = i32::MAX / stripes - 1;
    let mut round = (random % rounds as u32) as i32;
    loop {
        let id = round * stripes + at;
        if 0 < id && !stripe.contains_key(&id) {
            return id;
        }
        round = (round + 1) % rounds;
    }
}

/// Makes room for a session of this owner and number of partitions if the rules allow it.
fn maybe_evict(
    stripe: &mut Stripe,
    (owner, partitions): (SessionOwner, usize),
    now: Duration,
) -> bool {
    let is_privileged = owner != SessionOwner::Consumer;
    let age = |since: Duration| now.saturating_sub(since);
    let oldest = stripe.iter().min_by_key(|(id, stored)| (stored.last_used, **id));
    let stale = oldest.filter(|(_, stored)| EVICTION_AGE < age(stored.last_used));
    let smallest = || {
        let weaker = stripe.iter().filter(|(_, stored)| !stored.is_privileged());
        let settled =
            weaker.filter(|(_, stored)| is_privileged || EVICTION_AGE < age(stored.created));
        let smallest = settled.min_by_key(|(id, stored)| (stored.partitions, **id));
        smallest.filter(|(_, stored)| is_privileged || stored.partitions < partitions)
    };
    let victim = stale.or_else(smallest).map(|(id, _)| *id);
    victim.is_some_and(|id| stripe.remove(&id).is_some())
}

fn lock(stripe: &Mutex<Stripe>) -> MutexGuard<'_, Stripe> {
    stripe.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use ottla_protocol::types::BrokerId;

    use super::*;
    use crate::fetch_session::TopicNaming;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn create(cache: &Cache, partitions: usize, now: Duration) -> Option<i32> {
        create_for(SessionOwner::Consumer, cache, (partitions, now))
    }

    fn create_for(
        owner: SessionOwner,
        cache: &Cache,
        (partitions, now): (usize, Duration),
    ) -> Option<i32> {
        let make = |id| Session::new(id, TopicNaming::Ids, owner);
        cache.create(partitions as u32, partitions, now, make).map(|session| session.id)
    }

    #[test]
    fn replica_takes_the_place_of_a_consumer_and_none_takes_its() {
        let cache = Cache::new(1);
        let replica = SessionOwner::Replica(BrokerId(2));
        let consumer = create(&cache, 1000, at(0)).unwrap();
        let id = create_for(replica, &cache, (1, at(1))).unwrap();
        assert!(cache.find(consumer, at(1)).is_none());
        cache.find(id, at(130));
        assert!(create(&cache, 1000, at(140)).is_none());
        assert!(create_for(replica, &cache, (1000, at(140))).is_none());
        assert!(create(&cache, 1, at(300)).is_some(), "nobody uses it any more");
    }

    #[test]
    fn ids_are_positive_and_differ() {
        let cache = Cache::new(1000);
        let mut ids: Vec<_> = (0..500).map(|_| create(&cache, 1, at(0)).unwrap()).collect();
        assert!(ids.iter().all(|id| 0 < *id));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 500);
        assert!(ids.iter().all(|id| cache.find(*id, at(0)).is_some()));
        assert!(cache.remove(ids[0]));
        assert!(!cache.remove(ids[0]));
        assert!(cache.find(-5, at(0)).is_none());
    }

    #[test]
    fn full_cache_gives_no_session() {
        let cache = Cache::new(2);
        assert!(create(&cache, 1, at(0)).is_some());
        assert!(create(&cache, 1, at(0)).is_some());
        assert!(create(&cache, 1000, at(1)).is_none(), "nobody has been there long");
        assert!(create(&Cache::new(0), 1, at(0)).is_none());
    }

    #[test]
    fn unused_session_makes_room() {
        let cache = Cache::new(1);
        let first = create(&cache, 100, at(0)).unwrap();
        cache.find(first, at(100));
        assert!(create(&cache, 1, at(220)).is_none());
        assert!(create(&cache, 1, at(221)).is_some());
        assert!(cache.find(first, at(221)).is_none());
    }

    #[test]
    fn settled_small_session_makes_room_for_a_larger_one() {
        let cache = Cache::new(1);
        let first = create(&cache, 10, at(0)).unwrap();
        cache.find(first, at(130));
        assert!(create(&cache, 10, at(130)).is_none());
        assert!(create(&cache, 11, at(130)).is_some());
    }
}
