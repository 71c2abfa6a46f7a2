//! `aegis keys`: who may call. Works on the store itself, also while a server runs on it; the server notices within seconds.

use crate::failure::Failure;
use crate::store::Of;
use crate::terminal::{Look, line, moment, print, print_json, table, tell};
use aegis_core::{Approver, Code, Principal, PrincipalRole};
use aegis_server::auth::{new_key, new_ledger_key};
use aegis_server::config::check_approver;
use aegis_server::{now, rfc3339};
use aegis_store::{CommitError, Key, LedgerKey};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// For whoever has none.
pub(crate) const HOW_TO_CREATE: &str = "aegis keys create --principal NAME";

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Create a key, and print it: it is not kept, and cannot be printed again
    Create(Create),
    /// List the keys, without the keys themselves
    List(List),
    /// Make a key invalid
    Revoke(Revoke),
    /// Make the key that signs the ledger's exports, in a file of its own, and print its public part; of a file that is there, print that
    Ledger(Ledger),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Who calls with it, by the id that lists of approvers use
    #[arg(long, value_name = "P", value_parser = principal)]
    principal: String,
    /// A team that it is in; may be repeated
    #[arg(long = "team", value_name = "T", value_parser = team)]
    teams: Vec<String>,
    /// What it may do: user, approver or admin; may be repeated
    #[arg(long = "role", value_name = "R", default_values = ["user", "approver"])]
    roles: Vec<PrincipalRole>,
    #[command(flatten)]
    of: Of,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    of: Of,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The key's id, as `keys list` shows it
    id: String,
    #[command(flatten)]
    of: Of,
}

#[derive(Debug, Args)]
pub(crate) struct Ledger {
    /// The key's file: not beside the database, and in no backup of it
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Keys {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Keys::Create(create) => create.run().await,
            Keys::List(list) => list.run().await,
            Keys::Revoke(revoke) => revoke.run().await,
            Keys::Ledger(ledger) => ledger.run(),
        }
    }
}

impl Create {
    async fn run(self) -> Result<(), Failure> {
        let Create { principal: id, teams, mut roles, of } = self;
        roles.sort();
        roles.dedup();
        let (key, kept) = new_key(Principal { id, teams, roles });
        let who = names(&kept.principal);
        let conflict = |error| match error {
            CommitError::Conflict | CommitError::Earlier(_) => Failure::new(Code::STO_FAILED, "the key was not kept: try again"),
            CommitError::Store(error) => error.into(),
        };
        of.store().await?.key_create(&kept).await.map_err(conflict)?;
        if of.json {
            print_json(&json!({"id": kept.id, "key": key, "principal": kept.principal, "created_at": rfc3339(kept.created_at)}))?;
        } else {
            print(&key)?;
        }
        tell(&line(&format!(
            "key {} for {who}; it is not shown again. Use it as AEGIS_API_KEY, or send Authorization: Bearer KEY",
            kept.id
        )));
        Ok(())
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let keys = self.of.store().await?.key_list().await?;
        if self.of.json {
            return print_json(&json!({"data": keys.iter().map(as_json).collect::<Vec<_>>(), "next": null}));
        }
        if keys.is_empty() {
            tell(&format!("no keys: {HOW_TO_CREATE}"));
            return Ok(());
        }
        print(&table(
            &["id", "principal", "teams", "roles", "created", "revoked"],
            &keys.iter().map(row).collect::<Vec<_>>(),
            Look::of_stdout(),
        ))
    }
}

impl Revoke {
    async fn run(self) -> Result<(), Failure> {
        if !self.of.store().await?.key_revoke(&self.id, now()).await? {
            return Err(Failure::new(Code::AUTH_NO_SUCH_KEY, format!("there is no valid key {:?}", self.id)));
        }
        if self.of.json { print_json(&json!({"id": self.id, "revoked": true})) } else { print(&format!("revoked {}", line(&self.id))) }
    }
}

impl Ledger {
    fn run(self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::new(Code::CLI_FILE, format!("{}: {error}", self.file.display()));
        let new = new_ledger_key();
        let made = create(&self.file).and_then(|mut file| writeln!(file, "{new}").and_then(|()| file.sync_all()));
        let text = match made {
            Ok(()) => new,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => std::fs::read_to_string(&self.file).map_err(failed)?,
            Err(error) => return Err(failed(error)),
        };
        let wrong = |error| Failure::new(Code::CLI_FILE, format!("{}: {error}", self.file.display()));
        let public = text.parse::<LedgerKey>().map_err(wrong)?.public();
        if self.json { print_json(&json!({"public": public})) } else { print(&public.to_string()) }?;
        tell(
            "keep this public part where the server cannot write, for `aegis ledger verify --key`; the configuration names the file as `ledger: {key: secret://file/FILE}`",
        );
        Ok(())
    }
}

/// A new file that only its owner may read.
fn create(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A list of approvers has to be able to name it.
fn principal(text: &str) -> Result<String, String> {
    match check_approver(text)? {
        Approver::Principal(id) => Ok(id),
        _ => Err("in a list of approvers this would name a team or a role: write another name".into()),
    }
}

fn team(text: &str) -> Result<String, String> {
    match format!("team:{text}").parse() {
        Ok(Approver::Team(team)) if !team.starts_with("team:") => Ok(team),
        Ok(_) => Err("write the team's name alone, without team: before it".into()),
        Err(error) => Err(error.to_string()),
    }
}

fn names(who: &Principal) -> String {
    let more: Vec<String> = who.names().skip(1).map(|it| it.to_string()).collect();
    format!("{} ({})", who.id, more.join(", "))
}

fn as_json(key: &Key) -> Value {
    json!({
        "id": key.id,
        "principal": key.principal,
        "created_at": rfc3339(key.created_at),
        "revoked_at": key.revoked_at.map(rfc3339),
    })
}

fn row(key: &Key) -> Vec<String> {
    let roles: Vec<&str> = key.principal.roles.iter().map(|it| it.name()).collect();
    vec![
        line(&key.id),
        line(&key.principal.id),
        line(&key.principal.teams.join(", ")),
        roles.join(", "),
        moment(key.created_at),
        key.revoked_at.map(moment).unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cli;
    use clap::Parser;

    #[test]
    fn a_principal_is_one_that_lists_of_approvers_can_name() {
        assert_eq!(principal("alice"), Ok("alice".into()));
        for wrong in ["", " ", "team:risk", "role:admin", "role:boss", "teams:risk", "a\nb"] {
            assert!(principal(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(team("risk"), Ok("risk".into()));
        for wrong in ["", " ", "team:risk"] {
            assert!(team(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_new_key_may_ask_and_decide_unless_its_roles_are_named() {
        let roles = |more: &[&str]| {
            let args = [&["aegis", "keys", "create", "--principal", "p"], more].concat();
            match Cli::try_parse_from(args).unwrap().command {
                crate::Command::Keys(Keys::Create(create)) => create.roles,
                other => unreachable!("{other:?}"),
            }
        };
        assert_eq!(roles(&[]), [PrincipalRole::User, PrincipalRole::Approver]);
        assert_eq!(roles(&["--role", "admin"]), [PrincipalRole::Admin]);
        assert!(Cli::try_parse_from(["aegis", "keys", "create", "--principal", "p", "--role", "boss"]).is_err());
    }
}
