//! Presence and location in words.

use crate::clock::utc;
use serde_json::Value;

/// Presence as the server publishes it on `p/{user}`: `alice is away since 2025-11-20 14:46:40Z (phone): at lunch`.
pub fn presence_line(user: &str, presence: &Value) -> String {
    let Some(state) = presence["state"].as_str() else {
        return format!("{user}: {presence}");
    };
    let mut line = format!("{user} is {state}");
    let (word, moment) = match state {
        "offline" => ("last seen", presence["last_seen"].as_u64().or(presence["since"].as_u64())),
        _ => ("since", presence["since"].as_u64()),
    };
    if let Some(ms) = moment {
        line.push_str(&format!(", {word} {}", utc(ms)));
    }
    let devices = device_names(&presence["devices"]);
    if !devices.is_empty() {
        line.push_str(&format!(" ({})", devices.join(", ")));
    }
    if let Some(status) = presence["status"].as_str().filter(|status| !status.is_empty()) {
        line.push_str(&format!(": {status}"));
    }
    line
}

fn device_names(devices: &Value) -> Vec<String> {
    let name = |device: &Value| match device {
        Value::String(name) => Some(name.clone()),
        Value::Object(fields) => {
            ["kind", "device", "name"].iter().find_map(|key| Some(fields.get(*key)?.as_str()?.to_owned()))
        }
        _ => None,
    };
    devices.as_array().map(|devices| devices.iter().filter_map(name).collect()).unwrap_or_default()
}

/// A report of OwnTracks: `alice/phone is at 52.52000, 13.40500 ±12 m, battery 80 %, 2025-11-20 14:46:40Z`.
pub fn location_line(user: &str, device: &str, report: &Value) -> String {
    let (Some(lat), Some(lon)) = (report["lat"].as_f64(), report["lon"].as_f64()) else {
        let kind = report["_type"].as_str().unwrap_or("something without a type");
        return format!("{user}/{device} reports {kind}");
    };
    let mut line = format!("{user}/{device} is at {lat:.5}, {lon:.5}");
    if let Some(metres) = report["acc"].as_f64() {
        line.push_str(&format!(" ±{metres:.0} m"));
    }
    if let Some(percent) = report["batt"].as_f64() {
        line.push_str(&format!(", battery {percent:.0} %"));
    }
    if let Some(seconds) = report["tst"].as_u64() {
        line.push_str(&format!(", {}", utc(seconds.saturating_mul(1000))));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn presence_reads_as_a_sentence() {
        let away = json!({"user": "alice", "state": "away", "since": 1763650000000_u64, "devices": ["phone", "web"], "status": "at lunch", "epoch": 3});
        assert_eq!(
            presence_line("alice", &away),
            "alice is away, since 2025-11-20 14:46:40Z (phone, web): at lunch"
        );
        let gone = json!({"state": "offline", "since": 1, "last_seen": 1763650000000_u64, "devices": [], "status": null});
        assert_eq!(presence_line("bob", &gone), "bob is offline, last seen 2025-11-20 14:46:40Z");
        assert_eq!(
            presence_line("bob", &json!({"state": "online", "devices": [{"kind": "phone"}]})),
            "bob is online (phone)"
        );
    }

    #[test]
    fn location_reads_as_a_sentence() {
        let report = json!({"_type": "location", "lat": 52.52, "lon": 13.405, "tst": 1763650000, "acc": 12, "batt": 80});
        assert_eq!(
            location_line("alice", "phone", &report),
            "alice/phone is at 52.52000, 13.40500 ±12 m, battery 80 %, 2025-11-20 14:46:40Z"
        );
    }

    #[test]
    fn other_reports_of_owntracks_are_named() {
        assert_eq!(
            location_line("alice", "phone", &json!({"_type": "lwt", "tst": 1})),
            "alice/phone reports lwt"
        );
    }
}
