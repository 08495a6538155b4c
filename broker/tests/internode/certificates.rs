//! An authority that signs for a test.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ottla_client::tls::PemFiles;
use tempfile::TempDir;

/// A certificate authority with a folder of its own.
pub struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
    folder: TempDir,
}

impl Authority {
    pub fn new() -> Self {
        Self::named("Ottla's nodes")
    }

    pub fn named(name: &str) -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("authorities.pem"), &pem).unwrap();
        Self { issuer: rcgen::Issuer::new(params, key), pem, folder }
    }

    /// Certificate of this authority, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A node that names itself so, trusts this authority, and is certified by it.
    pub fn node(&self, name: &str) -> PemFiles {
        self.issue(name, 2100)
    }

    /// The same, but its certificate ended long ago.
    pub fn expired(&self, name: &str) -> PemFiles {
        self.issue(name, 2001)
    }

    fn issue(&self, name: &str, last_year: i32) -> PemFiles {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        params.extended_key_usages = vec![
            rcgen::ExtendedKeyUsagePurpose::ServerAuth,
            rcgen::ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let pem = format!("{}{}", key.serialize_pem(), certificate.pem());
        let keystore = self.folder.path().join(format!("{name}-{last_year}.pem"));
        write_private(&keystore, &pem);
        PemFiles { keystore, truststore: self.folder.path().join("authorities.pem") }
    }
}

/// A node with the key of one and the authorities of another.
pub fn mixed(own: &PemFiles, trusting: &PemFiles) -> PemFiles {
    PemFiles { keystore: own.keystore.clone(), truststore: trusting.truststore.clone() }
}

/// A file that only its owner may read.
pub fn write_private(path: &Path, content: &str) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A file with a secret made of this byte.
pub fn secret_file(folder: &TempDir, byte: char) -> PathBuf {
    let path = folder.path().join(format!("secret-{byte}"));
    write_private(&path, &byte.to_string().repeat(40));
    path
}
