//! `ottla`: topics, records, clusters and logs from the command line, and a whole server in one process.

mod format;
mod input;
mod output;

fn main() {}
