//! How bad configurations end: every mistake at once, each with its line and what to write instead, on stderr; exit 1, and nothing
//! is made or changed. A new case is a line.

use crate::host::{aegis, config, root};
use std::path::Path;
use std::process::Output;
use tempfile::TempDir;

/// What the binary says in `folder`.
fn ends(folder: &Path, args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = aegis(folder);
    command.args(args).envs(environment.iter().copied());
    crate::host::ends(command)
}

/// A folder with this configuration, a file that is no secret, a folder and an empty file.
fn folder(text: &[u8]) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("aegis.yaml"), text).expect("the folder is writable");
    std::fs::write(at("empty"), "").expect("the folder is writable");
    std::fs::write(at("binary"), b"\xff\xfe").expect("the folder is writable");
    std::fs::create_dir(at("folder")).expect("the folder is writable");
    std::fs::copy(root().join("guards/sensitive_topic.wasm"), at("guard.wasm")).expect("a copy");
    folder
}

/// Refused by `config check` and by `serve` alike: exit 1, silence on stdout, every one of `said` on stderr, no database.
fn refused(what: &str, text: &[u8], environment: &[(&str, &str)], code: &str, said: &[&str]) {
    none(faults(what, text, environment, code, said));
}

/// All of them at once: one case does not hide the next.
fn none(faults: Vec<String>) {
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn faults(what: &str, text: &[u8], environment: &[(&str, &str)], code: &str, said: &[&str]) -> Vec<String> {
    let mut faults = vec![];
    for args in [&["config", "check"][..], &["serve", "--no-auth", "--listen", "127.0.0.1:0"]] {
        let folder = folder(text);
        let output = ends(folder.path(), args, environment);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let failure = stderr.find(code).map_or("", |at| &stderr[at..]);
        let made = folder.path().join("aegis.db").exists() && !code.starts_with("AEG-GRD");
        let checks = [
            ("the exit code", output.status.code() == Some(1)),
            ("stdout", output.stdout.is_empty()),
            ("the code", failure.starts_with(&format!("{code}: "))),
            ("the fix", failure.contains("\n  fix: ")),
            ("what is said", said.iter().all(|it| failure.contains(it))),
            ("the size", stderr.len() < 10_000),
            ("a database was made", !made),
        ];
        let wrong: Vec<&str> = checks.iter().filter(|it| !it.1).map(|it| it.0).collect();
        let shown: String = stderr.chars().take(900).collect();
        faults.extend((!wrong.is_empty()).then(|| format!("{what}\n  by {args:?}, wrong: {}\n{shown}", wrong.join(", "))));
    }
    faults
}

const FAKE: &str = "providers:\n  main: {type: fake}\n";
const KEYED: &str = "providers:\n  main: {type: openai_compatible, base_url: \"http://127.0.0.1:1/v1\", model: m, api_key: \"KEY\"}\n";

#[test]
fn a_mistake_is_told_with_its_line_and_what_to_write() {
    let guard = |more: &str| format!("{FAKE}guardrails:\n  g: {{component: {more}}}\n");
    let keyed = |key: &str| KEYED.replace("KEY", key);
    let rows: Vec<(String, &str, &str)> = vec![
        // Slips of the finger.
        (format!("{FAKE}rutes: {{}}\n"), "CFG-001", "aegis.yaml:3:1: unknown key \"rutes\": did you mean \"routes\"?"),
        (format!("{FAKE}Routes: {{}}\n"), "CFG-001", "aegis.yaml:3:1: unknown key \"Routes\": did you mean \"routes\"?"),
        (
            "providers:\n  main: {type: fakee}\n".into(),
            "CFG-001",
            "aegis.yaml:2:16: \"fakee\" is not possible here: did you mean \"fake\"?",
        ),
        (
            "providers:\n  main: {tpye: fake}\n".into(),
            "CFG-001",
            "aegis.yaml:2:9: \"type\" is missing here: write type: fake or openai_compatible",
        ),
        (format!("{FAKE}pipeline: {{ingres: []}}\n"), "CFG-001", "aegis.yaml:3:12: unknown key \"ingres\": did you mean \"ingress\"?"),
        (guard("guard.wasm, on_failure: alow"), "CFG-001", "aegis.yaml:4:42: \"alow\" is not possible here: did you mean \"allow\"?"),
        (
            guard("guard.wasm, approval: {aprovers: [ada]}"),
            "CFG-001",
            "aegis.yaml:4:41: unknown key \"aprovers\": did you mean \"approvers\"?",
        ),
        // Names that are none.
        (
            format!("{FAKE}routes:\n  default: {{provider: mian}}\n"),
            "CFG-001",
            "aegis.yaml:4:23: there is no provider \"mian\": did you mean \"main\"?",
        ),
        (
            "providers: {a: {type: fake}, b: {type: fake}}\nroutes:\n  default: {}\n".into(),
            "CFG-001",
            "aegis.yaml:3:12: the route \"default\" needs a provider: write a or b",
        ),
        ("routes:\n  default: {}\n".into(), "CFG-001", "aegis.yaml:2:12: the route \"default\" needs a provider"),
        (format!("{FAKE}pipeline: {{ingress: [nobody]}}\n"), "CFG-001", "aegis.yaml:3:22: there is no guard \"nobody\""),
        (
            format!("{}routes:\n  default: {{pipeline: {{egress: [h]}}}}\n", guard("guard.wasm")),
            "CFG-001",
            "aegis.yaml:6:33: there is no guard \"h\": did you mean \"g\"?",
        ),
        // Secrets.
        (
            keyed("secret://env/NOWHERE"),
            "CFG-002",
            "aegis.yaml:2:89: the secret is missing: the environment has no variable NOWHERE: set it",
        ),
        (keyed("secret://env/EMPTY"), "CFG-002", "secret://env/EMPTY is there, but empty"),
        (keyed("secret://file/nowhere"), "CFG-002", "nowhere cannot be read: No such file or directory"),
        (keyed("secret://file/folder"), "CFG-002", "folder cannot be read: Is a directory"),
        (keyed("secret://file/empty"), "CFG-002", "secret://file/empty is there, but empty"),
        (keyed("secret://file/binary"), "CFG-002", "binary is not UTF-8: a secret is text"),
        (keyed("secret://file//dev/zero"), "CFG-002", "/dev/zero is larger than 64 KiB"),
        (keyed("secret://vault/key"), "CFG-001", "this names no secret: write secret://env/NAME or secret://file/PATH"),
        (keyed("sk-123456"), "CFG-001", "a secret is not written down here: write secret://env/NAME or secret://file/PATH"),
        // Guards' files.
        (guard("nowhere.wasm"), "CFG-001", "aegis.yaml:4:18: there is no file nowhere.wasm: write its path relative to"),
        (guard("folder"), "CFG-001", "aegis.yaml:4:18: folder is a folder: write the path of a component file"),
        (guard("folder/../folder/"), "CFG-001", "is a folder: write the path of a component file"),
        (guard("/dev/null"), "CFG-001", "aegis.yaml:4:18: /dev/null is no file: write the path of a component file"),
        (guard("\"\""), "CFG-001", "aegis.yaml:4:18: \"\" is not a file: write for example guards/pii.wasm"),
        (guard(&format!("guard.wasm, sha256: \"{}\"", "0".repeat(64))), "GRD-005", "and the configuration pins sha256:0000"),
        (
            guard(&format!("guard.wasm, sha256: {}", "0".repeat(64))),
            "CFG-001",
            "aegis.yaml:4:38: expected text, and this is a number: write it in quotes",
        ),
        (guard("guard.wasm, sha256: deadbeef"), "CFG-001", "aegis.yaml:4:38: \"deadbeef\" is not a SHA-256"),
        (guard("empty"), "GRD-001", "guard \"g\""),
        // Other types.
        ("[]".into(), "CFG-001", "aegis.yaml:1:1: expected a map, and this is a list"),
        ("hello".into(), "CFG-001", "aegis.yaml:1:1: expected a map, and this is text"),
        ("7".into(), "CFG-001", "aegis.yaml:1:1: expected a map, and this is a number"),
        ("providers: [fake]".into(), "CFG-001", "aegis.yaml:1:12: expected a map, and this is a list"),
        (format!("{FAKE}routes: default\n"), "CFG-001", "aegis.yaml:3:9: expected a map, and this is text"),
        (
            format!("{FAKE}server: {{listen: 8000}}\n"),
            "CFG-001",
            "aegis.yaml:3:18: expected text, and this is a number: write the address, too, for example 127.0.0.1:8000",
        ),
        (
            format!("{FAKE}server: {{listen: localhost:8000}}\n"),
            "CFG-001",
            "\"localhost:8000\" is not an IP address with a port: write for example 127.0.0.1:8000",
        ),
        (format!("{FAKE}server: {{listen: \"127.0.0.1:99999\"}}\n"), "CFG-001", "is not an IP address with a port"),
        (
            format!("{FAKE}routes: {{default: {{attempts: many}}}}\n"),
            "CFG-001",
            "aegis.yaml:3:30: expected a whole number, and this is text: write one from 1 to 100",
        ),
        (format!("{FAKE}routes: {{default: {{attempts: 1e999}}}}\n"), "CFG-001", "aegis.yaml:3:30: "),
        (format!("{FAKE}routes: {{default: {{attempts: .inf}}}}\n"), "CFG-001", "aegis.yaml:3:30: "),
        (format!("{FAKE}approval: {{self_approval: yes}}\n"), "CFG-001", "aegis.yaml:3:27: expected true or false"),
        (format!("{FAKE}persistence: {{type: sqlite, path: 7}}\n"), "CFG-001", "write \"7\" in quotes if that is meant"),
        // What is no YAML, or more of it than anyone writes.
        (format!("{FAKE}\tserver: {{}}\n"), "CFG-001", "aegis.yaml:3:2: this is not YAML that can be read here: tabs"),
        (format!("{FAKE}server: {{listen: "), "CFG-001", "this is not YAML that can be read here"),
        (format!("{FAKE}server: \"127.0.0.1\n"), "CFG-001", "this is not YAML that can be read here"),
        (format!("{FAKE} main: x\n  other: y\n"), "CFG-001", "this is not YAML that can be read here"),
        (format!("{FAKE}---\n{FAKE}"), "CFG-001", "this is not YAML that can be read here"),
        (format!("{FAKE}server: *nowhere\n"), "CFG-001", "this is not YAML that can be read here"),
        (format!("{FAKE}server: !!python/object:os.system x\n"), "CFG-001", "aegis.yaml:3:"),
        (format!("{FAKE}{FAKE}"), "CFG-001", "aegis.yaml:3:1: the key \"providers\" stands here a second time, after line 1: leave one"),
        ("[".repeat(10_000), "CFG-001", "this is not YAML that can be read here"),
        ("a: ".repeat(10_000), "CFG-001", "this is not YAML that can be read here"),
        (bomb(), "CFG-001", "this is not YAML that can be read here"),
        (format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(1000), "*a,".repeat(1000)), "CFG-001", "this is not YAML that can be read here"),
        ("a: &a [*a]\n".into(), "CFG-001", "aegis.yaml:1:"),
        (format!("a: [{}]\n", "x,".repeat(100_000)), "CFG-001", "this is not YAML that can be read here"),
        (format!("{FAKE}# {}\n", "x".repeat(1 << 20)), "CFG-001", "this is larger than 1 MiB: no configuration is"),
        (format!("{FAKE}{}: 1\n", "x".repeat(100_000)), "CFG-001", "aegis.yaml:3:1: "),
    ];
    let mut all = vec![];
    for (text, code, said) in rows {
        let what: String = text.chars().take(300).collect();
        all.extend(faults(&what, text.as_bytes(), &[("EMPTY", "")], &format!("AEG-{code}"), &[said]));
    }
    none(all);
}

