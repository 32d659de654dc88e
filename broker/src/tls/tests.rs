//! TLS between a client of the library and ours, in memory.

use std::io::Write;
use std::sync::Arc;

use bytes::BytesMut;
use hubbub_config::{ClientAuth, ClientUser};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;
use crate::clock::Millis;
use crate::outbuffer::OutBuffer;

/// A server and its client, and the files of both.
struct Pair {
    acceptor: TlsAcceptor,
    client: ClientConfig,
}

impl Pair {
    fn new() -> Pair {
        Pair::with(|_| {}, |_| {})
    }

    /// With changes to the settings, and with a certificate of the client.
    fn with(
        settings: impl FnOnce(&mut hubbub_config::Tls),
        subject: impl FnOnce(&mut rcgen::CertificateParams),
    ) -> Pair {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, params: rcgen::CertificateParams| {
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = params.self_signed(&key).unwrap();
            let path = |ending| folder.path().join(format!("{name}.{ending}"));
            std::fs::write(path("pem"), certificate.pem()).unwrap();
            std::fs::write(path("key"), key.serialize_pem()).unwrap();
            (path("pem"), path("key"))
        };
        let server = write("server", rcgen::CertificateParams::new(["chat.example".to_owned()]).unwrap());
        let mut params = rcgen::CertificateParams::default();
        subject(&mut params);
        let client = write("client", params);
        let mut config = hubbub_config::Tls {
            certificates: vec![server.0.clone()],
            keys: vec![server.1],
            client_ca: Some(client.0.clone()),
            ..Default::default()
        };
        settings(&mut config);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(server.0).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let chain = vec![CertificateDer::from_pem_file(client.0).unwrap()];
        let key = PrivateKeyDer::from_pem_file(client.1).unwrap();
        let client = builder.with_client_auth_cert(chain, key).unwrap();
        Pair { acceptor: TlsAcceptor::read(&config).unwrap().unwrap(), client }
    }

    fn client(&self) -> ClientConnection {
        ClientConnection::new(Arc::new(self.client.clone()), "chat.example".try_into().unwrap()).unwrap()
    }

    /// Both through the handshake.
    fn connected(&self) -> (Tls, ClientConnection) {
        let (mut server, mut client) = (self.acceptor.accept().unwrap(), self.client());
        while client.is_handshaking() || client.wants_write() {
            assert_eq!(says(&mut server, &mut client), Ok(Vec::new()));
        }
        (server, client)
    }
}

/// The server hears what the client has to say, and the client the answer; the plain bytes.
fn says(server: &mut Tls, client: &mut ClientConnection) -> Result<Vec<u8>, TlsError> {
    let bytes = sent(client);
    let (mut plain, mut out) = (BytesMut::new(), OutBuffer::default());
    let received = server.receive(&bytes, &mut plain, &mut out);
    hears(client, &out.take());
    received.map(|()| plain.to_vec())
}

