//! The differences that are meant.

use ottla_integration_tests::harness::Known;

/// Whether the difference between two lines is one that is meant; its reason is printed.
pub fn is_known(expected: &str, actual: &str) -> bool {
    Known::is_among(KNOWN, expected, actual)
}

const KNOWN: &[Known] = &[
    Known {
        step: "kafka-topics --describe",
        kafka: "LastKnownElr: 3",
        ottla: "LastKnownElr:",
        reason: "only who was in the ELR and may have lost records is noted as such; who is in the ELR is not there twice",
    },
    Known {
        step: "wire create three factor 3",
        kafka: "NONE",
        ottla: "INVALID_REPLICATION_FACTOR",
        reason: "no replica is placed on a broker that is down, so the topic would lack one from the start; who wants that \
                 names the brokers",
    },
    Known {
        step: "wire elect kind 7",
        kafka: "INVALID_REQUEST INVALID_REQUEST",
        ottla: "INVALID_REQUEST nothing",
        reason: "the request as a whole is wrong, not its partitions",
    },
    Known {
        step: "kafka-reassign-partitions --list",
        kafka: "small-2: replicas: 1,3,2. adding: 3. removing: 2.",
        ottla: "small-2: replicas: 1,3,2. adding: 3. removing: 2. | strict-0: replicas: 1,3,2. adding: 2.",
        reason: "a move is over when all replicas that are wanted are in sync; Kafka waits only for those that it adds",
    },
];
