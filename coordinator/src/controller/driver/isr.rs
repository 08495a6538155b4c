//! Changes of ISRs, batched: the proposals of all requests that wait share transactions.

use tokio::sync::mpsc;

use super::requests::{ATTEMPTS_MAX, items_of};
use super::{Committed, Driver};
use crate::admin::{Command, IsrAnswer, IsrWork};
use crate::controller::alter_partition::{AlterPartition, RequestResult, alter_partitions};
use crate::controller::plan::{self, Unit};
use ottla_metadata::image::Image;
use ottla_protocol::ErrorCode;

/// One request, with an answer for each of its proposals as soon as there is one.
struct Open {
    work: IsrWork,
    answers: Vec<Option<IsrAnswer>>,
    refused: Option<ErrorCode>,
}

impl Open {
    fn new(work: IsrWork) -> Self {
        let answers = vec![None; work.request.proposals.len()];
        Self { work, answers, refused: None }
    }

    /// The proposals that are still to be decided.
    fn rest(&self) -> AlterPartition {
        let proposals = self.work.request.proposals.iter().zip(&self.answers);
        let open = proposals.filter(|(_, answer)| answer.is_none() && self.refused.is_none());
        AlterPartition {
            broker: self.work.request.broker,
            broker_epoch: self.work.request.broker_epoch,
            proposals: open.map(|(proposal, _)| proposal.clone()).collect(),
        }
    }

    fn is_open(&self) -> bool {
        self.refused.is_none() && self.answers.iter().any(Option::is_none)
    }

    /// Takes in what was decided on [`Self::rest`], whose first proposal had the index `first`.
    fn take(&mut self, result: RequestResult, first: usize, outcome: &Outcome<'_>) {
        let results = match result {
            Ok(results) => results,
            Err(code) if self.answers.iter().all(Option::is_none) => {
                self.refused = Some(code);
                return;
            }
            Err(code) => {
                self.answers.iter_mut().for_each(|answer| {
                    answer.get_or_insert(Err(code));
                });
                return;
            }
        };
        let open: Vec<usize> =
            (0..self.answers.len()).filter(|at| self.answers[*at].is_none()).collect();
        for ((at, index), result) in open.into_iter().zip(first..).zip(results) {
            let proposal = &self.work.request.proposals[at];
            let revision = match outcome.revision_of(index) {
                Written::At(revision) => revision,
                Written::Open => continue,
                Written::NotAsked => {
                    let current = outcome.image.partition(proposal.topic_id, proposal.partition);
                    current.map_or(0, |current| current.mod_revision)
                }
            };
            self.answers[at] = Some(result.map(|partition| (partition, revision)));
        }
    }

    fn reply(self) {
        let answer = match self.refused {
            Some(code) => Err(code),
            // Overtaken again and again: the leader looks at its image and proposes anew.
            None => Ok(self
                .answers
                .into_iter()
                .map(|answer| answer.unwrap_or(Err(ErrorCode::InvalidUpdateVersion)))
                .collect()),
        };
        // Whoever does not wait any more learns of it from its image.
        let _ = self.work.reply.send(answer);
    }
}

/// What became of the writes of one round.
struct Outcome<'a> {
    image: &'a Image,
    units: std::collections::BTreeSet<usize>,
    committed: &'a Committed,
}

enum Written {
    At(i64),
    Open,
    NotAsked,
}

impl Outcome<'_> {
    fn revision_of(&self, index: usize) -> Written {
        match self.committed.completed.get(&index) {
            Some(revision) => Written::At(*revision),
            None if self.units.contains(&index) => Written::Open,
            None => Written::NotAsked,
        }
    }
}

impl Driver {
    /// Takes every request of this kind that waits, up to a bound, and leaves the others in their order.
    pub(super) fn gather(
        &mut self,
        first: IsrWork,
        queue: &mut mpsc::Receiver<Command>,
    ) -> Vec<IsrWork> {
        let mut proposals = first.request.proposals.len();
        let mut works = vec![first];
        while proposals < PROPOSALS_MAX
            && self.waiting.len() < WAITING_MAX
            && let Ok(command) = queue.try_recv()
        {
            match command {
                Command::AlterPartition(work) => {
                    proposals += work.request.proposals.len();
                    works.push(work);
                }
                other => self.waiting.push_back(other),
            }
        }
        works
    }

    /// Decides on all of them together, writes, answers, and decides again on what was overtaken.
    pub(super) async fn alter_partitions(&mut self, works: Vec<IsrWork>) {
        let mut open: Vec<Open> =
            works.into_iter().filter(|work| !work.reply.is_closed()).map(Open::new).collect();
        for _ in 0..ATTEMPTS_MAX {
            let requests: Vec<AlterPartition> = open.iter().map(Open::rest).collect();
            let image = self.image();
            let (results, units) = alter_partitions(&image, &self.parts.admin.file, &requests);
            self.count(&requests, &units);
            let pending = items_of(&units);
            let committed = self.commit(units).await;
            let outcome = Outcome { image: &image, units: pending, committed: &committed };
            let mut first = 0;
            for ((open, request), result) in open.iter_mut().zip(&requests).zip(results) {
                open.take(result, first, &outcome);
                first += request.proposals.len();
            }
            if committed.interrupted.is_none() || !open.iter().any(Open::is_open) {
                break;
            }
            self.catch_up().await;
        }
        open.into_iter().for_each(Open::reply);
        self.catch_up().await;
    }

    fn count(&self, requests: &[AlterPartition], units: &[Unit]) {
        let proposals = requests.iter().map(|request| request.proposals.len()).sum::<usize>();
        let metrics = &self.parts.metrics;
        metrics.isr_proposals.inc_by(proposals as u64);
        metrics.isr_changes.inc_by(units.len() as u64);
        metrics.isr_batches.observe(proposals as f64);
        tracing::debug!(requests = requests.len(), proposals, changes = units.len(), "ISR changes");
    }
}

/// Proposals of one batch after which no further request joins it.
const PROPOSALS_MAX: usize = 10 * plan::CHANGES_MAX;
/// Requests of other kinds that are set aside while a batch is gathered.
const WAITING_MAX: usize = 1024;
