//! A running server, asked over HTTP on loopback.

use crate::exit::{Exit, Failure};
use hubbub_config::Config;
use serde_json::{Value, json};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use ureq::http::Response;
use ureq::{Agent, Body};

/// The administrative side of a running server on this machine.
pub struct Admin {
    agent: Agent,
    /// Where accounts are, and every record.
    url: String,
    records_url: String,
    devices_url: String,
    token: String,
}

/// The server writes its token here when it starts, readable for its owner only. A second line may name the address.
const TOKEN_FILE: &str = "admin.token";
/// How long an answer may take: hashing a password is slow on purpose, an answer is not.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

impl Admin {
    /// Finds the server that holds the data folder of this configuration.
    pub fn find(config: &Config) -> anyhow::Result<Admin> {
        let file = config.store.path.join(TOKEN_FILE);
        let (token, written) = read_token(&file)?;
        let Some(address) = written.or(config.listen.http) else {
            let message =
                "the server holds the store and has no HTTP address to ask (listen.http): stop it first";
            return Err(Failure::new(Exit::Unavailable, message).into());
        };
        let settings = Agent::config_builder()
            .timeout_global(Some(ANSWER_LIMIT))
            .http_status_as_error(false)
            .proxy(None);
        let page = |path: &str| format!("http://{}/admin/{path}", reachable(address));
        let (url, records_url, devices_url) = (page("users"), page("records"), page("devices"));
        Ok(Admin { agent: settings.build().into(), url, records_url, devices_url, token })
    }

    /// Adds, changes or removes an account.
    pub fn change(&self, operation: &str, name: &str, password: Option<&str>) -> anyhow::Result<()> {
        let mut wanted = json!({ "op": operation, "name": name });
        if let Some(password) = password {
            wanted["password"] = password.into();
        }
        self.post(wanted)?;
        Ok(())
    }

    fn post(&self, wanted: Value) -> anyhow::Result<Value> {
        let request = self.agent.post(&self.url).header("content-type", "application/json");
        self.answer(request.header("authorization", self.bearer()).send(wanted.to_string()))
    }

    /// Forgets the failed logins of a user; whether there were any.
    pub fn unlock(&self, name: &str) -> anyhow::Result<bool> {
        Ok(self.post(json!({ "op": "unlock", "name": name }))?["unlocked"] == true)
    }

    /// Makes the accounts of a password file of Mosquitto; how many.
    pub fn import(&self, file: &str) -> anyhow::Result<u64> {
        Ok(self.post(json!({ "op": "import", "file": file }))?["imported"].as_u64().unwrap_or_default())
    }

    /// The names of all users.
    pub fn list(&self) -> anyhow::Result<Vec<String>> {
        let answer = self.answer(self.agent.get(&self.url).header("authorization", self.bearer()).call())?;
        let users = if answer.is_array() { &answer } else { &answer["users"] };
        let name = |user: &Value| user.as_str().or(user["name"].as_str()).map(str::to_owned);
        let names = users.as_array().map(|users| users.iter().filter_map(name).collect());
        names.ok_or_else(|| Failure::new(Exit::Failed, "the server's list of users cannot be read").into())
    }

    /// Asks for something about devices.
    pub fn devices(&self, wanted: &Value) -> anyhow::Result<Value> {
        let request = self.agent.post(&self.devices_url).header("content-type", "application/json");
        self.answer(request.header("authorization", self.bearer()).send(wanted.to_string()))
    }

    /// Every record of its store, as `hubbub store export` writes them.
    pub fn records(&self) -> anyhow::Result<impl Read + use<>> {
        let request = self.agent.get(&self.records_url).header("authorization", self.bearer());
        // However long it takes altogether, it has to begin soon.
        let request = request.config().timeout_global(None).timeout_recv_response(Some(ANSWER_LIMIT)).build();
        let answer = request.call().map_err(|error| self.unreachable(&error))?;
        if answer.status().is_success() {
            return Ok(answer.into_body().into_reader());
        }
        self.answer(Ok(answer))?;
        Err(Failure::new(Exit::Failed, "the server has no records to give").into())
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    fn answer(&self, answer: Result<Response<Body>, ureq::Error>) -> anyhow::Result<Value> {
        let mut answer = answer.map_err(|error| self.unreachable(&error))?;
        let text = answer.body_mut().read_to_string().map_err(|error| self.unreachable(&error))?;
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        if answer.status().is_success() {
            return Ok(body);
        }
        Err(refusal(answer.status().as_u16(), &body).into())
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let message =
            format!("the store is in use by a server that cannot be asked at {}: {error}", self.url);
        Failure::new(Exit::Unavailable, message)
    }
}

fn refusal(status: u16, body: &Value) -> Failure {
    let reason = body["error"].as_str().or(body.as_str()).map(str::trim).filter(|reason| !reason.is_empty());
    let message = reason.map_or_else(|| format!("the server answered {status}"), str::to_owned);
    Failure::new(if matches!(status, 401 | 403) { Exit::Refused } else { Exit::Failed }, message)
}

fn read_token(file: &Path) -> Result<(String, Option<SocketAddr>), Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        let exit = match error.kind() {
            std::io::ErrorKind::PermissionDenied => Exit::Refused,
            _ => Exit::Unavailable,
        };
        let message =
            format!("no way to ask a running server: its token {} cannot be read: {error}", file.display());
        Failure::new(exit, message)
    })?;
    let mut lines = text.lines().map(str::trim);
    let token = lines.next().unwrap_or_default().to_owned();
    Ok((token, lines.next().and_then(|address| address.parse().ok())))
}

/// "Every address" is for listening; to ask, there is loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_everywhere_is_asked_on_loopback() {
        assert_eq!(reachable("0.0.0.0:8080".parse().unwrap()).to_string(), "127.0.0.1:8080");
        assert_eq!(reachable("[::]:8080".parse().unwrap()).to_string(), "[::1]:8080");
        assert_eq!(reachable("127.0.0.1:9".parse().unwrap()).to_string(), "127.0.0.1:9");
    }

    #[test]
    fn the_reason_of_the_server_is_passed_on() {
        let known = refusal(409, &json!({ "error": "user \"alice\" exists already" }));
        assert_eq!((known.exit, known.message.as_str()), (Exit::Failed, "user \"alice\" exists already"));
        assert_eq!(refusal(401, &json!("no such token\n")).exit, Exit::Refused);
        assert_eq!(refusal(500, &json!("")).message, "the server answered 500");
    }

    #[test]
    fn a_missing_token_is_named() {
        let failure = read_token(Path::new("/nowhere/admin.token")).unwrap_err();
        assert_eq!(failure.exit, Exit::Unavailable);
        assert!(failure.message.contains("/nowhere/admin.token"));
    }
}
