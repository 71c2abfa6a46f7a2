//! What the URL of a database says: which nodes there are, of which one takes writes, and whom to believe that they are it.

use super::connect::{ANSWER, CONNECT};
use crate::StoreError;
use percent_encoding::percent_decode_str;
use std::path::PathBuf;
use std::str::FromStr;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, TargetSessionAttrs};

const HOW: &str = "write postgres://USER:PASSWORD@HOST:PORT/NAME";
/// What may stand after the `?`, and in the form without one.
const OPTIONS: &str = "user, password, dbname, host, hostaddr, port, sslmode, sslrootcert, sslnegotiation, channel_binding, connect_timeout, \
    tcp_user_timeout, keepalives, keepalives_idle, keepalives_interval, keepalives_retries, application_name, options, target_session_attrs, \
    load_balance_hosts";

/// All of it.
#[derive(Debug)]
pub(super) struct Address {
    /// One at least.
    pub(super) nodes: Vec<Node>,
    /// Whose certificates count; nothing: the system decides.
    pub(super) authority: Option<PathBuf>,
}

/// One server of a cluster, or the only one.
#[derive(Debug)]
pub(super) struct Node {
    /// For people.
    pub(super) name: String,
    /// The way to it alone.
    pub(super) config: Config,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Address, StoreError> {
        // What follows the first is taken for a host, and would be shown as one.
        if is_url(url) && url.split('?').next().is_some_and(|it| it.matches('@').count() > 1) {
            return Err(StoreError::Place(format!(
                "the database's URL cannot be read: it has more than one @; write %40 for those that separate nothing ({HOW})"
            )));
        }
        let (text, authority) = translate(url);
        let config = Config::from_str(&text).map_err(|error| unreadable(&error))?;
        let (hosts, addresses, ports) = (config.get_hosts().len(), config.get_hostaddrs().len(), config.get_ports().len());
        let count = hosts.max(addresses);
        if count == 0 {
            return Err(StoreError::Place(format!("the database's URL names no host: {HOW}")));
        }
        if ![0, 1, count].contains(&ports) || (addresses > 0 && ![0, addresses].contains(&hosts)) {
            return Err(StoreError::Place("the database's URL has not as many ports or addresses as hosts: write one for each".into()));
        }
        Ok(Address { nodes: (0..count).map(|n| Node::of(&config, n, count > 1)).collect(), authority })
    }
}

/// Nothing is shown of what is written there but the names of settings that there are: the others may be the rest of a password with a `&` in it.
fn unreadable(error: &tokio_postgres::Error) -> StoreError {
    let why = match std::error::Error::source(error).map(ToString::to_string) {
        Some(it) if it.starts_with("invalid value for option") => format!(": {it}"),
        Some(it) if it.starts_with("unknown option") => format!(": it has an option that there is not; there are {OPTIONS}"),
        _ => String::new(),
    };
    StoreError::Place(format!("the database's URL cannot be read{why}: {HOW}"))
}

