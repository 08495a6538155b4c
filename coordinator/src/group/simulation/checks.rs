//! What has to hold: at every moment, and when nothing goes wrong any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_metadata::keys::{GroupKey, ShardKey};

use super::client::Life;
use super::{Place, Response, Sim, TOPICS};
use crate::group::{Client, Request};

impl Sim {
    /// The group's state, and its members that are there.
    fn described(&mut self) -> (String, BTreeSet<String>) {
        let client = Client { id: String::new(), host: String::new(), version: 1 };
        let ticket = self.coordinator.ticket();
        let shard = &mut self.coordinator;
        let answers = shard.described(ticket, &client, Request::DescribeConsumer);
        if let Response::DescribeConsumer(group) = answers
            && group.error_code == 0
        {
            let members = group.members.iter().filter(|member| member.member_epoch != -2);
            let ids = members.map(|member| member.member_id.to_string());
            return (group.group_state.to_string(), ids.collect());
        }
        let Response::Describe(group) = shard.described(ticket, &client, Request::Describe) else {
            return (String::new(), BTreeSet::new());
        };
        let ids = group.members.iter().map(|member| member.member_id.to_string());
        (group.group_state.to_string(), ids.collect())
    }

    /// The members of a consumer group, also those that are away.
    fn stored_members(&mut self) -> BTreeSet<String> {
        let client = Client { id: String::new(), host: String::new(), version: 1 };
        let ticket = self.coordinator.ticket();
        let request = Request::DescribeConsumer;
        match self.coordinator.described(ticket, &client, request) {
            Response::DescribeConsumer(group) => {
                group.members.iter().map(|member| member.member_id.to_string()).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// No two members read the same partition. Whoever was expelled while it was away may still believe that it
    /// does, until it is heard again.
    pub fn check_owners(&mut self) {
        let (_, members) = self.described();
        let mut owners: BTreeMap<Place, &str> = BTreeMap::new();
        for client in &self.clients {
            let reads = matches!(client.life, Life::Alive | Life::Paused(_));
            if !reads || !members.contains(&client.member.id) {
                continue;
            }
            for place in client.member.owned.keys() {
                if let Some(other) = owners.insert(*place, &client.name) {
                    panic!("{place:?} is read by {other} and {}", client.name);
                }
            }
        }
    }

    pub fn check_settles(&mut self) {
        self.calm = true;
        self.away = Duration::ZERO;
        for _ in 0..3000 {
            self.run_step();
            if self.is_settled() {
                return self.check_quiet();
            }
        }
        panic!("the group does not settle: {:?} {:?}", self.described(), self.clients);
    }

    fn is_settled(&mut self) -> bool {
        let (state, members) = self.described();
        let live: Vec<_> = self.clients.iter().filter(|it| it.life == Life::Alive).collect();
        let ids: BTreeSet<String> = live.iter().map(|it| it.member.id.clone()).collect();
        let is_stable =
            if live.is_empty() { members.is_empty() } else { state == "Stable" && members == ids };
        let owned: usize = live.iter().map(|it| it.member.owned.len()).sum();
        let all: i32 = TOPICS.iter().map(|(_, count)| count).sum();
        // Everybody heard of the last epoch.
        let epochs: BTreeSet<i32> = live.iter().map(|it| it.member.epoch).collect();
        is_stable
            && epochs.len() <= 1
            && live.iter().all(|client| client.is_settled())
            && (live.is_empty() || owned == all as usize)
    }

    fn generations(&self) -> Vec<(String, i32)> {
        let live = self.clients.iter().filter(|it| it.life == Life::Alive);
        live.map(|it| (it.member.id.clone(), it.member.epoch)).collect()
    }

    fn run_quietly(&mut self, steps: usize, why: &str) {
        let before = self.generations();
        for _ in 0..steps {
            self.run_step();
        }
        assert_eq!(self.generations(), before, "{why} made a rebalance");
        assert!(self.is_settled(), "{why}: the group is not settled any more");
    }

    /// The journal holds the members of a group of one kind, and nobody else.
    fn check_journal(&mut self) {
        let members = self.stored_members();
        let (mut consumers, mut classic) = (BTreeSet::new(), 0);
        for key in self.coordinator.journal().keys() {
            match key {
                ShardKey::Group(_, GroupKey::ConsumerMember(id)) => {
                    consumers.insert(id.clone());
                }
                ShardKey::Group(_, GroupKey::ConsumerAssignment(id)) => {
                    assert!(members.contains(id), "{id} is no member and has partitions");
                }
                ShardKey::Group(_, GroupKey::Member(_) | GroupKey::Assignment(_)) => classic += 1,
                _ => {}
            }
        }
        assert!(consumers.is_empty() || (classic == 0 && consumers == members), "{consumers:?}");
    }

    fn check_quiet(&mut self) {
        self.run_quietly(100, "nothing");
        self.check_journal();
        self.fail_over_calmly();
        self.run_quietly(200, "a failover");
        // Longer than every session. Heartbeats are answered, commits wait.
        self.away = self.now + Duration::from_secs(30);
        self.run_quietly(650, "a store that was away");
    }

    fn fail_over_calmly(&mut self) {
        let journal = self.coordinator.journal().len();
        self.coordinator.fail_over();
        self.note(format!("the coordinator dies, {journal} keys"));
    }
}
