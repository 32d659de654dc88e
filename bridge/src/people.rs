//! Presence of the users, joined to connections on one side and to `p/{user}` on the other.

use std::collections::HashMap;

use ahash::RandomState;
use bytestring::ByteString;

use hubbub_broker::clock::Millis;
use hubbub_broker::codec::QoS;
use hubbub_broker::lane::{Device, Ending, Place};
use hubbub_broker::message::Message;
use hubbub_broker::retained::Retained;

use crate::login::device_class;
use crate::presence::{Change, How, Presence, State, Wish};
use crate::store::{Batch, Store, StoreError, keys};
use crate::transaction::{Reply, Transaction};

/// Who is here, and as what.
pub struct People {
    presence: Option<Presence>,
    /// What connected devices are called, those that are not called by their client id.
    kinds: HashMap<Device, ByteString, RandomState>,
}

impl People {
    /// Begins a new epoch. Whoever was here when an earlier run ended has lost the link: they may come back within the
    /// grace time and nobody notices.
    pub fn start(
        settings: &hubbub_config::Presence,
        store: &dyn Store,
        retained: &Retained,
        now: Millis,
    ) -> Result<People, StoreError> {
        if !settings.enabled {
            return Ok(People { presence: None, kinds: HashMap::default() });
        }
        let epoch = Transaction::new(store, now).next_number(&keys::epoch())?;
        let mut batch = Batch::new();
        batch.put(keys::epoch(), epoch.to_be_bytes());
        store.commit(batch)?;
        let millis = |grace: std::time::Duration| grace.as_millis() as Millis;
        let mut presence = Presence::new(millis(settings.clean_grace), millis(settings.lost_grace), epoch);
        for message in retained.matching("p/+", now) {
            if let Ok(last) = serde_json::from_slice::<Change>(&message.payload)
                && last.state != State::Offline
            {
                presence.restore(&last.user, last.since, last.last_seen, now);
            }
        }
        Ok(People { presence: Some(presence), kinds: HashMap::default() })
    }

    /// A device connected.
    pub fn connected(&mut self, device: &Device, at: Place, kind: ByteString, now: Millis) {
        if let Some(presence) = self.presence.as_mut().filter(|_| is_person(device)) {
            presence.connected(&device.user, connection(at), &kind, now);
        }
        if kind != device_class(&device.user, &device.client) {
            self.kinds.insert(device.clone(), kind);
        } else {
            self.kinds.remove(device);
        }
    }

    /// A device's connection ended.
    pub fn disconnected(&mut self, device: &Device, at: Place, how: Ending, now: Millis) {
        self.kinds.remove(device);
        if let Some(presence) = self.presence.as_mut().filter(|_| is_person(device)) {
            let how = match how {
                Ending::Clean => How::Clean,
                // The next connection of the device is there already, or will be in a moment.
                Ending::Lost | Ending::TakenOver => How::Lost,
                Ending::Kicked => How::Kicked,
            };
            presence.disconnected(&device.user, connection(at), how, now);
        }
    }

    /// What a device is called; if it is not connected (any more), what it would be by its client id.
    pub fn kind_of(&self, device: &Device) -> ByteString {
        self.kinds.get(device).cloned().unwrap_or_else(|| device_class(&device.user, &device.client))
    }

    /// A wish published to `p/{me}/set`.
    pub fn wish(&mut self, user: &str, payload: &[u8], now: Millis) -> Reply {
        let wish = match serde_json::from_slice::<Wish>(payload) {
            Ok(wish) => wish,
            Err(error) => {
                let reason = format!("not {{\"state\":\"online|away|busy|invisible\",\"text\":…}}: {error}");
                return Reply::refused(0x99, reason);
            }
        };
        if let Some(presence) = &mut self.presence {
            presence.set(user, wish, now);
        }
        Reply::default()
    }

    /// When [`People::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Millis> {
        self.presence.as_ref()?.poll_timeout()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Millis) {
        if let Some(presence) = &mut self.presence {
            presence.handle_timeout(now);
        }
    }

    /// The next change that others have to hear of.
    pub fn next_publish(&mut self) -> Option<Message> {
        let change = self.presence.as_mut()?.next_change()?;
        Some(Message {
            topic: format!("p/{}", change.user).into(),
            qos: QoS::AtMostOnce,
            retain: true,
            // Text and numbers always have a JSON form.
            payload: serde_json::to_vec(&change).unwrap_or_default().into(),
            ..Message::default()
        })
    }
}

/// Names with a `~` are the server's own: the anonymous, the health check, the door without passwords.
fn is_person(device: &Device) -> bool {
    !device.user.starts_with('~')
}

/// Presence tells connections apart by number.
fn connection(at: Place) -> u64 {
    u64::from(at.edge) << 56 ^ u64::from(at.slot) << 32 ^ u64::from(at.generation)
}
