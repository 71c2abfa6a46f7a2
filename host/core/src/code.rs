//! The codes that errors carry. A code never changes its meaning, and has one page: what, why, fix.

/// One kind of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code {
    /// `AEG-<AREA>-<NNN>`.
    pub id: &'static str,
    /// What happened, in a few words.
    pub what: &'static str,
    /// Why it is so.
    pub why: &'static str,
    /// What to do.
    pub fix: &'static str,
}

macro_rules! codes {
    ($($name:ident $id:literal $what:literal $why:literal $fix:literal;)*) => {
        impl Code {
            $(#[doc = $what] pub const $name: Code = Code { id: $id, what: $what, why: $why, fix: $fix };)*

            /// All there are, in order.
            pub const ALL: &[Code] = &[$(Code::$name),*];
        }
    };
}

codes! {
    AUTH_KEY "AEG-AUTH-001" "no key, or a wrong one" "This server knows its callers by their keys." "Send `Authorization: Bearer aeg-…`; the command line takes it from `AEGIS_API_KEY`. `aegis keys create` makes a key.";
    AUTH_ROLE "AEG-AUTH-002" "the role does not allow it" "The key is valid, but has no role that may do this." "Use a key with the role that is named, or have one created: `aegis keys create --principal P --role …`.";
    AUTH_APPROVER "AEG-AUTH-003" "not an approver of this run" "A list of approvers (of the configuration, of the request or of the guard) does not name the caller, or the creator may not decide." "Have one of those decide whom `approval.approvers` of the run names, and where `self_approval` is off somebody else than the creator. A server without authentication knows everyone as `anonymous` only: create keys with `aegis keys create`, then use `aegis serve`.";
    AUTH_ORIGIN "AEG-AUTH-004" "request from another web page" "A page of another origin must not act through somebody's browser." "Use a bearer key, or the server's own address; set `server.public_url` or `server.hosts` when it is reached by another name.";
    AUTH_NO_SUCH_KEY "AEG-AUTH-005" "there is no such key" "No key has this id, or it was revoked already." "`aegis keys list` shows them.";
    AUTH_GUESSES "AEG-AUTH-006" "too many wrong keys" "From one address, 20 wrong keys may come at once and one every 3 seconds after that, so that nobody tries key after key. The address is that of the connection: behind a proxy all callers share one, and `X-Forwarded-For` is not trusted, because any client can write it. Keys that were right since the server started go on working there." "Use the right key after the time in `Retry-After`; find out who sends wrong ones.";
    CFG_INVALID "AEG-CFG-001" "the configuration is wrong" "Something in it cannot be read, or does not fit together." "Each mistake is listed with its line and what to write instead; `aegis config check` reads it without starting.";
    CFG_SECRET "AEG-CFG-002" "a secret is missing" "A `secret://` that the configuration names cannot be resolved." "Set the environment variable or create the file that it names.";
    CFG_UNSUPPORTED "AEG-CFG-003" "not in this version" "The configuration asks for something that this version does not have." "Remove it, or use a version that has it.";
    CLI_SERVER "AEG-CLI-001" "no answer from the server" "The command talks to a server, and nothing answers there, or something that is no Aegis." "Start one (`aegis dev`, `aegis serve`), or set `AEGIS_SERVER_URL` to where it runs.";
    CLI_FILE "AEG-CLI-002" "a file cannot be read or written" "It is not there, is too large, holds something else, or belongs to somebody else." "Check the path and its rights.";
    CLI_INPUT "AEG-CLI-003" "not an input for this guard" "It cannot be read as one, or the guard is never asked at that stage." "Write a text, or JSON like the body of `POST /v1/runs`; `aegis guard inspect FILE` says at which stages a guard judges.";
    CLI_NEW "AEG-CLI-006" "a guard cannot be begun" "Its name, its language or its folder will not do; nothing was written." "Write what the message asks for.";
    CLI_CASES "AEG-CLI-007" "cases do not hold" "The guard says something else than its cases expect, or the cases cannot be read." "Mend the guard or the cases; `aegis guard test --update` writes down what the guard says now.";
    CLI_EXPECT "AEG-CLI-004" "another verdict than expected" "The guard judged, and `--expect` names another verdict." "Mend the guard, its settings or the expectation; the verdict and its findings are on stdout.";
    CLI_DECLINED "AEG-CLI-005" "not confirmed" "On a terminal an approval is asked for once more, and the answer was not yes. Nothing has changed." "Answer `y`, or say `--yes`.";
    GRD_LOAD "AEG-GRD-001" "a guard cannot be loaded" "The file is not there, cannot be read, is too large, or is no WebAssembly component." "Check the path; `aegis guard inspect FILE` says what it is.";
    GRD_CONTRACT "AEG-GRD-002" "a guard does not keep to the contract" "The component does not export `aegis:guard/scanner@0.1.x`, or says something that the contract does not allow." "Build it against the WIT in `wit/`, for example with `aegis guard build`.";
    GRD_IMPORT "AEG-GRD-003" "a guard asks for something that is not granted" "Guards run in a sandbox with nothing in it." "Build the guard without those imports.";
    GRD_SETTINGS "AEG-GRD-004" "a guard refuses its settings" "They do not fit the guard's schema, or its `configure` refused them." "Write what the message asks for; `aegis guard inspect FILE` prints the schema.";
    GRD_DIGEST "AEG-GRD-005" "a guard is not the one that was pinned" "The file's SHA-256 is not the `sha256` of the configuration." "Restore the file, or pin the new one after you have looked at it.";
    GRD_DECLINED "AEG-GRD-006" "a guard could not judge" "It said so itself, or had to be handed more than its limit. What it has not judged does not pass." "See the message; where the input is too large, send less, or raise `limits.input`.";
    GRD_TRAP "AEG-GRD-007" "a guard trapped" "It stopped in the middle. What it has not judged does not pass." "Run it by hand: `aegis guard run FILE --text …`.";
    GRD_TIMEOUT "AEG-GRD-008" "a guard ran into its time limit" "What it has not judged does not pass." "Make the guard faster, or raise `limits.time`.";
    GRD_MEMORY "AEG-GRD-009" "a guard ran into its memory limit" "What it has not judged does not pass." "Make the guard smaller, or raise `limits.memory`.";
    GRD_OUTPUT "AEG-GRD-010" "a guard handed back too much" "What it has not judged does not pass." "Report less: findings, edits and texts count.";
    GRD_UNKNOWN "AEG-GRD-011" "there is no such guard" "No guard of that name is configured." "`GET /v1/guards` lists those there are.";
    GRD_BUILD "AEG-GRD-012" "a guard cannot be built" "What stands there is no guard, does not compile, or a tool is missing." "See the message; what the language's own tools say stands above it.";
    PRV_FAILED "AEG-PRV-001" "the provider failed" "It answered with an error, or not at all, and no attempt is left." "See the message; the run's events show every attempt.";
    PRV_UNKNOWN "AEG-PRV-002" "outcome unknown" "The host stopped while the provider was asked, and the route does not allow to ask again." "Find out at the provider what became of it, and send a new run. `on_unknown: retry` allows to ask again.";
    PRV_MISSING "AEG-PRV-003" "the provider is not configured any more" "A run keeps the plan with which it began, and that names a provider that is gone, or is another one by now: of another kind, or at another address." "Configure the provider again as it was before such runs go on, or send a new run.";
    RUN_UNKNOWN "AEG-RUN-001" "there is no such run" "No run has this id, retention has removed it, or you may not see it." "Check the id; `GET /v1/runs` lists yours.";
    RUN_BODY "AEG-RUN-002" "the request is wrong" "Its body or a parameter cannot be read." "Write what the message asks for; `/openapi.json` describes every request.";
    RUN_ROUTE "AEG-RUN-003" "there is no such route" "No route of that name is configured." "Use one of the routes that the message names, or none for `default`.";
    RUN_CONFLICT "AEG-RUN-004" "too late, or meant for something else" "The run is not paused, asks something else by now, or was decided already." "Fetch the run and look at its `status` and `approval`.";
    RUN_LARGE "AEG-RUN-005" "the request is too large" "Requests are limited, so that nobody can fill the memory." "Send less, or raise `server.body_limit`.";
    RUN_APPROVERS "AEG-RUN-006" "the approvers can never agree" "More people are required than the lists of approvers leave." "Name more approvers, or require fewer.";
    RUN_GUARD_GONE "AEG-RUN-007" "a guard of this run is gone" "A run keeps the plan with which it began, and the store has not kept a guard that it names, or that guard cannot be loaded any more." "Configure the guard again as it was before such runs go on, or send a new run; the log says what was wrong.";
    RUN_BLOCKED "AEG-RUN-008" "a guard blocked the run" "A guard has judged that this must not pass." "See the guard's reason; change what you ask for, or the guard's settings.";
    RUN_DENIED "AEG-RUN-009" "the run was denied" "An approver said no, or nobody decided before the question expired." "See the comment; a new run asks anew.";
    RUN_KEY "AEG-RUN-010" "this Idempotency-Key came with another request" "A key names one request: the same key again means the same request again, and this one asks for something else." "Send the request as it was, or with a key of its own.";
    SRV_NO_AUTH "AEG-SRV-001" "serve refused: no authentication" "Without authentication everybody may do everything." "Set `auth: {type: api_key}` and create a key with `aegis keys create`, or say `--no-auth`; `aegis dev` is for trying.";
    SRV_BUSY "AEG-SRV-002" "the server is busy or stopping" "No place became free in time, or it is shutting down." "Try again after the time in `Retry-After`.";
    SRV_NOT_FOUND "AEG-SRV-003" "there is nothing at this address" "No resource has this path, or it does not take this method." "`/openapi.json` lists every path and method.";
    SRV_INTERNAL "AEG-SRV-004" "something went wrong inside" "This is a fault in Aegis." "Report it with the request id; the log has more.";
    SRV_LISTEN "AEG-SRV-005" "cannot listen" "The address is in use, not ours, or needs more rights." "Choose another with `--listen`, or stop what listens there.";
    STO_FAILED "AEG-STO-001" "the store failed" "It could not be read or written, for example because the disk is full, or Postgres has refused it. Nothing was half done." "See the message; make room or mend the disk, this machine's for a file, the database's for Postgres, whose log says more, and send the request again.";
    STO_LOCKED "AEG-STO-002" "another server has this database" "One server per file: two would hand the same run to the provider twice." "Stop the other one, or give this one a file of its own.";
    STO_NEWER "AEG-STO-003" "the database is newer than this version" "A later version of Aegis wrote it." "Use that version, or a newer one.";
    STO_DAMAGED "AEG-STO-004" "the database is damaged" "It is not a database of Aegis, or part of it cannot be read. It was left as it is." "Keep a copy of the file, and restore a backup; or give `persistence.path` another one.";
    STO_PLACE "AEG-STO-005" "the database cannot be opened there" "The file or its folder is not there, is read-only, or belongs to somebody else. Or Postgres answers at `persistence.url`, and does not let this server in: it does not know the user or the password, has no database of that name, lets the user make or write nothing in it, is too old, or shows a certificate that nobody here vouches for." "For a file, give whoever runs Aegis the right to write it and its folder, or set `persistence.path` to a place where it may. For Postgres, compare the user, the password and the name in the URL with what it has; it needs a user and a database that belongs to it: `CREATE ROLE aegis LOGIN PASSWORD '…'; CREATE DATABASE aegis OWNER aegis;`, or where both are there, `ALTER DATABASE aegis OWNER TO aegis`. Who signed its certificate is named by `sslrootcert=FILE` in the URL, or by `SSL_CERT_FILE`.";
    STO_BUSY "AEG-STO-006" "another program has locked the database" "It holds a lock for longer than this waits. Nothing was half done." "End that program (`fuser FILE` finds it) and send the request again.";
    STO_OLDER "AEG-STO-008" "the database is of an older version" "`aegis db migrate --check` was asked whether there is something to do, and there is. Nothing has changed." "For a file, make a backup (`aegis db backup FILE`), stop the server, and run `aegis db migrate`, or start the new version, which does the same. For Postgres, make a backup (`pg_dump`), and run `aegis db migrate` while servers of the version before go on.";
    STO_LEDGER "AEG-STO-007" "the ledger is broken" "A line, a run or the end of it is not what it was, or a guard says something else than it is said to have said." "The message says where. Compare it with an earlier export or a backup; keep the file.";
    STO_AWAY "AEG-STO-009" "the database cannot be reached" "It is down, does not answer, is about to fail over, or the network is. Aegis tries again by itself, for 20 seconds before it says so. It is a Postgres: a file cannot be away." "Look whether the database runs, takes connections at the host and port in `persistence.url`, and is reached from this machine (name, firewall). Nothing has to be started again: Aegis goes on once it is back. Send a request again with its `Idempotency-Key`: what was carried out before is not carried out twice.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test writes the page that people read")]
    fn every_code_is_there_once_and_has_its_page() {
        let ids: BTreeSet<&str> = Code::ALL.iter().map(|it| it.id).collect();
        assert_eq!(ids.len(), Code::ALL.len());
        let page = |it: &Code| format!("## {}: {}\n\n{}\n\n**What to do.** {}\n", it.id, it.what, it.why, it.fix);
        let mut sorted = Code::ALL.to_vec();
        sorted.sort();
        let pages: Vec<String> = sorted.iter().map(page).collect();
        let pages = format!("# Codes\n\nEvery error names one of these; a code never changes its meaning.\n\n{}", pages.join("\n"));
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/codes.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &pages).expect("docs/codes.md is writable");
        }
        let there = std::fs::read_to_string(path).unwrap_or_default();
        assert!(there == pages, "docs/codes.md is not what code.rs says: run the test with UPDATE_DOCS=1");
    }
}
