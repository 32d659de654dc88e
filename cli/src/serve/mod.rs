//! `hubbub serve`: the broker and the bridge, joined by the spine, until somebody stops them.

mod admin;
pub mod certificates;
mod devices;
mod health;
mod http;
mod records;
mod rights;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use hubbub_bridge::bridge::{Bridge, BridgeError, Opened};
use hubbub_bridge::login::LoginError;
use hubbub_bridge::policy::House;
use hubbub_bridge::store;
use hubbub_broker::audit;
use hubbub_broker::clock::Clock;
use hubbub_broker::counters::Counters;
use hubbub_broker::goodbye::Goodbye;
use hubbub_broker::policy::Door;
use hubbub_broker::retained::Retained;
use hubbub_broker::server::{Broker, Doors};
use hubbub_broker::settings::Settings;
use hubbub_broker::shared::Shared;
use hubbub_broker::spine::{self, Spine, Watchdog};
use hubbub_broker::websocket;
use hubbub_config::{Config, Engine, LogFormat};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::exit::{Exit, Failure, help_tail};
use crate::memory;

/// Runs the server until Ctrl-C or SIGTERM.
///
/// Everything else is configuration: `hubbub config print --default` shows every setting, and each may also be given
/// as HUBBUB_SECTION_KEY in the environment.
#[derive(Debug, Args)]
#[command(after_help = help_tail(EXAMPLES))]
pub struct ServeArgs {
    /// The configuration file [default: hubbub.toml, if there is one]
    #[arg(long, value_name = "FILE", env = "HUBBUB_CONFIG")]
    config: Option<PathBuf>,
    /// No passwords: the user name is believed, and ordinary topics are open to all. Loopback only
    #[arg(long)]
    dev: bool,
    /// One setting, before file and environment; may be repeated
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
}

const EXAMPLES: &str = "
    hubbub serve
    hubbub serve --dev
    hubbub serve --config /etc/hubbub.toml
    hubbub serve --set store.path=/var/lib/hubbub --set log.format=json";

