//! Every client snippet of the README runs as it stands.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use ottla_integration_tests::harness::{Cluster, binary, interop};

const ADDRESS: &str = "127.0.0.1:9092";

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("the README")
}

/// The README's code block in this language.
fn block(language: &str) -> String {
    let readme = readme();
    let opening = format!("```{language}\n");
    let (_, rest) = readme.split_once(&opening).unwrap_or_else(|| panic!("no {language} block"));
    let (block, _) = rest.split_once("```").expect("the block ends");
    block.to_owned()
}

/// A client's snippet, with the cluster's address in place of the default one.
fn snippet(language: &str, cluster: &Cluster) -> String {
    let block = block(language);
    assert!(block.contains(ADDRESS), "{block}");
    block.replace(ADDRESS, &cluster.bootstrap())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where `interop/run` has put a client's libraries.
fn built(client: &str) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    target.join("interop").join(client)
}

fn run(what: &str, command: &mut Command) -> String {
    // A client that hangs fails its test rather than the whole run.
    let mut bounded = Command::new("timeout");
    bounded.arg("120").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            bounded.env(name, value);
        }
    }
    if let Some(folder) = command.get_current_dir() {
        bounded.current_dir(folder);
    }
    let output = bounded.output().unwrap_or_else(|e| panic!("{what}: {e}"));
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what}: {stdout}\n{stderr}");
    stdout.into_owned()
}

/// Builds a client's libraries; false where its toolchain is missing.
fn prepared(client: &str) -> bool {
    interop(client, &["build"]).is_ok()
}

#[test]
fn every_make_target_of_the_readme_exists() {
    let makefile = fs::read_to_string(root().join("Makefile")).expect("the Makefile");
    let readme = readme();
    let named: Vec<&str> = readme
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("make "))
        .filter_map(|rest| rest.split_whitespace().next())
        .collect();
    assert!(5 < named.len(), "{named:?}");
    for target in named {
        assert!(makefile.contains(&format!("\n{target}: ")), "no target {target}");
    }
}

#[test]
fn ottla_snippet_runs() {
    let cluster = Cluster::single();
    let folder = binary("ottla").parent().expect("its folder").to_owned();
    let path = std::env::var("PATH").expect("a path");
    let mut command = Command::new("bash");
    command.args(["-ec", &block("ottla")]);
    command.env("PATH", format!("{}:{path}", folder.display()));
    command.env("OTTLA_BOOTSTRAP_SERVER", cluster.bootstrap());
    let output = run("ottla", &mut command);
    assert!(output.contains("created topic orders with 3 partitions"), "{output}");
    assert_eq!(
        output.matches(r#"{"id": 1}"#).count(),
        2,
        "read without and with a group: {output}"
    );
    assert!(output.contains("billing"), "{output}");
    assert!(output.contains("Usage: ottla"), "{output}");
}

#[test]
fn kcat_snippet_runs() {
    let cluster = Cluster::single();
    if !prepared("kcat") {
        return;
    }
    let output = run("kcat", Command::new("bash").args(["-ec", &snippet("kcat", &cluster)]));
    assert_eq!(output, "hello\nhello\n", "once by partition, once in a group");
}

#[test]
fn python_snippet_runs() {
    let cluster = Cluster::single();
    if !prepared("python") {
        return;
    }
    let python = built("python").join("bin/python");
    assert_eq!(
        run("python", Command::new(python).args(["-c", &snippet("python", &cluster)])),
        "hello\n"
    );
}

#[test]
fn java_snippet_runs() {
    let cluster = Cluster::single();
    if !prepared("java") {
        return;
    }
    let file = cluster.folder().join("Greetings.java");
    fs::write(&file, snippet("java", &cluster)).expect("a file");
    let jars = format!("{}/jars/*", built("java").display());
    assert_eq!(run("java", Command::new("java").args(["-cp", &jars]).arg(file)), "hello\n");
}

#[test]
fn go_snippet_runs() {
    let cluster = Cluster::single();
    if !prepared("go") {
        return;
    }
    let folder = cluster.folder().join("go");
    fs::create_dir(&folder).expect("a folder");
    for file in ["go.mod", "go.sum"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/go").join(file);
        fs::copy(from, folder.join(file)).expect("a copy");
    }
    fs::write(folder.join("main.go"), snippet("go", &cluster)).expect("a file");
    let mut command = Command::new("go");
    command.args(["run", "."]).current_dir(&folder).env("GOFLAGS", "-mod=mod");
    assert_eq!(run("go", &mut command), "hello\n");
}

#[test]
fn node_snippet_runs() {
    let cluster = Cluster::single();
    if !prepared("node") {
        return;
    }
    let file = built("node").join("snippet.js");
    fs::write(&file, snippet("js", &cluster)).expect("a file");
    assert_eq!(run("node", Command::new("node").arg(file)), "hello\n");
}
