//! Where records come from: an open folder, or the server that has it open.

use crate::admin::Admin;
use crate::exit::{Exit, Failure};
use crate::store::progress::Progress;
use anyhow::Context;
use hubbub_bridge::store::{self, Store, StoreError, Visit, dump, is_of_the_folder};
use hubbub_config::{Config, Engine};
use std::io::{self, BufReader, Write};
use std::sync::Arc;

/// The records of a data folder.
pub enum Source {
    /// Nobody else has it open.
    Store(Arc<dyn Store>),
    /// This server has it.
    Server(Admin),
}

impl Source {
    /// Opens the folder, or finds the server that has it open.
    pub fn find(config: &Config) -> anyhow::Result<Source> {
        if config.store.engine == Engine::Memory {
            return Ok(Source::Server(Admin::find(config)?));
        }
        match store::open_existing(&config.store) {
            Ok(store) => Ok(Source::Store(store)),
            Err(StoreError::Locked(_)) => Ok(Source::Server(Admin::find(config)?)),
            Err(other) => Err(other.into()),
        }
    }

    /// The store, for what cannot be done under a server.
    pub fn stopped(&self, what: &str) -> Result<&dyn Store, Failure> {
        match self {
            Source::Store(store) => Ok(store.as_ref()),
            Source::Server(_) => {
                Err(Failure::new(Exit::Unavailable, format!("{what} needs the server stopped")))
            }
        }
    }

    /// Shows every record in the order of the keys, as one moment saw them, without those that are about the folder.
    pub fn for_each(&self, visit: &mut Visit<'_>) -> anyhow::Result<()> {
        let mut progress = Progress::new("records");
        let mut last = Vec::new();
        let mut seen = |key: &[u8], value: &[u8]| {
            if is_of_the_folder(key) {
                return Ok(());
            }
            progress.add(1);
            last.clear();
            last.extend_from_slice(key);
            visit(key, value)
        };
        let read = match self {
            Source::Store(store) => store.walk(&mut seen).map_err(anyhow::Error::from),
            Source::Server(admin) => admin.records().and_then(|records| {
                let records = BufReader::new(records);
                dump::read(records, &mut seen).map(drop).context("the answer of the server")
            }),
        };
        read.with_context(|| match last.as_slice() {
            [] => "no record could be read".to_owned(),
            key => format!("reading ended behind the record {}", store::keys::show(key)),
        })
    }

    /// Writes the export. What a server says is read and written anew: so what arrives is known to be whole.
    pub fn export<W: Write>(&self, out: W) -> anyhow::Result<(W, dump::Summary)> {
        let mut writer = dump::Writer::new(out)?;
        let mut failure: Option<io::Error> = None;
        let read = self.for_each(&mut |key, value| {
            writer.put(key, value).map_err(|error| {
                let said = StoreError::Failed(error.to_string());
                failure = Some(error);
                said
            })
        });
        match failure {
            Some(error) => Err(error.into()),
            None => read.and_then(|()| Ok(writer.finish()?)),
        }
    }
}
