//! Which shard a group or a transactional id belongs to.

/// The shard of a group, or of a transactional id, among `shards` of them: Kafka's rule for the partition of
/// its internal topic, so that clients and tools find a group where they expect it. It is Java's hash of the
/// name's UTF-16 code units, without its sign, modulo the number of shards; the one hash whose sign cannot be
/// taken away counts as 0.
///
/// `shards` is `group_shards` or `transaction_shards` of the cluster; below 1 there is only shard 0.
pub fn shard_of(name: &str, shards: i32) -> i32 {
    let hash = name
        .encode_utf16()
        .fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.checked_abs().unwrap_or(0) % shards.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with `String.hashCode` of Java.
    #[test]
    fn shards_are_those_of_kafka() {
        let vectors = [
            ("", 0, 0),
            ("a", 47, 6),
            ("group", 47, 3),
            ("my-group", 12, 1),
            ("console-consumer-12345", 6, 6),
            ("connect-cluster", 13, 5),
            ("größe", 7, 6),
            ("🦀", 2, 3),
        ];
        for (name, of_fifty, of_seven) in vectors {
            assert_eq!(shard_of(name, 50), of_fifty, "{name:?}");
            assert_eq!(shard_of(name, 7), of_seven, "{name:?}");
        }
    }

    /// Its hash is the lowest number of 32 bits, which has no positive counterpart.
    #[test]
    fn hash_without_a_positive_counterpart_is_in_shard_0() {
        assert_eq!(shard_of("polygenelubricants", 50), 0);
        assert_eq!(shard_of("polygenelubricants", 7), 0);
    }

    #[test]
    fn number_of_shards_that_makes_no_sense_is_no_panic() {
        assert_eq!(shard_of("group", 0), 0);
        assert_eq!(shard_of("group", -5), 0);
        assert_eq!(shard_of("group", 1), 0);
    }
}
