//! Requests: decided on the newest image, written, and answered when what was decided is durable.

use std::collections::BTreeSet;
use std::fmt::Debug;

use ottla_protocol::ErrorCode;
use tokio::sync::mpsc;

use super::{Committed, Driver, Interrupted};
use crate::admin::stages::{self, Operation};
use crate::admin::{AdminError, Answer, Command, Work};
use crate::controller::decision::{Context, Decision};
use crate::controller::directories::{self, DirectoryReport};
use crate::controller::plan::Unit;
use crate::controller::producer_ids::{self, Block};
use crate::controller::{brokers, configs, drain, features, preferred, reassignment, topics};

/// A function that decides on the items of a request.
type Decide<I, O> = fn(&mut Context<'_>, &[I], bool) -> Decision<O>;

impl Driver {
    /// Does what a request asks for, unless nobody waits for it any more.
    pub(super) async fn execute(&mut self, command: Command, queue: &mut mpsc::Receiver<Command>) {
        match command {
            Command::CreateTopics(work) => {
                self.carry_out(work, Operation::CreateTopic, topics::create).await;
            }
            Command::DeleteTopics(work) => {
                let decide: Decide<_, _> =
                    |context, items, dry| topics::delete(context, items, dry);
                self.carry_out(work, Operation::DeleteTopic, decide).await;
            }
            Command::CreatePartitions(work) => {
                self.carry_out(work, Operation::CreatePartitions, topics::grow).await;
            }
            Command::AlterConfigs(work) => {
                let decide: Decide<_, _> =
                    |context, items, dry| configs::alter(context, items, dry);
                self.carry_out(work, Operation::AlterConfigs, decide).await;
                self.unsettled = true;
            }
            Command::ReplaceConfigs(work) => {
                let decide: Decide<_, _> =
                    |context, items, dry| configs::replace(context, items, dry);
                self.carry_out(work, Operation::AlterConfigs, decide).await;
                self.unsettled = true;
            }
            Command::ElectLeaders(work) => {
                self.carry_out(work, Operation::ElectLeaders, preferred::elect).await;
            }
            Command::ReassignPartitions(work) => {
                self.carry_out(work, Operation::ReassignPartitions, reassignment::reassign).await;
            }
            Command::UnregisterBrokers(work) => {
                let named = work.items.clone();
                self.carry_out(work, Operation::UnregisterBroker, brokers::unregister).await;
                let image = self.image();
                for broker in named.into_iter().filter(|broker| image.broker(*broker).is_none()) {
                    self.liveness.handle_forgotten(broker);
                }
            }
            Command::DrainBrokers(work) => {
                self.carry_out(work, Operation::DrainBroker, drain::drain).await;
                self.unsettled = true;
            }
            Command::UpdateFeatures(work) => {
                self.carry_out(work, Operation::UpdateFeatures, features::update).await;
            }
            Command::AlterPartition(work) => {
                let works = self.gather(work, queue);
                self.alter_partitions(works).await;
            }
            Command::AssignDirectories { report, reply } => {
                if !reply.is_closed() {
                    let answer = self.assign_directories(&report).await;
                    // Whoever does not wait any more reports again.
                    let _ = reply.send(answer);
                    self.catch_up().await;
                }
            }
            Command::AllocateProducerIds { broker, broker_epoch, reply } => {
                if !reply.is_closed() {
                    // A block that nobody takes is lost, which costs a thousand of very many ids.
                    let _ = reply.send(self.allocate_producer_ids(broker, broker_epoch).await);
                    self.catch_up().await;
                }
            }
        }
    }

    /// Decides on all items, writes, and decides again on those that met a changed cluster.
    async fn carry_out<I: Clone + Debug, O>(
        &mut self,
        work: Work<I, O>,
        operation: Operation,
        decide: Decide<I, O>,
    ) {
        if work.reply.is_closed() {
            return;
        }
        let mut revision = self.image().revision();
        let mut results: Vec<Option<Result<O, AdminError>>> = work
            .items
            .iter()
            .map(|item| stages::authorise(&work.caller, operation, item).err().map(Err))
            .collect();
        for _ in 0..ATTEMPTS_MAX {
            let open: Vec<usize> =
                (0..results.len()).filter(|index| results[*index].is_none()).collect();
            if open.is_empty() {
                break;
            }
            let items: Vec<I> = open.iter().map(|index| work.items[*index].clone()).collect();
            let image = self.image();
            let decision = decide(&mut self.context(&image), &items, work.validate_only);
            let pending = items_of(&decision.units);
            let committed = self.commit(decision.units).await;
            revision = revision.max(committed.completed.values().copied().max().unwrap_or(0));
            for (index, result) in decision.results.into_iter().enumerate() {
                let is_pending = pending.contains(&index);
                results[open[index]] = settled(result, index, is_pending, &committed);
            }
            if committed.interrupted.is_none() {
                break;
            }
        }
        let contended = || {
            let message = "the cluster kept changing meanwhile; try again";
            Err(AdminError::new(ErrorCode::RequestTimedOut, message))
        };
        let results: Vec<Result<O, AdminError>> =
            results.into_iter().map(|result| result.unwrap_or_else(contended)).collect();
        if !work.validate_only {
            for (item, result) in work.items.iter().zip(&results) {
                stages::audit(&work.caller, operation, item, result);
            }
        }
        // Whoever does not wait any more sees what was done.
        let _ = work.reply.send(Ok(Answer { results, revision }));
        self.catch_up().await;
    }

    async fn allocate_producer_ids(
        &mut self,
        broker: i32,
        broker_epoch: i64,
    ) -> Result<Block, ErrorCode> {
        for _ in 0..ATTEMPTS_MAX {
            let (block, unit) = producer_ids::allocate(&self.image(), broker, broker_epoch)?;
            if self.commit(vec![unit]).await.interrupted.is_none() {
                return Ok(block);
            }
        }
        Err(ErrorCode::RequestTimedOut)
    }

    async fn assign_directories(
        &mut self,
        report: &DirectoryReport,
    ) -> Result<directories::ReportResults, ErrorCode> {
        let mut answers = Vec::new();
        for _ in 0..ATTEMPTS_MAX {
            let (results, units) =
                directories::assign(&self.image(), &self.parts.admin.file, report)?;
            answers = results;
            // What is written already is found as it shall be by the next attempt.
            if self.commit(units).await.interrupted.is_none() {
                return Ok(answers);
            }
            self.catch_up().await;
        }
        Ok(answers.into_iter().map(|_| Err(ErrorCode::RequestTimedOut)).collect())
    }
}

/// The items that writes complete.
pub(super) fn items_of(units: &[Unit]) -> BTreeSet<usize> {
    units.iter().filter_map(|unit| unit.completes).collect()
}

/// The result of an item, or `None` if it has to be decided again.
fn settled<O>(
    result: Result<O, AdminError>,
    index: usize,
    is_pending: bool,
    committed: &Committed,
) -> Option<Result<O, AdminError>> {
    if !is_pending || committed.completed.contains_key(&index) {
        return Some(result);
    }
    match &committed.interrupted {
        Some(Interrupted::Failed(error)) => {
            Some(Err(AdminError::new(ErrorCode::UnknownServerError, error.to_string())))
        }
        Some(Interrupted::Refused) | None => None,
    }
}

/// How often a request is decided while the cluster changes under it.
pub(super) const ATTEMPTS_MAX: usize = 8;
