//! What was seen, one line a step, without what differs from run to run: ids, times, ports, folders, the order of lines, and
//! the words of a message, whose class stays.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use ottla_integration_tests::harness::{KafkaTools, ToolRun, WireClient, eventually, poll};
use ottla_protocol::{
    ErrorCode, Request,
    messages::{MetadataRequest, metadata_request::MetadataRequestTopic},
};

use crate::servers::Servers;

const WITHIN: Duration = Duration::from_secs(60);
const METADATA_VERSION: i16 = 12;

/// The servers, the tools, and the notes taken so far.
pub struct Notes<'a> {
    pub servers: &'a mut dyn Servers,
    tools: KafkaTools,
    folder: &'a Path,
    lines: Vec<String>,
}

/// Kafka's name of an error code.
pub fn code(code: i16) -> &'static str {
    ErrorCode::from_code(code).name()
}

impl<'a> Notes<'a> {
    pub fn new(servers: &'a mut dyn Servers, tools: KafkaTools, folder: &'a Path) -> Self {
        Self { servers, tools, folder, lines: Vec::new() }
    }

    pub fn into_lines(self) -> Vec<String> {
        self.lines
    }

    /// Notes one observation.
    pub fn note(&mut self, step: &str, outcome: &str) {
        let line = format!("{step} -> {outcome}");
        // Shown where a later step fails.
        println!("{line}");
        self.lines.push(line);
    }

    /// Runs a tool, given as one line, and notes what it prints.
    pub fn tool(&mut self, line: &str) {
        let run = self.run(line);
        self.keep(line, &run, |_| true);
    }

    /// As [`Self::tool`], with only those lines that are of interest.
    pub fn tool_lines(&mut self, line: &str, is_wanted: impl Fn(&str) -> bool) {
        let run = self.run(line);
        self.keep(line, &run, is_wanted);
    }

    /// As [`Self::tool_lines`], each line only up to `end`.
    pub fn tool_cut(&mut self, line: &str, end: &str, is_wanted: impl Fn(&str) -> bool) {
        let mut run = self.run(line);
        let cut = |line: &str| line.split(end).next().unwrap_or_default().to_owned();
        let lines: Vec<_> = run.text.lines().filter(|line| is_wanted(line)).map(cut).collect();
        run.text = lines.join("\n");
        self.keep(line, &run, |_| true);
    }

    /// Runs a tool again and again until what it prints holds, and notes nothing.
    pub fn await_tool(&mut self, line: &str, holds: impl Fn(&str) -> bool) {
        eventually(line, WITHIN, || holds(&self.run(line).text).then_some(()));
    }

    /// Runs a tool again and again until it prints `text`, and notes what it then prints.
    pub fn tool_until(&mut self, line: &str, text: &str) {
        let mut last = None;
        let found = poll(WITHIN, || {
            let run = self.run(line);
            let is_there = run.text.contains(text);
            last = Some(run);
            is_there.then_some(())
        });
        let run = last.expect("one run at least");
        assert!(found.is_some(), "{line}: no {text:?} in\n{}", run.text);
        self.keep(line, &run, |_| true);
    }

