use std::{
    io::{Read, Write},
    net::TcpStream,
};

use super::*;

const A_LITTLE: Duration = Duration::from_millis(100);

/// A server that echoes, and its address.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            thread::spawn(move || {
                let mut buffer = [0; 16];
                while let Ok(len @ 1..) = stream.read(&mut buffer) {
                    stream.write_all(&buffer[..len]).unwrap();
                }
            });
        }
    });
    address
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn answers(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 4];
    stream.read_exact(&mut buffer).is_ok_and(|()| &buffer == b"ping")
}

/// Whether nothing comes within a while; that cannot be waited for in any other way.
fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(A_LITTLE)).unwrap();
    let silent = stream.read(&mut [0; 1]).is_err();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    silent
}

#[test]
fn cut_link_stands_still_until_it_is_healed() {
    let links = Links::new();
    let front = links.front(Role::Broker(1), echo());
    let mut stream = connect(front);
    stream.write_all(b"ping").unwrap();
    assert!(answers(&mut stream));
    links.cut(Role::Client, Role::Broker(1));
    stream.write_all(b"ping").unwrap();
    let mut second = connect(front);
    second.write_all(b"ping").unwrap();
    assert!(is_silent(&mut stream) && is_silent(&mut second));
    links.heal_all();
    assert!(answers(&mut stream) && answers(&mut second));
}

#[test]
fn link_that_is_cut_one_way_passes_the_other() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let links = Links::new();
    let mut client = connect(links.front(Role::Broker(1), listener.local_addr().unwrap()));
    let mut server = listener.accept().unwrap().0;
    server.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    links.cut_one_way(Role::Broker(1), Role::Client);
    server.write_all(b"ping").unwrap();
    client.write_all(b"ping").unwrap();
    assert!(answers(&mut server) && is_silent(&mut client));
    links.heal_all();
    assert!(answers(&mut client));
    // The same by the other name: who has connected does not matter.
    links.cut_one_way(Role::Client, Role::Broker(1));
    server.write_all(b"ping").unwrap();
    client.write_all(b"ping").unwrap();
    assert!(answers(&mut client) && is_silent(&mut server));
    links.heal_all();
    assert!(answers(&mut server));
}

#[test]
fn stranded_connection_hides_its_end_and_new_ones_pass() {
    let links = Links::new();
    let front = links.front(Role::Broker(1), echo());
    let mut old = connect(front);
    old.write_all(b"ping").unwrap();
    assert!(answers(&mut old));
    links.strand(Role::Client, Role::Broker(1));
    old.write_all(b"ping").unwrap();
    old.shutdown(std::net::Shutdown::Write).unwrap();
    let mut new = connect(front);
    new.write_all(b"ping").unwrap();
    assert!(answers(&mut new) && is_silent(&mut old));
    links.heal_all();
    assert!(answers(&mut old));
    assert_eq!(old.read(&mut [0; 1]).unwrap(), 0, "now its end is heard");
}

#[test]
fn cut_of_another_pair_changes_nothing() {
    let links = Links::new();
    let front = links.front(Role::Broker(1), echo());
    links.cut(Role::Broker(2), Role::Broker(1));
    links.cut(Role::Client, Role::Broker(2));
    let mut stream = connect(front);
    stream.write_all(b"ping").unwrap();
    assert!(answers(&mut stream));
}

#[test]
fn process_that_connects_is_recognised() {
    let links = Links::new();
    let front = links.front(Role::Etcd(1), echo());
    links.register(Role::Broker(3), std::process::id());
    links.cut(Role::Broker(3), Role::Etcd(1));
    let mut stream = connect(front);
    stream.write_all(b"ping").unwrap();
    assert!(is_silent(&mut stream));
    links.heal(Role::Broker(3), Role::Etcd(1));
    assert!(answers(&mut stream));
}

#[test]
fn delayed_link_passes_everything_on_in_order() {
    let links = Links::new();
    let front = links.front(Role::Broker(1), echo());
    links.delay(Role::Client, Role::Broker(1), Duration::from_millis(50));
    let mut stream = connect(front);
    let sent: Vec<u8> = (0..=255).collect();
    stream.write_all(&sent).unwrap();
    let mut received = [0; 256];
    stream.read_exact(&mut received).unwrap();
    assert_eq!(received[..], sent[..]);
}

#[test]
fn end_of_one_side_is_passed_on() {
    let links = Links::new();
    let mut stream = connect(links.front(Role::Broker(1), echo()));
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
}
