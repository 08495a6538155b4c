use std::collections::BTreeSet;

use ottla_metadata::model::PreviousLife;

use super::*;
use crate::controller::brokers::sweep;
use crate::controller::testing::World;

/// A cluster of which time is told by hand, and in which verdicts are carried out.
struct Cluster {
    world: World,
    liveness: Liveness,
    at: Duration,
    heard: BTreeSet<i32>,
}

impl Cluster {
    /// Brokers 1 to `count`, claimed, registered and heard.
    fn of(count: i32) -> Self {
        let mut cluster = Self {
            world: World::new(),
            liveness: Liveness::new(Settings::default()),
            at: Duration::from_secs(1000),
            heard: BTreeSet::new(),
        };
        for broker in 1..=count {
            cluster.world.claim(broker, PreviousLife::None);
            cluster.heard.insert(broker);
        }
        cluster.run(2);
        for broker in 1..=count {
            assert!(!cluster.is_fenced(broker));
        }
        cluster
    }

    fn now(&self) -> Now {
        Now { monotonic: self.at, wall_ms: 0 }
    }

    fn epoch(&self, broker: i32) -> i64 {
        let claim = self.world.image().claim(broker).map(|claim| claim.create_revision);
        claim.unwrap_or_else(|| self.world.image().broker(broker).unwrap().broker_epoch)
    }

    fn heartbeat(&mut self, broker: i32) {
        let heartbeat = Heartbeat {
            broker,
            broker_epoch: self.epoch(broker),
            image_revision: self.world.revision(),
            wants_shutdown: false,
            offline_log_dirs: Vec::new(),
        };
        self.liveness.handle_heartbeat(heartbeat, self.now());
    }

    /// Judges once, carries the verdicts out, and returns them.
    fn judge(&mut self) -> Judgement {
        let judgement = self.liveness.judge(self.world.image(), self.now());
        let sweep = sweep(self.world.image(), &Default::default(), &judgement.verdicts);
        let revision = self.world.commit(sweep.units);
        for verdict in &judgement.verdicts {
            self.liveness.handle_written(verdict, revision);
        }
        judgement
    }

    /// Lets `seconds` pass, judging four times in each; whoever is heard sends a heartbeat in each.
    fn run(&mut self, seconds: u64) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for _ in 0..seconds {
            for broker in self.heard.clone() {
                self.heartbeat(broker);
            }
            for _ in 0..4 {
                verdicts.extend(self.judge().verdicts);
                self.at += Duration::from_millis(250);
            }
        }
        verdicts
    }

    fn is_fenced(&self, broker: i32) -> bool {
        self.world.image().broker(broker).is_none_or(|record| record.fenced)
    }
}

fn fence(broker: i32, reason: FenceReason) -> Verdict {
    Verdict::Fence { broker, reason }
}

#[test]
fn claim_is_registered_fenced_until_the_broker_is_heard() {
    let mut cluster = Cluster::of(1);
    cluster.heard.clear();
    let former = cluster.epoch(1);
    cluster.world.claim(1, PreviousLife::Clean { broker_epoch: former });
    assert_eq!(cluster.run(1), [Verdict::Register { broker: 1, heard: false }]);
    assert!(cluster.is_fenced(1));
    cluster.heard.insert(1);
    assert_eq!(cluster.run(1), [Verdict::Unfence { broker: 1 }]);
    assert!(!cluster.is_fenced(1));
}

#[test]
fn broker_without_a_record_is_registered_once_it_is_heard() {
    let mut cluster = Cluster::of(0);
    cluster.world.claim(1, PreviousLife::None);
    assert_eq!(cluster.run(5), []);
    assert!(cluster.world.image().broker(1).is_none());
    cluster.heard.insert(1);
    assert_eq!(cluster.run(1), [Verdict::Register { broker: 1, heard: true }]);
    assert!(!cluster.is_fenced(1));
}

/// A broker is killed and unregistered at once, while its claim still stands.
#[test]
fn broker_that_was_forgotten_does_not_come_back_by_a_claim_that_has_yet_to_end() {
    let mut cluster = Cluster::of(3);
    cluster.heard.remove(&1);
    cluster.world.delete(ottla_metadata::keys::Key::Broker(1));
    cluster.liveness.handle_forgotten(1);
    assert_eq!(cluster.run(2), []);
    assert!(cluster.world.image().broker(1).is_none());
    // One that lives says so, and is back.
    cluster.heard.insert(1);
    assert_eq!(cluster.run(1), [Verdict::Register { broker: 1, heard: true }]);
}

