//! SUBSCRIBE (§3.8) and UNSUBSCRIBE (§3.10).

use bytestring::ByteString;

use super::super::error::CodecError;
use super::super::packet::{QoS, Subscribe, SubscribeOptions, Unsubscribe, Version};
use super::super::properties::block::{Allowed, Block};
use super::super::properties::id;
use super::reader::Reader;

const ALLOWED: Allowed = Allowed::new(&[id::SUBSCRIPTION_ID, id::USER]);

const ALLOWED_IN_UNSUBSCRIBE: Allowed = Allowed::new(&[id::USER]);

pub(super) fn subscribe(version: Version, body: &mut Reader, users: usize) -> Result<Subscribe, CodecError> {
    let packet_id = body.packet_id()?;
    let id = properties(version, body, ALLOWED, users)?;
    let mut filters = Vec::with_capacity(1);
    while !body.is_empty() {
        let filter = filter(body)?;
        let options = options(version, body.u8()?)?;
        // MQTT-3.8.3-4
        if options.no_local && filter.starts_with("$share/") {
            return Err(CodecError::Protocol("no-local on a shared subscription"));
        }
        filters.push((filter, options));
    }
    if filters.is_empty() { Err(NO_FILTERS) } else { Ok(Subscribe { packet_id, id, filters }) }
}

pub(super) fn unsubscribe(
    version: Version,
    body: &mut Reader,
    users: usize,
) -> Result<Unsubscribe, CodecError> {
    let packet_id = body.packet_id()?;
    properties(version, body, ALLOWED_IN_UNSUBSCRIBE, users)?;
    let mut filters = Vec::with_capacity(1);
    while !body.is_empty() {
        filters.push(filter(body)?);
    }
    if filters.is_empty() { Err(NO_FILTERS) } else { Ok(Unsubscribe { packet_id, filters }) }
}

/// MQTT-3.8.3-2, MQTT-3.10.3-2
const NO_FILTERS: CodecError = CodecError::Protocol("no topic filter");

/// Checks the properties and gives the subscription identifier.
fn properties(
    version: Version,
    body: &mut Reader,
    allowed: Allowed,
    users: usize,
) -> Result<Option<u32>, CodecError> {
    if !version.is_v5() {
        return Ok(None);
    }
    let properties = body.properties()?;
    let mut block = Block::new(&properties, allowed, users);
    let mut subscription = None;
    while let Some((id, value)) = block.next()? {
        if id == id::SUBSCRIPTION_ID {
            subscription = Some(value.number());
        }
    }
    Ok(subscription)
}

fn filter(body: &mut Reader) -> Result<ByteString, CodecError> {
    let filter = body.text()?;
    if filter.is_empty() { Err(CodecError::TopicFilterInvalid("empty")) } else { Ok(filter) }
}

/// §3.8.3.1; 3.1.1 reserves all but the quality of service, and 3.1 has no use for the other bits.
fn options(version: Version, byte: u8) -> Result<SubscribeOptions, CodecError> {
    let reserved = match version {
        Version::V31 => 0,
        Version::V311 => 0xfc,
        Version::V5 => 0xc0,
    };
    if byte & reserved != 0 {
        return Err(CodecError::Malformed("reserved bits of subscription options"));
    }
    let qos = QoS::from_bits(byte & 3).ok_or(CodecError::Protocol("subscription of quality of service 3"))?;
    if !version.is_v5() {
        return Ok(SubscribeOptions { qos, ..SubscribeOptions::default() });
    }
    let retain_handling = byte >> 4 & 3;
    if retain_handling == 3 {
        return Err(CodecError::Protocol("retain handling 3"));
    }
    let (no_local, retain_as_published) = (byte & 0x04 != 0, byte & 0x08 != 0);
    Ok(SubscribeOptions { qos, no_local, retain_as_published, retain_handling })
}
