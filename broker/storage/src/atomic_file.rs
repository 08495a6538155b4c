//! Small files that are replaced whole: after a crash there is the old one or the new one.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use crate::io::{LogFile, LogIo, OpenMode};
use crate::paths::TEMP_FILE_SUFFIX;

/// Replaces the file at `path`: writes a temporary file, syncs it, renames it, syncs the folder. When this returns the new
/// content survives a power cut.
pub(crate) fn replace<I: LogIo>(io: &I, path: &Path, content: &[u8]) -> io::Result<()> {
    let temp = temp_path(path);
    let file = io.open(&temp, OpenMode::CreateOrTruncate)?;
    file.write_at(0, &[IoSlice::new(content)])?;
    file.sync()?;
    drop(file);
    io.rename(&temp, path)?;
    match path.parent() {
        Some(dir) => io.sync_dir(dir),
        None => Ok(()),
    }
}

/// Removes a file that may be absent; durable when this returns. Returns whether it was there.
pub(crate) fn remove<I: LogIo>(io: &I, path: &Path) -> io::Result<bool> {
    match io.remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    if let Some(dir) = path.parent() {
        io.sync_dir(dir)?;
    }
    Ok(true)
}

/// Reads a file that may be absent, at most [`SMALL_FILE_LEN_MAX`] bytes.
pub(crate) fn read_optional<I: LogIo>(io: &I, path: &Path) -> io::Result<Option<Vec<u8>>> {
    match io.read_small(path, SMALL_FILE_LEN_MAX) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// No file that is read whole is larger: a producer snapshot of a million producers has 47 MB.
pub(crate) const SMALL_FILE_LEN_MAX: usize = 256 << 20;

fn temp_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(TEMP_FILE_SUFFIX);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Fault, SimIo};

    #[test]
    fn a_power_cut_at_any_step_leaves_the_old_content_or_the_new() {
        let path = Path::new("/checkpoint");
        for seed in 0..40 {
            for at in 1..8 {
                let io = SimIo::new(seed);
                replace(&io, path, b"old").unwrap();
                io.inject(Fault::PowerOff { at });
                let written = replace(&io, path, b"new content").is_ok();
                io.power_cut();
                let found = read_optional(&io, path).unwrap().expect("the file never vanishes");
                assert!(found == b"new content" || (!written && found == b"old"), "{found:?}");
            }
        }
    }
}
