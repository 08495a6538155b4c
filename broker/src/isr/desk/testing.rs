//! Partitions and proposals for tests.

use std::sync::Arc;

use ottla_protocol::types::{BrokerId, LeaderEpoch, Offset};
use ottla_protocol::{Str, Uuid};
use ottla_storage::{DirIdentity, LogDir, RecoverOptions, SimIo, TopicPartition};

use crate::isr::Proposed;
use crate::partition::{Address, PartitionHandle, Proposal, TopicSettings};
use crate::worker::{DATA_BYTES_MAX, Inbox, SlotKey, initial_view};

pub(crate) fn handles(count: i32) -> Vec<Arc<PartitionHandle>> {
    let identity = DirIdentity {
        cluster_id: "cluster".into(),
        node_id: 1,
        boot_id: "boot".into(),
        new_directory_id: Uuid::ONE,
        open_files_max: 100,
    };
    let dir = LogDir::open(SimIo::new(1), std::path::Path::new("/logs"), &identity).unwrap();
    let options = RecoverOptions { threads: 1, config: &|_| Arc::default(), progress: &|_| {} };
    dir.recover(&options).unwrap();
    let settings = Arc::new(TopicSettings::default());
    let inbox = Arc::new(Inbox::new(DATA_BYTES_MAX));
    let handle = |index: i32| {
        let partition = TopicPartition::new("orders", index);
        let log = dir.create_log(&partition, Uuid::ONE, Arc::clone(&settings.log)).unwrap();
        let address = Address {
            topic_id: Uuid::ONE,
            topic: Str::from_static("orders"),
            index,
            log_dir: 0,
            slot: SlotKey { index: index as u32, user: 1 },
        };
        let view = initial_view(&log, &settings, Offset(0));
        Arc::new(PartitionHandle::new(address, Arc::clone(&inbox), view))
    };
    (0..count).map(handle).collect()
}

pub(crate) fn proposed(handle: &Arc<PartitionHandle>, id: u64) -> Proposed {
    let proposal = Proposal {
        id,
        leader_epoch: LeaderEpoch(5),
        partition_epoch: (7 << 31) + 9,
        isr: vec![(BrokerId(1), -1), (BrokerId(2), 20)],
        joining: 1,
        leaving: 0,
    };
    Proposed { handle: Arc::clone(handle), proposal }
}
