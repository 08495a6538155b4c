//! The network between the processes of a cluster, so that a test can cut or slow down the link of one pair.
//!
//! Each address of a process gets a *front*: a port of this process that passes every byte on. Others are told the front.
//! Who connects is found out from the system's table of sockets, so that broker 1 can be cut off broker 2 and still reach
//! broker 3. A link that is cut stands still, as with a cable pulled: nothing passes, nobody is told, and what was sent
//! meanwhile arrives once it is healed.
//!
//! A link can be cut one way only: what one side sends is kept, what it is sent arrives. A connection is then not made either,
//! as a handshake needs both ways.
//!
//! One thing differs from a real network: a front accepts before it knows that nobody listens behind it, and then closes.
//! So a process that was killed is not *refused*; tests of how fast a crash is noticed go without fronts.

mod owner;
mod pump;

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::{
    runtime::Builder,
    sync::{mpsc, watch},
};

/// One end of a link. Ids count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Whoever is none of the others: clients, tools, the test itself.
    Client,
    /// A broker.
    Broker(u16),
    /// A coordinator.
    Coordinator(u16),
    /// A member of etcd.
    Etcd(u16),
}

/// What one direction of a link does to what is sent over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Passes it on after this long.
    Pass(Duration),
    /// Keeps it.
    Cut,
}

/// A direction of the connections that one role makes to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Way {
    /// From who connected to who accepted.
    There,
    /// The other one.
    Back,
}

const WAYS: [Way; 2] = [Way::There, Way::Back];

/// The fronts of a cluster's processes, and the rules between them.
#[derive(Debug)]
pub struct Links {
    shared: Arc<Shared>,
    fronts: Mutex<HashMap<SocketAddr, SocketAddr>>,
    new: mpsc::Sender<NewFront>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The process of each role, to find out who connects.
    pids: Mutex<HashMap<Role, u32>>,
    /// From and to, by who connected to whom.
    rules: Mutex<HashMap<(Role, Role, Way), watch::Sender<Rule>>>,
    /// Those of connections that were stranded.
    stranded: Mutex<Vec<watch::Sender<Rule>>>,
}

#[derive(Debug)]
struct NewFront {
    listener: TcpListener,
    role: Role,
    target: SocketAddr,
}

impl Links {
    pub(super) fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let (new, fronts) = mpsc::channel(64);
        let of_thread = shared.clone();
        // A thread of its own, which ends with the sender: tests may or may not have a runtime.
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(serve(of_thread, fronts));
        });
        Self { shared, fronts: Mutex::default(), new }
    }

    /// The address to give to others in place of `target`, an address of `role`.
    pub(super) fn front(&self, role: Role, target: SocketAddr) -> SocketAddr {
        *lock(&self.fronts).entry(target).or_insert_with(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.set_nonblocking(true).expect("a listener can be non-blocking");
            let address = listener.local_addr().expect("its address");
            self.new.try_send(NewFront { listener, role, target }).expect("few fronts");
            address
        })
    }

    /// Tells which process plays a role now.
    pub(super) fn register(&self, role: Role, pid: u32) {
        lock(&self.shared.pids).insert(role, pid);
    }

    /// Nothing passes any more where `from` connects to `to`, nor back. Brokers connect to brokers both ways, so two that
    /// are to be parted need two cuts.
    pub fn cut(&self, from: Role, to: Role) {
        self.set(from, to, Rule::Cut);
    }

    /// What `from` sends does not get to `to`, whoever of the two has connected. The other way everything passes.
    pub fn cut_one_way(&self, from: Role, to: Role) {
        self.shared.rule((from, to, Way::There)).send_replace(Rule::Cut);
        self.shared.rule((to, from, Way::Back)).send_replace(Rule::Cut);
    }

    /// The connections that `from` has made to `to` so far stand still until [`Self::heal_all`]: their ends, too, are news that
    /// does not arrive. New ones pass. So it is when a machine is gone from one moment to the next and back soon.
    pub fn strand(&self, from: Role, to: Role) {
        let mut rules = lock(&self.shared.rules);
        let mut stranded = lock(&self.shared.stranded);
        for rule in WAYS.into_iter().filter_map(|way| rules.remove(&(from, to, way))) {
            rule.send_replace(Rule::Cut);
            stranded.push(rule);
        }
    }

    /// Everything takes this much longer where `from` connects to `to`, and back.
    pub fn delay(&self, from: Role, to: Role, by: Duration) {
        self.set(from, to, Rule::Pass(by));
    }

    /// Undoes a cut or delay.
    pub fn heal(&self, from: Role, to: Role) {
        self.set(from, to, Rule::Pass(Duration::ZERO));
    }

    /// Undoes every cut and delay.
    pub fn heal_all(&self) {
        let stranded = std::mem::take(&mut *lock(&self.shared.stranded));
        for rule in lock(&self.shared.rules).values().chain(&stranded) {
            rule.send_replace(Rule::Pass(Duration::ZERO));
        }
    }

    fn set(&self, from: Role, to: Role, rule: Rule) {
        for way in WAYS {
            self.shared.rule((from, to, way)).send_replace(rule);
        }
    }
}

impl Shared {
    fn rule(&self, of: (Role, Role, Way)) -> watch::Sender<Rule> {
        let pass = || watch::Sender::new(Rule::Pass(Duration::ZERO));
        lock(&self.rules).entry(of).or_insert_with(pass).clone()
    }

    fn role_of(&self, peer: SocketAddr, front: SocketAddr) -> Role {
        let Some(inode) = owner::socket_inode(peer, front) else { return Role::Client };
        let pids = lock(&self.pids);
        let role = pids.iter().find(|(_, pid)| owner::has_socket(**pid, inode));
        role.map_or(Role::Client, |(role, _)| *role)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Accepts at every front until the [`Links`] are dropped.
async fn serve(shared: Arc<Shared>, mut fronts: mpsc::Receiver<NewFront>) {
    while let Some(front) = fronts.recv().await {
        let listener = tokio::net::TcpListener::from_std(front.listener).expect("a listener");
        tokio::spawn(accept(shared.clone(), listener, front.role, front.target));
    }
}

async fn accept(
    shared: Arc<Shared>,
    listener: tokio::net::TcpListener,
    to: Role,
    target: SocketAddr,
) {
    let front = listener.local_addr().expect("its address");
    loop {
        // A connection that ended before it was accepted concerns nobody.
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let from = shared.role_of(peer, front);
        let rules = WAYS.map(|way| shared.rule((from, to, way)).subscribe());
        tokio::spawn(pump::connection(stream, target, rules));
    }
}

#[cfg(test)]
mod tests;
