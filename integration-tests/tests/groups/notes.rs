//! What was seen, one line a step, without what differs from run to run: ids, times, ports, the order of lines, and the words
//! of an exception, whose class stays.

use std::{net::SocketAddr, time::Duration};

use ottla_integration_tests::harness::{KafkaTools, ToolRun, WireClient, eventually};
use ottla_protocol::{
    ErrorCode, Request, Uuid,
    messages::{MetadataRequest, metadata_request::MetadataRequestTopic},
};

pub const WITHIN: Duration = Duration::from_secs(30);
const METADATA_VERSION: i16 = 12;

/// The broker, the tools, and the notes taken so far.
pub struct Notes {
    address: SocketAddr,
    tools: KafkaTools,
    lines: Vec<String>,
    /// Ids that the server made, and what they are called here.
    aliases: Vec<(String, String)>,
    epoch_before: i32,
}

/// Kafka's name of an error code.
pub fn code(code: i16) -> &'static str {
    ErrorCode::from_code(code).name()
}

impl Notes {
    pub fn new(address: SocketAddr, tools: KafkaTools) -> Self {
        Self { address, tools, lines: Vec::new(), aliases: Vec::new(), epoch_before: 0 }
    }

    pub fn into_lines(self) -> Vec<String> {
        self.lines
    }

    /// A connection to the broker.
    pub fn connect(&self) -> WireClient {
        WireClient::connect(self.address)
    }

    /// From here on, `id` is noted as `alias`.
    pub fn call_it(&mut self, id: &str, alias: &str) {
        if !id.is_empty() {
            self.aliases.push((id.to_owned(), alias.to_owned()));
        }
    }

    /// What an id is called here, so that lists can be sorted by that.
    pub fn alias<'a>(&'a self, id: &'a str) -> &'a str {
        let alias = self.aliases.iter().find(|(known, _)| known == id);
        alias.map_or(id, |(_, alias)| alias)
    }

    /// Epochs of a group are noted as if its first were 1: where they begin is nobody's business.
    pub fn epoch(&self, epoch: i32) -> i32 {
        if 0 < epoch { epoch - self.epoch_before } else { epoch }
    }

    /// The epoch that is noted as 1.
    pub fn begin_epochs(&mut self, first: i32) {
        self.epoch_before = first - 1;
    }

    /// Notes one observation.
    pub fn note(&mut self, step: &str, outcome: &str) {
        let mut line = format!("{step} -> {outcome}");
        for (id, alias) in &self.aliases {
            line = line.replace(id, alias);
        }
        // Shown where a later step fails.
        println!("{line}");
        self.lines.push(line);
    }

    /// A request on a connection of its own.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.connect().call(version, request)
    }

    /// Waits until something holds, and notes nothing.
    pub fn until<T>(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> Option<T>) -> T {
        eventually(what, WITHIN, || holds(self))
    }

    /// The id of a topic.
    pub fn topic_id(&mut self, topic: &str) -> Uuid {
        let name = MetadataRequestTopic { name: Some(topic.into()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![name]), ..Default::default() };
        self.call(METADATA_VERSION, &request).topics[0].topic_id
    }

    /// Runs a tool, given as one line, and notes what it prints. A word may have `~` where it has a space.
    pub fn tool(&mut self, line: &str) {
        self.tool_lines(line, |_| true);
    }

    /// As [`Self::tool`], with only those lines that are of interest.
    pub fn tool_lines(&mut self, line: &str, is_wanted: impl Fn(&str) -> bool) {
        let run = self.run(line);
        if run.text.contains("--bootstrap-server <String") {
            self.note(line, &format!("{}; how it is used", run.status));
            return;
        }
        let kept = run.text.lines().filter(|line| !is_trace(line) && is_wanted(line));
        let mut kept: Vec<String> =
            kept.map(|line| self.plain(line)).filter(|line| !line.is_empty()).collect();
        kept.sort_unstable();
        kept.dedup();
        self.note(line, &format!("{}; {}", run.status, kept.join(" | ")));
    }

    /// Runs a tool.
    pub fn run(&mut self, line: &str) -> ToolRun {
        let bootstrap = self.address.to_string();
        let words: Vec<String> =
            line.split_whitespace().map(|word| word.replace('~', " ")).collect();
        let (tool, arguments) = words.split_first().expect("a tool");
        let mut all = vec!["--bootstrap-server", &bootstrap];
        all.extend(arguments.iter().map(String::as_str));
        self.tools.run(tool, &all)
    }

    /// A line without what differs from run to run.
    fn plain(&self, line: &str) -> String {
        let mut line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        line = line.replace(&self.address.port().to_string(), "PORT");
        line = line.replace("127.0.0.1", "localhost");
        if let Some(at) = line.rfind("Exception: ") {
            line.truncate(at + "Exception".len());
        }
        if let Some((start, _)) = line.split_once(" Epoch: ") {
            line = start.to_owned();
        }
        if let Some((start, configs)) = line.split_once("Configs: ") {
            let mut configs: Vec<_> = configs.split(',').collect();
            configs.sort_unstable();
            line = format!("{start}Configs: {}", configs.join(","));
        }
        if let Some((start, groups)) = line.split_once("successfully: '") {
            let mut groups: Vec<_> =
                groups.split("', '").map(|it| it.trim_end_matches('\'')).collect();
            groups.sort_unstable();
            line = format!("{start}successfully: {}", groups.join(", "));
        }
        if let Some((start, _)) = line.split_once(" synonyms=") {
            line = start.to_owned();
        }
        if let Some((start, rest)) = line.split_once("TopicId: ") {
            let rest = rest.split_once(' ').map_or("", |(_, rest)| rest);
            line = format!("{start}{rest}");
        }
        line
    }
}

/// Java's traces, and what its clients log.
fn is_trace(line: &str) -> bool {
    let starts = ["\tat ", "\t... ", "Caused by: ", "\tSuppressed: ", "org.apache.kafka.tools"];
    starts.iter().any(|start| line.starts_with(start)) || line.contains(" WARN ")
}
