//! An epoch belongs to one leader in one of its lives, and epochs only grow.

use std::collections::BTreeMap;

use ottla_metadata::model::Partition;

use super::PartitionKey;

/// Who leads: a broker in one of its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leader {
    /// The broker's id.
    pub broker: i32,
    /// Its life.
    pub broker_epoch: i64,
}

/// Elections as the store has them, against what brokers do.
#[derive(Debug, Default)]
pub struct Leadership {
    elected: BTreeMap<(PartitionKey, i32), Leader>,
    newest: BTreeMap<PartitionKey, (i32, Leader)>,
}

impl Leadership {
    /// The store has a new value of a partition.
    pub fn stored(&mut self, key: PartitionKey, partition: &Partition) -> Result<(), String> {
        let epoch = partition.leader_epoch;
        let leader =
            Leader { broker: partition.leader, broker_epoch: partition.leader_broker_epoch };
        let before = self.newest.insert(key, (epoch, leader));
        self.elected.entry((key, epoch)).or_insert(leader);
        match before {
            Some((newest, _)) if epoch < newest => {
                Err(format!("{key:?}: leader epoch {epoch} follows {newest}"))
            }
            Some((newest, was)) if epoch == newest && was != leader => {
                Err(format!("{key:?}: epoch {epoch} belongs to {was:?} and to {leader:?}"))
            }
            _ => Ok(()),
        }
    }

    /// A broker behaves as the leader.
    pub fn led(&self, key: PartitionKey, epoch: i32, leader: Leader) -> Result<(), String> {
        match self.elected.get(&(key, epoch)) {
            Some(elected) if *elected == leader => Ok(()),
            elected => Err(format!(
                "{key:?}: {leader:?} leads in epoch {epoch}, for which {elected:?} was elected"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_metadata::model::Rest;
    use ottla_protocol::Uuid;

    const KEY: PartitionKey = (Uuid::ONE, 0);

    fn partition(leader: i32, leader_epoch: i32, leader_broker_epoch: i64) -> Partition {
        Partition {
            replicas: vec![1, 2],
            log_dirs: vec![],
            adding: vec![],
            removing: vec![],
            isr: vec![leader],
            elr: vec![],
            last_known_elr: vec![],
            leader,
            leader_epoch,
            leader_broker_epoch,
            recovering: false,
            rest: Rest::new(),
        }
    }

    #[test]
    fn objects_to_an_epoch_that_goes_back() {
        let mut checker = Leadership::default();
        checker.stored(KEY, &partition(1, 5, 10)).unwrap();
        checker.stored(KEY, &partition(2, 6, 11)).unwrap();
        assert!(checker.stored(KEY, &partition(1, 5, 10)).is_err());
    }

    #[test]
    fn objects_to_two_leaders_or_two_lives_in_one_epoch() {
        let mut checker = Leadership::default();
        checker.stored(KEY, &partition(1, 5, 10)).unwrap();
        assert!(checker.stored(KEY, &partition(1, 5, 12)).is_err());
        assert!(checker.stored(KEY, &partition(2, 5, 12)).is_err());
    }

    #[test]
    fn objects_to_a_leader_in_a_life_that_was_not_elected() {
        let mut checker = Leadership::default();
        checker.stored(KEY, &partition(1, 5, 10)).unwrap();
        checker.led(KEY, 5, Leader { broker: 1, broker_epoch: 10 }).unwrap();
        assert!(checker.led(KEY, 5, Leader { broker: 1, broker_epoch: 12 }).is_err());
        assert!(checker.led(KEY, 5, Leader { broker: 2, broker_epoch: 10 }).is_err());
        assert!(checker.led(KEY, 6, Leader { broker: 1, broker_epoch: 10 }).is_err());
    }
}