#[test]
fn heartbeat_that_overtakes_its_claim_counts() {
    let mut cluster = Cluster::of(0);
    let epoch = cluster.world.revision() + 1;
    let early = Heartbeat {
        broker: 1,
        broker_epoch: epoch,
        image_revision: epoch,
        wants_shutdown: false,
        offline_log_dirs: Vec::new(),
    };
    cluster.liveness.handle_heartbeat(early, cluster.now());
    assert_eq!(cluster.judge().verdicts, []);
    assert_eq!(cluster.world.claim(1, PreviousLife::None), epoch);
    assert_eq!(cluster.judge().verdicts, [Verdict::Register { broker: 1, heard: true }]);
    assert!(!cluster.is_fenced(1));
}

#[test]
fn broker_that_does_not_support_a_finalised_feature_stays_fenced() {
    let mut cluster = Cluster::of(0);
    let founded = crate::controller::cluster::found(
        cluster.world.image(),
        &mut crate::controller::testing::random(1),
    );
    cluster.world.commit(vec![founded.unwrap()]);
    for (max, is_fenced) in [(29, true), (30, false)] {
        let mut claim = crate::controller::testing::claim(1, PreviousLife::None);
        let range = ottla_metadata::model::FeatureRange { min: 1, max };
        claim.features.insert("metadata.version".to_owned(), range);
        cluster.world.unclaim(1);
        cluster.world.put(ottla_metadata::keys::Key::BrokerClaim(1), &claim);
        cluster.heard.insert(1);
        cluster.run(2);
        assert_eq!(cluster.is_fenced(1), is_fenced);
    }
}

#[test]
fn broker_whose_image_lacks_its_own_claim_stays_fenced() {
    let mut cluster = Cluster::of(0);
    let epoch = cluster.world.claim(1, PreviousLife::None);
    let blind = Heartbeat {
        broker: 1,
        broker_epoch: epoch,
        image_revision: epoch - 1,
        wants_shutdown: false,
        offline_log_dirs: Vec::new(),
    };
    cluster.liveness.handle_heartbeat(blind, cluster.now());
    cluster.run(1);
    assert!(cluster.is_fenced(1));
}

#[test]
fn new_life_is_registered_anew_and_the_former_one_is_not_heard_any_more() {
    let mut cluster = Cluster::of(1);
    let former = cluster.epoch(1);
    cluster.world.claim(1, PreviousLife::ProcessCrash { broker_epoch: former });
    cluster.heard.clear();
    assert_eq!(cluster.run(1), [Verdict::Register { broker: 1, heard: false }]);
    let delayed = Heartbeat {
        broker: 1,
        broker_epoch: former,
        image_revision: cluster.world.revision(),
        wants_shutdown: false,
        offline_log_dirs: Vec::new(),
    };
    cluster.liveness.handle_heartbeat(delayed, cluster.now());
    assert_eq!(cluster.run(1), []);
    assert!(cluster.is_fenced(1));
}

#[test]
fn process_that_is_gone_is_fenced_at_once_although_its_claim_stands() {
    let mut cluster = Cluster::of(3);
    let epoch = cluster.epoch(1);
    cluster.heard.remove(&1);
    cluster.liveness.handle_probe(1, epoch, Probe::Refused, cluster.now());
    assert_eq!(cluster.judge().verdicts, [fence(1, FenceReason::ProcessGone)]);
    assert_eq!(cluster.run(2), [], "and it is not taken back for its old heartbeats");
    cluster.heard.insert(1);
    assert_eq!(cluster.run(1), [Verdict::Unfence { broker: 1 }], "but for a new one");
}

#[test]
fn probe_of_a_former_life_says_nothing_about_the_present_one() {
    let mut cluster = Cluster::of(2);
    let former = cluster.epoch(1);
    cluster.world.claim(1, PreviousLife::ProcessCrash { broker_epoch: former });
    cluster.run(1);
    cluster.liveness.handle_probe(1, former, Probe::Refused, cluster.now());
    assert_eq!(cluster.run(1), []);
    assert!(!cluster.is_fenced(1));
}

#[test]
fn broker_without_lease_is_fenced_when_it_misses_two_heartbeats() {
    let mut cluster = Cluster::of(3);
    cluster.heard.remove(&1);
    cluster.run(5);
    assert!(!cluster.is_fenced(1), "silence alone fences nobody: its lease stands");
    cluster.world.unclaim(1);
    assert_eq!(cluster.run(1), [fence(1, FenceReason::Lapsed)]);
}

