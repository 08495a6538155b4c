//! Which process a connection belongs to, from the system's table of sockets.

use std::{fs, net::SocketAddr};

/// The inode of the socket at `local` that is connected to `remote`, both of IPv4.
pub(super) fn socket_inode(local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let (local, remote) = (hex(local)?, hex(remote)?);
    let row = table.lines().skip(1).map(str::split_whitespace).find_map(|columns| {
        let columns: Vec<_> = columns.collect();
        (columns.get(1..3)? == [&local, &remote]).then_some(columns)
    })?;
    row.get(9)?.parse().ok()
}

/// Whether a process holds that socket.
pub(super) fn has_socket(pid: u32, inode: u64) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let name = format!("socket:[{inode}]");
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == &*name))
}

/// An address as the table writes it.
fn hex(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    let ip = u32::from_ne_bytes(address.ip().octets());
    Some(format!("{ip:08X}:{:04X}", address.port()))
}
