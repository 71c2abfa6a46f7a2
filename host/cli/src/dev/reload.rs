//! Guards whose files change while `aegis dev` runs: loaded anew for the runs that begin then. What cannot be loaded changes nothing.

use crate::failure::Failure;
use crate::loading::blocking;
use crate::terminal::tell;
use aegis_server::App;
use aegis_server::config::{Settings, Source};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How often files are looked at. A file must be the same for two looks: whoever writes it may not be done.
const LOOK: Duration = Duration::from_millis(250);

/// What tells one state of a file from another.
type Mark = Option<(SystemTime, u64)>;

struct Watched {
    name: String,
    path: PathBuf,
    /// The file as it was loaded, and as it was at the last look.
    loaded: Mark,
    last: Mark,
}

/// For as long as the server runs. `settings` are those that it was opened with.
pub(super) async fn watch(app: Arc<App>, settings: Settings) {
    let files = settings.guards.iter().filter_map(|(name, it)| match &it.source {
        Source::File(path) => Some(Watched { name: name.clone(), path: path.clone(), loaded: mark(path), last: mark(path) }),
        Source::Builtin(_) => None,
    });
    let mut files: Vec<Watched> = files.collect();
    while !files.is_empty() {
        tokio::time::sleep(LOOK).await;
        for file in &mut files {
            if file.has_changed() {
                tell(&reload(&app, &settings, &file.name, &file.path).await);
            }
        }
    }
}

impl Watched {
    /// Whether there is another file by now that nobody is writing to any more.
    fn has_changed(&mut self) -> bool {
        let now = mark(&self.path);
        let changed = now.is_some() && now == self.last && now != self.loaded;
        self.last = now;
        if changed {
            self.loaded = now;
        }
        changed
    }
}

fn mark(path: &Path) -> Mark {
    let metadata = path.metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

async fn reload(app: &Arc<App>, settings: &Settings, name: &str, path: &Path) -> String {
    let (app, settings, guard) = (app.clone(), settings.clone(), name.to_owned());
    let loaded = blocking(move || app.reload(&settings, &guard, &|_, _| ()).map_err(Failure::from)).await;
    match loaded {
        Ok(digest) => format!("{name}: {} has changed: loaded, {digest}", path.display()),
        Err(failure) => format!("{name}: {} has changed and cannot be used; the one before stays\n{failure}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_changed_once_it_rests() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("g.wasm");
        std::fs::write(&path, "one").unwrap();
        let mut file = Watched { name: "g".into(), path: path.clone(), loaded: mark(&path), last: mark(&path) };
        assert!(!file.has_changed());
        std::fs::write(&path, "three").unwrap();
        assert!(!file.has_changed(), "it may still be written to");
        assert!(file.has_changed());
        assert!(!file.has_changed());
        std::fs::remove_file(&path).unwrap();
        assert!(!file.has_changed() && !file.has_changed(), "a file that is gone is no other guard");
    }
}
