//! Compiled guards on disk. What is in there is native code, so nothing is believed: the folder belongs to this user
//! alone, the name of a file says what it was made of, and its header what it must contain. Whatever does not fit is made again.

use crate::engine::SandboxError;
use aegis_core::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::cmp::Reverse;
use std::fs;
use std::hash::{Hash as _, Hasher};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use wasmtime::Engine;
use wasmtime::component::Component;

/// Changes whenever the way of making an entry does.
const FORMAT: &str = "aegis compiled guard 1";
/// What takes the snapshots; the engine's own version is in its fingerprint.
const WIZER: &str = "48.0.8";
/// Bytes of the header's line.
const HEADER: u64 = 16 << 10;
/// Bytes of an entry: native code is at most some ten times as large as its component.
pub(crate) const ENTRY: u64 = 1 << 30;

/// Bytes of all entries. Every change to a guard that is being written makes a new one, and nobody else takes the old ones away.
const ROOM: u64 = 1 << 30;

pub(crate) struct Cache {
    folder: PathBuf,
    /// Everything about the engine that compiled code depends on.
    engine: Digest,
}

/// What is kept of one guard with one set of settings.
pub(crate) struct Compiled {
    pub(crate) component: Component,
    /// Why it is not a snapshot.
    pub(crate) plain: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    /// SHA-256 of `plain` and the payload.
    digest: Digest,
    plain: Option<String>,
}

impl Cache {
    /// Makes the folder for this user alone, and refuses one in which anyone else may write.
    pub(crate) fn open(folder: PathBuf, engine: &Engine) -> Result<Cache, SandboxError> {
        let refused = |why: String| SandboxError::Cache { path: folder.clone(), why };
        prepare(&folder).map_err(|error| refused(error.to_string()))?;
        let mut fingerprint = Fingerprint(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut fingerprint);
        let engine = Digest(fingerprint.0.finalize().into());
        Ok(Cache { folder, engine })
    }

    fn path(&self, component: Digest, settings: Digest) -> PathBuf {
        let made_of = Sha256::new()
            .chain_update(FORMAT)
            .chain_update(WIZER)
            .chain_update(component.0)
            .chain_update(settings.0)
            .chain_update(self.engine.0);
        self.folder.join(Digest(made_of.finalize().into()).hex())
    }

    /// What was kept; nothing when there is nothing, or nothing that can be believed.
    pub(crate) fn fetch(&self, component: Digest, settings: Digest, engine: &Engine) -> Option<Compiled> {
        let path = self.path(component, settings);
        match read(&path).and_then(|(header, payload)| Ok((deserialize(engine, &payload).map_err(io::Error::other)?, header.plain))) {
            Ok((component, plain)) => {
                used_now(&path);
                Some(Compiled { component, plain })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a compiled guard is damaged and will be made again");
                None
            }
        }
    }

    /// Keeps it, in the place of those that nobody has used for longest. Nothing depends on whether that succeeds.
    pub(crate) fn keep(&self, component: Digest, settings: Digest, compiled: &Compiled) {
        let path = self.path(component, settings);
        let kept = compiled.component.serialize().map_err(io::Error::other).and_then(|payload| {
            match write(&path, compiled.plain.clone(), &payload) {
                // A volume of its own may be smaller.
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    make_room(&self.folder, 0)?;
                    write(&path, compiled.plain.clone(), &payload)
                }
                written => written,
            }
        });
        if let Err(error) = kept.and_then(|()| make_room(&self.folder, ROOM)) {
            tracing::warn!(path = %path.display(), %error, "a compiled guard could not be kept");
        }
    }
}

/// A file's time says when it was used last; without that it goes sooner.
fn used_now(path: &Path) {
    let told = fs::File::options().append(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
    drop(told);
}

/// Removes what was used longest ago, until the rest has no more bytes than this; and nothing that does not bear the name of an entry.
fn make_room(folder: &Path, most: u64) -> io::Result<()> {
    let mut files = vec![];
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // Others do the same, so it may have gone.
        if is_ours(&path)
            && let Ok(of) = path.metadata()
            && of.is_file()
        {
            files.push((of.modified()?, of.len(), path));
        }
    }
    files.sort_by_key(|it| Reverse(it.0));
    let mut sum = 0_u64;
    for (_, bytes, path) in files {
        sum = sum.saturating_add(bytes);
        if sum > most {
            drop(fs::remove_file(path));
        }
    }
    Ok(())
}

