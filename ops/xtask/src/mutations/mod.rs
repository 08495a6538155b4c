//! Mutations: for each rule in ARCHITECTURE.md, a change of the code that breaks it, and the test that must fail then.
//!
//! The list is `integration-tests/mutations.json`. `tidy` checks that it still fits the code; [`mod@run`] tries it.

mod list;
mod run;
mod tree;

pub use list::findings;
pub use run::run;
