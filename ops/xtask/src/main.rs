//! Repository chores, run as `cargo run -p ottla-xtask -- CHORE`:
//! - `tidy` checks what neither rustfmt nor clippy sees;
//! - `mutations [FILTER]` takes each rule out of the code and sees that its test fails.

mod mutations;
mod tidy;

use std::path::Path;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("tidy") => tidy::check(&root),
        Some("mutations") => mutations::run(&root, &arguments.next().unwrap_or_default()),
        other => bail!("unknown chore {other:?}; there are: tidy, mutations [FILTER]"),
    }
}
