//! Tests of the machine: single steps in `steps`, whole lives of groups in `simulation`.

mod bench;
mod script;
mod simulation;
mod world;

#[test]
fn scenarios() {
    crate::group::scenario::run::<script::Scripted>("consumer");
}
