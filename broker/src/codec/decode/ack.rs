//! Acknowledgements (§3.4 to §3.7), DISCONNECT (§3.14) and AUTH (§3.15).

use bytes::Bytes;

use super::super::error::CodecError;
use super::super::packet::{Ack, Auth, Disconnect, Version};
use super::super::properties::block::{Allowed, Block, owned, slice};
use super::super::properties::id;
use super::reader::Reader;

/// Reason codes of PUBACK and PUBREC (tables 3-4 and 3-5) but 0x10, which is for servers.
pub(super) const PUBLISH_CODES: &[u8] = &[0x00, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];

/// Reason codes of PUBREL and PUBCOMP (tables 3-6 and 3-7).
pub(super) const RELEASE_CODES: &[u8] = &[0x00, 0x92];

/// Reason codes of DISCONNECT that clients may use (table 3-10).
const DISCONNECT_CODES: &[u8] =
    &[0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];

/// Reason codes of AUTH that clients may use (table 3-11): continue, and re-authenticate.
const AUTH_CODES: &[u8] = &[0x18, 0x19];

const NOTES: Allowed = Allowed::new(&[id::REASON_STRING, id::USER]);

const ALLOWED_IN_DISCONNECT: Allowed =
    Allowed::new(&[id::SESSION_EXPIRY, id::SERVER_REFERENCE, id::REASON_STRING, id::USER]);

const ALLOWED_IN_AUTH: Allowed =
    Allowed::new(&[id::AUTHENTICATION_METHOD, id::AUTHENTICATION_DATA, id::REASON_STRING, id::USER]);

/// One of the four acknowledgements; 5 may leave out the properties, and the reason if it is 0.
pub(super) fn decode(
    version: Version,
    body: &mut Reader,
    codes: &[u8],
    users: usize,
) -> Result<Ack, CodecError> {
    let packet_id = body.packet_id()?;
    if !version.is_v5() || body.is_empty() {
        return Ok(Ack { packet_id, reason: 0 });
    }
    let reason = reason(body, codes)?;
    let properties = optional_properties(body)?;
    let mut block = Block::new(&properties, NOTES, users);
    while block.next()?.is_some() {}
    Ok(Ack { packet_id, reason })
}

/// DISCONNECT, of nothing but its header in 3.x.
pub(super) fn disconnect(
    version: Version,
    body: &mut Reader,
    users: usize,
) -> Result<Disconnect, CodecError> {
    let mut packet = Disconnect { reason: 0, session_expiry: None };
    if !version.is_v5() || body.is_empty() {
        return Ok(packet);
    }
    packet.reason = reason(body, DISCONNECT_CODES)?;
    let properties = optional_properties(body)?;
    let mut block = Block::new(&properties, ALLOWED_IN_DISCONNECT, users);
    while let Some((id, value)) = block.next()? {
        match id {
            id::SESSION_EXPIRY => packet.session_expiry = Some(value.number()),
            id::SERVER_REFERENCE => return Err(CodecError::Protocol("server reference from a client")),
            _ => {}
        }
    }
    Ok(packet)
}

/// AUTH; its properties may only be left out together with the reason, for success, which clients never send.
pub(super) fn auth(body: &mut Reader, users: usize) -> Result<Auth, CodecError> {
    if body.is_empty() {
        return Err(WRONG_CODE);
    }
    let reason = reason(body, AUTH_CODES)?;
    let properties = body.properties()?;
    let mut packet = Auth { reason, method: None, data: None };
    let mut block = Block::new(&properties, ALLOWED_IN_AUTH, users);
    while let Some((id, value)) = block.next()? {
        match id {
            id::AUTHENTICATION_METHOD => packet.method = Some(owned(&properties, value.text())),
            id::AUTHENTICATION_DATA => packet.data = Some(slice(&properties, value.binary())),
            _ => {}
        }
    }
    if packet.method.is_none() {
        return Err(CodecError::Protocol("AUTH without authentication method"));
    }
    Ok(packet)
}

const WRONG_CODE: CodecError = CodecError::Protocol("reason code that is unknown or not for clients");

fn reason(body: &mut Reader, codes: &[u8]) -> Result<u8, CodecError> {
    let code = body.u8()?;
    if codes.contains(&code) { Ok(code) } else { Err(WRONG_CODE) }
}

fn optional_properties(body: &mut Reader) -> Result<Bytes, CodecError> {
    if body.is_empty() { Ok(Bytes::new()) } else { body.properties() }
}
