#![no_main]

#[path = "../src/messages.rs"]
#[allow(dead_code)]
mod messages;

libfuzzer_sys::fuzz_target!(|input: &[u8]| messages::header(input));
