//! Why bytes are not a message, or a message cannot become bytes.

/// The bytes are not the message they should be. Whoever sent them is at fault; the usual answer is
/// to close the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame ends inside a field.
    #[error("frame ends early: {needed} bytes needed, {remaining} left")]
    Truncated { needed: usize, remaining: usize },
    /// A variable-length integer is longer than its type allows.
    #[error("variable-length integer overflows")]
    VarintOverflow,
    /// A length below zero where null has no meaning.
    #[error("negative length {0}")]
    NegativeLength(i32),
    /// Null where the version does not allow it.
    #[error("null where a value is required")]
    NullNotAllowed,
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    InvalidUtf8,
    /// Text longer than the 32,767 bytes that the protocol allows.
    #[error("text of {0} bytes, more than the protocol allows")]
    StringTooLong(usize),
    /// An array announces more elements than the rest of the frame can hold.
    #[error("array of {count} elements does not fit in the {remaining} bytes left")]
    ArrayTooLong { count: usize, remaining: usize },
    /// Decoding would take more memory than the frame's size justifies.
    #[error("decoding needs more memory than a frame of this size is allowed")]
    OverBudget,
    /// A tag that is not greater than the one before it.
    #[error("tag {tag} is repeated or out of order")]
    TagOrder { tag: u32 },
    /// A tagged field whose contents do not fill the size it announces.
    #[error("tagged field {tag} does not end where its size says")]
    TagSize { tag: u32 },
    /// Bytes are left after the last field.
    #[error("{0} bytes are left after the message")]
    TrailingBytes(usize),
    /// This codec has no such version of the message.
    #[error("{message} has no version {version}")]
    UnsupportedVersion { message: &'static str, version: i16 },
    /// No API has this key.
    #[error("no API has key {0}")]
    UnknownApiKey(i16),
}

/// The message cannot be written in that version. Whoever built it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// This codec has no such version of the message.
    #[error("{message} has no version {version}")]
    UnsupportedVersion { message: &'static str, version: i16 },
    /// A field that must not be lost holds a value, but the version cannot carry it.
    #[error("field {field} is set but version {version} cannot carry it")]
    FieldNotInVersion { field: &'static str, version: i16 },
    /// Null where the version does not allow it.
    #[error("field {field} is null, which version {version} does not allow")]
    NullNotAllowed { field: &'static str, version: i16 },
    /// A length that its prefix cannot express.
    #[error("length {0} does not fit its prefix")]
    TooLong(usize),
    /// A tag is given as unknown although this version defines it, or unknown tags are not ascending.
    #[error("tag {tag} is repeated, out of order or defined by this version")]
    TagOrder { tag: u32 },
    /// The bytes of these records are elsewhere, so the pieces are not contiguous.
    #[error("records {id} are not in memory")]
    External { id: u32 },
}