/// Ten billion words, in nine lines.
fn bomb() -> String {
    let line = |n: usize| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(","));
    format!("a0: &a0 [lol]\n{}", (1..10).map(line).collect::<String>())
}

#[test]
fn what_is_no_text_is_told_with_the_place() {
    refused("Latin-1", b"providers: {main: {type: fake}}\n# caf\xe9\n", &[], "AEG-CFG-001", &["this is not UTF-8: byte 38 is wrong"]);
    refused("UTF-16", b"\xff\xfep\0r\0", &[], "AEG-CFG-001", &["this is not UTF-8: byte 1 is wrong"]);
    refused("NUL", b"providers: {main: {type: fake}}\n\0", &[], "AEG-CFG-001", &["not YAML that can be read here"]);
}

#[test]
fn every_mistake_is_told_at_once_and_in_order() {
    let text = "providers:
  main: {type: openai_compatible, base_url: nowhere, model: m, api_key: secret://env/NOWHERE}
guardrails:
  g: {component: gone.wasm, limits: {time: 5}}
pipeline: {ingress: [h]}
routes:
  default: {provider: mian, atempts: 3}
server: {listen: here}
";
    let said = [
        "the environment has no variable NOWHERE",
        "aegis.yaml:2:",
        "aegis.yaml:4:18",
        "aegis.yaml:4:44",
        "aegis.yaml:5:22",
        "aegis.yaml:7:23",
        "aegis.yaml:7:29",
        "aegis.yaml:8:18",
    ];
    refused("several", text.as_bytes(), &[("AEGIS__SERVER__LISTNE", "x")], "AEG-CFG-001", &said);
    let output = ends(folder(text.as_bytes()).path(), &["config", "check"], &[]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<u32> = stderr.lines().filter_map(|it| it.strip_prefix("aegis.yaml:")?.split(':').next()?.parse().ok()).collect();
    assert!(lines.len() >= 7 && lines.is_sorted(), "{stderr}");
}

#[test]
fn a_wrong_variable_is_told_by_its_name_and_its_value_is_not() {
    for (name, value, said) in [
        (
            "AEGIS__SERVER__LISTNE",
            "s3cret",
            "AEGIS__SERVER__LISTNE: this names nothing: there is no \"LISTNE\" under AEGIS__SERVER: did you mean \"LISTEN\"?",
        ),
        ("AEGIS__SERVER__BODY_LIMIT", "{", "AEGIS__SERVER__BODY_LIMIT: its value is not YAML"),
        ("AEGIS__SERVER__MAX_CONNECTIONS", "-1", "AEGIS__SERVER__MAX_CONNECTIONS: -1 is not possible here: write a whole number from 1"),
        ("AEGIS__AUTH__TYPE", "keys", "AEGIS__AUTH__TYPE: \"keys\" is not possible here: write api_key or none"),
    ] {
        refused(name, FAKE.as_bytes(), &[(name, value)], "AEG-CFG-001", &[said]);
    }
}

#[test]
fn a_file_that_is_not_there_is_told_with_what_to_do() {
    for (named, said) in [
        ("nowhere.yaml", "nowhere.yaml: there is no such file: write one, name another with --config, or try `aegis dev`"),
        ("folder", "folder: this is a folder: name the file in it"),
        ("empty/aegis.yaml", "cannot be read"),
        ("/dev/zero", "larger than 1 MiB"),
    ] {
        let folder = folder(FAKE.as_bytes());
        for args in
            [&["config", "check", "--config", named][..], &["config", "show", "--config", named], &["keys", "list", "--config", named]]
        {
            let output = ends(folder.path(), args, &[]);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{args:?}: {stderr}");
            assert!(stderr.starts_with("AEG-CFG-001: ") && stderr.contains(said), "{args:?}: {stderr}");
        }
    }
}

#[test]
fn wrong_usage_is_told_on_stderr_with_exit_2() {
    for args in [
        &["config", "chek"][..],
        &["config"],
        &["serve", "--listen", "here"],
        &["serve", "--guard", "nonsense"],
        &["serve", "--config"],
        &["keys", "create"],
        &["keys", "create", "--principal", "ada", "--role", "boss"],
        &["runs", "create"],
        &["nonsense"],
        &[],
    ] {
        let output = ends(folder(FAKE.as_bytes()).path(), args, &[]);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]), "{args:?}: {output:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn an_empty_file_says_nothing_and_is_no_mistake() {
    for text in ["", "\n", "# nothing yet\n", "{}", "null", "\u{feff}"] {
        let output = ends(folder(text.as_bytes()).path(), &["config", "check"], &[]);
        assert!(output.status.success(), "{text:?}: {output:?}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("there is no provider, so every run will be refused: write providers:"), "{text:?}: {told}");
    }
    let good = ends(folder(config("api_key").as_bytes()).path(), &["config", "check"], &[]);
    assert!(good.status.success(), "what all other tests begin with is good: {good:?}");
}
