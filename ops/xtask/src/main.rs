//! Repository chores: `cargo run -p ottla-xtask -- tidy` checks what neither rustfmt nor clippy sees.

mod tidy;

use std::path::Path;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => tidy::check(&root),
        other => bail!("unknown chore {other:?}; there is: tidy"),
    }
}
