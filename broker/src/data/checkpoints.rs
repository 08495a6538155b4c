//! What is written down every few seconds so that a restart begins near the end.

use std::sync::Arc;

use ottla_storage::{LogDir, LogIo, StorageError, TopicPartition};

use crate::partition::PartitionHandle;

/// Files of deleted partitions removed at a time, so that a large topic does not keep the disk busy.
const FILES_REMOVED_MAX: usize = 64;

/// Writes high watermarks, recovery points and log starts of one directory, and removes some of what was
/// deleted. Waits for the disk.
pub(super) fn write<I: LogIo>(
    dir: &LogDir<I>,
    handles: &[Arc<PartitionHandle>],
) -> Result<(), StorageError> {
    for handle in handles {
        let partition = TopicPartition::new(handle.topic.clone(), handle.index);
        dir.set_high_watermark(&partition, handle.view().high_watermark);
    }
    dir.write_checkpoints()?;
    dir.remove_deleted(FILES_REMOVED_MAX)?;
    Ok(())
}
