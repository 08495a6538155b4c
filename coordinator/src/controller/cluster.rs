//! The cluster's own key, which the first controller writes.

use ottla_metadata::features;
use ottla_metadata::image::Image;
use ottla_metadata::keys::Key;
use ottla_metadata::model::{Cluster, Rest};
use ottla_protocol::Uuid;
use rand::RngCore;

use super::plan::{Change, Unit};

/// Founds the cluster, if nobody has: a random id, and the features that this version finalises.
pub fn found(image: &Image, random: &mut dyn RngCore) -> Option<Unit> {
    if image.cluster().is_some() {
        return None;
    }
    let mut bytes = [0; 16];
    // A leading dash would look like an option where the id is an argument.
    while bytes == [0; 16] || Uuid::from_bytes(bytes).to_string().starts_with('-') {
        random.fill_bytes(&mut bytes);
    }
    let cluster = Cluster {
        cluster_id: Uuid::from_bytes(bytes).to_string(),
        format_version: Cluster::FORMAT_VERSION,
        features: features::defaults(),
        group_shards: Cluster::SHARDS,
        transaction_shards: Cluster::SHARDS,
        recovery: None,
        rest: Rest::new(),
    };
    Some(Change::put(Key::Cluster, 0, &cluster).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::testing::{World, random};

    #[test]
    fn cluster_is_founded_once() {
        let mut world = World::new();
        let unit = found(world.image(), &mut random(1)).unwrap();
        world.commit(vec![unit]);
        let cluster = world.image().cluster().unwrap();
        assert_eq!(cluster.cluster_id.len(), 22);
        assert_eq!(cluster.features.get("metadata.version"), Some(&30));
        assert_eq!(found(world.image(), &mut random(2)), None);
    }
}