    /// The addresses of all three.
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<_> = (1..=3).map(|id| self.servers.address(id).to_string()).collect();
        addresses.join(",")
    }

    /// Runs a tool with the bootstrap addresses of all three.
    pub fn run(&mut self, line: &str) -> ToolRun {
        let bootstrap = self.bootstrap();
        let mut words = line.split_whitespace();
        let tool = words.next().expect("a tool");
        let files: Vec<String> = words.map(|word| self.file(word)).collect();
        let mut arguments: Vec<&str> = files.iter().map(String::as_str).collect();
        // Some tools with a command want it first, others last.
        let at = usize::from(tool == "kafka-cluster");
        arguments.splice(at..at, ["--bootstrap-server", &bootstrap]);
        self.tools.run(tool, &arguments)
    }

    /// Writes a file that tools are told of by its name alone.
    pub fn write(&self, name: &str, json: &str) {
        fs::write(self.folder.join(name), json).expect("a file");
    }

    /// Waits until every partition of a topic has a leader and exactly these in sync, as broker 1 sees it; with none in
    /// sync, until nobody leads.
    pub fn await_isr(&mut self, topic: &str, isr: &[i32]) {
        let address = self.servers.address(1);
        let name = MetadataRequestTopic { name: Some(topic.into()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![name]), ..Default::default() };
        eventually(&format!("{topic} has {isr:?} in sync"), WITHIN, || {
            let response = try_call(address, METADATA_VERSION, &request)?;
            let partitions = &response.topics.first()?.partitions;
            let holds = !partitions.is_empty()
                && partitions.iter().all(|partition| {
                    let mut found = partition.isr_nodes.clone();
                    found.sort_unstable();
                    found == isr && (0 <= partition.leader_id) != isr.is_empty()
                });
            holds.then_some(())
        });
    }

    /// A request to a broker, and its answer.
    pub fn call<R: Request>(&mut self, id: u16, version: i16, request: &R) -> R::Response {
        let address = self.servers.address(id);
        eventually("an answer", WITHIN, || try_call(address, version, request))
    }

    fn file(&self, word: &str) -> String {
        if word.ends_with(".json") {
            self.folder.join(word).display().to_string()
        } else {
            word.to_owned()
        }
    }

    fn keep(&mut self, line: &str, run: &ToolRun, is_wanted: impl Fn(&str) -> bool) {
        let mut kept: Vec<String> = run
            .text
            .lines()
            .filter(|line| !is_trace(line) && is_wanted(line))
            .map(|line| self.plain(line))
            .filter(|line| !line.is_empty())
            .collect();
        kept.sort_unstable();
        kept.dedup();
        self.note(line, &format!("{}; {}", run.status, kept.join(" | ")));
    }

    /// A line without what differs from run to run.
    fn plain(&self, line: &str) -> String {
        let mut line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        for id in 1..=3 {
            let port = self.servers.address(id).port().to_string();
            line = line.replace(&port, &format!("PORT-{id}"));
            let dir = self.servers.log_dir(id).display().to_string();
            line = line.replace(&dir, &format!("DIR-{id}"));
        }
        line = line.replace("127.0.0.1", "localhost");
        for name in ["\"size\":", "\"timestamp\":", "TopicId: ", "Cluster ID: "] {
            line = without_values(&line, name);
        }
        line = with_sorted_isr(&line);
        if let Some((start, _)) = line.split_once(" synonyms=") {
            line = start.to_owned();
        }
        if let Some(at) = line.rfind("Exception: ") {
            line.truncate(at + "Exception".len());
        }
        if let Some((start, _)) = line.split_once(" command : ") {
            line = start.to_owned();
        }
        if line.starts_with("Can not ")
            && let Some((start, _)) = line.split_once(". ")
        {
            line = start.to_owned();
        }
        line
    }
}

/// Java's traces, and what a tool repeats of the error that it has told.
fn is_trace(line: &str) -> bool {
    let starts = ["\tat ", "\t... ", "Caused by: ", "\tSuppressed: ", "org.apache.kafka.tools"];
    starts.iter().any(|start| line.starts_with(start))
        || line.starts_with("Error while executing config command")
}

/// The order in which replicas came into the ISR is a matter of chance.
fn with_sorted_isr(line: &str) -> String {
    let Some((start, rest)) = line.split_once("Isr: ") else { return line.to_owned() };
    let (isr, end) = rest.split_once(' ').unwrap_or((rest, ""));
    let mut isr: Vec<_> = isr.split(',').collect();
    isr.sort_unstable();
    format!("{start}Isr: {} {end}", isr.join(","))
}

/// What follows each `name`, up to the next separator, is left out.
fn without_values(line: &str, name: &str) -> String {
    let mut parts = line.split(name);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push_str(name);
        let end = part.find([',', ' ', '}']).unwrap_or(part.len());
        kept.push('…');
        kept.push_str(&part[end..]);
    }
    kept
}

fn try_call<R: Request>(address: SocketAddr, version: i16, request: &R) -> Option<R::Response> {
    WireClient::try_connect(address, WITHIN).ok()?.try_call(version, request).ok()
}
