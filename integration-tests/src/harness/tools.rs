//! Foreign programs: the clients under `interop/`, and genuine Apache Kafka with its command-line tools.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// A toolchain that this machine lacks, in one line. Where `CI` is set this is a failure instead.
#[derive(Debug)]
pub struct Skipped(pub String);

const SKIPPED_STATUS: i32 = 77;
/// Lines that are looked at in the output of a tool without an end.
const LINES_MAX: usize = 200;

/// Runs a foreign client with the given arguments (see `interop/README.md`) and returns its standard output.
///
/// # Errors
/// [`Skipped`] where the client's toolchain is missing or too old, outside CI.
///
/// # Panics
/// When the client fails; its error output is in the message.
pub fn interop(client: &str, arguments: &[&str]) -> Result<String, Skipped> {
    let mut command = bounded(&here("interop/run"));
    command.arg(client).args(arguments);
    output_or_skip(&format!("{client} {arguments:?}"), command)
}

/// Runs one of Apache Kafka's command-line tools and returns its standard output.
///
/// # Errors
/// [`Skipped`] where there is no Java, outside CI.
///
/// # Panics
/// When the tool fails; its output is in the message.
pub fn apache_kafka_tool(tool: &str, arguments: &[&str]) -> Result<String, Skipped> {
    let mut all = vec!["tool", tool];
    all.extend_from_slice(arguments);
    apache_kafka(&all)
}

/// Runs one of Apache Kafka's tools that end by themselves too late, or never: it is ended as soon as it prints a line with
/// `text` in it, and that line returned.
///
/// # Panics
/// When the tool does not start, or ends without that line.
#[must_use]
pub fn apache_kafka_tool_until(tool: &str, arguments: &[&str], text: &str) -> String {
    // Not within `timeout`, whose end the tool would outlive; the number of lines is the bound.
    let mut command = Command::new(here("apache-kafka/apache-kafka"));
    command.args(["tool", tool]).args(arguments).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the kit");
    let output = BufReader::new(child.stdout.take().expect("a piped output"));
    let found = output.lines().map_while(Result::ok).take(LINES_MAX).find(|l| l.contains(text));
    let _ = child.kill();
    let _ = child.wait();
    found.unwrap_or_else(|| panic!("{tool} {arguments:?} prints no {text:?}"))
}

/// Pipes lines into Apache Kafka's console producer.
///
/// # Errors
/// [`Skipped`] where there is no Java, outside CI.
///
/// # Panics
/// When the tool fails.
pub fn console_produce(bootstrap: &str, topic: &str, lines: &str) -> Result<(), Skipped> {
    apache_kafka(&["--help"])?;
    let mut command = bounded(&here("apache-kafka/apache-kafka"));
    command.args(["tool", "kafka-console-producer", "--bootstrap-server", bootstrap]);
    command.args(["--topic", topic, "--command-property", "acks=all"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the kit");
    let mut input = child.stdin.take().expect("a piped input");
    input.write_all(lines.as_bytes()).expect("the producer reads");
    drop(input);
    let status = child.wait().expect("its end");
    assert!(status.success(), "kafka-console-producer: {status}");
    Ok(())
}

/// Runs the kit that starts genuine Apache Kafka and its tools; `apache-kafka/README.md` has the commands.
///
/// # Errors
/// [`Skipped`] where there is no Java, outside CI.
///
/// # Panics
/// When the command fails; its output is in the message.
pub fn apache_kafka(arguments: &[&str]) -> Result<String, Skipped> {
    if !on_path("java") || !on_path("python3") {
        return skip("Apache Kafka needs Java 17 and Python 3".to_owned());
    }
    let mut command = bounded(&here("apache-kafka/apache-kafka"));
    command.args(arguments);
    output_or_skip(&format!("apache-kafka {arguments:?}"), command)
}

/// A program that hangs fails its test rather than the whole run. The bound has room for a first build of its libraries.
fn bounded(program: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.arg("300").arg(program);
    command
}

fn output_or_skip(what: &str, mut command: Command) -> Result<String, Skipped> {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|e| panic!("{what} does not start: {e}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    if status.code() == Some(SKIPPED_STATUS) {
        return skip(stderr.trim().to_owned());
    }
    assert!(status.success(), "{what}: {status}\n{stdout}\n{stderr}");
    Ok(stdout.into_owned())
}

fn skip<T>(why: String) -> Result<T, Skipped> {
    assert!(env::var_os("CI").is_none(), "CI skips nothing: {why}");
    eprintln!("{why}");
    Err(Skipped(why))
}

fn on_path(program: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|p| p.join(program).exists()))
}

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}
