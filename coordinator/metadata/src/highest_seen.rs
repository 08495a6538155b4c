//! What a process remembers of the store, so that a store which went backwards is noticed.
//!
//! A store restored from a snapshot hands out leader epochs, producer ids and revisions a second time, with
//! other meanings. So every broker and coordinator keeps the highest revision and controller term that it
//! saw, beside `meta.properties`, and refuses a store that is behind. Compare only what a linearizable read
//! returned: a member that lags is no restored store.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::{ModelError, Recovery, Rest, Value, decode, encode};

/// The highest revision and term seen of one store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HighestSeen {
    /// The store's id, in hexadecimal as etcd's tools show it.
    #[serde(with = "hexadecimal")]
    pub store_id: u64,
    /// The highest revision.
    pub revision: i64,
    /// The highest term of a controller.
    pub controller_term: i64,
    /// The last recovery of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Value for HighestSeen {}

/// The store is not the one seen before, or is behind it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WentBackwards {
    /// Another store.
    #[error(
        "the metadata store is {found:016x}, but this node belongs to {seen:016x}: check etcd.endpoints; \
         if etcd was set up anew, run `ottla cluster recover` before starting again"
    )]
    OtherStore {
        /// The store seen before.
        seen: u64,
        /// The store found.
        found: u64,
    },
    /// A store whose past is not the one seen.
    #[error(
        "the metadata store went backwards: {what} {seen} was seen before, now it is {found}; it was \
         restored from an older state, so run `ottla cluster recover` before starting again"
    )]
    Older {
        /// Revision or term.
        what: &'static str,
        /// What was seen.
        seen: i64,
        /// What was found.
        found: i64,
    },
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HighestSeenError {
    /// It cannot be read or written.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what Ottla writes.
    #[error(transparent)]
    Value(#[from] ModelError),
}

impl HighestSeen {
    /// The name of the file.
    pub const FILE_NAME: &'static str = "metadata-seen.json";

    /// What is remembered in `dir`; `None` for a new node.
    pub fn read(dir: &Path) -> Result<Option<Self>, HighestSeenError> {
        let path = dir.join(Self::FILE_NAME);
        match std::fs::read(&path) {
            Ok(text) => Ok(Some(decode(&path.to_string_lossy(), &text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(HighestSeenError::Io { path, source }),
        }
    }

    /// Remembers it in `dir`: a crash leaves either the old or the new file. Synced twice, so not for every
    /// revision: after a new term, every few seconds while revisions come, and at the end.
    pub fn write(&self, dir: &Path) -> Result<(), HighestSeenError> {
        let path = dir.join(Self::FILE_NAME);
        let beside = dir.join(format!("{}.new", Self::FILE_NAME));
        let written = File::create(&beside).and_then(|mut file| {
            file.write_all(&encode(self))?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            std::fs::rename(&beside, &path)?;
            File::open(dir)?.sync_all()
        });
        written.map_err(|source| HighestSeenError::Io { path, source })
    }

    /// Refuses a store that cannot be the continuation of the one seen. `controller_term` is that of the
    /// current controller, if there is one; `recovery` what the store says of recoveries. After one that this
    /// node does not know yet, the store may be another, or behind.
    pub fn check(
        &self,
        (store_id, revision): (u64, i64),
        controller_term: Option<i64>,
        recovery: Option<Recovery>,
    ) -> Result<(), WentBackwards> {
        match compare(self.recovery, recovery) {
            History::Same => {}
            History::Recovered => return Ok(()),
            History::Other => {
                let number = |recovery: Option<Recovery>| recovery.map_or(0, |r| r.number);
                let (seen, found) = (number(self.recovery), number(recovery));
                return Err(WentBackwards::Older { what: "recovery", seen, found });
            }
        }
        if store_id != self.store_id {
            return Err(WentBackwards::OtherStore { seen: self.store_id, found: store_id });
        }
        let older = |what, seen, found| Err(WentBackwards::Older { what, seen, found });
        match controller_term {
            _ if revision < self.revision => older("revision", self.revision, revision),
            Some(term) if term < self.controller_term => {
                older("controller term", self.controller_term, term)
            }
            _ => Ok(()),
        }
    }

    /// Takes what was seen now, of the same history. True if a new term is in it, which should be written at once.
    pub fn raise(&mut self, revision: i64, controller_term: Option<i64>) -> bool {
        self.revision = self.revision.max(revision);
        let term = controller_term.unwrap_or(0);
        let raised = self.controller_term < term;
        self.controller_term = self.controller_term.max(term);
        raised
    }
}

/// How the history of a store relates to the one that was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// It is that one, if it did not go backwards.
    Same,
    /// It was put right since, by a recovery that was not known: revisions and terms began anew.
    Recovered,
    /// It lacks a recovery that was seen, or had another one.
    Other,
}

/// Compares the last recovery that was `seen` with the one `found` in the store.
pub fn compare(seen: Option<Recovery>, found: Option<Recovery>) -> History {
    let number = |recovery: Option<Recovery>| recovery.map_or(0, |recovery| recovery.number);
    if seen == found {
        History::Same
    } else if number(seen) < number(found) {
        History::Recovered
    } else {
        History::Other
    }
}

mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(id: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{id:016x}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        u64::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::Uuid;

    use super::*;

    fn seen() -> HighestSeen {
        HighestSeen {
            store_id: 0xab,
            revision: 100,
            controller_term: 70,
            recovery: None,
            rest: Rest::new(),
        }
    }

    #[test]
    fn store_that_went_on_is_accepted() {
        assert_eq!(seen().check((0xab, 100), Some(70), None), Ok(()));
        assert_eq!(seen().check((0xab, 101), None, None), Ok(()));
        assert_eq!(seen().check((0xab, 500), Some(400), None), Ok(()));
    }

    #[test]
    fn store_that_went_backwards_is_refused_naming_the_cure() {
        for (store, revision, term) in
            [(0xab, 99, None), (0xab, 200, Some(69)), (0xac, 500, Some(400))]
        {
            let error = seen().check((store, revision), term, None).unwrap_err();
            assert!(error.to_string().contains("ottla cluster recover"), "{error}");
        }
    }

    #[test]
    fn older_store_is_taken_only_with_a_recovery_that_is_ahead_of_what_was_seen() {
        let mark = |number, byte| Some(Recovery { number, id: Uuid::from_bytes([byte; 16]) });
        let known = HighestSeen { recovery: mark(3, 1), ..seen() };
        for (recovery, is_taken) in [
            (mark(4, 9), true),
            (mark(3, 1), false),
            (mark(3, 2), false),
            (mark(2, 1), false),
            (None, false),
        ] {
            let checked = known.check((0xcc, 1), None, recovery);
            assert_eq!(checked.is_ok(), is_taken, "{recovery:?}: {checked:?}");
        }
        assert_eq!(known.check((0xab, 100), None, mark(3, 1)), Ok(()));
        // Ahead of what was seen, but without the recovery: restored from before it, and lived on.
        let error = known.check((0xab, 500), None, None).unwrap_err();
        assert!(error.to_string().contains("ottla cluster recover"), "{error}");
    }

    #[test]
    fn what_was_seen_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(HighestSeen::read(dir.path()).unwrap(), None);
        let mut seen = seen();
        seen.rest.insert("later".into(), true.into());
        seen.write(dir.path()).unwrap();
        assert!(!seen.raise(99, Some(70)));
        assert_eq!((seen.revision, seen.controller_term), (100, 70));
        assert!(seen.raise(150, Some(140)));
        seen.write(dir.path()).unwrap();
        assert_eq!(HighestSeen::read(dir.path()).unwrap(), Some(seen));
        let text = std::fs::read_to_string(dir.path().join(HighestSeen::FILE_NAME)).unwrap();
        assert!(
            text.starts_with(r#"{"v":1,"store_id":"00000000000000ab","revision":150"#),
            "{text}"
        );
        std::fs::write(dir.path().join(HighestSeen::FILE_NAME), "{\"v\":").unwrap();
        assert!(matches!(HighestSeen::read(dir.path()), Err(HighestSeenError::Value(_))));
    }
}
