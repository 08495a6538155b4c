//! The differences that are meant.

/// A step whose outcome differs on purpose.
struct Known {
    /// The line's start, up to the arrow.
    step: &'static str,
    /// What Ottla answers instead.
    ottla: &'static str,
    /// Why that is better.
    reason: &'static str,
}

/// Whether this line of Ottla's is a difference that is meant; its reason is printed.
pub fn is_known(actual: &str) -> bool {
    let (step, outcome) = actual.split_once(" -> ").expect("a step and its outcome");
    let known = KNOWN.iter().find(|known| known.step == step && known.ottla == outcome);
    if let Some(known) = known {
        println!("{step}: {}", known.reason);
    }
    known.is_some()
}

const KNOWN: &[Known] = &[
    Known {
        step: "configs: describe min.insync.replicas",
        ottla: "NONE min.insync.replicas=1 source 5 type 3 readonly false sensitive false \
                [5:min.insync.replicas=1]",
        reason: "the kit that starts Kafka sets it",
    },
    Known {
        step: "configs: unknown operation",
        ottla: "INVALID_REQUEST",
        reason: "a definite error that says what is wrong",
    },
    Known {
        step: "topics: validate only",
        ottla: "never NONE no id (2, 1)",
        reason: "no topic was made, so it has no id; Kafka makes one up",
    },
    Known {
        step: "produce: marked as stamped by the broker",
        ottla: "INVALID_TIMESTAMP base -1 start 0 []",
        reason: "only a broker stamps records; Kafka takes the batch and rewrites the mark",
    },
    Known {
        step: "produce: only the good ones are in the log",
        ottla: "3",
        reason: "follows from the one before",
    },
    Known {
        step: "produce: broken snappy",
        ottla: "INVALID_RECORD base -1 start 0 []",
        reason: "the batch is at fault, and UNKNOWN_SERVER_ERROR says that the server is",
    },
    Known {
        step: "produce: broken lz4",
        ottla: "INVALID_RECORD base -1 start 0 []",
        reason: "as for snappy",
    },
    Known {
        step: "produce: broken zstd",
        ottla: "INVALID_RECORD base -1 start 0 []",
        reason: "as for snappy",
    },
    Known {
        step: "produce: codec 5",
        ottla: "UNSUPPORTED_COMPRESSION_TYPE base -1 start -1 []",
        reason: "a definite error that says what is wrong",
    },
    Known {
        step: "produce: codec 7",
        ottla: "UNSUPPORTED_COMPRESSION_TYPE base -1 start -1 []",
        reason: "a definite error that says what is wrong",
    },
    Known {
        step: "produce: second again",
        ottla: "NONE base 2 start 0 []",
        reason: "timestamps are the producers' here; Kafka answers a duplicate with one as if it had stamped it",
    },
    Known {
        step: "produce: first again",
        ottla: "NONE base 0 start 0 []",
        reason: "as for the second",
    },
];
