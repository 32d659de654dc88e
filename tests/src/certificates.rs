//! Authorities, certificates made on the spot, and what a client believes.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, SupportedProtocolVersion,
};
use tempfile::TempDir;

/// Somebody who signs certificates, with a folder for the files.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
    made: Cell<u32>,
}

/// A certificate and its key, as PEM files.
pub struct Pair {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// What a client believes of a hub, and what it shows of itself.
#[derive(Clone)]
pub struct Trust {
    roots: Option<CertificateDer<'static>>,
    shown: Option<(PathBuf, PathBuf)>,
    name: String,
    version: Option<&'static SupportedProtocolVersion>,
}

impl Authority {
    /// A new one.
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        // Of two with the same name the wrong one would be asked.
        let name = format!("authority {:02x?}", &key.public_key_raw()[..8]);
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let folder = tempfile::Builder::new().prefix("hubbub-ca-").tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Authority { issuer, folder, made: Cell::new(0) }
    }

    /// Its own certificate, as a PEM file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for a server of these names; `127.0.0.1` is one of the usual ones.
    pub fn certifies(&self, names: &[&str]) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.signs(params)
    }

    /// A certificate for 127.0.0.1 that expires in so many days.
    pub fn certifies_for(&self, days: i64) -> Pair {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        // The epoch of rcgen's dates, without naming their library.
        params.not_after = rcgen::date_time_ymd(1970, 1, 1)
            + Duration::from_secs((since_epoch + days * 86_400 + 3600).unsigned_abs());
        self.signs(params)
    }

    /// A certificate for a client with this common name, and this e-mail address.
    pub fn certifies_client(&self, name: &str, email: &str) -> Pair {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::Rfc822Name(email.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.signs(params)
    }

    fn signs(&self, params: CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let number = self.made.replace(self.made.get() + 1);
        let path = |ending| self.folder.path().join(format!("{number}.{ending}"));
        let pair = Pair { certificate: path("pem"), key: path("key") };
        std::fs::write(&pair.certificate, certificate.pem()).unwrap();
        std::fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }

    /// A client that believes this authority, and expects 127.0.0.1.
    pub fn trusted(&self) -> Trust {
        Trust { roots: Some(self.issuer.der().clone()), ..Trust::blind() }
    }
}

impl Default for Authority {
    fn default() -> Authority {
        Authority::new()
    }
}

impl Pair {
    /// Puts another pair in its place.
    pub fn becomes(&self, other: &Pair) {
        std::fs::copy(&other.certificate, &self.certificate).unwrap();
        std::fs::copy(&other.key, &self.key).unwrap();
    }

    /// The certificate as it goes over the wire.
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(&self.certificate).unwrap()
    }
}

impl Trust {
    /// A client that believes everybody, to see what it is shown.
    pub fn blind() -> Trust {
        Trust { roots: None, shown: None, name: "127.0.0.1".into(), version: None }
    }

    /// Expecting this name.
    pub fn called(self, name: &str) -> Trust {
        Trust { name: name.into(), ..self }
    }

    /// Showing this certificate.
    pub fn showing(self, pair: &Pair) -> Trust {
        Trust { shown: Some((pair.certificate.clone(), pair.key.clone())), ..self }
    }

    /// In this version only.
    pub fn speaking(self, version: &'static SupportedProtocolVersion) -> Trust {
        Trust { version: Some(version), ..self }
    }

    /// The name that it expects.
    pub fn name(&self) -> ServerName<'static> {
        self.name.clone().try_into().unwrap()
    }

    /// The form that rustls takes.
    pub fn config(&self) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let versions = self.version.as_slice();
        let versions = if versions.is_empty() { rustls::DEFAULT_VERSIONS } else { versions };
        let builder = builder.with_protocol_versions(versions).unwrap();
        let builder = match &self.roots {
            Some(root) => {
                let mut roots = RootCertStore::empty();
                roots.add(root.clone()).unwrap();
                builder.with_root_certificates(roots)
            }
            None => builder.dangerous().with_custom_certificate_verifier(Arc::new(Blind)),
        };
        Arc::new(match &self.shown {
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap()
            }
            None => builder.with_no_client_auth(),
        })
    }
}

#[derive(Debug)]
struct Blind;

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
