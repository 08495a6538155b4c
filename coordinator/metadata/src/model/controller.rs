//! Who is the active coordinator.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Rest, Value};

/// A host and a port that other nodes connect to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The key `controller`: exists while a coordinator is active, bound to its lease. Its create revision
/// is the controller's term, and every write of the controller compares it.
///
/// The keys `claims/coordinators/<id>` hold the same of every coordinator that lives, bound to a lease of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Controller {
    /// The coordinator's node id.
    pub node_id: i32,
    /// Told apart from an earlier life of the same node.
    #[serde(default)]
    pub boot_id: String,
    /// REST, console, health and metrics.
    pub http: Endpoint,
    /// Where brokers relay requests to.
    pub internode: Endpoint,
    /// The version of the program, for people.
    #[serde(default)]
    pub version: String,
    /// Fields of later versions.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Value for Controller {}
