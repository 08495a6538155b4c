//! What every step of a group reads.

use ottla_metadata::image::Image;
use ottla_protocol::time::Now;
use rand::RngCore;

use super::{Effects, GroupSettings};

/// What a group knows about the world in one step, and where its effects go.
pub struct Context<'a> {
    /// The time; `monotonic` is *store-healthy* time, which stands still while nothing can be written, so that
    /// an outage expels nobody.
    pub now: Now,
    /// The cluster: topics, partitions, racks.
    pub image: &'a Image,
    /// The settings that hold for this group.
    pub settings: &'a GroupSettings,
    /// Where member ids come from.
    pub random: &'a mut dyn RngCore,
    /// Where writes and answers go.
    pub out: &'a mut Effects,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("now", &self.now).finish_non_exhaustive()
    }
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// `client.id`; may be empty.
    pub id: String,
    /// Its address, as Kafka shows it: `/127.0.0.1`.
    pub host: String,
    /// The version of the request's API.
    pub version: i16,
}
