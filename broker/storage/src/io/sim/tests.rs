use std::io::{self, IoSlice};
use std::path::Path;

use super::*;
use crate::io::read_full;

fn write(file: &SimFile, position: u64, bytes: &[u8]) -> io::Result<()> {
    file.write_at(position, &[IoSlice::new(bytes)])
}

fn content(io: &SimIo, path: &str) -> Option<Vec<u8>> {
    io.read_small(Path::new(path), 1 << 20).ok()
}

#[test]
fn what_was_synced_survives_and_nothing_else_is_sure() {
    let (mut kept, mut lost, mut torn) = (0, 0, 0);
    for seed in 0..200 {
        let io = SimIo::new(seed);
        let file = io.open(Path::new("/f"), OpenMode::CreateNew).unwrap();
        write(&file, 0, b"durable").unwrap();
        file.sync().unwrap();
        io.sync_dir(Path::new("/")).unwrap();
        write(&file, 7, b"+unsynced").unwrap();
        io.power_cut();
        assert!(file.len().is_err(), "a file of the former life is dead");
        let found = content(&io, "/f").unwrap();
        assert!(found.starts_with(b"durable"), "seed {seed}: {found:?}");
        match found.len() {
            7 => lost += 1,
            16 if found.ends_with(b"+unsynced") => kept += 1,
            _ => torn += 1,
        }
    }
    assert!(0 < kept && 0 < lost && 0 < torn, "{kept} {lost} {torn}");
}

#[test]
fn names_last_only_after_their_folder_was_synced() {
    let (mut there, mut gone) = (0, 0);
    for seed in 0..100 {
        let io = SimIo::new(seed);
        let file = io.open(Path::new("/f"), OpenMode::CreateNew).unwrap();
        write(&file, 0, b"x").unwrap();
        file.sync().unwrap();
        io.power_cut();
        match content(&io, "/f") {
            Some(found) => {
                assert_eq!(found, b"x");
                there += 1;
            }
            None => gone += 1,
        }
    }
    assert!(0 < there && 0 < gone);
}

#[test]
fn a_failed_sync_loses_the_pages_although_the_next_one_succeeds() {
    let io = SimIo::new(0);
    let file = io.open(Path::new("/f"), OpenMode::CreateNew).unwrap();
    io.sync_dir(Path::new("/")).unwrap();
    write(&file, 0, b"lost").unwrap();
    io.inject(Fault::Fail { op: SimOp::Sync, nth: 1, error: io::ErrorKind::Other });
    assert!(file.sync().is_err());
    let mut buf = [0; 4];
    assert_eq!(read_full(&file, 0, &mut buf).unwrap(), 4, "the page cache still has it");
}

#[test]
fn a_full_disk_tears_the_write() {
    let io = SimIo::new(0);
    let file = io.open(Path::new("/f"), OpenMode::CreateNew).unwrap();
    io.set_capacity(Some(3));
    let error = write(&file, 0, b"abcdef").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(content(&io, "/f").unwrap(), b"abc");
    assert_eq!(io.space(Path::new("/")).unwrap(), Space { total: 3, available: 0 });
}

#[test]
fn the_same_seed_gives_the_same_disk() {
    let run = |seed| {
        let io = SimIo::new(seed);
        for i in 0..20 {
            let path = format!("/f{i}");
            let file = io.open(Path::new(&path), OpenMode::CreateNew).unwrap();
            write(&file, 0, &[i; 5000]).unwrap();
            if i % 3 == 0 {
                file.sync().unwrap();
            }
        }
        io.power_cut();
        io.list(Path::new("/")).unwrap()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
