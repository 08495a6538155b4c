//! What an idempotent producer wrote is in the log once, in its order, without gaps.

/// Checks a log at the end.
#[derive(Debug, Default)]
pub struct Sequences;

impl Sequences {
    /// `log` holds the numbers of one producer's records in the order of their offsets, and `acknowledged` is
    /// how many it was told of. Not for a log that lost records it may lose: a broker that has forgotten a
    /// producer takes what comes first, as Kafka does.
    pub fn final_log(&self, producer: &str, log: &[u64], acknowledged: u64) -> Result<(), String> {
        let mut expected = 0;
        for number in log {
            if *number < expected {
                return Err(format!("{producer}: record {number} is there twice, or late"));
            }
            if expected < *number {
                return Err(format!("{producer}: record {number} follows {expected} less one"));
            }
            expected = number + 1;
        }
        if expected < acknowledged {
            return Err(format!(
                "{producer}: {acknowledged} records acknowledged, {expected} there"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_to_duplicates_gaps_reorders_and_losses() {
        let check = |log: &[u64], acknowledged| Sequences.final_log("p", log, acknowledged);
        assert!(check(&[0, 1, 2], 3).is_ok());
        assert!(check(&[0, 1, 2], 2).is_ok(), "written, and not told");
        assert!(check(&[0, 1, 1, 2], 3).is_err());
        assert!(check(&[0, 2], 3).is_err());
        assert!(check(&[0, 2, 1], 3).is_err());
        assert!(check(&[0, 1], 3).is_err());
    }
}
