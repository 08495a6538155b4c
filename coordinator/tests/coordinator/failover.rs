//! One coordinator after another.

use std::time::Duration;

use ottla_coordinator::admin::Unavailable;
use ottla_coordinator::{Config, Coordinator, StartError};
use ottla_metadata::model::Endpoint;
use ottla_protocol::ErrorCode;

use crate::broker::FakeBroker;
use crate::gated_store::GatedStore;
use crate::link::{Link, envelope};
use crate::support::{
    PATIENCE, config, create, keys_below, partitions_seen, start, start_active, start_with, stop,
    store, topic, until,
};
use ottla_protocol::messages::{CreateTopicsRequest, NodeHelloRequest};

#[tokio::test]
async fn first_coordinator_founds_the_cluster_and_the_second_waits() {
    let store = store();
    let first = start_active(1, store.clone()).await;
    let second = start(2, store).await;
    until("both know the cluster", || {
        let id = |handle: &ottla_coordinator::Handle| {
            let image = handle.services().images.load();
            image.cluster().map(|cluster| cluster.cluster_id.clone())
        };
        id(&first).is_some() && id(&first) == id(&second)
    })
    .await;
    until("the second knows who is active", || {
        second.admin().leadership().active.is_some_and(|active| active.node_id == 1)
    })
    .await;
    let refused = create(&second, vec![topic("t", 1)]).await.unwrap_err();
    assert!(matches!(refused, Unavailable::NotActive(Some(active)) if active.node_id == 1));
    stop(first).await;
    stop(second).await;
}

#[tokio::test]
async fn node_that_is_not_active_names_the_one_that_is() {
    let store = store();
    let first = start_active(1, store.clone()).await;
    let second = start(2, store).await;
    until("the second knows", || second.admin().leadership().active.is_some()).await;
    let mut link = Link::tcp(&second).await;
    let greeting = link.hello_as_broker(1).await;
    assert!(!greeting.is_active);
    let expected = first.internode_endpoint().unwrap().to_string();
    assert_eq!(greeting.active_endpoint.as_deref(), Some(expected.as_str()));
    let answer = link.call(0, &envelope(7, &CreateTopicsRequest::default())).await;
    assert_eq!(answer.error_code, ErrorCode::NotController.code());
    assert!(answer.error_message.unwrap().contains(&expected));
    stop(first).await;
    stop(second).await;
}

#[tokio::test]
async fn coordinator_that_stops_hands_over_at_once() {
    let store = store();
    let long = Config { session_timeout: Duration::from_secs(3600), ..config(1) };
    let first = start_with(long, store.clone()).await;
    assert!(first.until_active(PATIENCE).await);
    let second = start(2, store).await;
    stop(first).await;
    assert!(second.until_active(PATIENCE).await, "although the lease would last an hour");
    stop(second).await;
}

#[tokio::test]
async fn restarted_coordinator_takes_its_own_former_claim_over() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let long = Config {
        session_timeout: Duration::from_secs(3600),
        data_dir: Some(folder.path().to_owned()),
        ..config(1)
    };
    let gated = GatedStore::new(store.clone());
    let killed = start_with(long.clone(), gated.clone()).await;
    assert!(killed.until_active(PATIENCE).await);
    gated.close_after(0);
    killed.stop(Duration::ZERO).await;
    let again = loop {
        // The folder is free once the tasks of the killed one are gone.
        match Coordinator::start(long.clone(), std::sync::Arc::new(store.clone())).await {
            Ok(handle) => break handle,
            Err(StartError::DataDir(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(again.until_active(PATIENCE).await, "although the lease would last an hour");
    stop(again).await;
}

#[tokio::test]
async fn topic_of_a_killed_controller_is_there_as_a_whole_or_not_at_all() {
    for transactions in [0, 1, 5, 7, 8] {
        let store = store();
        let gated = GatedStore::new(store.clone());
        let first = start_active(1, gated.clone()).await;
        let (_broker, _link) = FakeBroker::start(1, &first).await;
        let second = start(2, store.clone()).await;
        gated.close_after(transactions);
        let asked = create(&first, vec![topic("t", 1000)]);
        let killed = async {
            until("the first is cut off", || gated.is_closed()).await;
            assert!(second.until_active(PATIENCE).await);
        };
        tokio::select! {
            answer = asked => assert!(answer.is_err(), "nobody lived to answer"),
            () = killed => {}
        }
        // 1,000 partitions and the topic take eight transactions.
        let expected = if transactions < 8 { None } else { Some(1000) };
        until("the successor sees the store", || {
            partitions_seen(&second, "t") == expected
                && second.services().images.load().stored_partitions().count()
                    == expected.unwrap_or(0)
        })
        .await;
        assert_eq!(keys_below(&store, "partitions/").await, expected.unwrap_or(0));
        stop(second).await;
        first.stop(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn controller_that_was_paused_writes_nothing_when_it_wakes() {
    let store = store();
    let gated = GatedStore::new(store.clone());
    let first = start_active(1, gated.clone()).await;
    let (_broker, _link) = FakeBroker::start(1, &first).await;
    gated.close_after(0);
    let second = start_active(2, store.clone()).await;
    gated.close_after(i64::MAX);
    // The first may still take itself for the active one; what it writes is refused.
    let answer = create(&first, vec![topic("t", 1)]).await;
    assert!(answer.is_err(), "{answer:?}");
    until("the first knows", || !first.admin().leadership().is_me).await;
    assert_eq!(keys_below(&store, "topics/").await, 0);
    stop(first).await;
    stop(second).await;
}

#[tokio::test]
async fn inter_node_listener_is_not_opened_off_loopback() {
    let exposed =
        Config { internode: Some(Endpoint { host: "0.0.0.0".to_owned(), port: 0 }), ..config(1) };
    let refused = Coordinator::start(exposed, std::sync::Arc::new(store())).await.unwrap_err();
    assert!(matches!(refused, StartError::Exposed { .. }), "{refused}");
}

#[tokio::test]
async fn folder_and_port_in_use_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let here = Config { data_dir: Some(folder.path().to_owned()), ..config(1) };
    let first = start_with(here.clone(), store()).await;
    let refused = Coordinator::start(here, std::sync::Arc::new(store())).await.unwrap_err();
    assert!(matches!(refused, StartError::DataDir(_)), "{refused}");
    let taken = Config { internode: first.internode_endpoint().cloned(), ..config(2) };
    let refused = Coordinator::start(taken, std::sync::Arc::new(store())).await.unwrap_err();
    assert!(matches!(refused, StartError::Bind { .. }), "{refused}");
    stop(first).await;
}

#[tokio::test]
async fn node_of_another_cluster_is_refused() {
    let handle = start_active(1, store()).await;
    let founded = || handle.services().images.load().cluster().is_some();
    until("the cluster is founded", founded).await;
    let mut link = Link::memory(&handle);
    let stranger = NodeHelloRequest {
        node_id: 1,
        role: "broker".into(),
        cluster_id: Some("AAAAAAAAAAAAAAAAAAAAAA".into()),
        ..NodeHelloRequest::default()
    };
    let greeting = link.hello(stranger).await;
    assert_eq!(greeting.error_code, ErrorCode::InconsistentClusterId.code());
    assert!(link.next_frame().await.is_none(), "and the connection is closed");
    stop(handle).await;
}
