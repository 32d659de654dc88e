//! What a stretch of a run cost: wall clock, our processor time, the broker's.

use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use super::process::Process;

/// A stretch that has begun.
pub struct Usage {
    began: Instant,
    own_cpu: f64,
    broker: Option<(Process, f64)>,
}

/// A stretch that has ended; all in seconds.
pub struct Spent {
    /// Wall clock.
    pub seconds: f64,
    /// Processor time of the benchmark.
    pub own_cpu: f64,
    /// The broker's part, if it was measured and is still alive.
    pub broker: Option<BrokerSpent>,
}

/// The broker's part of a stretch.
pub struct BrokerSpent {
    /// Processor seconds.
    pub cpu: f64,
    /// Resident bytes at the end.
    pub resident: u64,
}

impl Usage {
    /// Begins now.
    pub fn begin(broker: Option<Process>) -> Result<Self> {
        let broker = broker.map(|process| process.cpu_seconds().map(|cpu| (process, cpu))).transpose()?;
        Ok(Self { own_cpu: Process::own().cpu_seconds()?, broker, began: Instant::now() })
    }

    /// Ends now. A broker that has died meanwhile is left out.
    pub fn end(&self) -> Result<Spent> {
        let seconds = self.began.elapsed().as_secs_f64();
        let own_cpu = Process::own().cpu_seconds()? - self.own_cpu;
        let broker = self.broker.and_then(|(process, before)| {
            let cpu = process.cpu_seconds().ok()? - before;
            Some(BrokerSpent { cpu, resident: process.resident_bytes().ok()? })
        });
        Ok(Spent { seconds, own_cpu, broker })
    }
}

impl Spent {
    /// Our share of one core, 0 to 1.
    pub fn own_share(&self) -> f64 {
        self.own_cpu / self.seconds
    }

    /// Was the benchmark busy all the time, while the broker was not known to be?
    fn is_bottleneck(&self) -> bool {
        let broker_share = self.broker.as_ref().map_or(0.0, |broker| broker.cpu / self.seconds);
        self.own_share() > 0.9 && broker_share < 0.9
    }

    /// Rows for people; `messages` were delivered in this stretch.
    pub fn rows(&self, messages: u64) -> Vec<(&'static str, String)> {
        let per_message = |cpu: f64| cpu * 1e6 / messages.max(1) as f64;
        let mut rows = vec![(
            "benchmark",
            format!(
                "{:.0} % of a core, {:.2} µs a message",
                self.own_share() * 100.0,
                per_message(self.own_cpu)
            ),
        )];
        if let Some(broker) = &self.broker {
            let share = broker.cpu / self.seconds * 100.0;
            let resident = broker.resident as f64 / 1e6;
            let each = per_message(broker.cpu);
            rows.push((
                "broker",
                format!("{share:.0} % of a core, {each:.2} µs a message, {resident:.1} MB resident"),
            ));
        }
        if self.own_share() > 0.9 {
            rows.push((
                "note",
                "the benchmark was as busy as one core allows: the broker may be able to do more".into(),
            ));
        }
        rows
    }

    /// The same for machines.
    pub fn json(&self, messages: u64) -> Value {
        let per_message = |cpu: f64| cpu * 1e6 / messages.max(1) as f64;
        let broker = self.broker.as_ref().map(|broker| {
            json!({
                "cpu_seconds": broker.cpu,
                "cpu_share": broker.cpu / self.seconds,
                "cpu_us_per_message": per_message(broker.cpu),
                "resident_bytes": broker.resident,
            })
        });
        json!({
            "bench_cpu_share": self.own_share(),
            "bench_cpu_us_per_message": per_message(self.own_cpu),
            "bench_is_bottleneck": self.is_bottleneck(),
            "broker": broker,
        })
    }
}
