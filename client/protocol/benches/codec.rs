//! Nanoseconds and allocations for Produce and Fetch with 1 MiB of records: `cargo bench -p ottla-protocol`.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

#[path = "../tests/support/counting.rs"]
mod counting;
#[path = "../tests/support/hot.rs"]
mod hot;

use std::hint::black_box;
use std::time::Instant;

use ottla_protocol::messages::{FetchResponse, ProduceRequest};
use ottla_protocol::{ApiKey, Message, frame};

/// Batches of calls of which the fastest counts, and calls in each.
const ROUNDS: usize = 200;
const CALLS: usize = 1000;

fn measure<T>(name: &str, mut work: impl FnMut() -> T) {
    let (_, allocated) = counting::counted(&mut work);
    let mut fastest = u128::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(work());
        }
        fastest = fastest.min(start.elapsed().as_nanos());
    }
    let nanos = fastest as f64 / CALLS as f64;
    println!(
        "{name:<24} {nanos:>8.1} ns {:>4} allocations {:>6} bytes",
        allocated.calls, allocated.bytes
    );
}

fn main() {
    let records = hot::records();
    let produce = hot::produce(&records);
    let fetched = hot::fetched(&records);
    let produce_body = produce.encode_all(hot::PRODUCE_VERSION).expect("valid");
    let fetch_body = fetched.encode_all(hot::FETCH_VERSION).expect("valid");
    measure("produce request, encode", || {
        frame::encode_request(1, None, hot::PRODUCE_VERSION, &produce)
    });
    measure("produce request, decode", || {
        let read = ProduceRequest::decode_all(produce_body.clone(), hot::PRODUCE_VERSION);
        let at = hot::produced_at(&read.expect("valid"));
        assert!(at.is_some_and(|at| produce_body.as_ptr_range().contains(&at)), "copied");
    });
    measure("fetch response, encode", || {
        frame::encode_response(ApiKey::Fetch, hot::FETCH_VERSION, 1, &fetched)
    });
    measure("fetch response, decode", || {
        let read = FetchResponse::decode_all(fetch_body.clone(), hot::FETCH_VERSION);
        let at = hot::fetched_at(&read.expect("valid"));
        assert!(at.is_some_and(|at| fetch_body.as_ptr_range().contains(&at)), "copied");
    });
}
