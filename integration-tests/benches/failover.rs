//! How long writes stand still when a leader goes, with default settings: the longest gap between two acknowledgements of
//! acks=all on one partition of three replicas, over several rounds.
//!
//! Three brokers, a coordinator and an etcd on this machine; a record every millisecond. With `KAFKA=1` the same is done to
//! three brokers of Apache Kafka, by the same client, and the ratio printed; that takes some ten minutes.
//! `cargo bench -p ottla-integration-tests --bench failover`; `ROUNDS=5` changes how often.

mod support;

use std::{env, time::Duration};

use ottla_integration_tests::harness::{
    ApacheKafka, Cluster, PartitionState, Shape, Signal, create_topic_at, describe_topic,
    eventually,
    history::{Load, LoadOptions},
};
use support::{median, ms};

const TOPIC: &str = "watched";
const SOON: Duration = Duration::from_secs(120);

/// What happens to the leader.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Killed,
    Stopped,
    Paused,
}

/// Three brokers, of either make.
trait Brokers {
    fn bootstrap(&self) -> String;
    fn create(&self);
    /// The partition, as a broker shows it that is up.
    fn state(&self) -> Option<PartitionState>;
    fn strike(&mut self, id: u16, fate: Fate);
    fn restore(&mut self, id: u16, fate: Fate);

    fn leader(&self) -> u16 {
        eventually("a leader", SOON, || self.state()?.leader)
    }

    fn await_in_sync(&self) {
        eventually("all are in sync", SOON, || self.state()?.is_whole().then_some(()));
    }
}

impl Brokers for Cluster {
    fn bootstrap(&self) -> String {
        Cluster::bootstrap(self)
    }

    fn create(&self) {
        self.create_topic(TOPIC, 1, 3, &[("min.insync.replicas", "2")]);
    }

    fn state(&self) -> Option<PartitionState> {
        self.brokers_up().find_map(|id| self.describe_by(id, TOPIC)?.pop())
    }

    fn strike(&mut self, id: u16, fate: Fate) {
        match fate {
            Fate::Killed => self.broker(id).kill(),
            Fate::Stopped => drop(self.broker(id).stop()),
            Fate::Paused => self.broker(id).pause(),
        }
    }

    fn restore(&mut self, id: u16, fate: Fate) {
        match fate {
            Fate::Killed | Fate::Stopped => self.restart_broker(id),
            Fate::Paused => self.broker(id).resume(),
        }
    }
}

/// Apache Kafka, and who of it is up.
struct Yardstick {
    kafka: ApacheKafka,
    up: [bool; 3],
}

impl Brokers for Yardstick {
    fn bootstrap(&self) -> String {
        self.kafka.bootstrap()
    }

    fn create(&self) {
        let configs = [("min.insync.replicas", "2")];
        eventually("a topic", SOON, || {
            let address = self.kafka.address(1);
            let answer = create_topic_at(address, SOON, TOPIC, (1, 3), &configs).ok()?;
            [0, 36].contains(&answer.0).then_some(())
        });
    }

    fn state(&self) -> Option<PartitionState> {
        let up = (1..).zip(self.up).filter_map(|(id, is_up)| is_up.then_some(id));
        up.into_iter().find_map(|id| describe_topic(self.kafka.address(id), TOPIC)?.pop())
    }

    fn strike(&mut self, id: u16, fate: Fate) {
        self.up[usize::from(id) - 1] = false;
        match fate {
            Fate::Killed => self.kafka.kill(id),
            Fate::Stopped => self.kafka.stop(id),
            Fate::Paused => self.kafka.signal(id, Signal::STOP),
        }
    }

    fn restore(&mut self, id: u16, fate: Fate) {
        match fate {
            Fate::Killed | Fate::Stopped => self.kafka.restart(id),
            Fate::Paused => self.kafka.signal(id, Signal::CONT),
        }
        self.up[usize::from(id) - 1] = true;
    }
}

fn main() {
    if !support::is_prepared() {
        return;
    }
    support::print_load();
    let is_compared = env::var_os("KAFKA").is_some();
    let rounds = support::size("ROUNDS", if is_compared { 3 } else { 5 });
    line("longest gap in acks=all writes, three brokers", ["median", "worst", "Kafka", "worst"]);
    for (fate, what) in [
        (Fate::Killed, "leader killed (SIGKILL)"),
        (Fate::Stopped, "leader stopped (SIGTERM)"),
        (Fate::Paused, "leader paused (SIGSTOP)"),
    ] {
        let ours = gaps(&mut Cluster::start(&Shape::of(3)), fate, rounds);
        let theirs = is_compared.then(|| {
            let kafka = ApacheKafka::start(3, "512m", &[]).expect("Java");
            gaps(&mut Yardstick { kafka, up: [true; 3] }, fate, rounds)
        });
        print(what, ours, theirs);
    }
}

fn print(what: &str, ours: Vec<Duration>, theirs: Option<Vec<Duration>>) {
    let worst = |times: &[Duration]| ms(times.iter().max().copied().unwrap_or_default());
    let (our_worst, ours) = (worst(&ours), median(ours));
    let Some(theirs) = theirs else {
        return line(what, [&ms(ours), &our_worst, "", ""]);
    };
    let (their_worst, theirs) = (worst(&theirs), median(theirs));
    line(what, [&ms(ours), &our_worst, &ms(theirs), &their_worst]);
    println!("{:<46} {:>13.3} of Kafka's", "", ours.as_secs_f64() / theirs.as_secs_f64());
}

fn line(what: &str, columns: [&str; 4]) {
    let [a, b, c, d] = columns;
    println!("{what:<46} {a:>13} {b:>13} {c:>13} {d:>13}");
}

/// The longest gap of each round.
fn gaps(brokers: &mut impl Brokers, fate: Fate, rounds: u64) -> Vec<Duration> {
    brokers.create();
    brokers.await_in_sync();
    let options = LoadOptions {
        producers: 1,
        pace: Duration::from_millis(1),
        reader: false,
        ..LoadOptions::new(TOPIC, 1)
    };
    let load = Load::start(&brokers.bootstrap(), options);
    let mut begins = Vec::new();
    for _ in 0..rounds {
        load.await_more(1_000);
        let leader = brokers.leader();
        begins.push(load.elapsed());
        brokers.strike(leader, fate);
        load.await_each();
        load.await_more(1_000);
        brokers.restore(leader, fate);
        brokers.await_in_sync();
    }
    let history = load.finish();
    history.assert_sound();
    let gap = |(from, to): (&Duration, &Duration)| history.longest_gap_within(0, *from, *to);
    let ends = begins.iter().skip(1).chain([&Duration::MAX]);
    begins.iter().zip(ends).filter_map(gap).collect()
}
