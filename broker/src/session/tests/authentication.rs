//! Authentication again on a live connection.

use super::*;
use crate::codec::Auth;

const METHOD: &str = "M";

fn agreed() -> Desk {
    let mut connect = connect(Version::V5);
    connect.properties.authentication_method = Some(METHOD.into());
    let session = Session::new(device(), &connect, 0, LIMITS, 0);
    Desk { session, out: OutBuffer::default(), commands: Vec::new(), now: 0 }
}

impl Desk {
    /// AUTH with this code; what the edge has to do.
    fn auth(&mut self, reason: u8, method: &'static str, data: &'static str) -> Vec<Command> {
        let data = Some(Bytes::from_static(data.as_bytes()));
        self.packet(Packet::Auth(Auth { reason, method: Some(method.into()), data }));
        self.commands()
    }

    fn checked(&mut self, checked: Checked) -> (Bytes, Vec<Command>) {
        self.act(|session, wire| session.authenticated(checked, wire));
        (self.out.take(), self.commands())
    }
}

fn check(begins: bool, data: &'static str) -> Vec<Command> {
    vec![Command::Authenticate { begins, data: Bytes::from_static(data.as_bytes()) }]
}

fn misbehaved(commands: &[Command]) -> bool {
    matches!(commands, [Command::Close(Goodbye::Malformed(0x82, _))])
}

#[test]
fn it_goes_back_and_forth_and_may_begin_anew() {
    let mut desk = agreed();
    for _ in 0..2 {
        assert_eq!(desk.auth(0x19, METHOD, "first"), check(true, "first"));
        let (heard, _) = desk.checked(Checked::Continue("who?".into()));
        assert_eq!(heard, &b"\xf0\x0d\x18\x0b\x15\0\x01M\x16\0\x04who?"[..]);
        assert_eq!(desk.auth(0x18, METHOD, "me"), check(false, "me"));
        let (heard, _) = desk.checked(Checked::Done("ok".into()));
        assert_eq!(heard, &b"\xf0\x0b\x00\x09\x15\0\x01M\x16\0\x02ok"[..]);
    }
}

#[test]
fn other_packets_are_answered_meanwhile() {
    let mut desk = agreed();
    desk.auth(0x19, METHOD, "first");
    for next in [Some(Checked::Continue("who?".into())), None] {
        desk.publish(7, AtLeastOnce);
        assert!(matches!(desk.commands()[..], [Command::Publish { .. }]));
        if let Some(checked) = next {
            desk.checked(checked);
        }
    }
}

#[test]
fn an_auth_out_of_turn_ends_the_connection() {
    assert!(misbehaved(&desk(Version::V5, 0).auth(0x19, METHOD, "")), "no method was agreed on");
    assert!(misbehaved(&agreed().auth(0x19, "N", "")), "another method");
    assert!(misbehaved(&agreed().auth(0x18, METHOD, "")), "nothing was asked");
    for code in [0x18, 0x19] {
        let mut desk = agreed();
        desk.auth(0x19, METHOD, "");
        assert!(misbehaved(&desk.auth(code, METHOD, "")), "the last one is still being checked");
    }
    let mut desk = agreed();
    desk.auth(0x19, METHOD, "");
    desk.checked(Checked::Continue("who?".into()));
    assert!(misbehaved(&desk.auth(0x19, METHOD, "")), "one begins while another goes on");
}

#[test]
fn failure_ends_the_connection_without_an_auth() {
    let mut desk = agreed();
    desk.auth(0x19, METHOD, "");
    let goodbye = Goodbye::NotAuthenticated("no");
    let (heard, commands) = desk.checked(Checked::Failed(goodbye));
    assert_eq!((heard, commands), (Bytes::new(), vec![Command::Close(goodbye)]));
}

#[test]
fn an_auth_that_is_too_large_is_not_sent() {
    let mut desk = agreed();
    desk.session.maximum_packet_size = 14;
    desk.auth(0x19, METHOD, "");
    let (heard, commands) = desk.checked(Checked::Continue("who??".into()));
    assert_eq!((heard, commands), (Bytes::new(), vec![Command::Close(Goodbye::AnswerTooLarge)]));
}
