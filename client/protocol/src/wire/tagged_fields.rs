//! Tagged fields that this codec does not know; kept so that re-encoding loses nothing.

use bytes::Bytes;

/// A tagged field with its contents as they were on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedField {
    /// The tag.
    pub tag: u32,
    /// The contents, without their size.
    pub data: Bytes,
}

/// Unknown tagged fields of one struct, in ascending order of tag. Takes one word while empty.
#[derive(Clone, Default, PartialEq, Eq)]
#[expect(
    clippy::box_collection,
    reason = "almost always empty, and part of every struct: one word, not three"
)]
pub struct TaggedFields(Option<Box<Vec<TaggedField>>>);

impl TaggedFields {
    /// No fields.
    pub const fn new() -> Self {
        Self(None)
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The fields in ascending order of tag.
    pub fn as_slice(&self) -> &[TaggedField] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Appends a field. Encoding fails unless tags ascend.
    pub fn push(&mut self, tag: u32, data: Bytes) {
        self.0.get_or_insert_default().push(TaggedField { tag, data });
    }
}

impl std::fmt::Debug for TaggedFields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}
