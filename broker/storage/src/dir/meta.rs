//! `meta.properties`: to which cluster and node a log dir belongs, and its own id.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use ottla_protocol::Uuid;

use crate::atomic_file;
use crate::error::OpenDirError;
use crate::io::LogIo;
use crate::paths::META_PROPERTIES;

/// What `meta.properties` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    pub cluster_id: Option<String>,
    pub node_id: Option<i32>,
    /// Absent where Kafka before 3.7 wrote the file.
    pub directory_id: Option<Uuid>,
}

/// Reads the file; `None` if it is absent. Understands both versions: 0 (of ZooKeeper times, `broker.id`) and 1.
pub(super) fn read<I: LogIo>(io: &I, dir: &Path) -> Result<Option<Meta>, OpenDirError> {
    let path = dir.join(META_PROPERTIES);
    let failed = |source: io::Error| OpenDirError::Io { path: path.clone(), source };
    let Some(content) = atomic_file::read_optional(io, &path).map_err(failed)? else {
        return Ok(None);
    };
    let invalid = |reason: String| OpenDirError::InvalidMeta { path: path.clone(), reason };
    let text = String::from_utf8_lossy(&content);
    let fields = properties(&text);
    let node_key = match fields.get("version").copied() {
        Some("0") => "broker.id",
        Some("1") => "node.id",
        version => return Err(invalid(format!("version is {version:?}, expected 0 or 1"))),
    };
    let node_id = match fields.get(node_key) {
        Some(id) => Some(id.parse().map_err(|_| invalid(format!("{node_key}={id} is no number")))?),
        None => None,
    };
    let directory_id = match fields.get("directory.id") {
        Some(id) => Some(id.parse().map_err(|_| invalid(format!("directory.id={id} is no id")))?),
        None => None,
    };
    let cluster_id = fields.get("cluster.id").map(|id| (*id).to_owned());
    Ok(Some(Meta { cluster_id, node_id, directory_id }))
}

/// Writes the file, version 1; durable when this returns.
pub(super) fn write<I: LogIo>(
    io: &I,
    dir: &Path,
    (cluster_id, node_id, directory_id): (&str, i32, Uuid),
) -> io::Result<()> {
    let content = format!(
        "cluster.id={cluster_id}\ndirectory.id={directory_id}\nnode.id={node_id}\nversion=1\n"
    );
    atomic_file::replace(io, &dir.join(META_PROPERTIES), content.as_bytes())
}

fn properties(text: &str) -> BTreeMap<&str, &str> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '!']));
    lines.filter_map(|line| line.split_once('=')).map(|(k, v)| (k.trim(), v.trim())).collect()
}
