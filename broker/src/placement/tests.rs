//! The reporter against a scripted coordinator, over an image that the test writes.

use ottla_protocol::Str;
use ottla_protocol::messages::assign_replicas_to_dirs_response as answered;

use super::*;
use crate::relay::{Bounds, Connector, LinkError, NodeIdentity};
use crate::testing::data::PATIENCE;
use crate::testing::{CLUSTER_ID, ImageBuilder, ScriptedCoordinator, ScriptedTransport};

const A: Uuid = Uuid::from_bytes([0xA; 16]);
const B: Uuid = Uuid::from_bytes([0xB; 16]);

type Answer = Result<AssignReplicasToDirsResponse, LinkError>;

/// Answers each replica of the request with this error.
fn answer(request: &AssignReplicasToDirsRequest, error: ErrorCode) -> AssignReplicasToDirsResponse {
    let topic = |topic: &TopicData| answered::TopicData {
        topic_id: topic.topic_id,
        partitions: (topic.partitions.iter())
            .map(|partition| answered::PartitionData {
                partition_index: partition.partition_index,
                error_code: error.code(),
                ..answered::PartitionData::default()
            })
            .collect(),
        ..answered::TopicData::default()
    };
    let directory = |directory: &DirectoryData| answered::DirectoryData {
        id: directory.id,
        topics: directory.topics.iter().map(topic).collect(),
        ..answered::DirectoryData::default()
    };
    AssignReplicasToDirsResponse {
        directories: request.directories.iter().map(directory).collect(),
        ..AssignReplicasToDirsResponse::default()
    }
}

fn refused() -> Answer {
    let error_code = ErrorCode::NotController.code();
    Ok(AssignReplicasToDirsResponse { error_code, ..AssignReplicasToDirsResponse::default() })
}

struct World {
    coordinator: Arc<ScriptedCoordinator>,
    placements: Arc<Placements>,
    stop: CancellationToken,
}

impl World {
    /// Broker 1 in its life 77; the image knows the topic `orders` with three partitions on it, in no
    /// directory.
    fn start(coordinator: Arc<ScriptedCoordinator>) -> Self {
        let identity = Arc::new(Identity::new(Str::from_static(CLUSTER_ID), BrokerId(1), 77));
        let image =
            ImageReader::fixed(ImageBuilder::new().topic("orders", &[1, 1, 1], &[1, 2, 3]).build());
        let node =
            NodeIdentity { identity: Arc::clone(&identity), boot_id: "boot".into(), secret: None };
        let transport = Arc::new(ScriptedTransport(Arc::clone(&coordinator)));
        let connector = Connector::new(transport, image.clone(), node);
        let relay = Relay::new(&connector, Bounds::default(), Arc::clone(&identity), image.clone());
        let stop = CancellationToken::new();
        tokio::spawn(connector.run(stop.clone()));
        let placements = Arc::new(Placements::default());
        let reporter = Reporter::new(Arc::clone(&placements), relay, identity, image);
        tokio::spawn(reporter.run(stop.clone()));
        Self { coordinator, placements, stop }
    }

    async fn sent(&self, count: usize) -> Vec<AssignReplicasToDirsRequest> {
        let sent = async {
            loop {
                let sent = self.coordinator.placed.lock().unwrap().clone();
                if count <= sent.len() {
                    return sent;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, sent).await.unwrap()
    }
}

/// Directory, topic and partition of everything in a request.
fn placed(request: &AssignReplicasToDirsRequest) -> Vec<(Uuid, Uuid, i32)> {
    let mut all = Vec::new();
    for directory in &request.directories {
        for topic in &directory.topics {
            let of_topic = topic.partitions.iter();
            all.extend(of_topic.map(|p| (directory.id, topic.topic_id, p.partition_index)));
        }
    }
    all
}

#[tokio::test(start_paused = true)]
async fn report_is_sent_again_until_it_is_accepted_and_no_longer() {
    let coordinator = ScriptedCoordinator::new(|_| Err(LinkError::TimedOut));
    let topic = crate::testing::topic_id("orders");
    coordinator.placements.lock().unwrap().extend([
        Box::new(|_: &_| Err(LinkError::Lost("cut".into()))) as _,
        Box::new(|_: &_| refused()) as _,
        Box::new(|request: &_| Ok(answer(request, ErrorCode::UnknownTopicId))) as _,
        Box::new(|request: &_| Ok(answer(request, ErrorCode::None))) as _,
        Box::new(|request: &_| Ok(answer(request, ErrorCode::None))) as _,
    ]);
    let world = World::start(Arc::clone(&coordinator));
    world.placements.put((topic, 0), A);
    world.placements.put((topic, 1), B);
    let sent = world.sent(4).await;
    assert_eq!((sent[0].broker_id, sent[0].broker_epoch), (1, 77));
    for request in &sent {
        assert_eq!(placed(request), [(A, topic, 0), (B, topic, 1)]);
    }
    world.placements.put((topic, 2), A);
    let sent = world.sent(5).await;
    assert_eq!(placed(&sent[4]), [(A, topic, 2)], "what was accepted is not told again");
    world.stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn replicas_that_the_image_does_not_want_here_are_not_reported() {
    let coordinator = ScriptedCoordinator::new(|_| Err(LinkError::TimedOut));
    let topic = crate::testing::topic_id("orders");
    coordinator
        .placements
        .lock()
        .unwrap()
        .push_back(Box::new(|request: &_| Ok(answer(request, ErrorCode::None))));
    let world = World::start(Arc::clone(&coordinator));
    world.placements.put((Uuid::ONE, 0), A);
    world.placements.put((topic, 9), A);
    tokio::task::yield_now().await;
    world.placements.put((topic, 2), A);
    let sent = world.sent(1).await;
    assert_eq!(placed(&sent[0]), [(A, topic, 2)]);
    world.stop.cancel();
}
