//! Replays what the fuzz targets keep in `fuzz/corpus`, found failures included.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../fuzz/src/messages.rs"]
mod messages;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap()).collect();
    assert!(!files.is_empty(), "nothing in {}", folder.display());
    for file in files {
        println!("{}", file.path().display());
        check(&std::fs::read(file.path()).unwrap());
    }
}

#[test]
fn headers_of_the_corpus_hold() {
    replay("header", messages::header);
}

#[test]
fn requests_of_the_corpus_hold() {
    replay("request", messages::request);
}

#[test]
fn responses_and_data_of_the_corpus_hold() {
    replay("response", messages::response);
}
