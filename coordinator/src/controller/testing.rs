//! A world for tests of decisions: keys and revisions as a store would keep them, and the image of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_metadata::image::{Delta, Image};
use ottla_metadata::keys::{Key, KeySpace};
use ottla_metadata::model::{
    self, BrokerClaim, BrokerRecord, Listener, Partition, PreviousLife, Rest, SecurityProtocol,
    Topic, Value,
};
use ottla_metadata::store::{Event, KeyValue, WatchBatch};
use ottla_protocol::Uuid;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::plan::{self, Change, Transaction, Unit};

/// The same random numbers in every run.
pub(crate) fn random(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// A store that applies every write at once, with its image.
pub(crate) struct World {
    keys: KeySpace,
    revision: i64,
    state: BTreeMap<String, KeyValue>,
    image: Image,
}

impl World {
    pub fn new() -> Self {
        let mut world = Self {
            keys: KeySpace::default(),
            revision: 1,
            state: BTreeMap::new(),
            image: Image::default(),
        };
        world.publish(Vec::new());
        world
    }

    pub fn image(&self) -> &Image {
        &self.image
    }

    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Applies all units, and returns the revision of the last; fails if a guard does not hold.
    pub fn commit(&mut self, units: Vec<Unit>) -> i64 {
        for transaction in plan::pack(units) {
            self.apply(&transaction);
        }
        self.revision
    }

    /// Applies only the first `count` transactions, as if the controller died then.
    pub fn commit_some(&mut self, units: Vec<Unit>, count: usize) {
        for transaction in plan::pack(units).iter().take(count) {
            self.apply(transaction);
        }
    }

    pub fn apply(&mut self, transaction: &Transaction) {
        let write = transaction.guarded(&self.keys);
        assert_eq!(write.check(), Ok(()));
        for compare in &write.compares {
            let key = String::from_utf8_lossy(compare.key()).into_owned();
            assert!(compare.holds(self.state.get(&key)), "{compare:?} does not hold");
        }
        self.write(&transaction.changes);
    }

    fn write(&mut self, changes: &[Change]) {
        self.revision += 1;
        let mut events = Vec::new();
        for change in changes {
            let key = self.keys.format(&change.key);
            let bytes = Bytes::copy_from_slice(key.as_bytes());
            let Some(value) = &change.value else {
                self.state.remove(&key);
                events.push(Event::Delete { key: bytes, revision: self.revision });
                continue;
            };
            let created = self.state.get(&key).map_or(self.revision, |kv| kv.create_revision);
            let kv = KeyValue {
                key: bytes,
                value: value.clone(),
                create_revision: created,
                mod_revision: self.revision,
                lease: None,
            };
            self.state.insert(key, kv.clone());
            events.push(Event::Put(kv));
        }
        self.publish(events);
    }

    fn publish(&mut self, events: Vec<Event>) {
        let batch = WatchBatch { revision: self.revision, events };
        self.image = self.image.with(
            Delta::decode(&self.keys, &batch, self.image.revision()).expect("readable values"),
        );
    }

    /// Writes a key whatever it holds.
    pub fn put<T: Value>(&mut self, key: Key, value: &T) -> i64 {
        self.write(&[Change { key, mod_revision: 0, value: Some(model::encode(value)) }]);
        self.revision
    }

    pub fn delete(&mut self, key: Key) -> i64 {
        self.write(&[Change { key, mod_revision: 0, value: None }]);
        self.revision
    }

    /// A claim, as a broker makes it in a new process; returns its broker epoch.
    pub fn claim(&mut self, broker: i32, previous: PreviousLife) -> i64 {
        self.unclaim(broker);
        let mut incarnation = [0; 16];
        incarnation[..8].copy_from_slice(&self.revision.to_be_bytes());
        let incarnation_id = Uuid::from_bytes(incarnation);
        let claim = BrokerClaim { incarnation_id, ..claim(broker, previous) };
        self.put(Key::BrokerClaim(broker), &claim)
    }

    /// The process that the record stands for claims anew; returns its new broker epoch.
    pub fn reclaim(&mut self, broker: i32) -> i64 {
        self.unclaim(broker);
        let record = self.image.broker(broker).expect("a record");
        let previous = PreviousLife::ProcessCrash { broker_epoch: record.broker_epoch };
        let incarnation_id = record.incarnation_id;
        let claim = BrokerClaim { incarnation_id, ..claim(broker, previous) };
        self.put(Key::BrokerClaim(broker), &claim)
    }

    /// The claim goes, as when its lease ends.
    pub fn unclaim(&mut self, broker: i32) {
        if self.image.claim(broker).is_some() {
            self.delete(Key::BrokerClaim(broker));
        }
    }

    /// A broker that is registered and active; returns its epoch.
    pub fn start_broker(&mut self, broker: i32) -> i64 {
        let epoch = self.claim(broker, PreviousLife::None);
        let incarnation_id = self.image.claim(broker).expect("a claim").incarnation_id;
        let record = BrokerRecord { incarnation_id, ..record(broker, epoch) };
        self.put(Key::Broker(broker), &record);
        epoch
    }

    /// Changes a broker's record as a controller would.
    pub fn change_broker(&mut self, broker: i32, change: impl FnOnce(&mut BrokerRecord)) -> i64 {
        let mut record = self.image.broker(broker).expect("a record").value.clone();
        change(&mut record);
        self.put(Key::Broker(broker), &record)
    }

    /// A topic with these partitions.
    pub fn topic(&mut self, name: &str, partitions: &[Partition]) -> Uuid {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.revision.to_be_bytes());
        let id = Uuid::from_bytes(id);
        for (number, partition) in (0..).zip(partitions) {
            self.put(Key::Partition(id, number), partition);
        }
        let topic = Topic {
            id,
            name: name.to_owned(),
            partitions: partitions.len() as i32,
            configs: BTreeMap::new(),
            internal: false,
            rest: Rest::new(),
        };
        self.put(Key::Topic(name.to_owned()), &topic);
        id
    }

    pub fn configure(&mut self, topic: &str, name: &str, value: &str) {
        let mut changed = self.image.topic(topic).expect("a topic").value.clone();
        changed.configs.insert(name.to_owned(), value.to_owned());
        self.put(Key::Topic(topic.to_owned()), &changed);
    }

    pub fn partition(&self, topic: Uuid, number: i32) -> &Partition {
        &self.image.partition(topic, number).expect("a partition").value
    }
}

