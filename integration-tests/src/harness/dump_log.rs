//! Apache Kafka's own judgement of the files that a broker wrote.

use std::{fs, path::Path};

use super::{Skipped, apache_kafka_tool};

const COMPLAINTS: [&str; 5] =
    ["Mismatches", "isvalid: false", "Could not", "invalid", "Found timestamp mismatch"];

/// Runs `kafka-dump-log` over every segment, index and snapshot in these partition folders; the number of files.
///
/// # Errors
/// [`Skipped`] where there is no Java, outside CI.
///
/// # Panics
/// When Kafka finds anything wrong; what it says is in the message.
pub fn assert_dump_log_accepts<P: AsRef<Path>>(folders: &[P]) -> Result<usize, Skipped> {
    let (mut logs, mut indexes, mut snapshots) = (Vec::new(), Vec::new(), Vec::new());
    for folder in folders {
        for entry in fs::read_dir(folder).expect("a partition's folder") {
            let path = entry.expect("an entry").path();
            let kind = match path.extension().and_then(|extension| extension.to_str()) {
                Some("log") => &mut logs,
                Some("index" | "timeindex") => &mut indexes,
                Some("snapshot") => &mut snapshots,
                _ => continue,
            };
            kind.push(path.to_str().expect("a path in UTF-8").to_owned());
        }
    }
    let count = logs.len() + indexes.len() + snapshots.len();
    dump(&logs, &["--deep-iteration"])?;
    dump(&indexes, &["--index-sanity-check"])?;
    dump(&snapshots, &[])?;
    Ok(count)
}

fn dump(files: &[String], options: &[&str]) -> Result<(), Skipped> {
    if files.is_empty() {
        return Ok(());
    }
    let dump =
        apache_kafka_tool("kafka-dump-log", &[&["--files", &files.join(",")], options].concat())?;
    for complaint in COMPLAINTS {
        assert!(!dump.contains(complaint), "{complaint}\n{dump}");
    }
    Ok(())
}
