//! Authentication again on a live connection (MQTT 5 §4.12.1): what the session asks for is checked in a task of its own, and
//! nobody else on this edge waits for it.

use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use bytestring::ByteString;

use super::{Edge, Slot, run};
use crate::audit::{Action, Entry};
use crate::codec::Connect;
use crate::goodbye::Goodbye;
use crate::policy::{Exchange, Identity, LoginRefusal, LoginRequest, Step};
use crate::session::Checked;

/// How the client of a connection proves who it is.
pub(super) struct Agreed {
    method: ByteString,
    /// What CONNECT said, with the user that it led to.
    request: LoginRequest,
    /// The authentication that goes on, while the client is to answer.
    exchange: Option<Box<dyn Exchange>>,
}

/// A message of an authentication on its way to the policy.
pub(super) struct Check {
    slot: u32,
    /// Of the connection.
    number: u64,
    exchange: Box<dyn Exchange>,
    data: Bytes,
}

impl Agreed {
    /// Of a connection that authenticated so in its CONNECT.
    pub fn of(connect: &Connect, identity: &Identity, peer: SocketAddr) -> Option<Box<Agreed>> {
        let method = connect.properties.authentication_method.as_ref()?;
        let request = LoginRequest {
            door: identity.door,
            peer,
            client: identity.device.client.clone(),
            class: Some(identity.kind.clone()),
            // It was looked at when the connection began, and does not change.
            certificate: None,
            // Nobody else may come out of it.
            username: Some(identity.device.user.clone()),
            password: None,
        };
        // Copied, so that it does not keep the read buffer.
        Some(Box::new(Agreed { method: ByteString::from(&**method), request, exchange: None }))
    }
}

impl fmt::Debug for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agreed").field("method", &self.method).finish_non_exhaustive()
    }
}

/// Has a message checked, then tells the connection, if it is still there.
pub(super) async fn carry_out(edge: Rc<RefCell<Edge>>, check: Check) {
    let Check { slot, number, mut exchange, data } = check;
    let step = exchange.step(data).await;
    run::turn(&edge).checked(slot, number, exchange, step);
}

impl Edge {
    /// Has a message of the client checked; a new authentication begins, or the one that goes on goes on.
    pub(super) fn authenticate(&mut self, slot: u32, begins: bool, data: Bytes) {
        let Some(link) = self.slots.get_mut(slot as usize).and_then(|entry| entry.link.as_mut()) else {
            return;
        };
        let number = link.number;
        let exchange = link.agreed.as_mut().and_then(|agreed| match begins {
            true => self.shared.policy.exchange(&agreed.method, agreed.request.clone()),
            false => agreed.exchange.take(),
        });
        let Some(exchange) = exchange else {
            return self
                .end(slot, Goodbye::NotAuthenticated("the authentication method is not offered any more"));
        };
        self.checks.push(Check { slot, number, exchange, data });
        self.flush.notify_one();
    }

    fn checked(&mut self, slot: u32, number: u64, exchange: Box<dyn Exchange>, step: Step) {
        let Some(link) = self.link(slot, number) else { return };
        if let (Step::Continue(_), Some(agreed)) = (&step, &mut link.agreed) {
            agreed.exchange = Some(exchange);
        }
        let Slot { session, link, .. } = &self.slots[slot as usize];
        let device = &session.device;
        let agreed = link.as_ref().and_then(|link| link.agreed.as_ref());
        let method = agreed.map(|agreed| &*agreed.method);
        let address = agreed.map(|agreed| agreed.request.peer);
        let checked = match step {
            Step::Continue(data) => Checked::Continue(data),
            Step::Done { identity, .. } if identity.device.user != device.user => {
                Checked::Failed(Goodbye::NotAuthenticated("the user of a connection does not change"))
            }
            Step::Done { data, .. } => Checked::Done(data),
            Step::Refused(refusal) => Checked::Failed(goodbye(refusal)),
        };
        let outcome = match &checked {
            Checked::Done(_) => Some((Action::Again, None)),
            Checked::Failed(why) => {
                self.shared.counters.logins_refused_total.add(1);
                Some((Action::Failure, Some(why.text())))
            }
            Checked::Continue(_) => None,
        };
        if let Some((action, reason)) = outcome {
            let (user, client) = (Some(&*device.user), Some(&*device.client));
            Entry { user, client, method, address, reason, ..Entry::of(action) }.write();
        }
        self.with_session(slot, |session, wire| session.authenticated(checked, wire));
    }
}

/// The reason code of every refusal has to be one of DISCONNECT (table 3-10).
fn goodbye(refusal: LoginRefusal) -> Goodbye {
    match refusal {
        LoginRefusal::BadCredentials => Goodbye::NotAuthenticated("bad user name or password"),
        LoginRefusal::NotAuthorized(why) => Goodbye::NotAuthenticated(why),
        LoginRefusal::Unavailable | LoginRefusal::Busy => Goodbye::Busy,
        LoginRefusal::Barred => Goodbye::Administrative,
    }
}
