//! Guards that open runs began with and that the configuration no longer has. Their components and settings are kept in the store; one is loaded
//! when a run asks for it, on a thread of its own, and judges as it would have judged then.

use crate::app::HostedGuard;
use crate::config::Settings;
use crate::open::limits;
use aegis_core::{Digest, Guard};
use aegis_store::{Store, StoreError};
use aegis_wasm::{Limits, LoadedGuard, Sandbox, Source};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::OnceCell;

/// Component and settings.
type Key = (Digest, Digest);
/// None for what cannot be loaded: it is not tried again before the next start.
type Place = Arc<OnceCell<Option<Arc<LoadedGuard>>>>;

/// Where earlier guards come from.
pub struct Archive {
    store: Arc<dyn Store>,
    sandbox: Sandbox,
    /// By the guard's name in the configuration; where it names none, the sandbox's own.
    limits: BTreeMap<String, Limits>,
    loaded: Mutex<HashMap<Key, Place>>,
}

impl Archive {
    /// Guards that `store` has kept, for `sandbox`. A plan does not hold limits: they are those of the guard that has the same name in
    /// `settings`, and where none has, the sandbox's own.
    pub fn new(settings: &Settings, store: Arc<dyn Store>, sandbox: Sandbox) -> Archive {
        let limits = settings.guards.iter().map(|(name, it)| (name.clone(), limits(&it.limits))).collect();
        Archive { store, sandbox, limits, loaded: Mutex::default() }
    }

    /// Where guards are loaded.
    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The guard of an earlier configuration; none when it was not kept, or cannot be loaded.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn find(&self, wanted: &Guard) -> Result<Option<Arc<LoadedGuard>>, StoreError> {
        let place = self.loaded().entry((wanted.component, wanted.settings)).or_default().clone();
        Ok(place.get_or_try_init(|| self.load(wanted)).await?.clone())
    }

    /// Forgets what neither `current` guards nor open runs need.
    pub(crate) async fn sweep(&self, current: &[HostedGuard]) -> Result<(), StoreError> {
        let keep: Vec<Digest> = current.iter().flat_map(|it| [it.loaded.component(), it.loaded.settings()]).collect();
        let gone = self.store.blob_sweep(&keep).await?;
        self.loaded().retain(|(component, settings), _| !gone.contains(component) && !gone.contains(settings));
        Ok(())
    }

    async fn load(&self, wanted: &Guard) -> Result<Option<Arc<LoadedGuard>>, StoreError> {
        let (component, settings) = (self.store.blob_fetch(wanted.component).await?, self.store.blob_fetch(wanted.settings).await?);
        let (Some(bytes), Some(settings)) = (component, settings) else {
            tracing::error!(guard = wanted.name, component = %wanted.component, "a guard that a run began with was not kept");
            return Ok(None);
        };
        let Ok(settings) = serde_json::from_slice(&settings) else { return Ok(None) };
        let limits = self.limits.get(&wanted.name).cloned().unwrap_or_default();
        let source = Source { name: wanted.name.clone(), bytes: bytes.into(), settings, limits };
        let sandbox = self.sandbox.clone();
        tracing::info!(guard = wanted.name, component = %wanted.component, "loading a guard of an earlier configuration for a run that began with it");
        let loaded = tokio::task::spawn_blocking(move || sandbox.load(source, &|_| {})).await;
        match loaded.map_err(|error| error.to_string()).and_then(|it| it.map_err(|error| error.to_string())) {
            Ok(loaded) => Ok(Some(loaded).filter(|it| it.component() == wanted.component && it.settings() == wanted.settings)),
            Err(error) => {
                tracing::error!(guard = wanted.name, component = %wanted.component, error, "a guard that a run began with cannot be loaded any more");
                Ok(None)
            }
        }
    }

    fn loaded(&self) -> MutexGuard<'_, HashMap<Key, Place>> {
        self.loaded.lock().expect("nothing panics while it holds this lock")
    }
}
