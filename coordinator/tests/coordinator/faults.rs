//! The store at its worst: answers and requests that are lost, and requests that come late.

use std::time::Duration;

use ottla_coordinator::admin::{Caller, Options, TopicRef};
use ottla_metadata::store::embedded::Fault;
use ottla_metadata::store::{Outcome, StoreError};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::AllocateProducerIdsRequest;

use crate::broker::FakeBroker;
use crate::gated_store::GatedStore;
use crate::support::{
    create, keys_below, partitions_seen, start_active, stop, store, topic, until,
};

#[tokio::test]
async fn lost_answers_and_requests_make_nothing_happen_twice_or_never() {
    for fault in [Fault::LoseAnswer, Fault::LoseRequest] {
        let store = store();
        let handle = start_active(1, store.clone()).await;
        let (broker, mut link) = FakeBroker::start(1, &handle).await;
        store.inject(fault);
        let answer = create(&handle, vec![topic("t", 3)]).await.unwrap();
        assert!(answer.results[0].is_ok(), "{fault:?}: {answer:?}");
        until("it is seen", || partitions_seen(&handle, "t") == Some(3)).await;
        assert_eq!(keys_below(&store, "partitions/").await, 3);
        let request = AllocateProducerIdsRequest {
            broker_id: 1,
            broker_epoch: broker.epoch,
            ..AllocateProducerIdsRequest::default()
        };
        let mut starts = Vec::new();
        for _ in 0..4 {
            store.inject(fault);
            let block = link.call(0, &request).await;
            assert_eq!(block.error_code, ErrorCode::None.code());
            starts.push(block.producer_id_start);
        }
        assert_eq!(starts, [0, 1000, 2000, 3000], "{fault:?}");
        stop(handle).await;
    }
}

#[tokio::test]
async fn delayed_creation_does_not_bring_a_deleted_topic_back() {
    let store = store();
    let handle = start_active(1, store.clone()).await;
    let (_broker, _link) = FakeBroker::start(1, &handle).await;
    store.inject(Fault::Late);
    let answer = create(&handle, vec![topic("t", 2)]).await.unwrap();
    assert!(answer.results[0].is_ok(), "the same transaction was sent again: {answer:?}");
    let caller = Caller::anonymous("TEST");
    let named = vec![TopicRef::Name("t".to_owned())];
    let deleted = handle.admin().delete_topics(&caller, named, Options::default()).await.unwrap();
    assert!(deleted.results[0].is_ok());
    until("its rubbish is collected", || {
        let image = handle.services().images.load();
        image.stored_partitions().count() == 0 && image.deleted().count() == 0
    })
    .await;
    // All keys that the delayed copy compares are absent again: only the head keeps it out.
    for outcome in store.deliver_late() {
        let outcome: Result<Outcome, StoreError> = outcome;
        assert!(matches!(outcome, Ok(Outcome::Refused { .. })), "{outcome:?}");
    }
    assert_eq!(keys_below(&store, "topics/").await, 0);
    assert_eq!(keys_below(&store, "partitions/").await, 0);
    stop(handle).await;
}

#[tokio::test]
async fn term_begins_and_works_on_a_store_that_tells_no_progress() {
    let store = store();
    let handle = start_active(1, GatedStore::without_progress(store)).await;
    let (_broker, _link) = FakeBroker::start(1, &handle).await;
    let answer = create(&handle, vec![topic("t", 1)]).await.unwrap();
    assert!(answer.results[0].is_ok(), "{answer:?}");
    until("it is seen", || partitions_seen(&handle, "t") == Some(1)).await;
    stop(handle).await;
}

#[tokio::test]
async fn broken_watches_lose_nothing() {
    let store = store();
    let handle = start_active(1, store.clone()).await;
    let (_broker, _link) = FakeBroker::start(1, &handle).await;
    for number in 0..5 {
        store.break_watches();
        let name = format!("t{number}");
        let answer = create(&handle, vec![topic(&name, 1)]).await.unwrap();
        assert!(answer.results[0].is_ok());
    }
    until("all are seen", || {
        (0..5).all(|number| partitions_seen(&handle, &format!("t{number}")) == Some(1))
    })
    .await;
    stop(handle).await;
}

#[tokio::test]
async fn while_the_store_is_away_heartbeats_are_answered_and_requests_time_out() {
    let store = store();
    let handle = start_active(1, store.clone()).await;
    let (broker, mut link) = FakeBroker::start(1, &handle).await;
    store.set_paused(true);
    let options = Options { timeout: Duration::from_millis(300), ..Options::default() };
    let caller = Caller::anonymous("TEST");
    let answer = handle.admin().create_topics(&caller, vec![topic("t", 1)], options).await;
    assert!(answer.is_err(), "{answer:?}");
    for _ in 0..20 {
        let answer = broker.heartbeat(&handle, &mut link, false).await;
        assert_eq!(answer.error_code, ErrorCode::None.code());
        assert!(!answer.is_fenced);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    store.set_paused(false);
    until("what was begun is finished", || partitions_seen(&handle, "t") == Some(1)).await;
    assert!(handle.admin().leadership().is_me, "and nobody was deposed for it");
    stop(handle).await;
}