fn sent(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// The plain bytes for the client.
fn hears(client: &mut ClientConnection, mut bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while !bytes.is_empty() {
        assert!(client.read_tls(&mut bytes).unwrap() > 0, "nothing comes behind the end");
        client.process_new_packets().unwrap();
        while let Ok(chunk) = client.reader().into_first_chunk()
            && !chunk.is_empty()
        {
            plain.extend_from_slice(chunk);
            let count = chunk.len();
            client.reader().consume(count);
        }
    }
    plain
}

fn buffer(bytes: &[u8]) -> OutBuffer {
    let mut buffer = OutBuffer::default();
    buffer.push(&bytes.to_vec().into());
    buffer
}

#[test]
fn bytes_cut_anywhere_arrive_whole_also_together_with_the_end_of_the_handshake() {
    let pair = Pair::new();
    let mut cut = 0;
    loop {
        let (mut server, mut client) = (pair.acceptor.accept().unwrap(), pair.client());
        says(&mut server, &mut client).unwrap();
        // The client is done now, and what it says first goes with its Finished.
        client.writer().write_all(b"first ").unwrap();
        let bytes = [sent(&mut client), {
            client.writer().write_all(b"second").unwrap();
            sent(&mut client)
        }]
        .concat();
        let (mut plain, mut out) = (BytesMut::new(), OutBuffer::default());
        server.receive(&bytes[..cut], &mut plain, &mut out).unwrap();
        server.receive(&bytes[cut..], &mut plain, &mut out).unwrap();
        assert_eq!(&plain[..], b"first second", "cut at {cut}");
        assert!(server.is_open());
        hears(&mut client, &out.take());
        cut += 1;
        if cut > bytes.len() {
            break;
        }
    }
}

#[test]
fn more_than_any_buffer_of_the_library_goes_both_ways_at_once() {
    let (mut server, mut client) = Pair::new().connected();
    client.set_buffer_limit(None);
    let bytes: Vec<u8> = (0..3_000_000u32).map(|number| (number / 7) as u8).collect();
    let (mut out, mut plain) = (OutBuffer::default(), buffer(&bytes));
    server.send(&mut plain, &mut out);
    assert!(plain.is_empty() && out.len() > bytes.len(), "what is encrypted counts");
    assert!(hears(&mut client, &out.take()) == bytes);
    client.writer().write_all(&bytes).unwrap();
    assert!(says(&mut server, &mut client).unwrap() == bytes);
}

#[test]
fn a_goodbye_is_heard_with_what_came_before_it_and_answered() {
    let (mut server, mut client) = Pair::new().connected();
    client.writer().write_all(b"last words").unwrap();
    client.send_close_notify();
    let (mut plain, mut out) = (BytesMut::new(), OutBuffer::default());
    assert_eq!(server.receive(&sent(&mut client), &mut plain, &mut out), Err(TlsError::Closed));
    assert_eq!(&plain[..], b"last words");
    server.send(&mut buffer(b"goodbye"), &mut out);
    server.close(&mut out);
    assert_eq!(hears(&mut client, &out.take()), b"goodbye");
    assert_eq!(client.process_new_packets().map(|state| state.peer_has_closed()), Ok(true));
}

#[test]
fn a_broken_record_is_answered_with_an_alert_and_ends_it() {
    let (mut server, mut client) = Pair::new().connected();
    client.writer().write_all(b"true").unwrap();
    let good = sent(&mut client);
    client.writer().write_all(b"false").unwrap();
    let mut bad = sent(&mut client);
    *bad.last_mut().unwrap() ^= 1;
    let (mut plain, mut out) = (BytesMut::new(), OutBuffer::default());
    let received = server.receive(&[good, bad.clone(), bad].concat(), &mut plain, &mut out);
    assert!(matches!(received, Err(TlsError::Failed(_))), "{received:?}");
    assert_eq!(&plain[..], b"true");
    let alert = out.take();
    assert!(!alert.is_empty());
    // Nothing follows the alert.
    server.send(&mut buffer(b"more"), &mut out);
    server.close(&mut out);
    assert!(out.is_empty());
    assert!(client.read_tls(&mut &alert[..]).is_ok());
    assert!(client.process_new_packets().is_err());
}

#[test]
fn the_part_of_the_certificate_that_is_asked_for_is_the_name() {
    use rcgen::{DnType, SanType};
    let named = |part: ClientUser, subject: fn(&mut rcgen::CertificateParams)| {
        let settings = |tls: &mut hubbub_config::Tls| {
            (tls.client_auth, tls.client_user) = (ClientAuth::Required, part);
        };
        Pair::with(settings, subject).connected().0.client_name()
    };
    let full = |params: &mut rcgen::CertificateParams| {
        params.distinguished_name.push(DnType::OrganizationName, "not this");
        params.distinguished_name.push(DnType::CommonName, "爱丽丝");
        params.subject_alt_names = vec![
            SanType::DnsName("phone.example".try_into().unwrap()),
            SanType::Rfc822Name("alice@chat.example".try_into().unwrap()),
        ];
    };
    let user = |name: &str| ClientName::User(name.into());
    assert_eq!(named(ClientUser::CommonName, full), user("爱丽丝"));
    assert_eq!(named(ClientUser::DnsName, full), user("phone.example"));
    assert_eq!(named(ClientUser::Email, full), user("alice@chat.example"));
    assert_eq!(named(ClientUser::Off, full), ClientName::Unasked);
    for part in [ClientUser::CommonName, ClientUser::DnsName, ClientUser::Email] {
        let bare = |params: &mut rcgen::CertificateParams| {
            params.distinguished_name = rcgen::DistinguishedName::new();
        };
        assert_eq!(named(part, bare), ClientName::Nobody);
    }
    let two = |params: &mut rcgen::CertificateParams| {
        let name = |name: &str| SanType::Rfc822Name(name.try_into().unwrap());
        params.subject_alt_names = vec![name("alice@chat.example"), name("bob@chat.example")];
    };
    assert_eq!(named(ClientUser::Email, two), ClientName::Nobody);
}

#[test]
fn a_client_that_returns_is_recognised_unless_its_certificate_has_to_be_looked_at_again() {
    use rustls::HandshakeKind;
    let kinds = |auth| {
        let pair = Pair::with(|tls| tls.client_auth = auth, |_| {});
        [pair.connected(), pair.connected()].map(|(_, client)| client.handshake_kind())
    };
    let (full, resumed) = (Some(HandshakeKind::Full), Some(HandshakeKind::Resumed));
    assert_eq!(kinds(ClientAuth::Off), [full, resumed]);
    for auth in [ClientAuth::Optional, ClientAuth::Required] {
        assert_eq!(kinds(auth), [full, full]);
    }
}

#[test]
fn the_end_of_a_certificate_is_seen_coming() {
    const DAY: Millis = 24 * 60 * 60 * 1000;
    // The library's certificates end on 1 January 4096.
    let end = 67_090_118_400_000;
    let acceptor = Pair::new().acceptor;
    let days = |now: Millis| acceptor.expiring(now, 14).first().map(|expiring| expiring.days);
    assert_eq!(days(end - 14 * DAY), None);
    assert_eq!(days(end - 14 * DAY + 1), Some(13));
    assert_eq!(days(end), Some(0));
    assert_eq!(days(end + 1), Some(-1));
}
