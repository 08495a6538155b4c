//! What a test can tell the machine under a broker: one line each, over the socket of `ottla-fault-broker`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use ottla_storage::io::DiskFault;

/// Exit status of a broker whose machine's power was cut.
pub const POWER_OFF_STATUS: i32 = 137;

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskOrder {
    /// The machine is off at once: what was not synced is lost, and the process ends without a word.
    CutPower,
    /// The disk that holds this folder fails from now on.
    Break(DiskFault, PathBuf),
    /// It works again.
    Heal(PathBuf),
}

/// A line that is no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoOrder(pub String);

const CUT_POWER: &str = "cut-power";
const HEAL: &str = "heal";
const FAULTS: [(&str, DiskFault); 3] =
    [("full", DiskFault::Full), ("fail-writes", DiskFault::Write), ("fail-syncs", DiskFault::Sync)];

impl fmt::Display for DiskOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutPower => f.write_str(CUT_POWER),
            Self::Break(fault, dir) => {
                let name = FAULTS.iter().find(|(_, other)| other == fault).map(|(name, _)| *name);
                write!(f, "{} {}", name.unwrap_or_default(), dir.display())
            }
            Self::Heal(dir) => write!(f, "{HEAL} {}", dir.display()),
        }
    }
}

impl FromStr for DiskOrder {
    type Err = NoOrder;

    fn from_str(line: &str) -> Result<Self, NoOrder> {
        if line == CUT_POWER {
            return Ok(Self::CutPower);
        }
        let no_order = || NoOrder(line.to_owned());
        let (verb, dir) = line.split_once(' ').ok_or_else(no_order)?;
        if verb == HEAL {
            return Ok(Self::Heal(dir.into()));
        }
        let fault = FAULTS.iter().find(|(name, _)| *name == verb).ok_or_else(no_order)?.1;
        Ok(Self::Break(fault, dir.into()))
    }
}

impl fmt::Display for NoOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no order", self.0)
    }
}

impl std::error::Error for NoOrder {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_read_as_it_is_written() {
        let dir = || PathBuf::from("/a folder/log");
        let faults = FAULTS.map(|(_, fault)| DiskOrder::Break(fault, dir()));
        let orders = [DiskOrder::CutPower, DiskOrder::Heal(dir())].into_iter().chain(faults);
        for order in orders {
            assert_eq!(order.to_string().parse(), Ok(order));
        }
        assert_eq!("explode /x".parse::<DiskOrder>(), Err(NoOrder("explode /x".to_owned())));
    }
}
