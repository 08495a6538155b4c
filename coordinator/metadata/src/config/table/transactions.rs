//! Configs of transactions and idempotent producers.

use super::super::def::ConfigDef;
use super::reason;

/// The configs of transactions and idempotent producers.
pub const TRANSACTIONS: &[ConfigDef] = &[
    ConfigDef::int("transaction.state.log.min.isr", "2")
        .at_least(1)
        .high()
        .no_effect(reason::TRANSACTIONS)
        .doc("Replicas in sync that a write to the state of transactions needs."),
    ConfigDef::int("transaction.state.log.load.buffer.size", "5242880")
        .at_least(1)
        .high()
        .no_effect(reason::TRANSACTIONS)
        .doc("Bytes read at a time when the state of transactions is loaded."),
    ConfigDef::short("transaction.state.log.replication.factor", "3")
        .at_least(1)
        .high()
        .no_effect(reason::TRANSACTIONS)
        .doc(
            "Replicas of `__transaction_state`, which in Ottla exists to name a transaction's \
             coordinator.",
        ),
    ConfigDef::int("transaction.state.log.num.partitions", "50")
        .at_least(1)
        .high()
        .no_effect(reason::TRANSACTIONS)
        .doc("Partitions of `__transaction_state`. Fixed once the cluster exists."),
    ConfigDef::int("transaction.state.log.segment.bytes", "104857600")
        .at_least(1)
        .high()
        .no_effect(reason::TRANSACTIONS)
        .doc("Segment size in bytes of `__transaction_state`."),
    ConfigDef::boolean("transaction.partition.verification.enable", "true")
        .low()
        .cluster_wide()
        .no_effect(reason::TRANSACTIONS)
        .doc(
            "Whether a broker asks the coordinator whether a partition belongs to a \
             transaction before it writes to it.",
        ),
    ConfigDef::int("producer.id.expiration.ms", "86400000").at_least(1).low().cluster_wide().doc(
        "Milliseconds after its last write that an idempotent producer's sequence numbers \
             are remembered.",
    ),
    ConfigDef::int("transactional.id.expiration.ms", "604800000")
        .at_least(1)
        .high()
        .no_effect(reason::TRANSACTIONS)
        .doc("Milliseconds after its last transaction that a transactional id is remembered."),
    ConfigDef::int("transaction.max.timeout.ms", "900000")
        .at_least(1)
        .high()
        .no_effect(reason::TRANSACTIONS)
        .doc("Longest timeout in milliseconds that a transaction may ask for."),
    ConfigDef::int("transaction.abort.timed.out.transaction.cleanup.interval.ms", "10000")
        .at_least(1)
        .low()
        .no_effect(reason::TRANSACTIONS)
        .doc("Milliseconds between two looks for transactions that are out of time."),
    ConfigDef::int("transaction.remove.expired.transaction.cleanup.interval.ms", "3600000")
        .at_least(1)
        .low()
        .no_effect(reason::TRANSACTIONS)
        .doc("Milliseconds between two looks for transactional ids to forget."),
    ConfigDef::boolean("transaction.two.phase.commit.enable", "false")
        .low()
        .no_effect(reason::TRANSACTIONS)
        .doc("Whether transactions may take part in a two-phase commit led from outside."),
    ConfigDef::int("add.partitions.to.txn.retry.backoff.max.ms", "100")
        .at_least(0)
        .high()
        .no_effect(reason::TRANSACTIONS)
        .doc(
            "Longest time in milliseconds that a broker goes on trying to add a partition to \
             a transaction.",
        ),
    ConfigDef::int("add.partitions.to.txn.retry.backoff.ms", "20")
        .at_least(1)
        .high()
        .no_effect(reason::TRANSACTIONS)
        .doc("Milliseconds between two tries to add a partition to a transaction."),
];