pub(crate) fn claim(broker: i32, previous: PreviousLife) -> BrokerClaim {
    BrokerClaim {
        listeners: vec![Listener {
            name: "PLAINTEXT".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 9092 + broker as u16,
            security_protocol: SecurityProtocol::Plaintext,
        }],
        inter_broker_listener: "PLAINTEXT".to_owned(),
        rack: None,
        log_dirs: vec![Uuid::from_bytes([broker as u8; 16])],
        boot_id: "boot".to_owned(),
        incarnation_id: Uuid::from_bytes([7; 16]),
        version: "test".to_owned(),
        previous,
        features: BTreeMap::new(),
        http: None,
        rest: Rest::new(),
    }
}

pub(crate) fn record(broker: i32, broker_epoch: i64) -> BrokerRecord {
    let claim = claim(broker, PreviousLife::None);
    BrokerRecord {
        broker_epoch,
        fenced: false,
        draining: false,
        boot_id: claim.boot_id,
        incarnation_id: claim.incarnation_id,
        listeners: claim.listeners,
        inter_broker_listener: claim.inter_broker_listener,
        rack: None,
        log_dirs: claim.log_dirs,
        offline_log_dirs: Vec::new(),
        features: BTreeMap::new(),
        version: claim.version,
        http: None,
        recovered: None,
        rest: Rest::new(),
    }
}

/// A partition led by the first of `replicas`, all in sync, in epoch 5.
pub(crate) fn partition(replicas: &[i32], leader_broker_epoch: i64) -> Partition {
    Partition {
        replicas: replicas.to_vec(),
        log_dirs: Vec::new(),
        adding: Vec::new(),
        removing: Vec::new(),
        isr: replicas.to_vec(),
        elr: Vec::new(),
        last_known_elr: Vec::new(),
        leader: replicas[0],
        leader_epoch: 5,
        leader_broker_epoch,
        recovering: false,
        rest: Rest::new(),
    }
}
