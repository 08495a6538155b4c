use super::*;

fn load(role: Role, text: &str) -> Result<Loaded, Vec<String>> {
    load_server_properties(role, "server.properties", text.as_bytes(), &[])
        .map_err(|error| error.problems.iter().map(ToString::to_string).collect())
}

fn broker(text: &str) -> ServerConfig {
    load(Role::Broker, text).unwrap_or_else(|problems| panic!("{problems:?}")).config
}

fn problems(text: &str) -> Vec<String> {
    load(Role::Broker, text).map(|loaded| loaded.warnings).expect_err("it is refused")
}

fn check_refused(text: &str, part: &str) {
    let problems = problems(text);
    assert!(problems.iter().any(|problem| problem.contains(part)), "{text}: {problems:?}");
}

#[test]
fn a_small_file_is_enough() {
    let config = broker("node.id=1\n");
    assert_eq!(config.node_id(), 1);
    assert_eq!(config.listeners()[0].port, 9092);
    assert_eq!(config.list("etcd.endpoints"), ["http://127.0.0.1:2379"]);
    assert_eq!(config.millis("broker.session.timeout.ms"), Duration::from_secs(3));
    assert_eq!(config.log_dirs(), ["/tmp/ottla-logs"]);
    assert!(!config.is_set("log.dirs"));
}

#[test]
fn every_bad_value_is_reported_with_its_line_and_what_is_allowed() {
    let problems =
        problems("node.id=1\nnum.partitions=0\n# x\nlisteners=here\nlog.preallocate=\\u12");
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems[0].starts_with("server.properties:5: \\u12 is not an escape"), "{problems:?}");
    assert!(
        problems[1]
            .starts_with("server.properties:2: num.partitions cannot be \"0\": it is less than 1"),
        "{problems:?}"
    );
    assert!(problems[2].contains("server.properties:4: listeners"), "{problems:?}");
    assert!(problems[2].contains("NAME://host:port"), "{problems:?}");
}

#[test]
fn unknown_names_are_warnings_that_name_the_nearest() {
    let text = "node.id=1\nlog.dir.s=/x\nzookeeper.connect=z:1\nbanana=1\nnode.id=1\n";
    let warnings = load(Role::Broker, text).unwrap().warnings;
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    assert!(warnings[0].contains("server.properties:2: \"log.dir.s\""), "{warnings:?}");
    assert!(warnings[0].contains("did you mean log.dirs?"), "{warnings:?}");
    assert!(warnings[1].contains("set etcd.endpoints"), "{warnings:?}");
    assert!(warnings[2].ends_with("is ignored"), "{warnings:?}");
    assert!(warnings[3].contains("was set before, at server.properties:1"), "{warnings:?}");
}

#[test]
fn the_command_line_wins_over_the_file() {
    let overrides = [("num.partitions".to_owned(), "7".to_owned())];
    let text = b"node.id=1\nnum.partitions=3\n";
    let loaded = load_server_properties(Role::Broker, "f", text, &overrides).unwrap();
    assert_eq!(loaded.config.int("num.partitions"), 7);
    assert_eq!(loaded.warnings, []);
    let overrides = [("num.partitions".to_owned(), "x".to_owned())];
    let error = load_server_properties(Role::Broker, "f", text, &overrides).unwrap_err();
    assert!(error.to_string().starts_with("command line: num.partitions"), "{error}");
}

#[test]
fn old_names_still_work() {
    let config = broker("broker.id=3\nport=9999\nhost.name=localhost\n");
    assert_eq!(config.node_id(), 3);
    assert_eq!(config.listeners()[0].port, 9999);
    assert_eq!(config.listeners()[0].host, "localhost");
    assert_eq!(broker("node.id=4").int("broker.id"), 4);
    check_refused("node.id=1\nbroker.id=2", "give one of them only");
    check_refused("num.partitions=1", "node.id is not set");
    let both = load(Role::Broker, "broker.id=1\nport=1\nlisteners=PLAINTEXT://:2").unwrap();
    assert_eq!(both.config.listeners()[0].port, 2);
    assert!(both.warnings[0].problem.contains("ignored"));
}

#[test]
fn listeners_have_to_fit_together() {
    check_refused("node.id=1\nlisteners=A://:1", "add A:PLAINTEXT");
    check_refused("node.id=1\nadvertised.listeners=B://h:1", "not in listeners");
    check_refused("node.id=1\nadvertised.listeners=PLAINTEXT://0.0.0.0:1", "nobody can connect");
    check_refused("node.id=1\ninter.broker.listener.name=B", "not in listeners");
    check_refused(
        "node.id=1\nallow.insecure.listeners=true\nlisteners=PLAINTEXT://0.0.0.0:1",
        "set advertised.listeners",
    );
    let config = broker(
        "node.id=1\nlisteners=A://:1,B://127.0.0.1:2\nadvertised.listeners=B://b.example:3\n\
         listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT\ninter.broker.listener.name=B",
    );
    let advertised = config.advertised_listeners();
    assert_eq!((advertised[0].port, advertised[1].port), (1, 3));
    assert_eq!(config.listener_protocol("A"), Some(SecurityProtocol::Plaintext));
}

