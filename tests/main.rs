//! Black-box tests: the real `aegis` binary, real guards, a real SQLite file, a real Postgres, a real browser. Nothing in here knows a crate of
//! the host but the kit, which builds guards.

mod approvals;
mod author;
mod backup;
mod changes;
mod cli;
mod configuration;
mod crash;
mod database;
mod deploy;
mod deployed;
mod durability;
mod guards;
mod host;
mod hostile;
mod house;
mod image;
mod input;
mod languages;
mod ledger;
mod machine;
mod page;
mod provider;
mod retention;
mod shared;
mod siege;
mod systemd;
mod walkthrough;
mod wire;