#[test]
fn broker_without_lease_that_is_heard_gets_a_grace_time() {
    let mut cluster = Cluster::of(3);
    cluster.world.unclaim(1);
    assert_eq!(cluster.run(5), []);
    assert_eq!(cluster.run(2), [fence(1, FenceReason::StaleImage)]);
    assert_eq!(cluster.run(5), [], "and it stays fenced, since it holds no claim");
}

#[test]
fn drained_broker_that_gives_up_its_claim_is_fenced_at_once() {
    let mut cluster = Cluster::of(2);
    let wish = Heartbeat {
        broker: 1,
        broker_epoch: cluster.epoch(1),
        image_revision: cluster.world.revision(),
        wants_shutdown: true,
        offline_log_dirs: Vec::new(),
    };
    cluster.liveness.handle_heartbeat(wish, cluster.now());
    assert_eq!(cluster.judge().verdicts, [Verdict::Drain { broker: 1 }]);
    cluster.world.unclaim(1);
    assert_eq!(cluster.judge().verdicts, [fence(1, FenceReason::Stopped)]);
}

#[test]
fn nobody_is_fenced_for_an_outage_of_the_store() {
    let mut cluster = Cluster::of(3);
    cluster.liveness.handle_store(false, cluster.now());
    cluster.heard.clear();
    for broker in 1..=3 {
        cluster.world.unclaim(broker);
    }
    assert_eq!(cluster.run(60), []);
    cluster.liveness.handle_store(true, cluster.now());
    // Nobody is heard before the verdict, and nobody is in doubt for it.
    for broker in 1..=3 {
        cluster.world.reclaim(broker);
        cluster.heard.insert(broker);
    }
    let verdicts = cluster.judge().verdicts;
    assert_eq!(verdicts, [1, 2, 3].map(|broker| Verdict::Reclaim { broker }), "in one sweep");
    assert!((1..=3).all(|broker| !cluster.is_fenced(broker)));
    assert_eq!(cluster.run(20), []);
}

#[test]
fn grace_of_lost_claims_begins_when_the_store_is_back() {
    let mut cluster = Cluster::of(3);
    cluster.liveness.handle_store(false, cluster.now());
    cluster.world.unclaim(1);
    assert_eq!(cluster.run(60), []);
    cluster.liveness.handle_store(true, cluster.now());
    assert_eq!(cluster.run(6), []);
    assert_eq!(cluster.run(2), [fence(1, FenceReason::StaleImage)]);
}

#[test]
fn successor_takes_the_epochs_over_of_all_who_lost_their_claims_with_its_predecessor() {
    let mut cluster = Cluster::of(3);
    for broker in 1..=3 {
        cluster.world.unclaim(broker);
    }
    cluster.liveness = Liveness::new(Settings::default());
    assert_eq!(cluster.run(1), []);
    for broker in 1..=3 {
        cluster.world.reclaim(broker);
    }
    assert_eq!(cluster.run(1), [1, 2, 3].map(|broker| Verdict::Reclaim { broker }));
    assert!((1..=3).all(|broker| !cluster.is_fenced(broker)));
}

#[test]
fn brokers_that_are_all_cut_off_from_the_store_and_heard_are_left_alone() {
    let mut cluster = Cluster::of(3);
    for broker in 1..=3 {
        cluster.world.unclaim(broker);
        assert_eq!(cluster.run(1), []);
    }
    assert_eq!(cluster.run(60), []);
    cluster.world.reclaim(1);
    cluster.world.reclaim(2);
    let reclaimed = [1, 2].map(|broker| Verdict::Reclaim { broker });
    assert_eq!(cluster.judge().verdicts, reclaimed);
    assert_eq!(cluster.run(5), [], "the grace time begins anew");
    assert_eq!(cluster.run(2), [fence(3, FenceReason::StaleImage)]);
}

#[test]
fn claim_that_was_under_way_when_its_process_ended_brings_nobody_back() {
    let mut cluster = Cluster::of(3);
    let former = cluster.epoch(1);
    cluster.heard.remove(&1);
    cluster.liveness.handle_probe(1, former, Probe::Refused, cluster.now());
    cluster.world.reclaim(1);
    let verdicts = [fence(1, FenceReason::ProcessGone), Verdict::Reclaim { broker: 1 }];
    assert_eq!(cluster.run(5), verdicts);
    assert!(cluster.is_fenced(1));
}

