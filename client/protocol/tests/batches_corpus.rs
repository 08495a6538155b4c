//! Replays what the fuzz targets for batches keep in `fuzz/corpus`, found failures included.

#[path = "../fuzz/src/batches.rs"]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod batches;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut replayed = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is there") {
        let path = entry.expect("the folder can be read").path();
        run(&std::fs::read(&path).expect("the file can be read"));
        replayed += 1;
    }
    assert!(0 < replayed);
}

#[test]
fn batches_of_the_corpus_hold() {
    replay("batches", batches::read_batches);
}

#[test]
fn compressed_data_of_the_corpus_holds() {
    replay("decompress", batches::decompress);
}
