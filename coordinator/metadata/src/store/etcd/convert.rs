//! Between this crate's types and the client's.

use bytes::Bytes;
use etcd_client as etcd;
use etcd_client::CompareOp;

use crate::store::{
    Compare, Event, GuardedWrite, KeyRange, KeyValue, LeaseId, Outcome, Page, RangeRequest,
};

pub(super) fn range_options(request: &RangeRequest, limit: usize) -> etcd::GetOptions {
    let mut options = etcd::GetOptions::new().with_limit(i64::try_from(limit).unwrap_or(i64::MAX));
    if let Some(end) = &request.keys.end {
        options = options.with_range(end.to_vec());
    }
    if let Some(revision) = request.at_revision {
        options = options.with_revision(revision);
    }
    options
}

pub(super) fn page(mut response: etcd::GetResponse) -> Page {
    let (store_id, revision) =
        response.header().map_or((0, 0), |header| (header.cluster_id(), header.revision()));
    let more = response.more();
    let items = response.take_kvs().into_iter().map(key_value).collect();
    Page { store_id, revision, items, more }
}

pub(super) fn transaction(write: &GuardedWrite) -> etcd::Txn {
    let compares: Vec<_> = write.compares.iter().map(compare).collect();
    let puts = write.puts.iter().map(|put| {
        let options = put.lease.map(|lease| etcd::PutOptions::new().with_lease(lease.0));
        etcd::TxnOp::put(put.key.to_vec(), put.value.to_vec(), options)
    });
    let deletes = write.deletes.iter().map(|keys| {
        etcd::TxnOp::delete(keys.start.to_vec(), keys.end.as_ref().map(delete_options))
    });
    let reads = write.on_refused.iter().map(|key| etcd::TxnOp::get(key.to_vec(), None));
    etcd::Txn::new()
        .when(compares)
        .and_then(puts.chain(deletes).collect::<Vec<_>>())
        .or_else(reads.collect::<Vec<_>>())
}

pub(super) fn outcome(response: &etcd::TxnResponse) -> Outcome {
    let revision = response.header().map_or(0, etcd::ResponseHeader::revision);
    if response.succeeded() {
        return Outcome::Committed { revision };
    }
    let mut current = Vec::new();
    for answer in response.op_responses() {
        if let etcd::TxnOpResponse::Get(mut found) = answer {
            current.extend(found.take_kvs().into_iter().map(key_value));
        }
    }
    Outcome::Refused { revision, current }
}

pub(super) fn watch_options(keys: &KeyRange, from: i64) -> etcd::WatchOptions {
    let options = etcd::WatchOptions::new().with_start_revision(from);
    match &keys.end {
        Some(end) => options.with_range(end.to_vec()),
        None => options,
    }
}

pub(super) fn event(event: &etcd::Event) -> Option<Event> {
    let kv = event.kv()?;
    Some(match event.event_type() {
        etcd::EventType::Put => Event::Put(copied(kv)),
        etcd::EventType::Delete => {
            Event::Delete { key: Bytes::copy_from_slice(kv.key()), revision: kv.mod_revision() }
        }
    })
}

fn delete_options(end: &Bytes) -> etcd::DeleteOptions {
    etcd::DeleteOptions::new().with_range(end.to_vec())
}

fn compare(compare: &Compare) -> etcd::Compare {
    let key = compare.key().to_vec();
    match compare {
        Compare::ModRevision(_, revision) => {
            etcd::Compare::mod_revision(key, CompareOp::Equal, *revision)
        }
        Compare::CreateRevision(_, revision) => {
            etcd::Compare::create_revision(key, CompareOp::Equal, *revision)
        }
        Compare::Absent(_) => etcd::Compare::create_revision(key, CompareOp::Equal, 0),
        Compare::Exists(_) => etcd::Compare::create_revision(key, CompareOp::Greater, 0),
        Compare::Value(_, value) => etcd::Compare::value(key, CompareOp::Equal, value.to_vec()),
    }
}

fn key_value(kv: etcd::KeyValue) -> KeyValue {
    let (create_revision, mod_revision, lease) =
        (kv.create_revision(), kv.mod_revision(), lease(kv.lease()));
    let (key, value) = kv.into_key_value();
    KeyValue { key: key.into(), value: value.into(), create_revision, mod_revision, lease }
}

fn copied(kv: &etcd::KeyValue) -> KeyValue {
    KeyValue {
        key: Bytes::copy_from_slice(kv.key()),
        value: Bytes::copy_from_slice(kv.value()),
        create_revision: kv.create_revision(),
        mod_revision: kv.mod_revision(),
        lease: lease(kv.lease()),
    }
}

fn lease(id: i64) -> Option<LeaseId> {
    (id != 0).then_some(LeaseId(id))
}
