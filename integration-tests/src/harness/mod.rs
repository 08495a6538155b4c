//! Clusters of real processes on loopback, and the conditions that tests wait for.
//!
//! A test asks for a [`Cluster`], does to it what the world does to clusters, and waits with [`eventually`] for what must
//! become true. Everything a cluster started is killed, and its folder removed, when it is dropped; on a panic the folder
//! stays and its path is printed.

mod apache_kafka;
mod cluster;
mod dump_log;
pub mod history;
mod http;
mod kafka_tools;
mod links;
mod machines;
mod metadata;
mod ports;
mod process;
mod requests;
mod soak;
mod tools;
mod transcript;
mod wait;
mod wire_client;

pub use apache_kafka::ApacheKafka;
pub use cluster::{Cluster, Shape};
pub use dump_log::assert_dump_log_accepts;
pub use http::{get_json, http_ok, metric, post_json};
pub use kafka_tools::{KafkaTools, ToolRun};
pub use links::{Links, Role};
pub use machines::Machines;
pub use metadata::{PartitionState, create_topic_at, describe_topic};
pub use ports::PortBlock;
pub use process::{Process, Signal, binary};
pub use requests::{fetch_from, produce_one};
pub use soak::{is_soak, short_or_long};
pub use tools::{
    Skipped, apache_kafka, apache_kafka_tool, apache_kafka_tool_until, console_produce, interop,
};
pub use transcript::{Known, assert_same_answers};
pub use wait::{eventually, eventually_async, poll};
pub use wire_client::WireClient;
