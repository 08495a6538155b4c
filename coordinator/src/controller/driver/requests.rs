//! Requests: decided on the newest image, written, and answered when what was decided is durable.

use std::collections::BTreeSet;
use std::fmt::Debug;

use ottla_protocol::ErrorCode;

use super::{Committed, Driver, Interrupted};
use crate::admin::stages::{self, Operation};
use crate::admin::{AdminError, Answer, Command, IsrAnswer, Work};
use crate::controller::alter_partition::{AlterPartition, IsrProposal, IsrResult, alter_partition};
use crate::controller::decision::{Context, Decision};
use crate::controller::plan::Unit;
use crate::controller::producer_ids::{self, Block};
use crate::controller::{configs, topics};

/// A function that decides on the items of a request.
type Decide<I, O> = fn(&mut Context<'_>, &[I], bool) -> Decision<O>;

impl Driver {
    /// Does what a request asks for, unless nobody waits for it any more.
    pub(super) async fn execute(&mut self, command: Command) {
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
            Command::AlterPartition { request, reply } => {
                if !reply.is_closed() {
                    let answer = self.alter_partition(&request).await;
                    // Whoever does not wait any more learns of it from its image.
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

    async fn alter_partition(
        &mut self,
        request: &AlterPartition,
    ) -> Result<Vec<IsrAnswer>, ErrorCode> {
        let image = self.image();
        let (results, units) = alter_partition(&image, &self.parts.admin.file, request)?;
        let pending = items_of(&units);
        let committed = self.commit(units).await;
        let answers = results.into_iter().zip(&request.proposals).enumerate();
        let answer = |(index, (result, proposal)): (usize, (IsrResult, &IsrProposal))| {
            let partition = result?;
            let revision = if pending.contains(&index) {
                // Refused: the partition changed, so the leader has to look at it again.
                *committed.completed.get(&index).ok_or(ErrorCode::InvalidUpdateVersion)?
            } else {
                let current = image.partition(proposal.topic_id, proposal.partition);
                current.map_or(0, |current| current.mod_revision)
            };
            Ok((partition, revision))
        };
        Ok(answers.map(answer).collect())
    }
}

/// The items that writes complete.
fn items_of(units: &[Unit]) -> BTreeSet<usize> {
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
const ATTEMPTS_MAX: usize = 8;
