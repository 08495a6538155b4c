//! A broker that claims its id anew in the process that the record stands for.
//!
//! The store lets a lease end that nobody could renew: it was away, or the broker was cut off from it. The
//! process went on and so did its disks, therefore nothing that its seats in ISR and ELR promise can be lost, and
//! the new claim is no new life of them. It has a new broker epoch all the same, and a broker leads only what
//! names its present one, so whatever it leads gets a new leader epoch, with the same leader.

use ottla_metadata::image::{Image, Versioned};
use ottla_metadata::model::{BrokerClaim, BrokerRecord};

/// The claim of `broker`, if the process that its record stands for made it after the one that the record
/// judged.
///
/// What a process sent before it ended can still arrive afterwards. Such a claim is told from a living one by
/// nothing in the store, so this unfences nobody.
pub fn claim_of_same_process(image: &Image, broker: i32) -> Option<&Versioned<BrokerClaim>> {
    let record = image.broker(broker)?;
    image.claim(broker).filter(|claim| is_same_process(claim, record)).map(|claim| &**claim)
}

fn is_same_process(claim: &Versioned<BrokerClaim>, record: &BrokerRecord) -> bool {
    record.broker_epoch < claim.create_revision
        && claim.incarnation_id == record.incarnation_id
        && claim.boot_id == record.boot_id
}