#[test]
fn what_reaches_beyond_the_machine_authenticates_or_is_allowed_by_name() {
    check_refused(
        "node.id=1\nlisteners=PLAINTEXT://10.0.0.1:9092",
        "allow.insecure.listeners=true",
    );
    check_refused("node.id=1\nhttp.listener=10.0.0.1:9644", "http.listener is bound to 10.0.0.1");
    check_refused("node.id=1\nhost.name=example.org", "authenticates nobody");
    broker("node.id=1\nlisteners=PLAINTEXT://[::1]:9092\nhttp.listener=localhost:1");
    broker("node.id=1\nallow.insecure.listeners=true\nlisteners=PLAINTEXT://10.0.0.1:9092");
    broker("node.id=1\nlisteners=SASL_SSL://10.0.0.1:9092");
}

#[test]
fn nodes_prove_themselves_off_loopback_or_that_is_allowed_by_name() {
    let internode = "node.id=1\ndata.dir=/d\ninternode.listener=10.0.0.1:9081";
    let with = |more: &str| {
        let text = format!("{internode}\n{more}");
        load(Role::Coordinator, &text).map(|loaded| loaded.warnings)
    };
    let refused = with("").unwrap_err();
    for cure in ["cluster.secret.file", "internode.ssl.keystore.location", "loopback", "allow."] {
        assert!(refused[0].contains(cure), "{refused:?}");
    }
    let (key, trust) =
        ("internode.ssl.keystore.location=/k", "internode.ssl.truststore.location=/t");
    for enough in
        ["cluster.secret.file=/s", "allow.insecure.listeners=true", &format!("{key}\n{trust}")]
    {
        assert_eq!(with(enough), Ok(vec![]), "{enough}");
    }
    for half in [key, trust] {
        let refused = with(half).unwrap_err();
        assert!(refused.iter().any(|it| it.contains("go together")), "{refused:?}");
    }
    let refused = with(&format!("{key}\n{trust}\ninternode.ssl.keystore.type=JKS")).unwrap_err();
    assert!(refused[0].contains("PEM"), "{refused:?}");
    let refused = with("cluster.secret.file=/s\ninternode.listener=0.0.0.0:1").unwrap_err();
    assert!(refused[0].contains("internode.advertised.listener"), "{refused:?}");
    let broker = format!("node.id=1\ncluster.secret.file=/s\n{key}\n{trust}");
    assert_eq!(load(Role::Broker, &broker).unwrap().warnings, []);
}

#[test]
fn etcd_settings_go_in_pairs() {
    check_refused("node.id=1\netcd.username=u", "one of them is missing");
    check_refused("node.id=1\netcd.password=p", "one of them is missing");
    check_refused(
        "node.id=1\netcd.username=u\netcd.password=p\netcd.password.file=/f",
        "give one of them only",
    );
    check_refused("node.id=1\netcd.ssl.key.file=/k", "etcd.ssl.certificate.file");
    check_refused("node.id=1\netcd.endpoints=", "at least one");
    let refused =
        problems("node.id=1\netcd.username=u\netcd.password=geheim\nbroker.session.timeout.ms=5");
    assert!(!format!("{refused:?}").contains("geheim"), "{refused:?}");
}

#[test]
fn a_coordinators_file_has_its_own_names_and_the_topics_defaults() {
    let text = "node.id=1\ndata.dir=/d\nnum.partitions=4\n";
    let config = load(Role::Coordinator, text).unwrap().config;
    assert_eq!(config.text("http.listener").as_deref(), Some(":9080"));
    assert_eq!(config.text("internode.listener").as_deref(), Some(":9081"));
    assert_eq!(config.int("num.partitions"), 4);
    assert!(load(Role::Coordinator, "node.id=1").is_err(), "data.dir is missing");
    let warnings = load(Role::Broker, "node.id=1\ninternode.listener=:1").unwrap().warnings;
    assert_eq!(warnings.len(), 1);
}

#[test]
fn text_is_utf_8_or_latin_1() {
    let latin = b"node.id=1\nbroker.rack=M\xfcnchen";
    let loaded = load_server_properties(Role::Broker, "f", latin, &[]).unwrap();
    assert_eq!(loaded.config.text("broker.rack").as_deref(), Some("München"));
    assert_eq!(
        broker("\u{feff}node.id=1\nbroker.rack=Zürich").text("broker.rack").as_deref(),
        Some("Zürich")
    );
}

#[test]
fn a_listeners_own_values_are_checked_and_kept() {
    let config = broker("node.id=1\nlistener.name.plaintext.max.connections=5");
    assert_eq!(config.int("listener.name.plaintext.max.connections"), 5);
    check_refused(
        "node.id=1\nlistener.name.a.max.connections=x",
        "listener.name.a.max.connections",
    );
}
