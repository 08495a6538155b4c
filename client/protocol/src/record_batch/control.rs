//! Control records: the markers that end a transaction, written by brokers into control batches.

/// What a control record is, from its key: version (int16, at least 0) and type (int16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlType {
    /// The transaction was aborted.
    Abort,
    /// The transaction was committed.
    Commit,
    /// Another kind, as in Kafka's own metadata log; to be skipped.
    Other(i16),
}

/// Why a control record cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The key is absent or shorter than 4 bytes, or its version is negative.
    #[error("malformed control record key")]
    Key,
    /// The value is absent or shorter than 6 bytes, or its version is negative.
    #[error("malformed end-transaction marker value")]
    Value,
    /// The record does not end a transaction.
    #[error("control record of type {0} is not an end-transaction marker")]
    NotAMarker(i16),
}

impl ControlType {
    /// Reads the key of a control record.
    pub fn parse(key: Option<&[u8]>) -> Result<Self, ControlError> {
        let Some([v0, v1, t0, t1, ..]) = key else {
            return Err(ControlError::Key);
        };
        if i16::from_be_bytes([*v0, *v1]) < 0 {
            return Err(ControlError::Key);
        }
        Ok(match i16::from_be_bytes([*t0, *t1]) {
            0 => Self::Abort,
            1 => Self::Commit,
            other => Self::Other(other),
        })
    }

    /// The number in the key.
    pub fn code(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::Other(code) => code,
        }
    }

    /// The key of such a control record, version 0.
    pub fn key(self) -> [u8; 4] {
        let [high, low] = self.code().to_be_bytes();
        [0, 0, high, low]
    }
}

/// The marker that ends a transaction in one partition. It is the only record of its batch and occupies an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTransactionMarker {
    /// Whether it was committed; aborted otherwise.
    pub committed: bool,
    /// Generation of the transaction coordinator that wrote it.
    pub coordinator_epoch: i32,
}

impl EndTransactionMarker {
    /// Reads key and value of a control record. Bytes after the known fields are of later versions and ignored.
    pub fn parse(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Self, ControlError> {
        let committed = match ControlType::parse(key)? {
            ControlType::Abort => false,
            ControlType::Commit => true,
            ControlType::Other(code) => return Err(ControlError::NotAMarker(code)),
        };
        let Some([v0, v1, e0, e1, e2, e3, ..]) = value else {
            return Err(ControlError::Value);
        };
        if i16::from_be_bytes([*v0, *v1]) < 0 {
            return Err(ControlError::Value);
        }
        Ok(Self { committed, coordinator_epoch: i32::from_be_bytes([*e0, *e1, *e2, *e3]) })
    }

    /// The record's key.
    pub fn key(self) -> [u8; 4] {
        if self.committed { ControlType::Commit.key() } else { ControlType::Abort.key() }
    }

    /// The record's value, version 0.
    pub fn value(self) -> [u8; 6] {
        let [a, b, c, d] = self.coordinator_epoch.to_be_bytes();
        [0, 0, a, b, c, d]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_come_back() {
        for committed in [true, false] {
            let marker = EndTransactionMarker { committed, coordinator_epoch: 0x0102_0304 };
            assert_eq!(marker.value(), [0, 0, 1, 2, 3, 4]);
            let parsed = EndTransactionMarker::parse(Some(&marker.key()), Some(&marker.value()));
            assert_eq!(parsed, Ok(marker));
        }
    }

    #[test]
    fn malformed_markers_are_refused() {
        let key = ControlType::Commit.key();
        let parse = EndTransactionMarker::parse;
        assert_eq!(parse(None, None), Err(ControlError::Key));
        assert_eq!(parse(Some(&key[..3]), None), Err(ControlError::Key));
        assert_eq!(parse(Some(&[0xff, 0xff, 0, 0]), None), Err(ControlError::Key));
        assert_eq!(parse(Some(&key), Some(&[0; 5])), Err(ControlError::Value));
        assert_eq!(parse(Some(&key), Some(&[0x80, 0, 0, 0, 0, 0])), Err(ControlError::Value));
        assert_eq!(parse(Some(&[0, 0, 0, 2]), Some(&[0; 6])), Err(ControlError::NotAMarker(2)));
    }
}
