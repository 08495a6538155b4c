//! Generates Rust for the message descriptors in `messages/`.

#[path = "codegen/mod.rs"]
mod codegen;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=messages");
    println!("cargo::rerun-if-changed=codegen");
    println!("cargo::rerun-if-changed=build.rs");
    let root = env::var("CARGO_MANIFEST_DIR")?;
    let mut files: Vec<PathBuf> = fs::read_dir(Path::new(&root).join("messages"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    let mut messages = Vec::new();
    for path in files {
        let parsed = codegen::parse(&fs::read_to_string(&path)?);
        messages.extend(parsed.map_err(|error| format!("{}: {error}", path.display()))?);
    }
    messages.sort_by(|one, other| one.name.cmp(&other.name));
    let target = Path::new(&env::var("OUT_DIR")?).join("messages.rs");
    fs::write(target, codegen::emit(&messages)?)?;
    Ok(())
}
