//! What a measured load came to, as a table or as JSON.

use serde_json::{Value, json};

use super::join::Joined;
use super::load::{LoadArgs, Measured};
use super::plan::Plan;
use super::report::{count, latency_json, latency_text, table};
use super::search::Remark;
use super::target::Target;
use super::traffic::Losses;

/// Everything a report needs.
pub struct Outcome<'a> {
    /// What was to be done.
    pub plan: &'a Plan,
    /// How hard.
    pub load: &'a LoadArgs,
    /// Quality of service of every message.
    pub qos: u8,
    /// To whom.
    pub target: &'a Target,
    /// How the clients came in.
    pub joined: Joined,
    /// The measured stretch.
    pub measured: Measured,
    /// How its rate was found, if it was not given.
    pub remark: Option<Remark>,
}

impl Outcome<'_> {
    /// On standard output: a table, or one JSON object.
    pub fn print(&self) {
        if self.target.json {
            println!("{}", self.json());
        } else {
            print!("{}", table(&self.title(), &self.rows()));
        }
    }

    fn title(&self) -> String {
        let LoadArgs { window, rate, payload, .. } = self.load;
        let pace =
            if *rate == 0 { String::new() } else { format!(", {} msgs/s asked", count(u64::from(*rate))) };
        format!(
            "{}, QoS {}, {payload} B, window {window}{pace}, {:.1} s at {}",
            self.plan.title, self.qos, self.measured.spent.seconds, self.target.address
        )
    }

    fn per_second(&self, messages: u64) -> f64 {
        messages as f64 / self.measured.spent.seconds
    }

    fn rows(&self) -> Vec<(&str, String)> {
        let (meter, faults) = (&self.measured.traffic.meter, &self.measured.traffic.faults);
        let Losses { lost, duplicated, late } = self.measured.losses;
        let mut rows = vec![
            ("delivered", format!("{} msgs/s", count(self.per_second(meter.delivered) as u64))),
            ("published", format!("{} msgs/s", count(self.per_second(meter.published) as u64))),
            ("end to end", latency_text(&meter.latency)),
        ];
        if self.qos > 0 {
            rows.push(("acknowledged", latency_text(&meter.acknowledged)));
        }
        if let Some(remark) = &self.remark {
            rows.push(remark.row());
        }
        rows.push((
            "faults",
            format!("{lost} lost, {duplicated} duplicated, {late} late, {} errors", faults.errors),
        ));
        if meter.delivered == 0 {
            rows.push((
                "note",
                "not one message arrived: does this broker carry these topics for these users?".into(),
            ));
        }
        if let Some(first) = &faults.first {
            rows.push(("first error", first.clone()));
        }
        if faults.misrouted + faults.stalls > 0 {
            rows.push((
                "",
                format!("{} at the wrong subscriber, {} stalled windows", faults.misrouted, faults.stalls),
            ));
        }
        rows.push((
            "connected",
            format!("{} in {:.2} s", count(self.plan.clients.len() as u64), self.joined.seconds),
        ));
        rows.extend(self.measured.spent.rows(meter.delivered));
        rows
    }

    fn json(&self) -> Value {
        let (meter, faults) = (&self.measured.traffic.meter, &self.measured.traffic.faults);
        let mut json = json!({
            "scenario": self.plan.title,
            "address": self.target.address.to_string(),
            "clients": self.plan.clients.len(),
            "publishers": self.plan.publishers.len(),
            "copies": self.plan.copies,
            "qos": self.qos,
            "payload_bytes": self.load.payload,
            "window": self.load.window,
            "rate": self.load.rate,
            "pause_us": self.load.pause,
            "seconds": self.measured.spent.seconds,
            "connect_seconds": self.joined.seconds,
            "delivered": meter.delivered,
            "delivered_per_second": self.per_second(meter.delivered),
            "published_per_second": self.per_second(meter.published),
            "latency": latency_json(&meter.latency),
            "acknowledged": latency_json(&meter.acknowledged),
            "lost": self.measured.losses.lost,
            "duplicated": self.measured.losses.duplicated,
            "late": self.measured.losses.late,
            "misrouted": faults.misrouted,
            "stalls": faults.stalls,
            "errors": faults.errors,
            "first_error": faults.first,
            "usage": self.measured.spent.json(meter.delivered),
        });
        if let Some(remark) = &self.remark {
            json[remark.key()] = remark.per_second().into();
        }
        json
    }
}
