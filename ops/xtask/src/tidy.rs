//! What the tree must look like: short files, no leftovers, nothing of one machine.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::mutations;

/// A source file past this many lines holds more than one concept.
const FILE_LINES_MAX: usize = 800;

/// Words that must not stand in the tree, each with the reason. Split, so that this file passes its own check.
const BANNED: &[(&str, &str)] = &[
    (concat!("/ro", "ot/"), "an absolute path of one machine"),
    (concat!("/wo", "rk/"), "an absolute path of one machine"),
    (concat!("FIX", "ME"), "finish it, or say it in ARCHITECTURE.md"),
    (concat!("XX", "X"), "finish it, or say it in ARCHITECTURE.md"),
    (concat!("#[ign", "ore"), "assert today's behaviour instead of skipping a test"),
    (concat!("static.", "crates.io"), "a registry's host name"),
    (concat!("repo.", "maven"), "a registry's host name"),
    (concat!("registry.", "npmjs"), "a registry's host name"),
];

/// Checks every file that git tracks or would track.
///
/// # Errors
/// When anything is out of place; each finding is printed with its file and line.
pub fn check(root: &Path) -> Result<()> {
    let names = tracked_files(root)?;
    let mut findings = mutations::findings(root, &names)?;
    for name in &names {
        let Ok(text) = fs::read_to_string(root.join(name)) else {
            continue; // deleted, or not text
        };
        check_file(name, &text, &mut findings);
    }
    if findings.is_empty() {
        return Ok(());
    }
    for finding in &findings {
        eprintln!("{finding}");
    }
    bail!("tidy found {} thing(s) to mend", findings.len())
}

/// What git tracks or would track below `root`.
pub fn tracked_files(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("git is needed to list the files")?;
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

fn check_file(name: &str, text: &str, findings: &mut Vec<String>) {
    let prose_or_data = name.contains("/fuzz/corpus/")
        || [".md", ".lock", ".sum", ".jsonl", ".txt", ".json", ".tsv"]
            .iter()
            .any(|e| name.ends_with(e));
    // Kafka's own files, kept as Kafka wrote them.
    let prose_or_data = prose_or_data || name.contains("/tests/kafka-log/");
    let lines = text.lines().count();
    if name.ends_with(".rs") && FILE_LINES_MAX < lines {
        findings.push(format!("{name}: {lines} lines; split it below {FILE_LINES_MAX}"));
    }
    for (number, line) in text.lines().enumerate() {
        let place = format!("{name}:{}", number + 1);
        if !prose_or_data && line.ends_with([' ', '\t']) {
            findings.push(format!("{place}: white space at the end of the line"));
        }
        if name.ends_with(".lock") || name.ends_with("package-lock.json") {
            continue; // generated; it names where packages came from
        }
        for (word, reason) in BANNED {
            if line.contains(word) {
                findings.push(format!("{place}: {word:?}: {reason}"));
            }
        }
    }
    if !text.is_empty() && !text.ends_with('\n') && !prose_or_data {
        findings.push(format!("{name}: no newline at the end"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(name: &str, text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        check_file(name, text, &mut findings);
        findings
    }

    #[test]
    fn clean_file_has_no_findings() {
        assert_eq!(findings("a.rs", "fn main() {}\n"), Vec::<String>::new());
    }

    #[test]
    fn long_file_is_found() {
        assert_eq!(findings("a.rs", &"x\n".repeat(FILE_LINES_MAX + 1)).len(), 1);
    }

    #[test]
    fn leftovers_and_machine_paths_are_found() {
        let text =
            format!("// {}\nlet p = \"{}x\";  \n", concat!("FIX", "ME"), concat!("/ro", "ot/"));
        assert_eq!(findings("a.rs", &text).len(), 3);
    }
}
