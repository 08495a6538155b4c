//! Making, putting aside and removing partitions of a log dir.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::Uuid;
use ottla_protocol::types::Offset;
use tracing::info;

use super::LogDir;
use crate::config::LogConfig;
use crate::error::{LoadError, StorageError};
use crate::io::{EntryKind, LogIo};
use crate::log::{Log, Opening};
use crate::partition_metadata;
use crate::paths::{DELETE_SUFFIX, LogDirEntry, STRAY_SUFFIX, TopicPartition, aside_name};
use crate::segment::SegmentFiles;

/// Why a log was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateLogError {
    /// The folder is there already: a partition of that name, possibly of another topic id.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// The disk is full or short of space; try another dir.
    #[error("log dir {} is short of space", .0.display())]
    OutOfSpace(PathBuf),
    /// The dir is offline.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The new log cannot be opened.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Why a partition is put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aside {
    /// It was deleted; [`LogDir::remove_deleted`] removes its files.
    Deleted,
    /// The cluster does not know it; it is kept for the operator.
    Stray,
}

impl<I: LogIo> LogDir<I> {
    /// Makes an empty log. Durable when this returns.
    pub fn create_log(
        &self,
        partition: &TopicPartition,
        topic_id: Uuid,
        config: Arc<LogConfig>,
    ) -> Result<Log<I>, CreateLogError> {
        let state = &self.state;
        state.check()?;
        if state.space.is_low() {
            return Err(CreateLogError::OutOfSpace(state.path.to_path_buf()));
        }
        let path = state.path.join(partition.dir_name());
        let make = || -> io::Result<()> {
            state.io.create_dir(&path)?;
            for checkpoint in [&state.recovery_points, &state.log_starts, &state.high_watermarks] {
                checkpoint.forget(&state.io, partition)?;
            }
            SegmentFiles::create(&state.cache, &path, Offset(0))?;
            // Syncs the folder, and with it the segment's names.
            partition_metadata::write(&state.io, &path, topic_id)?;
            state.io.sync_dir(&state.path)
        };
        match make() {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(CreateLogError::Exists(path));
            }
            Err(error) if crate::io::is_out_of_space(&error) => {
                state.space.set_full();
                return Err(CreateLogError::OutOfSpace(state.path.to_path_buf()));
            }
            Err(error) => return Err(state.fail("create", &path, &error).into()),
        }
        Ok(Log::load(state, partition.clone(), config, Opening::Clean)?.log)
    }

    /// Renames the folder of a log, which is gone for every purpose when this returns. `id`: random, so that several lives of
    /// one topic can be aside at once. Readers that still have files open may finish.
    pub fn set_aside(&self, log: Log<I>, id: Uuid, reason: Aside) -> Result<(), StorageError> {
        let partition = log.partition().clone();
        log.abandon();
        self.set_folder_aside(&partition, id, reason)
    }

    /// As [`LogDir::set_aside`], for a folder whose log was not opened.
    pub fn set_folder_aside(
        &self,
        partition: &TopicPartition,
        id: Uuid,
        reason: Aside,
    ) -> Result<(), StorageError> {
        let suffix = match reason {
            Aside::Deleted => DELETE_SUFFIX,
            Aside::Stray => STRAY_SUFFIX,
        };
        let state = &self.state;
        let from = state.path.join(partition.dir_name());
        let to = state.path.join(aside_name(partition, id, suffix));
        info!(%partition, folder = %to.display(), "partition is put aside");
        state.try_io("rename", &from, || {
            state.io.rename(&from, &to)?;
            state.io.sync_dir(&state.path)
        })?;
        for checkpoint in [&state.recovery_points, &state.log_starts, &state.high_watermarks] {
            checkpoint.remove(partition);
        }
        Ok(())
    }

    /// Removes files of deleted partitions, at most `files_max`, so that a large topic does not keep the disk busy for
    /// long; how many were removed. 0: nothing is left to do. Waits for the disk.
    pub fn remove_deleted(&self, files_max: usize) -> Result<usize, StorageError> {
        let state = &self.state;
        state.try_io("remove", &state.path, || {
            let mut removed = 0;
            for entry in state.io.list(&state.path)? {
                let is_deleted = LogDirEntry::parse(&entry.name) == LogDirEntry::Deleted;
                if !is_deleted || entry.kind != EntryKind::Dir {
                    continue;
                }
                let dir = state.path.join(&entry.name);
                for file in state.io.list(&dir)? {
                    if removed == files_max {
                        return Ok(removed);
                    }
                    state.io.remove_file(&dir.join(file.name))?;
                    removed += 1;
                }
                state.io.remove_dir(&dir)?;
            }
            Ok(removed)
        })
    }
}
