//! The data folder as a whole: a marker that says which format and engine it has, so that a folder which lost its data
//! is not taken for a new one, and one engine does not begin anew over the data of another.

use std::io::Write as _;
use std::path::Path;

use hubbub_config::Engine;

use super::{FORMAT_VERSION, Store, StoreError, version};

/// Where in the data folder the engine fjall keeps its files; sled, which was there first, has them in the folder itself.
pub(super) const FJALL: &str = "fjall";

/// Where an import puts together what it will move into the folder around it once it is complete.
pub(super) const UNFINISHED: &str = "hubbub-import";

/// The marker. Its second line names the engine; without one it is sled.
pub(super) const MARKER: &str = "hubbub-format";

/// Makes the folder if it is not there, and sees that it is not of another engine. Changes nothing else.
pub(super) fn prepare(path: &Path, engine: Engine) -> Result<(), StoreError> {
    std::fs::create_dir_all(path).map_err(|error| unusable(path, error))?;
    if path.join(UNFINISHED).exists() {
        let reason = "an import into it did not finish; empty it and run `hubbub store import` again";
        return Err(unusable(path, reason));
    }
    match engine_name(path) {
        Some(found) if found != engine.name() => {
            let reason = format!(
                "its data was written by the engine {found}: set store.engine = \"{found}\", or take it over into \
                 another folder with `hubbub store export` and `hubbub store import`"
            );
            Err(unusable(path, reason))
        }
        _ => Ok(()),
    }
}

/// The engine that wrote the folder; none if there is no data in it.
pub fn engine_of(path: &Path) -> Result<Option<Engine>, StoreError> {
    let Some(name) = engine_name(path) else { return Ok(None) };
    let known = [Engine::Fjall, Engine::Sled].into_iter().find(|engine| engine.name() == name);
    let unknown =
        || unusable(path, format!("its data was written by the engine {name:?}, which is not known here"));
    known.ok_or_else(unknown).map(Some)
}

/// The name of the engine that wrote the folder, if any did.
fn engine_name(path: &Path) -> Option<String> {
    if let Ok(marker) = std::fs::read_to_string(path.join(MARKER)) {
        let engine = marker.lines().find_map(|line| line.strip_prefix("engine "));
        return Some(engine.unwrap_or("sled").to_owned());
    }
    // A first start may have ended before the marker was written.
    let made_by = [(FJALL, Engine::Fjall), ("db", Engine::Sled)];
    made_by.iter().find(|(file, _)| path.join(file).exists()).map(|(_, engine)| engine.name().to_owned())
}

/// Like [`version::check`], for an engine whose data is in the folder; leaves the marker there.
pub(super) fn check(store: &dyn Store, path: &Path, engine: Engine) -> Result<(), StoreError> {
    let marker = path.join(MARKER);
    if marker.exists() && version::is_empty(store)? {
        let reason = format!(
            "its data is gone; restore it from a copy, or remove the files {MARKER} and {} to begin anew",
            super::counted::FILE
        );
        return Err(unusable(path, reason));
    }
    version::check(store, path)?;
    let text = format!("hubbub data folder, format {FORMAT_VERSION}\nengine {}\n", engine.name());
    write_whole(&marker, &text).map_err(|error| unusable(path, format!("{MARKER}: {error}")))
}

/// All or nothing, and nothing if it is there already: a full disk, or a crash, must not leave a marker that is empty.
fn write_whole(file: &Path, text: &str) -> std::io::Result<()> {
    if std::fs::read_to_string(file).is_ok_and(|present| present == text) {
        return Ok(());
    }
    let unfinished = file.with_extension("new");
    let mut new = std::fs::File::create(&unfinished)?;
    new.write_all(text.as_bytes())?;
    new.sync_all()?;
    std::fs::rename(unfinished, file)?;
    match file.parent() {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn unusable(path: &Path, error: impl std::fmt::Display) -> StoreError {
    StoreError::Folder { path: path.to_path_buf(), reason: error.to_string() }
}
