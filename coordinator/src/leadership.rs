//! Which coordinator is the active one.

pub(crate) mod campaign;
pub(crate) mod former_claim;
pub(crate) mod presence;

/// The active coordinator, as the store names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveController {
    /// Its node id.
    pub node_id: i32,
    /// Grows with every election; the revision that created the election's key.
    pub term: i64,
    /// `host:port` of its inter-node listener.
    pub internode_endpoint: String,
    /// `host:port` of its REST API; writes are proxied there.
    pub http_endpoint: String,
}

/// What this node knows about who is active.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The active coordinator; `None` while nobody is.
    pub active: Option<ActiveController>,
    /// Whether it is this node, and its writer runs.
    pub is_me: bool,
}
