//! The proposer against a scripted coordinator.

use ottla_metadata::image::ImageReader;
use ottla_protocol::messages::alter_partition_response::{
    AlterPartitionResponse, PartitionData, TopicData,
};
use ottla_protocol::types::BrokerId;
use ottla_protocol::{ErrorCode, Str, Uuid};

use super::super::desk::testing::{handles, proposed};
use super::*;
use crate::relay::{Bounds, Connector, LinkError, NodeIdentity};
use crate::testing::{CLUSTER_ID, ImageBuilder, ScriptedCoordinator, ScriptedTransport};

fn answered(error: ErrorCode) -> Result<AlterPartitionResponse, LinkError> {
    let partition = PartitionData {
        error_code: error.code(),
        isr: vec![1, 2],
        partition_epoch: 12,
        ..PartitionData::default()
    };
    let topic =
        TopicData { topic_id: Uuid::ONE, partitions: vec![partition], ..TopicData::default() };
    Ok(AlterPartitionResponse { topics: vec![topic], ..AlterPartitionResponse::default() })
}

#[tokio::test(start_paused = true)]
async fn proposal_is_sent_again_as_it_is_until_it_is_decided() {
    let coordinator = ScriptedCoordinator::new(|_| Err(LinkError::TimedOut));
    coordinator.alterations.lock().unwrap().extend([
        Err(LinkError::Lost("cut".into())),
        answered(ErrorCode::NotController),
        answered(ErrorCode::None),
    ]);
    let identity = Arc::new(Identity::new(Str::from_static(CLUSTER_ID), BrokerId(1), 77));
    let image = ImageReader::fixed(ImageBuilder::new().build());
    let node =
        NodeIdentity { identity: Arc::clone(&identity), boot_id: "boot".into(), secret: None };
    let transport = Arc::new(ScriptedTransport(Arc::clone(&coordinator)));
    let connector = Connector::new(transport, image.clone(), node);
    let relay = Relay::new(&connector, Bounds::default(), Arc::clone(&identity), image);
    let stop = CancellationToken::new();
    tokio::spawn(connector.run(stop.clone()));
    let (proposals, figures) = (Arc::new(Proposals::default()), IsrFigures::default());
    let proposer = Proposer::new(Arc::clone(&proposals), relay, identity, figures.clone());
    tokio::spawn(proposer.run(stop.clone()));
    let handle = handles(1).remove(0);
    proposals.put(proposed(&handle, 1));
    let resolved = async {
        loop {
            if let Some(control) = handle.inbox.pop_control() {
                return control;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let patience = std::time::Duration::from_secs(60);
    let control = tokio::time::timeout(patience, resolved).await.unwrap();
    assert!(matches!(
        control,
        Control::ProposalResolved { id: 1, outcome: ProposalOutcome::Accepted { .. }, .. }
    ));
    let sent = coordinator.altered.lock().unwrap().clone();
    assert_eq!((sent.len(), sent[0].broker_epoch), (3, 77));
    assert!(sent.iter().all(|request| *request == sent[0]));
    assert_eq!((figures.expands.get(), figures.failed.get()), (1, 0));
    stop.cancel();
}
