//! `partition.metadata`: the topic id of a partition's folder.

use std::path::Path;

use ottla_protocol::Uuid;

use crate::atomic_file;
use crate::error::LoadError;
use crate::io::LogIo;
use crate::paths::PARTITION_METADATA;

/// Reads the topic id; `None` if the file is absent.
pub(crate) fn read<I: LogIo>(io: &I, dir: &Path) -> Result<Option<Uuid>, LoadError> {
    let path = dir.join(PARTITION_METADATA);
    let Some(content) = atomic_file::read_optional(io, &path).map_err(LoadError::io(&path))? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&content);
    let field = |name: &str| {
        let value =
            text.lines().find_map(|line| line.split_once(':').filter(|(key, _)| *key == name));
        value.map(|(_, value)| value.trim().to_owned())
    };
    let invalid =
        |reason: &str| LoadError::Invalid { path: path.clone(), reason: reason.to_owned() };
    if field("version").as_deref() != Some("0") {
        return Err(invalid("its version is not 0"));
    }
    let id = field("topic_id").and_then(|id| id.parse().ok());
    id.map(Some).ok_or_else(|| invalid("it has no valid topic_id"))
}

/// Writes the topic id; durable when this returns.
pub(crate) fn write<I: LogIo>(io: &I, dir: &Path, topic_id: Uuid) -> std::io::Result<()> {
    let content = format!("version: 0\ntopic_id: {topic_id}\n");
    atomic_file::replace(io, &dir.join(PARTITION_METADATA), content.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::SimIo;

    #[test]
    fn the_topic_id_comes_back_and_garbage_is_an_error() {
        let (io, dir) = (SimIo::new(0), Path::new("/"));
        assert_eq!(read(&io, dir).unwrap(), None);
        let id = Uuid::from_bytes([7; 16]);
        write(&io, dir, id).unwrap();
        assert_eq!(read(&io, dir).unwrap(), Some(id));
        for content in
            ["", "version: 1\ntopic_id: x\n", "version: 0\n", "version: 0\ntopic_id: ?\n"]
        {
            atomic_file::replace(&io, &dir.join(PARTITION_METADATA), content.as_bytes()).unwrap();
            assert!(read(&io, dir).is_err(), "{content:?}");
        }
    }
}
