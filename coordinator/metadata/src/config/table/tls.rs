//! Configs of TLS.

use super::super::def::{ConfigDef, Validator};
use super::reason;

/// The configs of TLS.
pub const TLS: &[ConfigDef] = &[
    ConfigDef::string("ssl.client.auth", "none")
        .check(Validator::OneOf(&["required", "requested", "none"]))
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("Whether clients have to show a certificate: `required`, `requested` or `none`."),
    ConfigDef::string("ssl.principal.mapping.rules", "DEFAULT")
        .low()
        .no_effect(reason::SECURITY)
        .doc("Rules that make a user's name from a certificate's."),
    ConfigDef::boolean("ssl.allow.dn.changes", "false")
        .low()
        .no_effect(reason::SECURITY)
        .doc("Whether a new certificate may name somebody else."),
    ConfigDef::boolean("ssl.allow.san.changes", "false")
        .low()
        .no_effect(reason::SECURITY)
        .doc("Whether a new certificate may lack host names that the old one had."),
    ConfigDef::string("ssl.protocol", "TLSv1.3")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("TLS version tried first."),
    ConfigDef::string("ssl.provider", "")
        .nullable()
        .per_broker()
        .no_effect(reason::JVM)
        .doc("Java's provider of TLS."),
    ConfigDef::list("ssl.enabled.protocols", "TLSv1.2,TLSv1.3")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("TLS versions that are spoken."),
    ConfigDef::string("ssl.keystore.type", "JKS")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("Format of the key store: JKS, PKCS12 or PEM."),
    ConfigDef::string("ssl.keystore.location", "")
        .nullable()
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("File with the broker's key and certificate."),
    ConfigDef::password("ssl.keystore.password")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("Password of the key store."),
    ConfigDef::password("ssl.key.password")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("Password of the key itself."),
    ConfigDef::password("ssl.keystore.key")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("The broker's key, as PEM text."),
    ConfigDef::password("ssl.keystore.certificate.chain")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("The broker's certificates, as PEM text."),
    ConfigDef::string("ssl.truststore.type", "JKS")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("Format of the trust store: JKS, PKCS12 or PEM."),
    ConfigDef::string("ssl.truststore.location", "")
        .nullable()
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("File with the certificates that are trusted."),
    ConfigDef::password("ssl.truststore.password")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("Password of the trust store."),
    ConfigDef::password("ssl.truststore.certificates")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("The certificates that are trusted, as PEM text."),
    ConfigDef::string("ssl.keymanager.algorithm", "SunX509")
        .per_broker()
        .no_effect(reason::JVM)
        .doc("Java's algorithm for choosing a key."),
    ConfigDef::string("ssl.trustmanager.algorithm", "PKIX")
        .per_broker()
        .no_effect(reason::JVM)
        .doc("Java's algorithm for judging trust."),
    ConfigDef::string("ssl.endpoint.identification.algorithm", "https")
        .low()
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("`https` checks that a server's certificate names the host; empty does not."),
    ConfigDef::string("ssl.secure.random.implementation", "")
        .nullable()
        .low()
        .per_broker()
        .no_effect(reason::JVM)
        .doc("Java's source of random numbers."),
    ConfigDef::list("ssl.cipher.suites", "")
        .per_broker()
        .no_effect(reason::SECURITY)
        .doc("Cipher suites that are offered; empty leaves the choice to the library."),
    ConfigDef::class("ssl.engine.factory.class", "")
        .nullable()
        .low()
        .per_broker()
        .no_effect(reason::JVM)
        .doc("Class that makes TLS connections."),
];
