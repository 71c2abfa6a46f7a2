//! Looks up secrets. No error and no log shows more than the name under which one was sought.

use super::Environment;
use std::path::Path;

/// Bytes of the largest secret.
const LARGEST: usize = 64 * 1024;

/// What `secret://env/NAME` or `secret://file/PATH` stands for. A line break at the end is not part of it; `PATH` is relative to
/// `folder` unless it begins with a slash of its own: `secret://file//run/secrets/key`.
pub(super) fn resolve(reference: &str, folder: &Path, environment: &Environment) -> Result<String, String> {
    let secret = match reference.strip_prefix("secret://").and_then(|it| it.split_once('/')) {
        Some(("env", name)) => environment.get(name).cloned().ok_or_else(|| format!("the environment has no variable {name}: set it")),
        Some(("file", path)) => read(path, folder),
        _ => Err("this names no secret: write secret://env/NAME or secret://file/PATH".into()),
    }?;
    let secret = secret.strip_suffix('\n').map_or(secret.as_str(), |it| it.strip_suffix('\r').unwrap_or(it));
    if secret.is_empty() { Err(format!("{reference} is there, but empty")) } else { Ok(secret.to_string()) }
}

fn read(path: &str, folder: &Path) -> Result<String, String> {
    let file = folder.join(path);
    let say = |what: &str| format!("{} {what}", file.display());
    match super::meaning::read_limited(&file, LARGEST) {
        Ok(Some(bytes)) => String::from_utf8(bytes).map_err(|_| say("is not UTF-8: a secret is text")),
        Ok(None) => Err(say("is larger than 64 KiB: no secret is")),
        Err(_) if Path::new("/").join(path).is_file() => {
            Err(format!("{}: write secret://file//{path} for the file /{path}", say("is not there")))
        }
        Err(error) => Err(say(&format!("cannot be read: {error}"))),
    }
}
