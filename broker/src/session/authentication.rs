//! Authentication again, while the connection goes on with the rights that it has (MQTT 5 §4.12.1).

use bytes::Bytes;
use bytestring::ByteString;

use super::{Command, Session, Wire, close};
use crate::codec::{Auth, Connect, encode};
use crate::goodbye::Goodbye;

/// AUTH with this code ends an authentication (table 3-11).
const SUCCESS: u8 = 0x00;

/// AUTH with this code wants an answer, or is one.
const CONTINUE: u8 = 0x18;

/// What became of a message of an authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// The client has to answer this.
    Continue(Bytes),
    /// The client proved who it is; the last word of the method.
    Done(Bytes),
    /// The connection has to end.
    Failed(Goodbye),
}

/// The method that CONNECT named, and where it stands.
#[derive(Debug)]
pub(super) struct Authentication {
    method: ByteString,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing goes on.
    Idle,
    /// A message of the client is being checked.
    Checking,
    /// The client is to answer.
    Asked,
}

impl Authentication {
    /// Of a connection that authenticated so in its CONNECT.
    pub fn of(connect: &Connect) -> Option<Box<Authentication>> {
        // Copied, so that it does not keep the read buffer.
        let method = ByteString::from(&**connect.properties.authentication_method.as_ref()?);
        Some(Box::new(Authentication { method, stage: Stage::Idle }))
    }
}

impl Session {
    pub(super) fn handle_auth(&mut self, packet: Auth, wire: &mut Wire<'_>) {
        let misbehaved = |what| Goodbye::Malformed(0x82, what);
        let Some(authentication) = &mut self.authentication else {
            return close(wire, misbehaved("no authentication method was agreed on"));
        };
        // DISCONNECT has no code of its own for it (table 3-10).
        if packet.method.as_ref() != Some(&authentication.method) {
            return close(wire, misbehaved("another authentication method than that of CONNECT"));
        }
        let begins = packet.reason != CONTINUE;
        if authentication.stage != if begins { Stage::Idle } else { Stage::Asked } {
            return close(wire, misbehaved("an AUTH that nothing asked for"));
        }
        authentication.stage = Stage::Checking;
        wire.commands.push(Command::Authenticate { begins, data: packet.data.unwrap_or_default() });
    }

    /// What [`Command::Authenticate`] led to: the client hears it.
    pub fn authenticated(&mut self, checked: Checked, wire: &mut Wire<'_>) {
        let Some(authentication) = &mut self.authentication else { return };
        let (reason, data) = match checked {
            Checked::Continue(data) => (CONTINUE, data),
            Checked::Done(data) => (SUCCESS, data),
            Checked::Failed(goodbye) => return close(wire, goodbye),
        };
        authentication.stage = if reason == CONTINUE { Stage::Asked } else { Stage::Idle };
        let out = wire.out.packet();
        let start = out.len();
        // Neither a reason string nor user properties, so there is nothing that could be left out for its size.
        encode::auth(out, reason, &authentication.method, Some(&data).filter(|data| !data.is_empty()), None);
        if out.len() - start > self.maximum_packet_size {
            out.truncate(start);
            close(wire, Goodbye::AnswerTooLarge);
        }
    }
}
