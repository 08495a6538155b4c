//! Blocks of producer ids, each handed out once.

use ottla_metadata::image::Image;
use ottla_metadata::keys::Key;
use ottla_metadata::model::{ProducerIds, Rest};
use ottla_protocol::ErrorCode;

use super::plan::{Change, Unit};

/// A block of producer ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The first id.
    pub start: i64,
    /// How many follow each other.
    pub len: i32,
}

/// Takes the next block for a broker, which must ask in its present life. The block is the broker's once
/// the unit is committed.
pub fn allocate(image: &Image, broker: i32, broker_epoch: i64) -> Result<(Block, Unit), ErrorCode> {
    let record = image.broker(broker).ok_or(ErrorCode::BrokerIdNotRegistered)?;
    if record.broker_epoch != broker_epoch {
        return Err(ErrorCode::StaleBrokerEpoch);
    }
    let current = image.producer_ids();
    let (start, rest) =
        current.map_or_else(|| (0, Rest::new()), |ids| (ids.next_block_start, ids.rest.clone()));
    let len = ProducerIds::BLOCK_LEN;
    // After nine quintillion ids there are no more; handing one out twice would corrupt logs.
    let next = start.checked_add(i64::from(len)).ok_or(ErrorCode::UnknownServerError)?;
    let value = ProducerIds { next_block_start: next, rest };
    let change = Change::put(Key::ProducerIds, current.map_or(0, |ids| ids.mod_revision), &value);
    Ok((Block { start, len }, Unit::completing(vec![change], 0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::testing::World;

    #[test]
    fn blocks_follow_each_other_and_belong_to_lives_of_brokers() {
        let mut world = World::new();
        let epoch = world.start_broker(1);
        let (first, unit) = allocate(world.image(), 1, epoch).unwrap();
        world.commit(vec![unit]);
        let (second, unit) = allocate(world.image(), 1, epoch).unwrap();
        world.commit(vec![unit]);
        assert_eq!(first, Block { start: 0, len: 1000 });
        assert_eq!(second, Block { start: 1000, len: 1000 });
        let stale = allocate(world.image(), 1, epoch - 1).unwrap_err();
        assert_eq!(stale, ErrorCode::StaleBrokerEpoch);
        let unknown = allocate(world.image(), 7, epoch).unwrap_err();
        assert_eq!(unknown, ErrorCode::BrokerIdNotRegistered);
    }
}
