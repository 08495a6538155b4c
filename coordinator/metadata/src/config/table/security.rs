//! Configs of authentication and delegation tokens.

use super::super::def::ConfigDef;
use super::reason;

/// The configs of authentication and delegation tokens.
pub const SECURITY: &[ConfigDef] = &[
    ConfigDef::long("connections.max.reauth.ms", "0")
        .no_effect(reason::SECURITY)
        .doc("Milliseconds after which a client has to authenticate again; 0 never asks."),
    ConfigDef::password("delegation.token.secret.key")
        .no_effect(reason::SECURITY)
        .doc("Secret from which delegation tokens are made, the same on every broker."),
    ConfigDef::long("delegation.token.max.lifetime.ms", "604800000")
        .at_least(1)
        .no_effect(reason::SECURITY)
        .doc("Milliseconds after which a delegation token cannot be renewed any more."),
    ConfigDef::long("delegation.token.expiry.time.ms", "86400000")
        .at_least(1)
        .no_effect(reason::SECURITY)
        .doc("Milliseconds after which a delegation token has to be renewed."),
    ConfigDef::long("delegation.token.expiry.check.interval.ms", "3600000")
        .at_least(1)
        .low()
        .no_effect(reason::SECURITY)
        .doc("Milliseconds between two looks for delegation tokens to forget."),
    ConfigDef::int("sasl.server.max.receive.size", "524288")
        .no_effect(reason::SECURITY)
        .doc("Largest message in bytes while a client authenticates."),
    ConfigDef::string("security.providers", "")
        .nullable()
        .low()
        .no_effect(reason::JVM)
        .doc("Classes that provide algorithms."),
    ConfigDef::class(
        "principal.builder.class",
        "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder",
    )
    .per_broker()
    .no_effect(reason::JVM)
    .doc("Class that makes a name from a certificate or login."),
];
