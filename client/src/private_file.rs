//! Files that nobody but their owner may read.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Why a private file is not used.
#[derive(Debug)]
pub(crate) enum PrivateFileError {
    /// It cannot be read.
    Io(io::Error),
    /// Its permissions let others at it.
    Mode(u32),
}

/// Reads a file of at most [`BYTES_MAX`] bytes. What is checked is what is read, whatever happens to the
/// name meanwhile.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, PrivateFileError> {
    let file = File::open(path).map_err(PrivateFileError::Io)?;
    let metadata = file.metadata().map_err(PrivateFileError::Io)?;
    if !metadata.is_file() {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "it is no file");
        return Err(PrivateFileError::Io(error));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(PrivateFileError::Mode(mode));
    }
    let mut content = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut content).map_err(PrivateFileError::Io)?;
    if BYTES_MAX < content.len() as u64 {
        let error = io::Error::new(io::ErrorKind::FileTooLarge, "it is too long");
        return Err(PrivateFileError::Io(error));
    }
    Ok(content)
}

/// What group and others may do.
const OTHERS: u32 = 0o077;
/// No secret, and no key with its certificates, is longer.
const BYTES_MAX: u64 = 1024 * 1024;
