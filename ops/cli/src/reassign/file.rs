//! The file of a reassignment, as Kafka's own tool reads and writes it.

use std::{
    fs,
    io::{self, Read, Write},
    path::Path,
};

use anyhow::{Context, Result, bail};
use ottla_coordinator::controller::reassignment::proposal::Placement;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct File {
    version: i32,
    partitions: Vec<Entry>,
}

/// Kafka's files may also name log directories, which are left to the brokers.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    topic: String,
    partition: i32,
    replicas: Vec<i32>,
}

const VERSION: i32 = 1;
const STANDARD: &str = "-";

/// Writes a file, or to standard output.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, placements: &[Placement]) -> Result<()> {
    let entry = |it: &Placement| Entry {
        topic: it.topic.clone(),
        partition: it.partition,
        replicas: it.replicas.clone(),
    };
    let file = File { version: VERSION, partitions: placements.iter().map(entry).collect() };
    let text = serde_json::to_string_pretty(&file)? + "\n";
    if path == Path::new(STANDARD) {
        io::stdout().lock().write_all(text.as_bytes())?;
        return Ok(());
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Reads a file, or standard input.
///
/// # Errors
/// When it cannot be read, or is no reassignment.
pub fn read(path: &Path) -> Result<Vec<Placement>> {
    let text = if path == Path::new(STANDARD) {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text)?;
        text
    } else {
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
    };
    parse(&text).with_context(|| format!("{} is no reassignment", path.display()))
}

fn parse(text: &str) -> Result<Vec<Placement>> {
    let file: File = serde_json::from_str(text)?;
    if file.version != VERSION {
        bail!("it has version {}; version {VERSION} is understood", file.version);
    }
    let placement =
        |it: Entry| Placement { topic: it.topic, partition: it.partition, replicas: it.replicas };
    Ok(file.partitions.into_iter().map(placement).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.json");
        let placements = [Placement { topic: "t".to_owned(), partition: 3, replicas: vec![2, 1] }];
        write(&path, &placements).unwrap();
        assert_eq!(read(&path).unwrap(), placements);
    }

    #[test]
    fn file_of_kafkas_tool_is_read_and_another_is_not() {
        let kafka = r#"{"version":1,"partitions":[
            {"topic":"t","partition":0,"replicas":[1,2],"log_dirs":["any","any"]}]}"#;
        assert_eq!(parse(kafka).unwrap()[0].replicas, [1, 2]);
        assert!(parse(r#"{"version":2,"partitions":[]}"#).is_err());
        assert!(parse("[]").is_err());
    }
}
