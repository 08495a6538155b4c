//! Message formats by their magic byte. The formats 0 and 1 (before Kafka 0.11) are recognised and refused here, and
//! only here: this is where a conversion to format 2 would be put in.

use crate::record_batch::BatchError;

/// The format of every batch in this crate.
pub const CURRENT: i8 = 2;

/// Where every format keeps its magic byte.
const AT: usize = 16;

/// The magic byte of the batch or old message at the front of `bytes`; `None` if they end before it.
pub fn magic_at(bytes: &[u8]) -> Option<i8> {
    bytes.get(AT).map(|&magic| magic as i8)
}

/// Fails with [`BatchError::UnsupportedMagic`] unless the batch is of the current format. Bytes that end before the
/// magic are left to the caller's check of the length.
pub(super) fn refuse_old_formats(bytes: &[u8]) -> Result<(), BatchError> {
    match magic_at(bytes) {
        None | Some(CURRENT) => Ok(()),
        Some(other) => Err(BatchError::UnsupportedMagic(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_unknown_formats_are_named() {
        for magic in [0u8, 1, 3, 255] {
            let mut message = [0; 40];
            message[AT] = magic;
            assert_eq!(
                refuse_old_formats(&message),
                Err(BatchError::UnsupportedMagic(magic as i8))
            );
        }
        assert_eq!(magic_at(&[0; 16]), None);
    }
}
