//! What an idempotent producer wrote is in the log once, in its order, without gaps.

/// Checks a log at the end.
#[derive(Debug, Default)]
pub struct Sequences;

impl Sequences {
    /// `log` holds the numbers of one producer's records in the order of their offsets, and `acknowledged` is
    /// how many it was told of. With `may_lose` the topic does not promise to survive a power cut: then
    /// there may be gaps, but neither duplicates nor reorders.
    pub fn final_log(
        &self,
        producer: &str,
        log: &[u64],
        (acknowledged, may_lose): (u64, bool),
    ) -> Result<(), String> {
        let mut expected = 0;
        for number in log {
            if *number < expected {
                return Err(format!("{producer}: record {number} is there twice, or late"));
            }
            if expected < *number && !may_lose {
                return Err(format!("{producer}: record {number} follows {expected} less one"));
            }
            expected = number + 1;
        }
        if expected < acknowledged && !may_lose {
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
        let check = |log: &[u64], acknowledged, may_lose| {
            Sequences.final_log("p", log, (acknowledged, may_lose))
        };
        assert!(check(&[0, 1, 2], 3, false).is_ok());
        assert!(check(&[0, 1, 2], 2, false).is_ok(), "written, and not told");
        assert!(check(&[0, 1, 1, 2], 3, false).is_err());
        assert!(check(&[0, 2], 3, false).is_err());
        assert!(check(&[0, 2, 1], 3, false).is_err());
        assert!(check(&[0, 1], 3, false).is_err());
        assert!(check(&[0, 3], 5, true).is_ok());
        assert!(check(&[0, 3, 3], 5, true).is_err());
        assert!(check(&[3, 0], 5, true).is_err());
    }
}
