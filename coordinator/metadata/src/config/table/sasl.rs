//! Configs of SASL.

use super::super::def::{ConfigDef, Validator};
use super::reason;

/// The configs of SASL.
pub const SASL: &[ConfigDef] = &[
    ConfigDef::string("sasl.mechanism.inter.broker.protocol", "GSSAPI")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("SASL mechanism among brokers."),
    ConfigDef::list("sasl.enabled.mechanisms", "GSSAPI")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("SASL mechanisms that clients may use."),
    ConfigDef::class("sasl.server.callback.handler.class", "")
        .nullable()
        .no_effect(reason::JVM)
        .doc("Class that checks logins."),
    ConfigDef::list("sasl.kerberos.principal.to.local.rules", "DEFAULT")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("Rules that make a user's name from a Kerberos principal."),
    ConfigDef::password("sasl.jaas.config")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("Logins of a listener and mechanism, in Java's JAAS form."),
    ConfigDef::class("sasl.client.callback.handler.class", "")
        .nullable()
        .no_effect(reason::JVM)
        .doc("Class that answers a server's questions."),
    ConfigDef::class("sasl.login.class", "")
        .nullable()
        .no_effect(reason::JVM)
        .doc("Class that logs in."),
    ConfigDef::class("sasl.login.callback.handler.class", "")
        .nullable()
        .no_effect(reason::JVM)
        .doc("Class that answers questions while logging in."),
    ConfigDef::string("sasl.kerberos.service.name", "")
        .nullable()
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("Kerberos name of the service."),
    ConfigDef::string("sasl.kerberos.kinit.cmd", "/usr/bin/kinit")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("Path of the kinit command."),
    ConfigDef::double("sasl.kerberos.ticket.renew.window.factor", "0.8")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("Share of a ticket's life after which it is renewed."),
    ConfigDef::double("sasl.kerberos.ticket.renew.jitter", "0.05")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("Random share added to the time of renewal."),
    ConfigDef::long("sasl.kerberos.min.time.before.relogin", "60000")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("Milliseconds between two renewals at least."),
    ConfigDef::double("sasl.login.refresh.window.factor", "0.8")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("Share of a login's life after which it is renewed."),
    ConfigDef::double("sasl.login.refresh.window.jitter", "0.05")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("Random share added to the time of a login's renewal."),
    ConfigDef::short("sasl.login.refresh.min.period.seconds", "60")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("Seconds that pass before a login is renewed at least."),
    ConfigDef::short("sasl.login.refresh.buffer.seconds", "300")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("Seconds before a login's end by which it should be renewed."),
    ConfigDef::int("sasl.login.connect.timeout.ms", "")
        .nullable()
        .low()
        .no_effect(reason::SECURITY)
        .doc("Milliseconds that connecting to a login server may take."),
    ConfigDef::int("sasl.login.read.timeout.ms", "")
        .nullable()
        .low()
        .no_effect(reason::SECURITY)
        .doc("Milliseconds that a login server may take to answer."),
    ConfigDef::long("sasl.login.retry.backoff.max.ms", "10000")
        .low()
        .no_effect(reason::SECURITY)
        .doc("Longest wait in milliseconds between two tries to log in."),
    ConfigDef::long("sasl.login.retry.backoff.ms", "100")
        .low()
        .no_effect(reason::SECURITY)
        .doc("First wait in milliseconds between two tries to log in."),
    ConfigDef::class(
        "sasl.oauthbearer.jwt.retriever.class",
        "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever",
    )
    .no_effect(reason::JVM)
    .doc("Class that fetches tokens."),
    ConfigDef::class(
        "sasl.oauthbearer.jwt.validator.class",
        "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator",
    )
    .no_effect(reason::JVM)
    .doc("Class that checks tokens."),
    ConfigDef::string("sasl.oauthbearer.scope", "")
        .nullable()
        .no_effect(reason::SECURITY)
        .doc("Scope that is asked for when a token is fetched."),
    ConfigDef::string("sasl.oauthbearer.client.credentials.client.id", "")
        .nullable()
        .no_effect(reason::SECURITY)
        .doc("Client id with which a token is fetched."),
    ConfigDef::password("sasl.oauthbearer.client.credentials.client.secret")
        .no_effect(reason::SECURITY)
        .doc("Secret with which a token is fetched."),
    ConfigDef::string("sasl.oauthbearer.assertion.algorithm", "RS256")
        .check(Validator::OneOfAnyCase(&["ES256", "RS256"]))
        .no_effect(reason::SECURITY)
        .doc("Algorithm that signs an assertion."),
    ConfigDef::string("sasl.oauthbearer.assertion.claim.aud", "")
        .nullable()
        .no_effect(reason::SECURITY)
        .doc("Audience of an assertion."),
    ConfigDef::int("sasl.oauthbearer.assertion.claim.exp.seconds", "300")
        .check(Validator::Between(0, 86_400))
        .low()
        .no_effect(reason::SECURITY)
        .doc("Seconds after which an assertion ends."),
    ConfigDef::string("sasl.oauthbearer.assertion.claim.iss", "")
        .nullable()
        .no_effect(reason::SECURITY)
        .doc("Issuer of an assertion."),
    ConfigDef::boolean("sasl.oauthbearer.assertion.claim.jti.include", "false")
        .no_effect(reason::SECURITY)
        .doc("Whether an assertion carries an id of its own."),
    ConfigDef::int("sasl.oauthbearer.assertion.claim.nbf.seconds", "60")
        .check(Validator::Between(0, 3600))
        .low()
        .no_effect(reason::SECURITY)
        .doc("Seconds by which an assertion is valid before it is made."),
    ConfigDef::string("sasl.oauthbearer.assertion.claim.sub", "")
        .nullable()
        .no_effect(reason::SECURITY)
        .doc("Subject of an assertion."),
    ConfigDef::string("sasl.oauthbearer.assertion.file", "")
        .nullable()
        .no_effect(reason::SECURITY)
        .doc("File with a ready assertion."),
    ConfigDef::string("sasl.oauthbearer.assertion.private.key.file", "")
        .nullable()
        .no_effect(reason::SECURITY)
        .doc("File with the key that signs an assertion."),
    ConfigDef::password("sasl.oauthbearer.assertion.private.key.passphrase")
        .no_effect(reason::SECURITY)
        .doc("Password of the key that signs an assertion."),
    ConfigDef::string("sasl.oauthbearer.assertion.template.file", "")
        .nullable()
        .no_effect(reason::SECURITY)
        .doc("File with an assertion's fixed parts."),
    ConfigDef::string("sasl.oauthbearer.scope.claim.name", "scope")
        .low()
        .no_effect(reason::SECURITY)
        .doc("Name of a token's claim that holds the scope."),
    ConfigDef::string("sasl.oauthbearer.sub.claim.name", "sub")
        .low()
        .no_effect(reason::SECURITY)
        .doc("Name of a token's claim that holds the user."),
    ConfigDef::string("sasl.oauthbearer.token.endpoint.url", "")
        .nullable()
        .no_effect(reason::SECURITY)
        .doc("Where tokens are fetched."),
    ConfigDef::string("sasl.oauthbearer.jwks.endpoint.url", "")
        .nullable()
        .no_effect(reason::SECURITY)
        .doc("Where the keys are fetched that check tokens."),
    ConfigDef::long("sasl.oauthbearer.jwks.endpoint.refresh.ms", "3600000")
        .low()
        .no_effect(reason::SECURITY)
        .doc("Milliseconds between two fetches of the keys."),
    ConfigDef::long("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", "100")
        .low()
        .no_effect(reason::SECURITY)
        .doc("First wait in milliseconds between two tries to fetch the keys."),
    ConfigDef::long("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", "10000")
        .low()
        .no_effect(reason::SECURITY)
        .doc("Longest wait in milliseconds between two tries to fetch the keys."),
    ConfigDef::int("sasl.oauthbearer.clock.skew.seconds", "30")
        .low()
        .no_effect(reason::SECURITY)
        .doc("Seconds by which clocks may differ when a token's times are checked."),
    ConfigDef::list("sasl.oauthbearer.expected.audience", "")
        .high()
        .no_effect(reason::SECURITY)
        .doc("Audiences that a token may name."),
    ConfigDef::string("sasl.oauthbearer.expected.issuer", "")
        .nullable()
        .high()
        .no_effect(reason::SECURITY)
        .doc("Issuer that a token must name."),
];
