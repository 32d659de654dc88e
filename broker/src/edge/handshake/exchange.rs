//! Enhanced authentication between CONNECT and CONNACK (MQTT 5 §4.12).

use bytes::Bytes;

use super::{Newcomer, NoConnect, Refusal, refusal};
use crate::codec::{Connect, Packet, encode};
use crate::outbuffer::OutBuffer;
use crate::policy::{Exchange, Identity, Step};

/// AUTH with this code wants an answer, or is one.
const CONTINUE: u8 = 0x18;

impl Newcomer {
    /// Asks the client as often as the method needs; the deadline of the CONNECT bounds it. Gives back who it is, with the
    /// last word of the method.
    pub(super) async fn authenticate(
        &mut self,
        connect: &Connect,
        method: &str,
        mut exchange: Box<dyn Exchange>,
    ) -> Result<(Identity, Bytes), Refusal> {
        let mut data = connect.properties.authentication_data.clone().unwrap_or_default();
        loop {
            match exchange.step(data).await {
                Step::Continue(challenge) => self.challenge(connect, method, challenge).await?,
                Step::Done { identity, data } => return Ok((identity, data)),
                Step::Refused(why) => return Err(refusal(why)),
            }
            data = self.response(method).await?;
        }
    }

    async fn challenge(&mut self, connect: &Connect, method: &str, data: Bytes) -> Result<(), Refusal> {
        let mut out = OutBuffer::default();
        encode::auth(out.packet(), CONTINUE, method, Some(&data).filter(|data| !data.is_empty()), None);
        if connect.properties.maximum_packet_size.is_some_and(|max| out.len() > max as usize) {
            return Err(Refusal::Told(0x95, "the challenge is larger than the client takes"));
        }
        self.send(out, false).await.map_err(|_| Refusal::Gone)
    }

    /// Until CONNACK a client may send AUTH and DISCONNECT, nothing else (§3.1.2.11.9).
    async fn response(&mut self, method: &str) -> Result<Bytes, Refusal> {
        match self.packet().await {
            Ok(Packet::Auth(auth)) if auth.method.as_deref() != Some(method) => {
                Err(Refusal::Told(0x8c, "another authentication method than that of CONNECT"))
            }
            Ok(Packet::Auth(auth)) if auth.reason == CONTINUE => Ok(auth.data.unwrap_or_default()),
            Ok(Packet::Disconnect(_)) => Err(Refusal::Gone),
            Ok(_) => Err(Refusal::Told(0x82, "only a further AUTH or DISCONNECT may come before CONNACK")),
            Err(NoConnect::Codec(error)) => {
                let code = match error.reason_code() {
                    // Of a topic alias, or of a filter, in a packet that should not come: CONNACK does not have it (§3.2.2.2).
                    0x94 | 0x8f => 0x82,
                    code => code,
                };
                Err(Refusal::Told(code, error.what()))
            }
            Err(NoConnect::Silent | NoConnect::NoIntroduction | NoConnect::Layer(_)) => Err(Refusal::Gone),
        }
    }
}
