//! The machine's own limits: bare programs that do only what cannot be left out.
//!
//! Everything that Ottla's benchmarks print is read beside these, from the same run: an absolute figure says more about the
//! machine and its neighbours than about the program.

use std::{
    fs::{File, OpenOptions},
    hint::black_box,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::FileExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use ottla_protocol::record_batch::{Builder, BuilderOptions, NewRecord, crc32c};

const MIB: usize = 1 << 20;
const TOTAL: usize = 512 * MIB;
const FSYNC_FOR: Duration = Duration::from_secs(2);

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    println!("{:<52} {:>12}", "floor", "figure");
    for size in [64 << 10, 128 << 10, 256 << 10] {
        report(&format!("pwrite, {} KiB", size >> 10), pwrite(folder.path(), size));
    }
    report("receive on loopback, CRC-32C, pwrite, 128 KiB", receive(folder.path()));
    report("pread from the page cache, send on loopback, 256 KiB", serve(folder.path()));
    for files in [1, 16, 64] {
        let rate = fsync_loop(folder.path(), files);
        println!("{:<52} {rate:>8.0} /s", format!("4 KiB append and fdatasync, {files} files"));
    }
}

fn report(what: &str, rate: f64) {
    println!("{what:<52} {:>7.0} MiB/s", rate / MIB as f64);
}

/// Appends to a fresh file; bytes a second.
fn pwrite(folder: &Path, size: usize) -> f64 {
    let file = fresh(folder, "pwrite");
    let buffer = vec![7; size];
    let start = now();
    for position in (0..TOTAL).step_by(size) {
        file.write_all_at(&buffer, position as u64).expect("room on the disk");
    }
    TOTAL as f64 / start.elapsed().as_secs_f64()
}

/// What a broker cannot do without: read a frame, check it, write it.
fn receive(folder: &Path) -> f64 {
    let batch = batch_of(128 << 10);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let count = TOTAL / batch.len();
    let sent = batch.clone();
    let sender = thread::spawn(move || {
        let mut stream = TcpStream::connect(address).expect("a connection");
        for _ in 0..count {
            stream.write_all(&sent).expect("the receiver reads");
        }
    });
    let (mut stream, _) = listener.accept().expect("a connection");
    let file = fresh(folder, "receive");
    let mut frame = vec![0; batch.len()];
    let start = now();
    for index in 0..count {
        stream.read_exact(&mut frame).expect("the sender sends");
        black_box(crc32c(&frame[21..]));
        file.write_all_at(&frame, (index * frame.len()) as u64).expect("room on the disk");
    }
    let elapsed = start.elapsed();
    sender.join().expect("the sender ends");
    (count * batch.len()) as f64 / elapsed.as_secs_f64()
}

/// What serving from the page cache cannot do without.
fn serve(folder: &Path) -> f64 {
    let file = fresh(folder, "serve");
    file.write_all_at(&vec![7; 64 * MIB], 0).expect("room on the disk");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let reader = thread::spawn(move || {
        let mut stream = TcpStream::connect(address).expect("a connection");
        let mut buffer = vec![0; MIB];
        let mut left = TOTAL;
        while 0 < left {
            left -= stream.read(&mut buffer).expect("the server sends");
        }
    });
    let (mut stream, _) = listener.accept().expect("a connection");
    let mut buffer = vec![0; 256 << 10];
    let start = now();
    for position in (0..TOTAL).step_by(buffer.len()) {
        file.read_exact_at(&mut buffer, (position % (64 * MIB)) as u64)
            .expect("the file's content");
        stream.write_all(&buffer).expect("the reader reads");
    }
    reader.join().expect("the reader ends");
    TOTAL as f64 / start.elapsed().as_secs_f64()
}

/// A thread for each file, each append synced before the next; appends a second over all.
fn fsync_loop(folder: &Path, files: usize) -> f64 {
    let start = now();
    let threads: Vec<_> = (0..files)
        .map(|index| {
            let file = fresh(folder, &format!("fsync-{index}"));
            thread::spawn(move || {
                let buffer = [7; 4096];
                let mut count = 0_u64;
                while start.elapsed() < FSYNC_FOR {
                    file.write_all_at(&buffer, count * 4096).expect("room on the disk");
                    file.sync_data().expect("a disk that syncs");
                    count += 1;
                }
                count
            })
        })
        .collect();
    let count: u64 = threads.into_iter().map(|t| t.join().expect("a thread ends")).sum();
    count as f64 / start.elapsed().as_secs_f64()
}

fn fresh(folder: &Path, name: &str) -> File {
    let path = folder.join(name);
    OpenOptions::new()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(path)
        .expect("a file")
}

fn batch_of(size: usize) -> Vec<u8> {
    let mut builder =
        Builder::new(BuilderOptions { bytes_max: 2 * size, ..BuilderOptions::default() });
    let value = [7; 1000];
    while builder.estimated_len() < size {
        let record = NewRecord { timestamp: 0, key: None, value: Some(&value), headers: &[] };
        builder.push(&record).expect("room in the batch");
    }
    builder.build().expect("a batch").bytes.to_vec()
}