fn is_url(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

impl Node {
    fn of(all: &Config, n: usize, one_of_many: bool) -> Node {
        let mut config = Config::new();
        let port = all.get_ports().get(n).or(all.get_ports().first()).copied().unwrap_or(5432);
        let mut name = format!("port {port}");
        config.port(port);
        if let Some(address) = all.get_hostaddrs().get(n) {
            config.hostaddr(*address);
            name = format!("{address}:{port}");
        }
        match all.get_hosts().get(n) {
            Some(Host::Tcp(host)) => {
                config.host(host);
                name = format!("{host}:{port}");
            }
            Some(Host::Unix(path)) => {
                config.host_path(path);
                name = format!("{}:{port}", path.display());
            }
            None => {}
        }
        who(all, &mut config);
        how(all, &mut config);
        // Of several, one takes writes, and Aegis does nothing else.
        if one_of_many && config.get_target_session_attrs() == TargetSessionAttrs::Any {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Node { name, config }
    }
}

fn who(all: &Config, one: &mut Config) {
    one.application_name(all.get_application_name().unwrap_or("aegis"));
    all.get_user().map(|it| one.user(it));
    all.get_password().map(|it| one.password(it));
    all.get_dbname().map(|it| one.dbname(it));
    all.get_options().map(|it| one.options(it));
}

fn how(all: &Config, one: &mut Config) {
    one.ssl_mode(all.get_ssl_mode()).ssl_negotiation(all.get_ssl_negotiation()).channel_binding(all.get_channel_binding());
    one.target_session_attrs(all.get_target_session_attrs()).load_balance_hosts(all.get_load_balance_hosts());
    one.connect_timeout(all.get_connect_timeout().copied().unwrap_or(CONNECT));
    one.tcp_user_timeout(all.get_tcp_user_timeout().copied().unwrap_or(ANSWER));
    one.keepalives(all.get_keepalives()).keepalives_idle(all.get_keepalives_idle());
    all.get_keepalives_interval().map(|it| one.keepalives_interval(it));
    all.get_keepalives_retries().map(|it| one.keepalives_retries(it));
}

/// What others call `verify-full` holds here whenever TLS is spoken: the client that is used knows neither that word nor `sslrootcert`. Whoever names
/// an authority wants TLS.
fn translate(url: &str) -> (String, Option<PathBuf>) {
    let (mut authority, mut mode) = (None, false);
    let mut known = |word: &str| -> Option<String> {
        mode |= word.starts_with("sslmode=");
        match word.split_once('=') {
            Some(("sslmode", "verify-ca" | "verify-full")) => Some("sslmode=require".into()),
            Some(("sslrootcert", file)) => {
                authority = Some(file.to_owned());
                None
            }
            _ => Some(word.into()),
        }
    };
    if !is_url(url) {
        let mut text: Vec<String> = words(url).filter_map(known).collect();
        text.extend((authority.is_some() && !mode).then(|| "sslmode=require".into()));
        return (text.join(" "), authority.map(|it| it.trim_matches('\'').into()));
    }
    // A password may have a question mark in it.
    let place = url.find('@').unwrap_or_default();
    let Some(query) = url[place..].find('?').map(|it| place + it + 1) else { return (url.into(), None) };
    let mut settings: Vec<String> = url[query..].split('&').filter_map(&mut known).collect();
    settings.extend((authority.is_some() && !mode).then(|| "sslmode=require".into()));
    let settings = settings.join("&");
    let file = authority.map(|it| percent_decode_str(&it).decode_utf8_lossy().into_owned().into());
    (format!("{}{settings}", &url[..query]), file)
}

/// Settings of the form `name=value`, where values in quotes may have spaces in them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |it: char| {
        let plain = !escaped;
        escaped = it == '\\' && plain;
        quoted ^= it == '\'' && plain;
        it.is_whitespace() && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its nodes, whether TLS is insisted on, whether writes are, and whose certificates count.
    fn read(url: &str) -> String {
        let address = Address::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        let first = &address.nodes[0].config;
        let names: Vec<&str> = address.nodes.iter().map(|it| it.name.as_str()).collect();
        let authority = address.authority.map(|it| it.display().to_string()).unwrap_or_default();
        format!("{} {:?} {:?} {authority}", names.join(","), first.get_ssl_mode(), first.get_target_session_attrs())
    }

    #[test]
    fn a_url_names_one_node_or_several() {
        for (url, expected) in [
            ("postgres://ada:pw@db/aegis", "db:5432 Prefer Any "),
            ("postgresql://db:6000/aegis?sslmode=disable", "db:6000 Disable Any "),
            ("postgres://a:1,b:2,[::1]:3/aegis?target_session_attrs=read-write", "a:1,b:2,::1:3 Prefer ReadWrite "),
            ("postgres://a,b/aegis", "a:5432,b:5432 Prefer ReadWrite "),
            ("host=a,b,c port=7000 target_session_attrs=any", "a:7000,b:7000,c:7000 Prefer ReadWrite "),
            ("host=a,b hostaddr=127.0.0.1,127.0.0.2", "a:5432,b:5432 Prefer ReadWrite "),
            ("hostaddr=127.0.0.1", "127.0.0.1:5432 Prefer Any "),
            ("host=/run/postgresql dbname=aegis", "/run/postgresql:5432 Prefer Any "),
            ("postgres://ada:p?w@db/aegis?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem", "db:5432 Require Any /etc/ca.pem"),
            ("postgres://db/aegis?sslrootcert=/etc/ca.pem", "db:5432 Require Any /etc/ca.pem"),
            ("host=db sslrootcert=/etc/ca.pem", "db:5432 Require Any /etc/ca.pem"),
            ("postgres://ada@db/aegis?sslmode=prefer&sslrootcert=/etc/ca@home.pem", "db:5432 Prefer Any /etc/ca@home.pem"),
            ("postgres://db/aegis?sslrootcert=/etc/ca.pem&sslmode=verify-ca", "db:5432 Require Any /etc/ca.pem"),
            (
                "host=db password='it\\'s sslmode=verify-ca' sslrootcert='/a b/ca.pem' sslmode=verify-full",
                "db:5432 Require Any /a b/ca.pem",
            ),
        ] {
            assert_eq!(read(url), expected, "{url}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_shown() {
        for (url, expected) in [
            ("postgres://ada:hunter2@secret@db/aegis", "write %40"),
            ("postgres://ada:secret/b@secret@db/aegis", "write %40"),
            ("postgres://ada:secret@db/aegis?secret&x=1", HOW),
            ("postgres://db/aegis?secret=1", "there are user, password"),
            ("host=db secret=1", "there are user, password"),
            ("host=db port=secret", "invalid value for option `port`"),
            ("host=db password=a secret", HOW),
        ] {
            let said = Address::parse(url).expect_err("it cannot be read").to_string();
            assert!(said.contains(expected) && !said.contains("secret") && !said.contains("hunter2"), "{url}: {said}");
        }
    }

    #[test]
    fn all_that_is_said_of_one_node_is_said_of_each() {
        let url = "postgres://ada:p%20w@a,b/aegis?options=-cgeqo%3Doff&application_name=x&connect_timeout=3&keepalives_idle=9&channel_binding=disable";
        let nodes = Address::parse(url).expect("a URL").nodes;
        let mut whole = Config::from_str(url).expect("a URL");
        whole.tcp_user_timeout(ANSWER).target_session_attrs(TargetSessionAttrs::ReadWrite);
        let without_place = |it: &Config| {
            let text = format!("{it:?}");
            let (before, after) = (text.find("host:").expect("it is there"), text.find("connect_timeout").expect("it is there"));
            format!("{}{}", &text[..before], &text[after..])
        };
        for node in nodes {
            assert_eq!(without_place(&node.config), without_place(&whole));
            assert_eq!(node.config.get_password(), Some("p w".as_bytes()));
        }
    }
}
