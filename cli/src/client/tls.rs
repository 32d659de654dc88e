//! What we believe of a server with TLS, and what we show of ourselves.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::exit::{Exit, Failure};

/// Whose word counts about who a server is.
#[derive(Debug, Clone, Copy)]
pub enum Belief<'a> {
    /// That of the authorities that this machine knows.
    System,
    /// That of the authorities in this PEM file.
    File(&'a Path),
    /// Anybody's: whoever stands in between reads and changes everything.
    Anybody,
}

/// Certificates, read and ready.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
}

impl Tls {
    /// Reads the files; `identity` is our own certificate chain and its key, in PEM.
    pub fn read(belief: Belief<'_>, identity: Option<(&Path, &Path)>) -> Result<Tls, Failure> {
        let builder = ClientConfig::builder();
        let builder = match belief {
            Belief::System => builder.with_root_certificates(system_roots()?),
            Belief::File(file) => builder.with_root_certificates(roots_in(file)?),
            Belief::Anybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody::new())),
        };
        let config = match identity {
            Some((certificate, key)) => {
                let chain = read_chain(certificate)?;
                let wrong = |error: &dyn ToString| about(key, &error.to_string());
                let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(&error))?;
                builder.with_client_auth_cert(chain, secret).map_err(|error| wrong(&error))?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Tls { config: Arc::new(config) })
    }

    /// The form that the MQTT library takes.
    pub fn transport(&self) -> rumqttc::Transport {
        rumqttc::Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(self.config.clone()))
    }

    /// The form that rustls takes.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }
}

fn system_roots() -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let message = "this machine knows no certificate authority; name one with --cafile";
        return Err(Failure::new(Exit::Failed, message));
    }
    Ok(roots)
}

fn roots_in(file: &Path) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    for authority in read_chain(file)? {
        roots.add(authority).map_err(|error| about(file, &error.to_string()))?;
    }
    Ok(roots)
}

fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(chain) if chain.is_empty() => Err(about(file, "there is no certificate in it")),
        Ok(chain) => Ok(chain),
        Err(error) => Err(about(file, &error.to_string())),
    }
}

fn about(file: &Path, what: &str) -> Failure {
    Failure::new(Exit::Failed, format!("{}: {what}", file.display()))
}

/// Believes every certificate; whoever shows it has to have its key all the same.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl Anybody {
    fn new() -> Anybody {
        let provider = CryptoProvider::get_default().cloned();
        let provider = provider.unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()));
        Anybody(provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for Anybody {
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
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