#[test]
fn fenced_broker_that_claims_anew_in_the_same_process_stays_fenced_until_it_is_heard() {
    let mut cluster = Cluster::of(3);
    cluster.heard.remove(&1);
    cluster.world.unclaim(1);
    assert_eq!(cluster.run(3), [fence(1, FenceReason::Lapsed)]);
    cluster.world.reclaim(1);
    assert_eq!(cluster.run(1), [Verdict::Reclaim { broker: 1 }]);
    assert!(cluster.is_fenced(1));
    cluster.heard.insert(1);
    assert_eq!(cluster.run(1), [Verdict::Unfence { broker: 1 }]);
}

#[test]
fn lapse_of_one_broker_is_not_counted_while_the_store_is_away() {
    let mut cluster = Cluster::of(3);
    cluster.liveness.handle_store(false, cluster.now());
    cluster.world.unclaim(1);
    cluster.heard.remove(&1);
    assert_eq!(cluster.run(60), []);
    cluster.liveness.handle_store(true, cluster.now());
    assert_eq!(cluster.run(2), [], "everybody can be heard first");
    assert_eq!(cluster.run(2), [fence(1, FenceReason::Lapsed)]);
}

#[test]
fn many_that_lapse_together_are_probed_before_they_are_fenced() {
    let mut cluster = Cluster::of(5);
    for broker in 1..=3 {
        cluster.world.unclaim(broker);
        cluster.heard.remove(&broker);
    }
    assert_eq!(cluster.run(2), []);
    let judgement = cluster.judge();
    assert!(judgement.paused);
    let (one, two) = (cluster.epoch(1), cluster.epoch(2));
    // One is gone, one lives, one does not answer at all.
    cluster.liveness.handle_probe(1, one, Probe::Refused, cluster.now());
    cluster.liveness.handle_probe(2, two, Probe::Alive, cluster.now());
    assert_eq!(cluster.judge().verdicts, [fence(1, FenceReason::ProcessGone)]);
    for _ in 0..2 {
        let three = cluster.epoch(3);
        cluster.liveness.handle_probe(3, three, Probe::Silent, cluster.now());
    }
    assert_eq!(cluster.judge().verdicts, [fence(3, FenceReason::Lapsed)]);
    assert_eq!(cluster.run(2), [], "the one that lives is not fenced");
    assert!(!cluster.is_fenced(2));
}

#[test]
fn probes_of_the_mass_breaker_are_repeated_once_per_session_timeout() {
    let mut cluster = Cluster::of(2);
    for broker in 1..=2 {
        cluster.world.unclaim(broker);
        cluster.heard.remove(&broker);
    }
    let mut probes = 0;
    for _ in 0..40 {
        probes += cluster.judge().probe.len();
        cluster.at += Duration::from_millis(250);
    }
    // Ten seconds: silent after two, then every three.
    assert_eq!(probes, 2 * 3);
    assert!(!cluster.is_fenced(1) && !cluster.is_fenced(2));
}

#[test]
fn failed_log_directories_are_recorded() {
    let mut cluster = Cluster::of(1);
    let failed = vec![Uuid::from_bytes([9; 16])];
    let report = Heartbeat {
        broker: 1,
        broker_epoch: cluster.epoch(1),
        image_revision: cluster.world.revision(),
        wants_shutdown: false,
        offline_log_dirs: failed.clone(),
    };
    cluster.liveness.handle_heartbeat(report, cluster.now());
    cluster.judge();
    assert_eq!(cluster.world.image().broker(1).unwrap().offline_log_dirs, failed);
    assert_eq!(cluster.judge().verdicts, []);
}

#[test]
fn successor_gives_everybody_their_full_time() {
    let mut cluster = Cluster::of(3);
    cluster.world.unclaim(1);
    cluster.heard.clear();
    cluster.liveness = Liveness::new(Settings::default());
    assert_eq!(cluster.run(1), []);
    assert_eq!(cluster.run(2), [fence(1, FenceReason::Lapsed)]);
}

#[test]
fn successor_unfences_nobody_whose_image_lacks_the_fencing() {
    let mut cluster = Cluster::of(2);
    let fenced_at = cluster.world.change_broker(1, |record| record.fenced = true);
    cluster.liveness = Liveness::new(Settings::default());
    for (image_revision, is_fenced) in [(fenced_at - 1, true), (fenced_at, false)] {
        let heartbeat = Heartbeat {
            broker: 1,
            broker_epoch: cluster.epoch(1),
            image_revision,
            wants_shutdown: false,
            offline_log_dirs: Vec::new(),
        };
        cluster.liveness.handle_heartbeat(heartbeat, cluster.now());
        cluster.judge();
        assert_eq!(cluster.is_fenced(1), is_fenced);
    }
}
