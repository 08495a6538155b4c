//! Who is alive, as the whole coordinator judges it.

use ottla_metadata::model::PreviousLife;
use ottla_protocol::ErrorCode;

use crate::broker::{FakeBroker, record, until_fenced};
use crate::link::Link;
use crate::support::{create, soon, start_active, stop, store, topic, until};

#[tokio::test]
async fn broker_is_registered_and_unfenced_when_it_is_heard() {
    let handle = start_active(1, store()).await;
    let (broker, _link) = FakeBroker::start(3, &handle).await;
    let record = record(&handle, 3).unwrap();
    assert!(!record.fenced);
    assert_eq!(record.broker_epoch, broker.epoch);
    stop(handle).await;
}

#[tokio::test]
async fn process_whose_connection_breaks_and_refuses_is_fenced_although_its_lease_lasts() {
    let handle = start_active(1, store()).await;
    let (broker, link) = FakeBroker::start(1, &handle).await;
    let created = create(&handle, vec![topic("t", 1)]).await.unwrap();
    let id = created.results[0].as_ref().unwrap().topic_id;
    drop(link);
    until_fenced(&handle, 1).await;
    assert!(handle.services().images.load().claim(1).is_some(), "its lease lasts");
    until("its partition has no leader", || {
        let image = handle.services().images.load();
        image.partition(id, 0).is_some_and(|partition| partition.leader().is_none())
    })
    .await;
    // It was not gone after all: a heartbeat brings it back, in a new leader epoch.
    let mut link = Link::memory(&handle);
    link.hello_as_broker(1).await;
    broker.unfence(&handle, &mut link).await;
    until("it leads again", || {
        let image = handle.services().images.load();
        image
            .partition(id, 0)
            .is_some_and(|partition| partition.leader == 1 && partition.leader_epoch == 2)
    })
    .await;
    stop(handle).await;
}

#[tokio::test]
async fn broker_drains_before_it_stops() {
    let handle = start_active(1, store()).await;
    let (broker, mut link) = FakeBroker::start(1, &handle).await;
    let created = create(&handle, vec![topic("t", 3)]).await.unwrap();
    let id = created.results[0].as_ref().unwrap().topic_id;
    let drained = async {
        while !broker.heartbeat(&handle, &mut link, true).await.should_shut_down {
            tokio::task::yield_now().await;
        }
    };
    soon("it may stop", drained).await;
    let image = handle.services().images.load();
    assert!(image.partitions_of(id).all(|(_, partition)| partition.leader().is_none()));
    broker.leave().await;
    until_fenced(&handle, 1).await;
    stop(handle).await;
}

#[tokio::test]
async fn new_life_of_a_broker_leads_what_it_led_in_new_epochs() {
    let handle = start_active(1, store()).await;
    let (broker, link) = FakeBroker::start(1, &handle).await;
    let created = create(&handle, vec![topic("t", 1)]).await.unwrap();
    let id = created.results[0].as_ref().unwrap().topic_id;
    let former = broker.epoch;
    drop(link);
    broker.leave().await;
    let store = handle.services().store.clone();
    let previous = PreviousLife::ProcessCrash { broker_epoch: former };
    let again = FakeBroker::claim(1, store, previous).await;
    let mut link = Link::memory(&handle);
    link.hello_as_broker(1).await;
    again.unfence(&handle, &mut link).await;
    until("it leads in its new life", || {
        let image = handle.services().images.load();
        image.partition(id, 0).is_some_and(|partition| {
            partition.leader == 1
                && partition.leader_broker_epoch == again.epoch
                && 0 < partition.leader_epoch
        })
    })
    .await;
    let delayed = FakeHeartbeat { broker: 1, epoch: former };
    assert_eq!(delayed.send(&mut link).await, ErrorCode::StaleBrokerEpoch);
    stop(handle).await;
}

/// A heartbeat of a life that is over.
struct FakeHeartbeat {
    broker: i32,
    epoch: i64,
}

impl FakeHeartbeat {
    async fn send(&self, link: &mut Link) -> ErrorCode {
        let request = ottla_protocol::messages::BrokerHeartbeatRequest {
            broker_id: self.broker,
            broker_epoch: self.epoch,
            ..Default::default()
        };
        ErrorCode::from_code(link.call(1, &request).await.error_code)
    }
}
