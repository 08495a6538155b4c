//! Newtypes for the numbers that are easily mixed up.

use std::fmt;
use std::ops::{Add, Sub};

/// Identity of a topic, for as long as it exists; a topic created anew under the same name has another.
pub type TopicId = crate::Uuid;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($repr:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $repr);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<$repr> for $name {
            fn from(value: $repr) -> Self {
                Self(value)
            }
        }
    };
}

number! {
    /// Position of a record in its partition; counts from 0, −1 where there is none.
    Offset(i64)
}
number! {
    /// Generation of a partition's leadership; −1 where unknown.
    LeaderEpoch(i32)
}
number! {
    /// Number of a partition within its topic; counts from 0.
    PartitionId(i32)
}
number! {
    /// Node id of a broker; −1 where there is none.
    BrokerId(i32)
}
number! {
    /// Identity of an idempotent or transactional producer; −1 for a plain one.
    ProducerId(i64)
}
number! {
    /// Generation of a producer id; −1 for a plain producer.
    ProducerEpoch(i16)
}

impl Offset {
    /// Where there is no offset.
    pub const NONE: Self = Self(-1);
}

impl LeaderEpoch {
    /// Where the epoch is not known; what a producer writes.
    pub const NONE: Self = Self(-1);
}

impl BrokerId {
    /// Where there is no broker: a partition without a leader.
    pub const NONE: Self = Self(-1);
}

impl ProducerId {
    /// A producer that is not idempotent.
    pub const NONE: Self = Self(-1);
}

impl ProducerEpoch {
    /// A producer that is not idempotent.
    pub const NONE: Self = Self(-1);
}

/// Wraps on overflow, as Java does: numbers from the network must not be able to panic.
impl Add<i64> for Offset {
    type Output = Self;
    fn add(self, records: i64) -> Self {
        Self(self.0.wrapping_add(records))
    }
}

/// The distance between two offsets, in records; wraps on overflow.
impl Sub for Offset {
    type Output = i64;
    fn sub(self, earlier: Self) -> i64 {
        self.0.wrapping_sub(earlier.0)
    }
}
