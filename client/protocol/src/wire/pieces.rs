//! An encoded message, as the pieces to be written in order.

use bytes::Bytes;

use super::EncodeError;

/// One piece of an encoded message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes in memory.
    Memory(Bytes),
    /// `len` bytes that the sender reads from wherever `id` says; see [`super::Records::External`].
    External { id: u32, len: u32 },
}

impl Piece {
    /// Bytes that this piece takes on the wire.
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
}

/// An encoded message: pieces in the order in which they go onto the wire, none of them empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pieces {
    pieces: Vec<Piece>,
    len: usize,
}

impl Pieces {
    pub(super) fn with_capacity(count: usize) -> Self {
        Self { pieces: Vec::with_capacity(count), len: 0 }
    }

    pub(super) fn push(&mut self, piece: Piece) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push(piece);
        }
    }

    /// Bytes on the wire, external ones included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is no byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Piece> {
        self.pieces.iter()
    }

    /// One buffer with everything. Copies unless there is only one piece, so it is for small
    /// messages; fails if a piece is not in memory.
    pub fn into_contiguous(mut self) -> Result<Bytes, EncodeError> {
        if let [Piece::Memory(_)] = self.pieces.as_slice()
            && let Some(Piece::Memory(bytes)) = self.pieces.pop()
        {
            return Ok(bytes);
        }
        let mut all = Vec::with_capacity(self.len);
        for piece in &self.pieces {
            match piece {
                Piece::Memory(bytes) => all.extend_from_slice(bytes),
                Piece::External { id, .. } => return Err(EncodeError::External { id: *id }),
            }
        }
        Ok(Bytes::from(all))
    }
}

impl IntoIterator for Pieces {
    type Item = Piece;
    type IntoIter = std::vec::IntoIter<Piece>;

    fn into_iter(self) -> Self::IntoIter {
        self.pieces.into_iter()
    }
}

impl<'a> IntoIterator for &'a Pieces {
    type Item = &'a Piece;
    type IntoIter = std::slice::Iter<'a, Piece>;

    fn into_iter(self) -> Self::IntoIter {
        self.pieces.iter()
    }
}
