//! After healing all replicas of a partition are equal.

use super::PartitionKey;

/// Compares logs.
#[derive(Debug, Default)]
pub struct Replicas;

impl Replicas {
    /// The logs of all replicas, each with its broker.
    pub fn final_logs(&self, key: PartitionKey, logs: &[(i32, Vec<u8>)]) -> Result<(), String> {
        let Some(((first, expected), others)) = logs.split_first() else { return Ok(()) };
        for (broker, log) in others {
            if log != expected {
                let at = log.iter().zip(expected).take_while(|(one, other)| one == other).count();
                let lens = (expected.len(), log.len());
                return Err(format!(
                    "{key:?}: the logs of {first} and {broker} differ at byte {at}, of {lens:?}"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::Uuid;

    #[test]
    fn objects_to_replicas_that_differ() {
        let check = |logs: &[(i32, Vec<u8>)]| Replicas.final_logs((Uuid::ONE, 0), logs);
        assert!(check(&[]).is_ok());
        assert!(check(&[(1, vec![1, 2]), (2, vec![1, 2])]).is_ok());
        assert!(check(&[(1, vec![1, 2]), (2, vec![1, 3])]).is_err());
        assert!(check(&[(1, vec![1, 2]), (2, vec![1, 2]), (3, vec![1])]).is_err());
    }
}
