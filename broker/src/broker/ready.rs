//! When a broker that starts is ready: its replicas have to be what the cluster says.

use std::time::Duration;

use ottla_metadata::internal_topics::is_metadata_only;
use ottla_metadata::model::Partition;
use ottla_protocol::Uuid;
use tokio::sync::watch;

use crate::data_path::DataPath;
use crate::partition::Role;

/// How long a start waits for replicas; one that cannot be made, on a full disk say, must not keep the
/// others from clients for ever.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// Tells `ready` once every replica here is taken up. Returns at once if they all are.
pub(super) async fn tell(path: &DataPath, ready: &watch::Sender<bool>) {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        let waiting = waiting(path);
        if waiting != 0 && tokio::time::Instant::now() < give_up {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        if waiting != 0 {
            tracing::warn!(waiting, "ready, although replicas are not as the cluster says");
        }
        ready.send_replace(true);
        return;
    }
}

/// Replicas here that are not yet what the newest image says.
pub(super) fn waiting(path: &DataPath) -> usize {
    let image = path.image.load();
    let has_log =
        |topic: Uuid| image.topic_by_id(topic).is_none_or(|topic| !is_metadata_only(&topic.name));
    let of_broker = image.partitions().filter(|(topic, _, partition)| {
        partition.replicas.contains(&path.broker.0) && has_log(*topic)
    });
    of_broker
        .filter(|(topic, index, partition)| !is_taken_up(path, *topic, *index, partition))
        .count()
}

/// Whether the replica leads, or knows who does. One whose disk failed is as good as it gets.
fn is_taken_up(path: &DataPath, topic: Uuid, index: i32, partition: &Partition) -> bool {
    let Some(handle) = path.partitions.find(topic, index) else {
        return path.partitions.is_unusable(topic, index);
    };
    let view = handle.view();
    match view.role {
        Role::Offline => true,
        Role::Leader => partition.leader_epoch <= view.leader_epoch.0,
        Role::Follower => {
            partition.leader != path.broker.0 && partition.leader_epoch <= view.leader_epoch.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::data::{EPOCH, TestBroker, TestTopic};

    #[tokio::test]
    async fn replicas_are_waited_for_until_they_lead_in_this_life() {
        let topic = TestTopic::new("orders", 2);
        let broker = TestBroker::leading(&[&topic]).await;
        let path = &broker.plane.path;
        assert_eq!(waiting(path), 0);
        broker.epoch.send(EPOCH + 1).unwrap();
        broker.until(|| (waiting(path) == 2).then_some(())).await;
        let (ready, is_ready) = watch::channel(false);
        let mut telling = Box::pin(tell(path, &ready));
        assert!(futures_util::poll!(&mut telling).is_pending());
        assert!(!*is_ready.borrow());
        let next =
            TestTopic { leader_epoch: 1, broker_epoch: EPOCH + 1, ..TestTopic::new("orders", 2) };
        broker.cluster.put_topic(&next).await;
        telling.await;
        assert!(*is_ready.borrow());
        assert_eq!(waiting(path), 0);
    }

    #[tokio::test]
    async fn topics_without_logs_are_not_waited_for() {
        let orders = TestTopic::new("orders", 1);
        let broker = TestBroker::leading(&[&orders]).await;
        let internal = TestTopic::new("__consumer_offsets", 2);
        broker.cluster.put_topic(&internal).await;
        let image = broker.services.image.clone();
        broker.until(|| image.load().partition(internal.id, 1).map(|_| ())).await;
        assert_eq!(waiting(&broker.plane.path), 0);
    }

    #[tokio::test]
    async fn replica_that_is_missing_is_waited_for_but_not_one_that_cannot_be_opened() {
        let topic = TestTopic::new("orders", 2);
        let broker = TestBroker::leading(&[&topic]).await;
        let path = &broker.plane.path;
        path.partitions.update([], [(topic.id, 1)]);
        assert_eq!(waiting(path), 1);
        path.partitions.set_unusable([(topic.id, 1)]);
        assert_eq!(waiting(path), 0);
    }
}
