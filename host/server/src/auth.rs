//! Who is calling. Keys and cookies are known here by their SHA-256 alone; nothing here decides what a principal may do.

use crate::clock;
use crate::guesses::Guesses;
use aegis_core::{Digest, Principal, Time};
use aegis_store::{CommitError, Key, LedgerKey, NewKey, Session, Store, StoreError};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// How long a key that was found counts as valid without another look: revoking it takes effect within this time.
const KNOWN_FOR: Duration = Duration::from_secs(2);
/// So many keys are remembered at most.
const KNOWN_AT_MOST: usize = 10_000;
/// How long somebody stays logged in on the page.
const SESSION: u64 = 12 * 60 * 60 * 1000;

/// Why nobody is known to be calling.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuthError {
    /// Neither a key nor a session.
    #[error("no key: send `Authorization: Bearer aeg-…`")]
    NoKey,
    /// Something else than a bearer key.
    #[error("the Authorization header holds no key: write `Bearer aeg-` and 64 hex digits")]
    Shape,
    /// No such key, or one that was revoked.
    #[error("this key is not valid")]
    WrongKey,
    /// Too many wrong keys from one address: no other is looked at before this time has passed.
    #[error("too many wrong keys from this address: try again in {} s", .0.as_secs().max(1))]
    TooMany(Duration),
    /// A session without the page's token: another page may have sent this.
    #[error("a session counts only with the page's token in `x-aegis-token`")]
    Token,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a request says about who sends it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Credentials<'a> {
    /// The address at the other end of the connection. What a header says about it is not looked at: any client can write that.
    pub from: Option<IpAddr>,
    /// The `Authorization` header.
    pub authorization: Option<&'a str>,
    /// The session cookie's value.
    pub cookie: Option<&'a str>,
    /// The `x-aegis-token` header.
    pub token: Option<&'a str>,
}

/// Somebody who is logged in on the page.
#[derive(Clone, Debug)]
pub struct LoggedIn {
    /// Who.
    pub principal: Principal,
    /// What every form of the page has to carry.
    pub token: String,
    /// Until when.
    pub expires_at: Time,
}

/// A session that has just been opened; the cookie is told here once and never again.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The cookie's value.
    pub cookie: String,
    /// How long it lasts, in seconds.
    pub max_age: u64,
}

/// Finds out who is calling.
pub struct Auth {
    store: Arc<dyn Store>,
    required: bool,
    known: Mutex<HashMap<Digest, (Principal, Instant)>>,
    guesses: Guesses,
}

impl Auth {
    /// Without `required` everyone is `anonymous`.
    pub fn new(store: Arc<dyn Store>, required: bool) -> Auth {
        Auth { store, required, known: Mutex::default(), guesses: Guesses::default() }
    }

    /// Whether callers need a key.
    pub fn required(&self) -> bool {
        self.required
    }

    /// Whether there is a key that lets anybody in.
    ///
    /// # Errors
    /// The store failed.
    pub async fn has_keys(&self) -> Result<bool, StoreError> {
        Ok(self.store.key_list().await?.iter().any(|it| it.revoked_at.is_none()))
    }

    /// Who sends a request to the API.
    ///
    /// # Errors
    /// When a key is required, and there is none that counts.
    pub async fn caller(&self, from: Credentials<'_>) -> Result<Principal, AuthError> {
        match from {
            _ if !self.required => Ok(Principal::anonymous()),
            Credentials { authorization: Some(header), from, .. } => self.by_header(header, from).await,
            Credentials { cookie: Some(cookie), token, .. } => {
                let session = self.session(cookie).await?.ok_or(AuthError::NoKey)?;
                if same(token.unwrap_or_default(), &session.token) { Ok(session.principal) } else { Err(AuthError::Token) }
            }
            Credentials { .. } => Err(AuthError::NoKey),
        }
    }