/// An entry, or one that was not finished: the digest alone, or with a process's number behind it.
fn is_ours(path: &Path) -> bool {
    path.file_stem().and_then(|it| it.to_str()).is_some_and(|it| it.parse::<Digest>().is_ok())
}

fn digest(plain: &Option<String>, payload: &[u8]) -> Digest {
    let plain = serde_json::to_vec(plain).expect("a text");
    Digest(Sha256::new().chain_update(Sha256::digest(plain)).chain_update(payload).finalize().into())
}

fn read(path: &Path) -> io::Result<(Header, Vec<u8>)> {
    let mut file = io::BufReader::new(fs::File::open(path)?);
    let mut line = Vec::new();
    io::BufRead::read_until(&mut (&mut file).take(HEADER), b'\n', &mut line)?;
    let header: Header = serde_json::from_slice(&line)?;
    let mut payload = Vec::new();
    file.take(ENTRY).read_to_end(&mut payload)?;
    if digest(&header.plain, &payload) != header.digest {
        return Err(io::Error::other("its contents are not what its header says"));
    }
    Ok((header, payload))
}

/// Under another name first: a reader sees all of it or nothing.
fn write(path: &Path, plain: Option<String>, payload: &[u8]) -> io::Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let unfinished = path.with_extension(format!("{}-{number}", std::process::id()));
    let written =
        write_new(&unfinished, &Header { digest: digest(&plain, payload), plain }, payload).and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        let _ = fs::remove_file(&unfinished); // best effort: the error that counts is the first
    }
    written
}

fn write_new(path: &Path, header: &Header, payload: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create_new(path)?;
    serde_json::to_writer(&mut file, header)?;
    file.write_all(b"\n")?;
    file.write_all(payload)?;
    file.sync_all()
}

#[cfg(unix)]
fn prepare(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let there = fs::metadata(folder)?;
    if there.mode() & 0o022 != 0 {
        let fix = format!("others may write there, and what is in it is run: chmod 700 {}", folder.display());
        return Err(io::Error::other(fix));
    }
    let probe = folder.join(format!("probe-{}", std::process::id()));
    let us = fs::File::create(&probe)?.metadata()?.uid();
    fs::remove_file(&probe)?;
    if there.uid() != us {
        return Err(io::Error::other("it belongs to another user, and what is in it is run: choose a folder of your own"));
    }
    Ok(())
}

#[cfg(not(unix))]
fn prepare(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

#[expect(unsafe_code, reason = "the one place where native code is loaded")]
pub(crate) fn deserialize(engine: &Engine, payload: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: wasmtime asks that these are bytes of `Component::serialize`, unchanged. Those that this program has just compiled in a process of its own
    // came through a pipe that nobody else holds. Those on disk, `keep` wrote them so; their SHA-256 in
    // the header shows that they are unchanged; and in this folder nobody but this user, who could replace the whole program as well, can write.
    // wasmtime itself checks that they were made by the same version and for the same settings.
    unsafe { Component::deserialize(engine, payload) }
}

/// Collects what is hashed, the same in every process.
struct Fingerprint(Sha256);

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0 // nobody asks: the whole digest is read instead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_makes_room_and_nothing_else_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let at = |n: u8| folder.path().join(Digest([n; 32]).hex());
        let others = ["aegis.db", "aegis.yaml", "guard.wasm", "beef"].map(|name| folder.path().join(name));
        let old = SystemTime::now() - std::time::Duration::from_secs(1_000);
        for path in others.iter().cloned().chain((1..=4).map(at)).chain([at(5).with_extension("77-0")]) {
            fs::write(&path, [0; 100]).unwrap();
            fs::File::options().append(true).open(&path).unwrap().set_modified(old).unwrap();
        }
        let used = |n: u8, seconds| {
            fs::File::options().append(true).open(at(n)).unwrap().set_modified(old + std::time::Duration::from_secs(seconds))
        };
        (2..=4).for_each(|n| used(n, n.into()).unwrap());
        used_now(&at(1));
        make_room(folder.path(), 399).unwrap();
        let left: Vec<u8> = (1..=4).filter(|n| at(*n).exists()).collect();
        assert_eq!(left, [1, 3, 4]);
        make_room(folder.path(), 0).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), others.len());
        assert!(others.iter().all(|it| it.exists()));
    }

    #[test]
    fn the_version_of_wizer_is_the_one_that_is_built_in() {
        let lock = include_str!("../../../Cargo.lock");
        assert!(lock.contains(&format!("name = \"wasmtime-wizer\"\nversion = \"{WIZER}\"")), "set WIZER to the version in Cargo.lock");
    }
}