/// How long clients may take to be told that the server cannot go on.
const FAREWELL: Duration = Duration::from_secs(2);

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected SECTION.KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// Why the server ends.
enum Event {
    /// Somebody asked for it.
    Stop(&'static str),
    /// It cannot go on.
    Died(String),
    /// The disk does not take what has to be stored.
    StoreFailed(String),
}

/// Serves.
pub fn run(args: ServeArgs) -> anyhow::Result<()> {
    let config = configure(args)?;
    log(&config)?;
    let house = Running::build(&config)?;
    house.announce(&config)?;
    let event = house.wait()?;
    house.drain(event, &config)
}

fn configure(args: ServeArgs) -> anyhow::Result<Config> {
    let mut overrides = args.set;
    if args.dev {
        overrides.push(("login.dev".to_owned(), "true".to_owned()));
    }
    Ok(Config::load(args.config.as_deref(), hubbub_config::environment(), &overrides)?)
}

fn log(config: &Config) -> anyhow::Result<()> {
    // What engines say about their own business is of no use to an operator, unless asked for; what concerns the rights of
    // people is written always.
    let (engines, level, audit) = (store::LOG, heard(&config.log.level), audit::TARGET);
    let silent: String = SILENT.iter().map(|target| format!(",{target}=off")).collect();
    let directives = format!("{engines},{level}{silent},{audit}=info");
    let filter = EnvFilter::try_new(directives).context("log.level")?;
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match config.log.format {
        LogFormat::Json => builder.json().with_target(true).init(),
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
    }
    Ok(())
}

/// Who says nothing, whatever is asked for: the router speaks of its own business, and the library for WebSocket of what is in
/// frames, passwords included.
const SILENT: [&str; 2] = [spine::LOG_TARGET, websocket::LOG_TARGET];

/// Without directives for parts of those who say nothing, which would count more than one for the whole.
fn heard(level: &str) -> String {
    let is_heard = |directive: &&str| !SILENT.iter().any(|target| directive.trim().starts_with(target));
    level.split(',').filter(is_heard).collect::<Vec<_>>().join(",")
}

/// The server and what is needed to stop it.
struct Running {
    doors: Vec<(Door, std::net::SocketAddr)>,
    http: Option<std::net::SocketAddr>,
    token: admin::TokenFile,
    broker: Broker,
    bridge: JoinHandle<bool>,
    bridge_stop: Arc<AtomicBool>,
    watchdog_stop: mpsc::Sender<()>,
    events: mpsc::Receiver<Event>,
    runtime: Runtime,
}

impl Running {
    /// Binds first, so that a taken address is found before anything else happens; then store, bridge, spine, edges.
    fn build(config: &Config) -> anyhow::Result<Running> {
        let settings = Settings::new(config);
        let acceptor = certificates::read(config)?;
        let doors = Doors::bind(&settings)?;
        let http = config.listen.http.map(http::bind).transpose()?;
        let (clock, counters) = (Clock::start(), Arc::<Counters>::default());
        let retained = Arc::new(Retained::new(settings.retained));
        let store = store::open(&config.store)?;
        let Opened { bridge, sessions, places, house } =
            Bridge::open(config, store.clone(), clock, counters.clone(), retained.clone())
                .map_err(|error| start_failure(&error))?;
        let (died, events) = mpsc::channel();

        let spine = Spine::start(&settings.spine, clock)?;
        let bridge_stop = Arc::new(AtomicBool::new(false));
        let bridge = run_bridge(bridge, spine.bridge, bridge_stop.clone(), died.clone())?;
        let watchdog_stop = run_watchdog(spine.watchdog, died.clone())?;

        let shared = Shared::new(settings, clock, counters.clone(), retained, house.clone());
        let shared = Arc::new(shared.giving_back(memory::give_back));
        shared.set_tls(acceptor);
        shared.places.restore(places);
        let died_edge = died.clone();
        let broker = Broker::start(&doors, &shared, spine.edges, sessions, move |error| {
            // Nobody listens any more while the server stops.
            let _ = died_edge.send(Event::Died(error.to_string()));
        })?;

        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let addresses = doors.addresses();
        let http_address = http.as_ref().map(std::net::TcpListener::local_addr).transpose()?;
        let token = admin::TokenFile::write(config, http_address)?;
        if let Some(listener) = http {
            let mqtt = addresses.iter().find(|(door, _)| *door == Door::Mqtt).map(|(_, address)| *address);
            let proxies = shared.settings.proxies.clone();
            let (house, edges, check) = (house.clone(), broker.edges(), http::LastCheck::default());
            let (token, common_token) = (token.secret().to_owned(), config.listen.http_token.clone());
            let site =
                http::Site { counters, house, edges, store, mqtt, proxies, token, common_token, check };
            runtime.spawn(http::serve(listener, Arc::new(site)));
        }
        certificates::warn_of_clear_text(config);
        runtime.spawn(certificates::watch(shared.clone()));
        // Before anybody hears that the server is ready: a signal without a handler ends the process.
        let (hangup, terminate) = {
            let _runtime = runtime.enter();
            (signal(SignalKind::hangup()), signal(SignalKind::terminate()))
        };
        runtime.spawn(wait_for_hangup(hangup, config.clone(), house, shared));
        runtime.spawn(wait_for_signals(terminate, died));
        Ok(Running {
            doors: addresses,
            http: http_address,
            token,
            broker,
            bridge,
            bridge_stop,
            watchdog_stop,
            events,
            runtime,
        })
    }

    /// Says where it listens, where its data is, and what to try first.
    fn announce(&self, config: &Config) -> anyhow::Result<()> {
        use std::io::Write;
        let mut out = std::io::stdout().lock();
        for (door, address) in &self.doors {
            match door {
                Door::Mqtt => writeln!(out, "mqtt       {address}")?,
                Door::WebSocket => {
                    writeln!(out, "websocket  ws://{address}{}", config.listen.websocket_path)?
                }
                Door::Mqtts => writeln!(out, "mqtts      {address}")?,
                Door::Wss => writeln!(out, "wss        wss://{address}{}", config.listen.websocket_path)?,
                Door::BareClientId => writeln!(out, "compat     {address}")?,
            }
        }
        if let Some(address) = self.http {
            writeln!(out, "http       http://{address}")?;
        }
        let data = std::path::absolute(&config.store.path).unwrap_or_else(|_| config.store.path.clone());
        match config.store.engine {
            Engine::Memory => writeln!(out, "data       in memory: nothing outlives the process")?,
            Engine::Fjall | Engine::Sled => writeln!(out, "data       {}", data.display())?,
        }
        let port = self.doors.iter().find(|(door, _)| *door == Door::Mqtt).map_or(1883, |(_, a)| a.port());
        let port = if port == 1883 { String::new() } else { format!(" -p {port}") };
        if config.login.dev {
            writeln!(
                out,
                "ready; try: hubbub chat{port} -u alice bob   and in another terminal: hubbub chat{port} -u bob alice"
            )?;
        } else {
            writeln!(out, "ready; try: hubbub user add alice   (or serve --dev, which needs no passwords)")?;
        }
        Ok(out.flush()?)
    }

