//! The connector and the heartbeat against a scripted coordinator.

use std::sync::Arc;
use std::time::Duration;

use ottla_client::internode::ClusterSecret;
use ottla_metadata::image::ImageReader;
use ottla_protocol::Str;
use ottla_protocol::types::BrokerId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::testing::{CLUSTER_ID, ImageBuilder, ScriptedCoordinator, ScriptedTransport};

struct Node {
    relay: Relay,
    identity: Arc<Identity>,
    image: ImageReader,
    stop: CancellationToken,
}

fn node(coordinator: &Arc<ScriptedCoordinator>, cluster_id: &'static str) -> Node {
    node_with(coordinator, cluster_id, None)
}

fn node_with(
    coordinator: &Arc<ScriptedCoordinator>,
    cluster_id: &'static str,
    secret: Option<Arc<ClusterSecret>>,
) -> Node {
    let identity = Arc::new(Identity::new(Str::from_static(cluster_id), BrokerId(1), 77));
    let image = ImageReader::fixed(ImageBuilder::new().build());
    let node = NodeIdentity { identity: Arc::clone(&identity), boot_id: "boot".into(), secret };
    let transport = Arc::new(ScriptedTransport(Arc::clone(coordinator)));
    let connector = Connector::new(transport, image.clone(), node);
    let relay = Relay::new(&connector, Bounds::default(), Arc::clone(&identity), image.clone());
    let stop = CancellationToken::new();
    tokio::spawn(connector.run(stop.clone()));
    Node { relay, identity, image, stop }
}

#[tokio::test(start_paused = true)]
async fn broker_introduces_itself_and_reconnects() {
    let coordinator = ScriptedCoordinator::new(|_| Err(LinkError::TimedOut));
    let node = node(&coordinator, CLUSTER_ID);
    node.relay.link(Duration::from_secs(5)).await.unwrap();
    {
        let hellos = coordinator.hellos.lock().unwrap();
        let [hello] = &hellos[..] else { panic!("one hello") };
        assert_eq!((hello.node_id, &*hello.role, hello.broker_epoch), (1, "broker", 77));
        assert_eq!((&*hello.boot_id, hello.cluster_id.as_deref()), ("boot", Some(CLUSTER_ID)));
    }
    node.identity.set_broker_epoch(78);
    coordinator.cut.notify_one();
    while coordinator.hellos.lock().unwrap().len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(coordinator.hellos.lock().unwrap()[1].broker_epoch, 78);
    node.stop.cancel();
    let mut links = node.relay.links.clone();
    assert!(links.wait_for(Option::is_none).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn coordinator_of_another_cluster_or_one_that_is_not_active_is_not_used() {
    let coordinator = ScriptedCoordinator::new(|_| Err(LinkError::TimedOut));
    let foreign = node(&coordinator, "BBBBBBBBBBBBBBBBBBBBBB");
    assert_eq!(
        foreign.relay.link(Duration::from_secs(5)).await.unwrap_err(),
        RelayError::NoCoordinator
    );
    let mut standby = ScriptedCoordinator::new(|_| Err(LinkError::TimedOut));
    Arc::get_mut(&mut standby).unwrap().is_active = false;
    let waiting = node(&standby, CLUSTER_ID);
    assert!(waiting.relay.link(Duration::from_secs(5)).await.is_err());
    let hellos = standby.hellos.lock().unwrap().len();
    assert!((3..30).contains(&hellos), "{hellos} attempts in five seconds");
}

#[tokio::test(start_paused = true)]
async fn coordinator_that_does_not_prove_itself_is_told_nothing_but_a_greeting() {
    let coordinator = ScriptedCoordinator::new(|_| Err(LinkError::TimedOut));
    let secret = ClusterSecret::new(&[7; 32]).map(Arc::new);
    let node = node_with(&coordinator, CLUSTER_ID, secret);
    let unreachable = node.relay.link(Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(unreachable, RelayError::NoCoordinator);
    let hellos = coordinator.hellos.lock().unwrap();
    assert!(2 <= hellos.len(), "it goes on trying");
    assert!(hellos.iter().all(|hello| hello.nonce.is_some() && hello.secret_proof.is_none()));
    let nonces: std::collections::HashSet<_> = hellos.iter().map(|it| it.nonce.clone()).collect();
    assert_eq!(nonces.len(), hellos.len(), "each connection has a nonce of its own");
}

#[tokio::test(start_paused = true)]
async fn heartbeats_say_how_the_broker_is_and_bring_back_what_is_thought_of_it() {
    let coordinator = ScriptedCoordinator::new(|_| Err(LinkError::TimedOut));
    let node = node(&coordinator, CLUSTER_ID);
    let (state, states) = watch::channel(BrokerState::default());
    let (heartbeat, mut standing) = Heartbeat::new(
        node.relay.clone(),
        Arc::clone(&node.identity),
        node.image.clone(),
        (states, Duration::from_secs(1)),
    );
    tokio::spawn(heartbeat.run(node.stop.clone()));
    standing.wait_for(|standing| 2 <= standing.answers).await.unwrap();
    assert!(!standing.borrow().may_shut_down);
    {
        let beats = coordinator.heartbeats.lock().unwrap();
        assert_eq!((beats[0].broker_id, beats[0].broker_epoch), (1, 77));
        assert_eq!(beats[0].current_metadata_offset, 1000);
    }
    // Asked to stop, it says so at once and is let go.
    state.send_modify(|state| state.wants_shutdown = true);
    standing.wait_for(|standing| standing.may_shut_down).await.unwrap();
    node.stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn link_over_which_no_heartbeat_is_answered_is_replaced() {
    let mut coordinator = ScriptedCoordinator::new(|_| Err(LinkError::TimedOut));
    Arc::get_mut(&mut coordinator).unwrap().is_silent = true;
    let node = node(&coordinator, CLUSTER_ID);
    node.relay.link(Duration::from_secs(5)).await.unwrap();
    let (_states, states) = watch::channel(BrokerState::default());
    let (heartbeat, _standing) = Heartbeat::new(
        node.relay.clone(),
        Arc::clone(&node.identity),
        node.image.clone(),
        (states, Duration::from_secs(1)),
    );
    tokio::spawn(heartbeat.run(node.stop.clone()));
    while coordinator.hellos.lock().unwrap().len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(coordinator.heartbeats.lock().unwrap().len(), 3);
    node.stop.cancel();
}
