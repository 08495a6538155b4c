//! Draining by an administrator: a broker leads nothing and leaves every ISR, while it stays up and goes on
//! copying. It lasts until it is undone or the broker starts anew.
//!
//! Only the record is written here. The sweep that follows moves leaders and ISRs, as it does for a broker that
//! asks for it because it stops.

use ottla_metadata::internal_topics::is_metadata_only;
use ottla_metadata::keys::Key;
use ottla_metadata::model::{BrokerRecord, NO_LEADER};
use ottla_protocol::ErrorCode;

use super::brokers::{member_of, members, rules_of};
use super::decision::{Context, Decision, duplicates};
use super::election::{self, Members};
use super::plan::{Change, Unit};
use crate::admin::{AdminError, BrokerDrain};

/// Decides on brokers to drain, or to put back to work. Unless forced, none is drained that partitions need: to
/// have a leader, or to have `min.insync.replicas`.
pub fn drain(
    context: &mut Context<'_>,
    items: &[BrokerDrain],
    validate_only: bool,
) -> Decision<()> {
    let mut members = members(context.image);
    let duplicate = duplicates(items.iter().map(|item| item.broker));
    let mut decision = Decision::without_writes(Vec::with_capacity(items.len()));
    for (index, item) in items.iter().enumerate() {
        let change = if duplicate[index] {
            let message = format!("the request names broker {} twice", item.broker);
            Err(AdminError::new(ErrorCode::InvalidRequest, message))
        } else {
            decide(context, item, &mut members)
        };
        decision.results.push(change.map(|change| {
            if let Some(change) = change.filter(|_| !validate_only) {
                decision.units.push(Unit::completing(vec![change], index));
            }
        }));
    }
    decision
}

/// `None` if nothing changes. Brokers that were decided on before stand in `members` as they will.
fn decide(
    context: &Context<'_>,
    item: &BrokerDrain,
    members: &mut Members,
) -> Result<Option<Change>, AdminError> {
    let current = context.image.broker(item.broker).ok_or_else(|| {
        let message = format!("broker {} is not registered", item.broker);
        AdminError::new(ErrorCode::BrokerIdNotRegistered, message)
    })?;
    if current.draining == item.draining {
        return Ok(None);
    }
    let record = BrokerRecord { draining: item.draining, ..current.value.clone() };
    let mut after = members.clone();
    after.set(item.broker, member_of(&record));
    if item.draining && !item.force {
        let harm = Harm::of(context, item.broker, &after);
        harm.check(item.broker)?;
    }
    *members = after;
    Ok(Some(Change::put(Key::Broker(item.broker), current.mod_revision, &record)))
}

/// What draining a broker would do to partitions, with one of them as an example.
#[derive(Debug, Default)]
struct Harm {
    offline: usize,
    under_min_isr: usize,
    example: Option<String>,
}

impl Harm {
    fn of(context: &Context<'_>, broker: i32, after: &Members) -> Self {
        let image = context.image;
        let mut harm = Self::default();
        // Topics without logs move at once, wherever they can.
        for topic in image.topics().filter(|topic| !is_metadata_only(&topic.name)) {
            let rules = rules_of(image, &context.settings.file, topic);
            for (number, partition) in image.partitions_of(topic.id) {
                if partition.leader != broker && !partition.isr.contains(&broker) {
                    continue;
                }
                let Some(next) = election::reconcile(partition, after, rules) else { continue };
                let min = rules.min_isr_of(partition);
                let (before, next) = (partition, next.partition);
                let goes_offline = before.leader != NO_LEADER && next.leader == NO_LEADER;
                let falls_short = min <= before.isr.len() && next.isr.len() < min;
                harm.offline += usize::from(goes_offline);
                harm.under_min_isr += usize::from(falls_short && !goes_offline);
                if (goes_offline || falls_short) && harm.example.is_none() {
                    harm.example = Some(format!("{}-{number}", topic.name));
                }
            }
        }
        harm
    }

    fn check(&self, broker: i32) -> Result<(), AdminError> {
        let example = self.example.as_deref().unwrap_or_default();
        let (code, what) = match (self.offline, self.under_min_isr) {
            (0, 0) => return Ok(()),
            (0, _) => (ErrorCode::NotEnoughReplicas, "fewer than min.insync.replicas in sync"),
            (_, _) => (ErrorCode::EligibleLeadersNotAvailable, "no leader or too few in sync"),
        };
        let count = self.offline + self.under_min_isr;
        let message = format!(
            "without broker {broker}, {count} partitions such as {example} would have {what}; add replicas \
             of them elsewhere first, or force it"
        );
        Err(AdminError::new(code, message))
    }
}

#[cfg(test)]
mod tests;
