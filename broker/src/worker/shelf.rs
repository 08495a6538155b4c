//! Where logs change hands between whoever opens and removes them and the worker that owns them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ottla_storage::{Log, LogIo};

use super::SlotKey;

/// Logs that are on their way to or from one worker. Bounded by the commands that announce them.
#[derive(Debug)]
pub struct Shelf<I: LogIo> {
    logs: Arc<Mutex<HashMap<SlotKey, Log<I>>>>,
}

impl<I: LogIo> Shelf<I> {
    /// Empty.
    pub fn new() -> Self {
        Self { logs: Arc::default() }
    }

    /// Leaves a log.
    pub fn put(&self, slot: SlotKey, log: Log<I>) {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).insert(slot, log);
    }

    /// Takes a log.
    pub fn take(&self, slot: SlotKey) -> Option<Log<I>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).remove(&slot)
    }

    /// Takes all that are left.
    pub fn take_all(&self) -> Vec<Log<I>> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *logs).into_values().collect()
    }
}

impl<I: LogIo> Clone for Shelf<I> {
    fn clone(&self) -> Self {
        Self { logs: Arc::clone(&self.logs) }
    }
}

impl<I: LogIo> Default for Shelf<I> {
    fn default() -> Self {
        Self::new()
    }
}
