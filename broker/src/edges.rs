//! The way to all edges, for whoever administers the server while it runs.

use std::sync::Arc;

use bytestring::ByteString;
use tokio::sync::{mpsc, oneshot};

use crate::edge::{Dismissal, Dismissed, Mail, Seen, Whose};
use crate::shared::Shared;

/// The mail boxes of all edges. An edge that has ended already answers nothing, and has nobody any more.
#[derive(Clone)]
pub struct Edges {
    mail: Vec<mpsc::Sender<Mail>>,
    shared: Arc<Shared>,
}

impl Edges {
    pub(crate) fn new(mail: Vec<mpsc::Sender<Mail>>, shared: Arc<Shared>) -> Edges {
        Edges { mail, shared }
    }

    /// The policy decides otherwise from now on.
    pub fn rights_changed(&self) {
        self.shared.rights_changed();
    }

    /// Ends connections, and sessions where they are to end; says how many there were once that is done.
    pub async fn dismiss(&self, dismissal: Dismissal) -> Dismissed {
        let boxes = match &dismissal.whose {
            Whose::User(_) => &self.mail[..],
            Whose::Device(device) => {
                std::slice::from_ref(&self.mail[usize::from(self.shared.home_of(&device.client))])
            }
        };
        let mut all = Dismissed::default();
        for mail in boxes {
            let (answer, dismissed) = oneshot::channel();
            if mail.send(Mail::Dismiss(dismissal.clone(), answer)).await.is_ok() {
                all += dismissed.await.unwrap_or_default();
            }
        }
        all
    }

    /// The sessions of a user, or all.
    pub async fn sessions(&self, user: Option<&str>) -> Vec<Seen> {
        let mut all = Vec::new();
        for mail in &self.mail {
            let (answer, seen) = oneshot::channel();
            if mail.send(Mail::WhoIsThere(user.map(ByteString::from), answer)).await.is_ok() {
                all.extend(seen.await.unwrap_or_default());
            }
        }
        all
    }
}
