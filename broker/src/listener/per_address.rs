//! How many connections each client address has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections per address and refuses those above `max.connections.per.ip`, or above the
/// address's own number in `max.connections.per.ip.overrides`.
#[derive(Debug, Clone)]
pub struct AddressLimits {
    shared: Arc<Shared>,
}

/// One counted connection.
#[derive(Debug)]
pub struct AddressPermit {
    address: IpAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    default_max: usize,
    overrides: HashMap<IpAddr, usize>,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

impl AddressLimits {
    /// `default_max` connections for each address that is not in `overrides`.
    pub fn new(default_max: usize, overrides: HashMap<IpAddr, usize>) -> Self {
        Self { shared: Arc::new(Shared { default_max, overrides, counts: Mutex::default() }) }
    }

    /// Counts one more connection, or says how many there may be.
    pub fn admit(&self, address: IpAddr) -> Result<AddressPermit, usize> {
        let address = address.to_canonical();
        let max = *self.shared.overrides.get(&address).unwrap_or(&self.shared.default_max);
        let mut counts = self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_insert(0);
        if max <= *count {
            if *count == 0 {
                counts.remove(&address);
            }
            return Err(max);
        }
        *count += 1;
        Ok(AddressPermit { address, shared: Arc::clone(&self.shared) })
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let mut counts = self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_number_and_gets_it_back() {
        let [a, b]: [IpAddr; 2] = [[127, 0, 0, 1].into(), [127, 0, 0, 2].into()];
        let limits = AddressLimits::new(1, HashMap::from([(b, 2)]));
        let first = limits.admit(a).unwrap();
        assert_eq!(limits.admit(a).unwrap_err(), 1);
        let others = [limits.admit(b).unwrap(), limits.admit(b).unwrap()];
        assert_eq!(limits.admit(b).unwrap_err(), 2);
        drop((first, others));
        assert!(limits.admit(a).is_ok() && limits.shared.counts.lock().unwrap().is_empty());
    }
}
