//! The envelope of every value: its version, and what happens when it is newer or broken.

use bytes::Bytes;
use ottla_protocol::Uuid;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What a key of the key space holds.
pub trait Value: Serialize + DeserializeOwned {
    /// The newest version of this value that the process can read, and the one that it writes.
    /// Raised only together with a finalised feature, since older processes stop at it.
    const VERSION: u32 = 1;
}

/// A value that cannot be used. Never ignored: a process that skipped a value would act on a cluster
/// that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// Written by a newer Ottla, after a feature was finalised that this process does not know.
    #[error(
        "{key} has version {found} but this ottla reads up to {supported}: upgrade this process"
    )]
    NewerVersion {
        /// The key, as the store shows it.
        key: String,
        /// The version of the value.
        found: u32,
        /// The newest version that this process reads.
        supported: u32,
    },
    /// Not what any Ottla writes.
    #[error(
        "{key} is not readable ({reason}): look at it with `etcdctl get {key}` and restore it \
         from a snapshot, or run `ottla cluster recover`"
    )]
    Malformed {
        /// The key, as the store shows it.
        key: String,
        /// Where the text stops making sense.
        reason: String,
    },
}

#[derive(Serialize)]
struct Written<'a, T> {
    v: u32,
    #[serde(flatten)]
    value: &'a T,
}

#[derive(Deserialize)]
struct Read<T> {
    #[serde(rename = "v")]
    _version: u32,
    #[serde(flatten)]
    value: T,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// The bytes to store for `value`.
pub fn encode<T: Value>(value: &T) -> Bytes {
    let written = Written { v: T::VERSION, value };
    serde_json::to_vec(&written).expect("a model value has string keys and no failing part").into()
}

/// Reads the bytes that `key` holds; the key is only for the error.
pub fn decode<T: Value>(key: &str, bytes: &[u8]) -> Result<T, ModelError> {
    let malformed = |error: serde_json::Error| ModelError::Malformed {
        key: key.to_owned(),
        reason: error.to_string(),
    };
    // The version comes first: a newer value need not have the shape that this process expects.
    let version: Version = serde_json::from_slice(bytes).map_err(malformed)?;
    if T::VERSION < version.v {
        return Err(ModelError::NewerVersion {
            key: key.to_owned(),
            found: version.v,
            supported: T::VERSION,
        });
    }
    let read: Read<T> = serde_json::from_slice(bytes).map_err(malformed)?;
    Ok(read.value)
}

/// Ids are written as Kafka prints them.
pub(crate) mod uuid {
    use super::{Deserialize, Uuid};

    pub fn serialize<S: serde::Serializer>(id: &Uuid, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Uuid, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Lists of ids.
pub(crate) mod uuids {
    use super::{Deserialize, Serialize, Uuid};

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Id(#[serde(with = "super::uuid")] Uuid);

    pub fn serialize<S: serde::Serializer>(ids: &[Uuid], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(ids.iter().map(|id| Id(*id)))
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Uuid>, D::Error> {
        let ids = Vec::<Id>::deserialize(from)?;
        Ok(ids.into_iter().map(|id| id.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Partition, Topic};

    #[test]
    fn unknown_fields_survive_a_rewrite() {
        let text = br#"{"v":1,"next_block_start":7000,"epoch_of_tomorrow":{"a":[1,"x"]}}"#;
        let read: crate::model::ProducerIds = decode("/ottla/producer-ids", text).unwrap();
        assert_eq!(read.next_block_start, 7000);
        let again: serde_json::Value = serde_json::from_slice(&encode(&read)).unwrap();
        let before: serde_json::Value = serde_json::from_slice(text).unwrap();
        assert_eq!(again, before);
    }

    #[test]
    fn newer_version_is_an_error_that_names_the_key() {
        // The shape is not that of a topic at all: the version decides first.
        let error = decode::<Topic>("/ottla/topics/t", br#"{"v":2,"name":[]}"#).unwrap_err();
        assert!(matches!(error, ModelError::NewerVersion { found: 2, supported: 1, .. }));
        assert!(error.to_string().contains("/ottla/topics/t"), "{error}");
    }

    #[test]
    fn garbage_is_an_error_that_names_the_key() {
        for text in [&b""[..], b"{", b"[]", b"{}", br#"{"v":1}"#, br#"{"v":"1"}"#, b"\xff\xfe"] {
            let error = decode::<Partition>("/ottla/partitions/x/0", text).unwrap_err();
            assert!(matches!(error, ModelError::Malformed { .. }), "{text:?}: {error}");
            assert!(error.to_string().contains("/ottla/partitions/x/0"), "{error}");
        }
    }
}