    /// Crash-only: what was acknowledged is on disk, and threads that are stuck cannot be joined. Those that are not tell
    /// their clients.
    fn crash(self, why: &str, goodbye: Goodbye, advice: &str) -> ! {
        tracing::error!(why, "the server cannot go on");
        self.token.remove();
        let (told, ended) = mpsc::channel();
        let broker = self.broker;
        std::thread::spawn(move || {
            broker.stop(goodbye);
            // Nobody waits any more if it took too long.
            let _ = told.send(());
        });
        let _ = ended.recv_timeout(FAREWELL);
        eprintln!("hubbub: {why}; {advice}: nothing acknowledged is lost");
        std::process::exit(Exit::Failed as i32);
    }

    fn wait(&self) -> anyhow::Result<Event> {
        self.events.recv().context("every part of the server is gone")
    }

    /// Listeners, then sessions, then the bridge; whatever has not ended within the grace time is left behind.
    fn drain(self, event: Event, config: &Config) -> anyhow::Result<()> {
        let grace = config.server.grace;
        let why = match event {
            Event::Stop(why) => why,
            Event::Died(why) => self.crash(&why, Goodbye::Internal, "start it again"),
            Event::StoreFailed(why) => {
                let folder = config.store.path.display();
                let advice = format!("see that the disk of {folder} has room and works, then start it again");
                self.crash(&why, Goodbye::StoreFailed, &advice)
            }
        };
        tracing::info!(why, grace_ms = grace.as_millis() as u64, "stopping");
        let (done, ended) = mpsc::channel();
        let Running { broker, bridge, bridge_stop, watchdog_stop, runtime, token, .. } = self;
        std::thread::spawn(move || {
            broker.stop(Goodbye::ShuttingDown);
            bridge_stop.store(true, Ordering::Relaxed);
            let clean = bridge.join().unwrap_or(false);
            drop(watchdog_stop);
            // If nobody waits any more the grace time is over.
            let _ = done.send(clean);
        });
        let clean = ended.recv_timeout(grace);
        token.remove();
        runtime.shutdown_background();
        match clean {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failure::new(Exit::Failed, "the bridge did not end well").into()),
            Err(_) => Err(Failure::new(Exit::Failed, "not everything ended within server.grace").into()),
        }
    }
}

/// What to tell the server's own thread about the end of the bridge.
fn event_of(error: &BridgeError) -> Event {
    match error {
        BridgeError::Store(_) => Event::StoreFailed(error.to_string()),
        _ => Event::Died(error.to_string()),
    }
}

fn start_failure(error: &BridgeError) -> Failure {
    let exit = match error {
        BridgeError::Acl { .. } | BridgeError::Login(LoginError::Keys(_)) => Exit::Configuration,
        _ => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

fn run_bridge(
    bridge: Bridge,
    end: hubbub_broker::spine::End,
    stop: Arc<AtomicBool>,
    died: mpsc::Sender<Event>,
) -> anyhow::Result<JoinHandle<bool>> {
    let body = move || {
        let ended = bridge.run(end, &stop);
        if let Err(error) = &ended {
            tracing::error!(%error, "the bridge cannot go on");
            // Nobody listens any more while the server stops.
            let _ = died.send(event_of(error));
        }
        ended.is_ok()
    };
    Ok(std::thread::Builder::new().name("bridge".to_owned()).spawn(body)?)
}

fn run_watchdog(watchdog: Watchdog, died: mpsc::Sender<Event>) -> anyhow::Result<mpsc::Sender<()>> {
    let (stop, stopped) = mpsc::channel();
    let body = move || {
        if let Err(error) = watchdog.run(&stopped) {
            let _ = died.send(Event::Died(error.to_string()));
        }
    };
    std::thread::Builder::new().name("watchdog".to_owned()).spawn(body)?;
    Ok(stop)
}

/// SIGHUP: files that may change while the server runs are read again.
async fn wait_for_hangup(
    hangup: std::io::Result<Signal>,
    config: Config,
    house: Arc<House>,
    shared: Arc<Shared>,
) {
    let config = Arc::new(config);
    let Ok(mut hangup) = hangup else {
        return tracing::warn!("no SIGHUP: certificates, keys and rules are not read again");
    };
    while hangup.recv().await.is_some() {
        let (config, house, shared) = (config.clone(), house.clone(), shared.clone());
        // One at a time, and not on a thread that serves others.
        let reload = move || {
            certificates::reload(&config.tls, &shared);
            rights::reload_keys(&config.login, &house);
            rights::reload(&config.acl, &house, &shared);
        };
        let _ = tokio::task::spawn_blocking(reload).await;
    }
}

async fn wait_for_signals(terminate: std::io::Result<Signal>, events: mpsc::Sender<Event>) {
    let why = match terminate {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = tokio::signal::ctrl_c() => "Ctrl-C",
        },
        Err(_) => {
            // Without signals the process still ends by being killed.
            let _ = tokio::signal::ctrl_c().await;
            "Ctrl-C"
        }
    };
    let _ = events.send(Event::Stop(why));
}
