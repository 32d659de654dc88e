//! What all edges and the bridge share: small, read-mostly, or only counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use ahash::RandomState;

use crate::clock::Clock;
use crate::counters::Counters;
use crate::gate::Gate;
use crate::layers::LayerError;
use crate::places::Places;
use crate::policy::Policy;
use crate::retained::Retained;
use crate::routes::Routes;
use crate::settings::Settings;
use crate::tls::TlsAcceptor;

/// Shared by all edges.
pub struct Shared {
    /// Settings.
    pub settings: Settings,
    /// The one clock.
    pub clock: Clock,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Who may come in, as far as numbers go.
    pub gate: Arc<Gate>,
    /// Retained messages.
    pub retained: Arc<Retained>,
    /// Which edge wants what.
    pub routes: Routes,
    /// Who may do what.
    pub policy: Arc<dyn Policy>,
    /// Which device has the place of a class of which a user has one.
    pub places: Places,
    rights: AtomicU64,
    home: RandomState,
    tls: RwLock<Option<Arc<TlsAcceptor>>>,
    give_back: fn(),
}

impl Shared {
    /// Puts the pieces together.
    pub fn new(
        settings: Settings,
        clock: Clock,
        counters: Arc<Counters>,
        retained: Arc<Retained>,
        policy: Arc<dyn Policy>,
    ) -> Shared {
        let gate = Gate::new(settings.gate, counters.clone(), clock.now());
        Shared {
            places: Places::new(settings.single_classes.clone()),
            rights: AtomicU64::new(0),
            gate,
            settings,
            clock,
            counters,
            retained,
            routes: Routes::default(),
            policy,
            home: RandomState::new(),
            tls: RwLock::default(),
            give_back: || {},
        }
    }

    /// With a way to give memory that a thread does not use any more back to the system.
    pub fn giving_back(self, give_back: fn()) -> Shared {
        Shared { give_back, ..self }
    }

    /// Gives back what this thread does not use any more.
    pub(crate) fn give_back(&self) {
        (self.give_back)();
    }

    /// What TLS listeners offer now.
    pub fn tls(&self) -> Option<Arc<TlsAcceptor>> {
        self.tls.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What TLS listeners offer from now on, to new connections.
    pub fn set_tls(&self, acceptor: Option<TlsAcceptor>) {
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = acceptor.map(Arc::new);
    }

    /// Counts the changes of rights: what was decided before one has to be decided again.
    pub fn rights(&self) -> u64 {
        self.rights.load(Ordering::Acquire)
    }

    /// The policy decides otherwise from now on. Nothing that it does not allow any more is handed to anybody after this.
    pub fn rights_changed(&self) {
        self.rights.fetch_add(1, Ordering::Release);
        self.counters.rights_changes_total.add(1);
    }

    pub(crate) fn count_layer_error(&self, error: &LayerError) {
        if error.is_tls_failure() {
            self.counters.tls_failures_total.add(1);
        }
    }

    /// The edge on which all connections of a client id meet, so that taking over needs no agreement between edges.
    pub fn home_of(&self, client: &str) -> u8 {
        (self.home.hash_one(client) % u64::from(self.settings.edges)) as u8
    }
}
