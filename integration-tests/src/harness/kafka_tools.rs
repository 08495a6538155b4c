//! Apache Kafka's command-line tools, many runs in one JVM: a JVM for each would take longer than what it does.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use super::{Skipped, apache_kafka};

/// Seconds after which the JVM is ended, whatever it does.
const BOUND_S: &str = "600";

/// A JVM that runs the tools, unmodified, one after the other.
#[derive(Debug)]
pub struct KafkaTools {
    child: Child,
    /// None once it is closed, which ends the JVM.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// What came of one run of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolRun {
    /// Its exit status.
    pub status: i32,
    /// What it printed, errors too.
    pub text: String,
}

impl KafkaTools {
    /// Starts the JVM; it is not waited for.
    ///
    /// # Errors
    /// [`Skipped`] where there is no Java, outside CI.
    ///
    /// # Panics
    /// When the kit does not start.
    pub fn start() -> Result<Self, Skipped> {
        apache_kafka(&["--help"])?;
        let kit = Path::new(env!("CARGO_MANIFEST_DIR")).join("apache-kafka/apache-kafka");
        let mut command = Command::new("timeout");
        command.arg(BOUND_S).arg(kit).arg("tools");
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the kit");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("a piped output"));
        Ok(Self { child, input, output })
    }

    /// Runs a tool, by the name of its script without `.sh`, and waits for its end.
    ///
    /// # Panics
    /// When the JVM has ended, or an argument has a tab or a line end in it.
    pub fn run(&mut self, tool: &str, arguments: &[&str]) -> ToolRun {
        let words = [&[tool], arguments].concat();
        assert!(words.iter().all(|word| !word.contains(['\t', '\n'])), "{words:?}");
        let input = self.input.as_mut().expect("open until drop");
        writeln!(input, "{}", words.join("\t")).expect("a JVM that reads");
        let mut head = String::new();
        self.output.read_line(&mut head).expect("an answer");
        let (status, length) = head.trim_end().split_once(' ').expect("a JVM that runs");
        let mut text = vec![0; length.parse().expect("a length")];
        self.output.read_exact(&mut text).expect("what was printed");
        let text = String::from_utf8_lossy(&text).into_owned();
        ToolRun { status: status.parse().expect("a status"), text }
    }
}

impl Drop for KafkaTools {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}
