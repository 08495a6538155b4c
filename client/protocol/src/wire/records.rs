//! The field type that carries record batches.

use bytes::Bytes;

/// Record batches inside a message, by reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// Bytes in memory. Decoders only make this kind, as a slice of the frame.
    Memory(Bytes),
    /// A promise that the sender will write `len` bytes in this place from elsewhere, such as a file.
    External {
        /// Chosen by whoever builds the message; comes back in the encoded pieces.
        id: u32,
        /// Bytes that will be written.
        len: u32,
    },
}

impl Records {
    /// Bytes that these records take on the wire, without their length prefix.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::External { len, .. } => *len as usize,
        }
    }

    /// True if there is no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, if they are in memory.
    pub fn as_memory(&self) -> Option<&Bytes> {
        match self {
            Self::Memory(bytes) => Some(bytes),
            Self::External { .. } => None,
        }
    }
}

impl Default for Records {
    fn default() -> Self {
        Self::Memory(Bytes::new())
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Self::Memory(bytes)
    }
}
