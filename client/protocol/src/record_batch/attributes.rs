//! The sixteen flag bits of a batch.

use crate::compression::{Codec, UnknownCodec};

/// What the timestamps of a batch mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// Set by the producer, one per record.
    #[default]
    CreateTime,
    /// Set by the broker: every record carries the batch's max timestamp.
    LogAppendTime,
}

/// The attributes of a batch: bits 0–2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon.
/// The other bits are unused and kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attributes(pub i16);

const CODEC: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const DELETE_HORIZON: i16 = 1 << 6;

impl Attributes {
    /// The codec, or an error for the unassigned numbers 5–7.
    pub fn codec(self) -> Result<Codec, UnknownCodec> {
        Codec::try_from((self.0 & CODEC) as u8)
    }

    /// What the timestamps mean.
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Written within a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & TRANSACTIONAL != 0
    }

    /// Holds control records (transaction markers), which applications never see.
    pub fn is_control(self) -> bool {
        self.0 & CONTROL != 0
    }

    /// The base timestamp is the time after which compaction may drop tombstones and markers (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.0 & DELETE_HORIZON != 0
    }

    /// With this codec.
    #[must_use]
    pub fn with_codec(self, codec: Codec) -> Self {
        Self(self.0 & !CODEC | codec as i16)
    }

    /// With this timestamp type.
    #[must_use]
    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        match timestamp_type {
            TimestampType::CreateTime => Self(self.0 & !LOG_APPEND_TIME),
            TimestampType::LogAppendTime => Self(self.0 | LOG_APPEND_TIME),
        }
    }

    /// Marked transactional.
    #[must_use]
    pub fn transactional(self) -> Self {
        Self(self.0 | TRANSACTIONAL)
    }

    /// Marked as holding control records.
    #[must_use]
    pub fn control(self) -> Self {
        Self(self.0 | CONTROL)
    }

    /// Marked as having a delete horizon in the base timestamp.
    #[must_use]
    pub fn with_delete_horizon(self) -> Self {
        Self(self.0 | DELETE_HORIZON)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_kafkas() {
        let all = Attributes::default()
            .with_codec(Codec::Zstd)
            .with_timestamp_type(TimestampType::LogAppendTime)
            .transactional()
            .control()
            .with_delete_horizon();
        assert_eq!(all.0, 0b111_1100);
        assert_eq!(all.codec(), Ok(Codec::Zstd));
        assert_eq!(all.with_codec(Codec::Gzip).0, 0b111_1001);
        assert_eq!(all.with_timestamp_type(TimestampType::CreateTime).0, 0b111_0100);
    }

    #[test]
    fn unassigned_codecs_are_refused_and_unused_bits_kept() {
        for number in 5..8 {
            assert_eq!(Attributes(number).codec(), Err(UnknownCodec(number as u8)));
        }
        assert_eq!(Attributes(0x7f00).with_codec(Codec::Lz4).0, 0x7f03);
    }
}