    /// Opens a session for whoever has this key. A cookie that the browser had before plays no part in it.
    ///
    /// # Errors
    /// When the key is not valid, or too many were not.
    pub async fn log_in(&self, key: &str, from: Option<IpAddr>) -> Result<Opened, AuthError> {
        let key = self.check(key, from).await?;
        let (cookie, now) = (clock::random_hex::<32>(), clock::now());
        let session =
            Session { hash: Digest::of(cookie.as_bytes()), key: key.id, token: clock::random_hex::<32>(), expires_at: now.after(SESSION) };
        match self.store.session_create(&session, now).await {
            Ok(()) => Ok(Opened { cookie, max_age: SESSION / 1000 }),
            Err(CommitError::Conflict | CommitError::Earlier(_)) => Err(AuthError::WrongKey),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    /// The session that this cookie belongs to.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn session(&self, cookie: &str) -> Result<Option<LoggedIn>, AuthError> {
        let found = self.store.session_find(Digest::of(cookie.as_bytes()), clock::now()).await?;
        Ok(found.map(|(session, key)| LoggedIn { principal: key.principal, token: session.token, expires_at: session.expires_at }))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn log_out(&self, cookie: &str) -> Result<(), AuthError> {
        Ok(self.store.session_delete(Digest::of(cookie.as_bytes())).await?)
    }

    async fn by_header(&self, header: &str, from: Option<IpAddr>) -> Result<Principal, AuthError> {
        // What cannot be a key is a mistake and no guess: it is not counted.
        let key = key_in(header).ok_or(AuthError::Shape)?;
        match self.remembered(&Digest::of(key.as_bytes())) {
            Some(principal) => Ok(principal),
            None => Ok(self.check(key, from).await?.principal),
        }
    }

    /// Looks a key up by its SHA-256, so that the time it takes says nothing about any key. Wrong ones are counted against `from`;
    /// while there are too many, only keys that were right before are looked up: others at this address go on working.
    async fn check(&self, key: &str, from: Option<IpAddr>) -> Result<Key, AuthError> {
        let hash = Digest::of(key.as_bytes());
        let wait = self.guesses.wait(from, Instant::now());
        if let Some(wait) = wait.filter(|_| !self.known().contains_key(&hash)) {
            return Err(AuthError::TooMany(wait));
        }
        let found = if is_key(key) { self.store.key_find(hash).await? } else { None };
        let Some(key) = found else {
            self.known().remove(&hash);
            return Err(self.refuse(from));
        };
        self.remember(hash, key.principal.clone());
        Ok(key)
    }

    /// Counts a wrong key. Those that came at the same moment, before the first of them was counted, get no answer of their own.
    fn refuse(&self, from: Option<IpAddr>) -> AuthError {
        let now = Instant::now();
        let wait = self.guesses.wait(from, now);
        self.guesses.wrong(from, now);
        wait.map_or(AuthError::WrongKey, AuthError::TooMany)
    }

    fn remembered(&self, hash: &Digest) -> Option<Principal> {
        self.known().get(hash).filter(|(_, since)| since.elapsed() < KNOWN_FOR).map(|(principal, _)| principal.clone())
    }

    fn remember(&self, hash: Digest, principal: Principal) {
        let mut known = self.known();
        if known.len() >= KNOWN_AT_MOST {
            known.clear();
        }
        known.insert(hash, (principal, Instant::now()));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Digest, (Principal, Instant)>> {
        self.known.lock().expect("nothing panics while it holds this lock")
    }
}

/// A new key and what the store keeps of it. The key is told here once and never again.
pub fn new_key(principal: Principal) -> (String, NewKey) {
    let key = format!("aeg-{}", clock::random_hex::<32>());
    let kept = NewKey { id: clock::random_hex::<6>(), hash: Digest::of(key.as_bytes()), principal, created_at: clock::now() };
    (key, kept)
}

/// A new key for the ledger's exports, as it stands in its file.
pub fn new_ledger_key() -> String {
    LedgerKey::text(&clock::random())
}

/// Equal, in a time that says nothing about where they differ.
pub fn same(given: &str, expected: &str) -> bool {
    given.as_bytes().ct_eq(expected.as_bytes()).into()
}

/// The key in an `Authorization` header; none when it is something else.
pub(crate) fn key_in(header: &str) -> Option<&str> {
    let (scheme, key) = header.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && is_key(key)).then_some(key)
}

fn is_key(text: &str) -> bool {
    text.strip_prefix("aeg-").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|it| it.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guesses;
    use aegis_store::{Keys, Memory};

    fn ada() -> Principal {
        Principal { id: "ada".into(), teams: vec![], roles: vec![] }
    }

    async fn with_a_key() -> (Auth, String, String) {
        let store = Arc::new(Memory::new());
        let (key, kept) = new_key(ada());
        store.key_create(&kept).await.unwrap();
        (Auth::new(store, true), key, kept.id)
    }

    fn bearer(header: &str) -> Credentials<'_> {
        Credentials { authorization: Some(header), ..Credentials::default() }
    }

    #[tokio::test]
    async fn a_key_is_its_principal_and_anything_else_is_nobody() {
        let (auth, key, _) = with_a_key().await;
        for good in [format!("Bearer {key}"), format!("bearer  {key}")] {
            assert_eq!(auth.caller(bearer(&good)).await.unwrap(), ada());
        }
        for bad in [key.clone(), format!("Basic {key}"), "Bearer".into(), "Bearer aeg-12".into(), format!("Bearer {key}0")] {
            assert!(matches!(auth.caller(bearer(&bad)).await, Err(AuthError::Shape)), "{bad}");
        }
        let other = format!("Bearer aeg-{}", "0".repeat(64));
        assert!(matches!(auth.caller(bearer(&other)).await, Err(AuthError::WrongKey)));
        assert!(matches!(auth.caller(Credentials::default()).await, Err(AuthError::NoKey)));
    }

    #[tokio::test]
    async fn without_authentication_everyone_is_anonymous() {
        let auth = Auth::new(Arc::new(Memory::new()), false);
        assert_eq!(auth.caller(bearer("whatever")).await.unwrap(), Principal::anonymous());
    }

    #[tokio::test]
    async fn a_session_counts_for_the_api_only_with_its_token() {
        let (auth, key, _) = with_a_key().await;
        let opened = auth.log_in(&key, None).await.unwrap();
        let token = auth.session(&opened.cookie).await.unwrap().expect("it was opened").token;
        let with = |token| Credentials { cookie: Some(&opened.cookie), token, ..Credentials::default() };
        assert_eq!(auth.caller(with(Some(token.as_str()))).await.unwrap(), ada());
        for wrong in [None, Some(""), Some("x"), Some(&token[1..])] {
            assert!(matches!(auth.caller(with(wrong)).await, Err(AuthError::Token)), "{wrong:?}");
        }
        auth.log_out(&opened.cookie).await.unwrap();
        assert!(matches!(auth.caller(with(Some(token.as_str()))).await, Err(AuthError::NoKey)));
    }

    #[tokio::test]
    async fn a_revoked_key_opens_nothing_and_ends_its_sessions() {
        let (auth, key, id) = with_a_key().await;
        let opened = auth.log_in(&key, None).await.unwrap();
        assert!(auth.store.key_revoke(&id, clock::now()).await.unwrap());
        assert!(auth.session(&opened.cookie).await.unwrap().is_none());
        assert!(matches!(auth.log_in(&key, None).await, Err(AuthError::WrongKey)));
        assert!(matches!(auth.caller(bearer(&format!("Bearer {key}"))).await, Err(AuthError::WrongKey)));
    }

    #[tokio::test]
    async fn after_many_wrong_keys_an_address_is_not_heard_but_keys_known_there_go_on_working() {
        let (auth, key, id) = with_a_key().await;
        let (here, elsewhere) = ("192.0.2.1".parse().ok(), "192.0.2.2".parse().ok());
        let call = async |key: &str, from| {
            let header = format!("Bearer {key}");
            auth.caller(Credentials { authorization: Some(&header), from, ..Credentials::default() }).await
        };
        let (later, kept) = new_key(ada());
        auth.store.key_create(&kept).await.unwrap();
        assert!(call(&key, here).await.is_ok());
        for at in 0..guesses::AT_ONCE {
            assert!(matches!(call("nonsense", here).await, Err(AuthError::Shape)), "what cannot be a key does not count");
            assert!(matches!(call(&format!("aeg-{at:064x}"), here).await, Err(AuthError::WrongKey)));
        }
        for wrong in [&format!("aeg-{:064x}", 99), &later] {
            assert!(matches!(call(wrong, here).await, Err(AuthError::TooMany(_))), "{wrong}: nobody learns whether it is right");
            assert!(matches!(auth.log_in(wrong, here).await, Err(AuthError::TooMany(_))));
        }
        auth.known().values_mut().for_each(|it| it.1 -= KNOWN_FOR);
        assert!(call(&key, here).await.is_ok() && auth.log_in(&key, here).await.is_ok() && call(&later, elsewhere).await.is_ok());
        auth.store.key_revoke(&id, clock::now()).await.unwrap();
        auth.known().values_mut().for_each(|it| it.1 -= KNOWN_FOR);
        assert!(matches!(call(&key, here).await, Err(AuthError::TooMany(_))), "one that was right is a wrong one now");
        assert_eq!(auth.known().len(), 1);
    }

    #[tokio::test]
    async fn a_session_ends_by_itself() {
        let (auth, _, id) = with_a_key().await;
        for (expires_at, lives) in [(clock::now().after(60_000), true), (clock::now(), false)] {
            let session = Session { hash: Digest::of(&[u8::from(lives)]), key: id.clone(), token: "t".into(), expires_at };
            auth.store.session_create(&session, Time(0)).await.unwrap();
            assert_eq!(auth.session(if lives { "\u{1}" } else { "\0" }).await.unwrap().is_some(), lives);
        }
    }
}
