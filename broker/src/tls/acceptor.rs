//! What a TLS listener offers: certificates from files, chosen by name, and whose client certificates count.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hubbub_config::{ClientAuth, ClientUser};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert};
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::{Tls, TlsError, TlsMistake, TlsMistakes};
use crate::clock::Millis;

/// What TLS listeners offer. To change it, make another one: connections that stand keep theirs.
pub struct TlsAcceptor {
    config: Arc<ServerConfig>,
    client_user: ClientUser,
    ends: Vec<(PathBuf, Millis)>,
}

/// A certificate whose end is near.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiring {
    /// Where it was read from.
    pub file: PathBuf,
    /// Whole days until it expires; negative if it has.
    pub days: i64,
}

const DAY: i64 = 24 * 60 * 60 * 1000;

impl TlsAcceptor {
    /// Reads the files that the settings name; nothing if they name no certificate.
    ///
    /// # Errors
    /// Every mistake in them at once.
    pub fn read(settings: &hubbub_config::Tls) -> Result<Option<TlsAcceptor>, TlsMistakes> {
        if settings.certificates.is_empty() {
            return Ok(None);
        }
        let provider = Arc::new(ring::default_provider());
        let mut mistakes = Vec::new();
        let mut served = Vec::new();
        for (file, key) in settings.certificates.iter().zip(&settings.keys) {
            match read_pair(file, key, &provider) {
                Ok(pair) => served.push(pair),
                Err(mut wrong) => mistakes.append(&mut wrong),
            }
        }
        let verifier = read_verifier(settings, &provider).map_err(|mistake| mistakes.push(mistake));
        let (Ok(verifier), true) = (verifier, mistakes.is_empty()) else { return Err(TlsMistakes(mistakes)) };
        let (ends, keys) =
            served.into_iter().map(|pair| ((pair.file, pair.ends), Arc::new(pair.key))).unzip();
        let config = server_config(provider, verifier, Shelf(keys)).map_err(|error| {
            let first = settings.certificates.first().map_or(Path::new(""), PathBuf::as_path);
            TlsMistakes(vec![TlsMistake::new("tls.certificates", first, error)])
        })?;
        Ok(Some(TlsAcceptor { config: Arc::new(config), client_user: settings.client_user, ends }))
    }

    /// The state of a new connection.
    pub fn accept(&self) -> Result<Tls, TlsError> {
        Tls::new(self.config.clone(), self.client_user)
    }

    /// The certificates that expire within so many days.
    pub fn expiring(&self, now: Millis, days: i64) -> Vec<Expiring> {
        let left = |ends: &Millis| (*ends as i64).saturating_sub(now as i64).div_euclid(DAY);
        let near = self.ends.iter().filter(|(_, ends)| left(ends) < days);
        near.map(|(file, ends)| Expiring { file: file.clone(), days: left(ends) }).collect()
    }

    /// How many certificates there are.
    pub fn certificates(&self) -> usize {
        self.ends.len()
    }
}

fn server_config(
    provider: Arc<CryptoProvider>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    shelf: Shelf,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let asks = verifier.is_some();
    let verifier = verifier.unwrap_or_else(|| Arc::new(NoClientAuth));
    let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(shelf));
    if asks {
        // Resuming would not look at the client's certificate again, which may have expired since.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else {
        // Kept by the client: a storm of reconnects costs neither memory nor signatures.
        config.ticketer = ring::Ticketer::new()?;
        config.send_tls13_tickets = 1;
    }
    Ok(config)
}

struct Pair {
    file: PathBuf,
    key: CertifiedKey,
    /// When the certificate expires.
    ends: Millis,
}

fn read_pair(file: &Path, key_file: &Path, provider: &CryptoProvider) -> Result<Pair, Vec<TlsMistake>> {
    let chain = read_certificates("tls.certificates", file);
    let key = PrivateKeyDer::from_pem_file(key_file)
        .map_err(|error| TlsMistake::new("tls.keys", key_file, pem(error, "private key")));
    let (chain, key) = match (chain, key) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => return Err([chain.err(), key.err()].into_iter().flatten().collect()),
    };
    let ends = check(&chain).map_err(|what| vec![TlsMistake::new("tls.certificates", file, what)])?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        let what = match error {
            rustls::Error::InconsistentKeys(_) => format!("is not the key of {}", file.display()),
            error => error.to_string(),
        };
        vec![TlsMistake::new("tls.keys", key_file, what)]
    })?;
    Ok(Pair { file: file.to_owned(), key, ends })
}

fn read_certificates(setting: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsMistake> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(chain) if chain.is_empty() => Err(TlsMistake::new(setting, file, "there is no certificate in it")),
        Ok(chain) => Ok(chain),
        Err(error) => Err(TlsMistake::new(setting, file, pem(error, "certificate"))),
    }
}

fn pem(error: rustls::pki_types::pem::Error, wanted: &str) -> String {
    use rustls::pki_types::pem::Error;
    match error {
        Error::Io(error) => format!("cannot be read: {error}"),
        Error::NoItemsFound => format!("there is no {wanted} in it"),
        error => format!("is not PEM: {error}"),
    }
}

/// The certificate has to be one that names can be compared with; gives back when it expires.
fn check(chain: &[CertificateDer<'_>]) -> Result<Millis, String> {
    let first = chain.first().ok_or("there is no certificate in it")?;
    ParsedCertificate::try_from(first).map_err(|error| error.to_string())?;
    let first = Certificate::from_der(first).map_err(|error| error.to_string())?;
    let ends = first.tbs_certificate().validity().not_after.to_unix_duration();
    Ok(Millis::try_from(ends.as_millis()).unwrap_or(Millis::MAX))
}

fn read_verifier(
    settings: &hubbub_config::Tls,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsMistake> {
    let (Some(file), true) = (&settings.client_ca, settings.client_auth != ClientAuth::Off) else {
        return Ok(None);
    };
    let wrong = |error: String| TlsMistake::new("tls.client_ca", file, error);
    let mut roots = RootCertStore::empty();
    for authority in read_certificates("tls.client_ca", file)? {
        roots.add(authority).map_err(|error| wrong(error.to_string()))?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    if settings.client_auth == ClientAuth::Optional {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map(Some).map_err(|error| wrong(error.to_string()))
}

/// The certificates in the order of the settings.
#[derive(Debug)]
struct Shelf(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shelf {
    /// The first that has the name and a key that the client can check; else the first that it can check.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let usable = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let named = name.and_then(|name| self.0.iter().filter(usable).find(|key| is_named(key, &name)));
        named.or_else(|| self.0.iter().find(usable)).cloned()
    }
}

fn is_named(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let certificate = key.cert.first().and_then(|first| ParsedCertificate::try_from(first).ok());
    certificate.is_some_and(|certificate| verify_server_name(&certificate, name).is_ok())
}
