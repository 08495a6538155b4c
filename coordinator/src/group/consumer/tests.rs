//! Tests of the machine: single steps in `steps`, whole lives of groups in `simulation`.

mod bench;
mod simulation;
mod world;
