//! A copy of the tree that may be broken.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// A copy of the files of the tree. Files that are the same already are left alone, so that cargo builds only what changed.
#[derive(Debug)]
pub struct Copy {
    root: PathBuf,
}

impl Copy {
    /// Brings the copy in `to` up to the files `names` of the tree `from`; what else is in it is removed.
    pub fn refresh(from: &Path, names: &[String], to: &Path) -> Result<Self> {
        fs::create_dir_all(to)?;
        let mut stale = files_below(to)?;
        for name in names {
            let (source, target) = (from.join(name), to.join(name));
            let Ok(content) = fs::read(&source) else { continue }; // deleted, but git still has it
            stale.retain(|path| *path != target);
            if fs::read(&target).is_ok_and(|there| there == content) {
                continue;
            }
            if let Some(folder) = target.parent() {
                fs::create_dir_all(folder)?;
            }
            // With its permissions: scripts are to stay scripts.
            fs::copy(&source, &target).with_context(|| format!("cannot copy {name}"))?;
        }
        for path in stale {
            fs::remove_file(path)?;
        }
        Ok(Self { root: to.to_owned() })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What a file says.
    pub fn read(&self, name: &str) -> Result<String> {
        fs::read_to_string(self.root.join(name)).with_context(|| format!("cannot read {name}"))
    }

    /// Makes a file say `text`.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.root.join(name), text).with_context(|| format!("cannot write {name}"))
    }
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path())
            } else {
                files.push(entry.path())
            }
        }
    }
    Ok(files)
}
