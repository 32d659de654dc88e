//! `$SYS/broker/…`: one edge tells, to all, what the server counts.
//!
//! None of it goes by way of the bridge: it is not worth a commit, and after a restart it is made anew.

use std::sync::Arc;

use bytes::Bytes;

use super::Edge;
use crate::clock::Millis;
use crate::codec::QoS;
use crate::message::Message;
use crate::shared::Shared;
use crate::sys::{Numbers, Sys};

/// What is told, and when next.
pub struct SysTopics {
    sys: Sys,
    every: Millis,
    due: Millis,
}

impl SysTopics {
    /// If anything is to be told: retains it for the first time, before anybody can subscribe to it.
    pub fn start(shared: &Shared) -> Option<SysTopics> {
        let (every, now) = (shared.settings.sys_interval?.as_millis() as Millis, shared.clock.now());
        let mut topics = SysTopics { sys: Sys::new(now), every, due: now };
        topics.refresh(shared, now).into_iter().for_each(|message| shared.retained.set_own(message));
        Some(topics)
    }

    /// What is to be told now, at QoS 0, so that nothing is queued for anybody.
    fn refresh(&mut self, shared: &Shared, now: Millis) -> Vec<Arc<Message>> {
        self.due = now + self.every;
        let numbers = Numbers { counters: &shared.counters, retained: shared.retained.size() };
        let message = |(topic, text): (String, String)| Message {
            topic: topic.into(),
            qos: QoS::AtMostOnce,
            retain: true,
            payload: Bytes::from(text),
            ..Message::default()
        };
        self.sys.refresh(now, &numbers).into_iter().map(|told| Arc::new(message(told))).collect()
    }
}

impl Edge {
    /// Adds what this edge counted to what the process counts, and tells it when it is time.
    pub(super) fn count(&mut self) {
        self.tally.settle(&self.shared.counters);
        let now = self.now();
        let Some(topics) = self.sys.as_mut().filter(|topics| topics.due <= now) else { return };
        for message in topics.refresh(&self.shared, now) {
            self.tell_everybody(message);
        }
    }

    fn tell_everybody(&mut self, message: Arc<Message>) {
        self.shared.retained.set_own(message.clone());
        let mut route = std::mem::take(&mut self.route);
        self.shared.routes.look_up(&message.topic, &mut route);
        let chosen = self.choose_members(&message, &route);
        self.spread(&message, route.edges, chosen.edges);
        self.route = route;
    }
}
