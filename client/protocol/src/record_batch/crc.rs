//! CRC-32C (CRC-32/ISCSI, Castagnoli), the checksum of record batches.

use crc_fast::{CrcAlgorithm, Digest};

/// CRC-32C of `bytes`. The instructions used are chosen when the program runs.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// CRC-32C of `head` followed by `tail`, without joining them.
pub fn crc32c_of_two(head: &[u8], tail: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(head);
    digest.update(tail);
    // The digest is 64 bits wide for every algorithm; CRC-32C fills the lower half.
    (digest.finalize() & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_check_value_of_the_castagnoli_polynomial() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa, "RFC 3720, B.4");
    }

    #[test]
    fn two_pieces_are_one_checksum() {
        let bytes: Vec<u8> = (0..5000u32).map(|i| (i * 7) as u8).collect();
        for split in [0, 1, 40, 63, 64, 65, 4999, 5000] {
            assert_eq!(crc32c_of_two(&bytes[..split], &bytes[split..]), crc32c(&bytes));
        }
    }
}
