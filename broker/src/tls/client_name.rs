//! The user that a client's certificate names. It was verified during the handshake, so an authority of ours signed it.

use bytestring::ByteString;
use hubbub_config::ClientUser;
use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};

/// Whom a client's certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientName {
    /// There is no certificate, or certificates do not name users here.
    Unasked,
    /// This user.
    User(ByteString),
    /// The certificate has no such part, or two of them.
    Nobody,
}

pub(super) fn of(part: ClientUser, certificate: Option<&CertificateDer<'_>>) -> ClientName {
    let Some(certificate) = certificate else { return ClientName::Unasked };
    let read: fn(&Certificate) -> Vec<String> = match part {
        ClientUser::Off => return ClientName::Unasked,
        ClientUser::CommonName => common_names,
        ClientUser::DnsName => |certificate| {
            alternatives(certificate, |name| match name {
                GeneralName::DnsName(name) => Some(name.to_string()),
                _ => None,
            })
        },
        ClientUser::Email => |certificate| {
            alternatives(certificate, |name| match name {
                GeneralName::Rfc822Name(name) => Some(name.to_string()),
                _ => None,
            })
        },
    };
    let names = Certificate::from_der(certificate).map(|certificate| read(&certificate)).unwrap_or_default();
    match &names[..] {
        [name] if !name.is_empty() => ClientName::User(name.as_str().into()),
        // Of two names either could be meant, so neither is.
        _ => ClientName::Nobody,
    }
}

fn common_names(certificate: &Certificate) -> Vec<String> {
    let parts = certificate.tbs_certificate().subject().iter().filter(|part| part.oid == COMMON_NAME);
    let text = parts.map(|part| match part.value.decode_as() {
        Ok(DirectoryString::PrintableString(name)) => name.to_string(),
        Ok(DirectoryString::Utf8String(name)) => name,
        // Nobody agrees on what the older encodings mean beyond ASCII.
        _ => String::new(),
    });
    text.collect()
}

fn alternatives(certificate: &Certificate, wanted: fn(GeneralName) -> Option<String>) -> Vec<String> {
    let names = certificate.tbs_certificate().get_extension::<SubjectAltName>();
    let names = names.ok().flatten().map(|(_, SubjectAltName(names))| names).unwrap_or_default();
    names.into_iter().filter_map(wanted).collect()
}
