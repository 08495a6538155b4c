#![no_main]

#[path = "../src/batches.rs"]
#[allow(dead_code)]
mod batches;

libfuzzer_sys::fuzz_target!(|input: &[u8]| batches::read_batches(input));
