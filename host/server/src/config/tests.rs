//! A mistake is a line here: what is written, and what is said about it.

use super::*;
use std::fs;
use tempfile::TempDir;

/// A folder with a configuration and a file for a guard.
fn folder(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("aegis.yaml");
    fs::write(&file, text).unwrap();
    fs::write(folder.path().join("g.wasm"), "").unwrap();
    (folder, file)
}

fn variables(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn load_with(text: &str, environment: &Environment) -> Result<Settings, String> {
    let (folder, file) = folder(text);
    let shown = |error: ConfigErrors| error.to_string().replace(&format!("{}/", folder.path().display()), "");
    Settings::load(&file, environment).map_err(shown)
}

fn load(text: &str) -> Settings {
    load_with(text, &variables(&[("KEY", "sk-secret\n")])).unwrap()
}

fn mistakes(text: &str) -> String {
    load_with(text, &Environment::new()).map(|it| it.show()).expect_err("there is a mistake")
}

const GUARD: &str = "providers: {f: {type: fake}}\nguardrails:\n  g:\n    component: g.wasm\n";

#[test]
fn every_mistake_is_told_with_its_place_and_what_to_write() {
    for (text, said) in [
        ("provider: {}", "aegis.yaml:1:1: unknown key \"provider\": did you mean \"providers\"?"),
        (
            "colour: red",
            "aegis.yaml:1:1: unknown key \"colour\": write providers, guardrails, pipeline, routes, approval, persistence, retention, ledger, auth or server",
        ),
        ("provider: {}\nproviders: {}", "aegis.yaml:1:1: unknown key \"provider\": did you mean \"providers\", which stands here already?"),
        (
            "server: {listen: here}",
            "aegis.yaml:1:18: \"here\" is not an IP address with a port: write for example 127.0.0.1:8000 or [::1]:8000",
        ),
        ("server: {drain: 30}", "aegis.yaml:1:17: expected a length of time, and this is a number: write the unit, too: 30ms, 30s or 30h"),
        ("server: {drain: \"30\"}", "aegis.yaml:1:17: \"30\" has no unit: write 30ms, 30s or 30h"),
        ("server: {drain: soon}", "aegis.yaml:1:17: \"soon\" is not a length of time: write for example 50ms, 30s or 24h"),
        ("server: {drain: 200years}", "aegis.yaml:1:17: \"200years\" is too long: write at most 100years"),
        ("server: {request_timeout: 0s}", "aegis.yaml:1:27: this lets nothing through: write more, or leave it out"),
        (
            "retention: {content: 1h}",
            "aegis.yaml:1:22: a request that comes again would find nothing: write no less than server.idempotency",
        ),
        (
            "retention: {completed: 1h}",
            "aegis.yaml:1:24: a request that comes again would find nothing: write no less than server.idempotency",
        ),
        (
            "retention: {content: 7d, completed: 6d}",
            "aegis.yaml:1:37: runs go before their content would: write no less than content, or leave that out",
        ),
        (
            "retention: {ledger: 400d}",
            "aegis.yaml:1:21: the ledger of a run that is there stays: write how long runs are kept, as completed",
        ),
        (
            "retention: {completed: 30d, ledger: 7d}",
            "aegis.yaml:1:37: the ledger of a run that is there stays: write no less than completed",
        ),
        ("server: {body_limit: 1 apple}", "aegis.yaml:1:22: \"1 apple\" is not a size: write for example 64KiB or 1MiB"),
        ("server: {body_limit: -1}", "aegis.yaml:1:22: expected a size, and this is a number: write for example 64KiB or 1MiB"),
        ("server: {hosts: aegis.example}", "aegis.yaml:1:17: expected a list, and this is text: write [ and ] around it"),
        (
            "server: {hosts: [\"http://x\"]}",
            "aegis.yaml:1:18: \"http://x\" is not a host name without scheme and port: write for example aegis.example.com",
        ),
        (
            "server: {public_url: \"https://x/y\"}",
            "aegis.yaml:1:22: \"https://x/y\" is not an address without path: write for example https://aegis.example.com",
        ),
        ("server: {max_connections: 0}", "aegis.yaml:1:27: 0 is not possible here: write a whole number from 1 to 1000000"),
        ("server: [1]", "aegis.yaml:1:9: expected a map, and this is a list"),
        ("auth: none", "aegis.yaml:1:7: expected a map, and this is text: write {type: none}"),
        ("auth: {type: keys}", "aegis.yaml:1:14: \"keys\" is not possible here: write api_key or none"),
        ("auth: {typ: none}", "aegis.yaml:1:7: \"type\" is missing here: write type: api_key or none"),
        ("auth: {type: none, realm: x}", "aegis.yaml:1:20: unknown key \"realm\""),
        (
            "persistence: {type: postgres, url: \"postgres://ada:hunter2@db/aegis\"}",
            "aegis.yaml:1:36: a secret is not written down here: write secret://env/NAME or secret://file/PATH",
        ),
        ("persistence: {type: postgres}", "aegis.yaml:1:14: \"url\" is missing here"),
        (
            "persistence: {type: postgres, path: x}",
            "aegis.yaml:1:14: \"url\" is missing here\naegis.yaml:1:31: unknown key \"path\": write url",
        ),
        (
            "providers: {a: {type: anthropic, model: x}}",
            "aegis.yaml:1:23: \"anthropic\" is not in this version: write fake or openai_compatible",
        ),
        (
            "providers: {a: {type: fake, delay: long}}",
            "aegis.yaml:1:36: \"long\" is not a length of time: write for example 50ms, 30s or 24h",
        ),
        ("providers: {a: {type: openai_compatible, model: m}}", "aegis.yaml:1:16: \"base_url\" is missing here"),
        (
            "providers: {a: {type: openai_compatible, model: 4, base_url: \"https://x/v1\"}}",
            "aegis.yaml:1:49: expected text, and this is a number: write \"4\" in quotes if that is meant",
        ),
        (
            "providers: {a: {type: openai_compatible, model: m, base_url: x}}",
            "aegis.yaml:1:62: this is not an address of HTTP: write for example https://api.openai.com/v1",
        ),
        ("providers: {\"a b\": {type: fake}}", "aegis.yaml:1:13: \"a b\" cannot be a name: a name has 1 to 64 letters, digits, -, _ and ."),
        (
            "providers: {a: {type: fake}}\nproviders: {}",
            "aegis.yaml:2:1: the key \"providers\" stands here a second time, after line 1: leave one",
        ),
        (
            "providers: {a: {type: fake}, a: {type: fake}}",
            "aegis.yaml:1:30: the key \"a\" stands here a second time, after line 1: leave one",
        ),
        (
            "guardrails: {g: {component: builtin:sensitive}}",
            "aegis.yaml:1:29: no guard \"sensitive\" comes with Aegis: write builtin:patterns or builtin:sensitive-topic, or the path of a file",
        ),
        (
            "guardrails: {g: {component: \"oci://x/y@sha256:0\"}}",
            "aegis.yaml:1:29: oci:// is not in this version: write the path of a component file",
        ),
        ("guardrails: {g: }", "aegis.yaml:1:15: \"component\" is missing here"),
        (
            "guardrails: {g: {component: gone.wasm}}",
            "aegis.yaml:1:29: there is no file gone.wasm: write its path relative to the folder of this configuration",
        ),
        (
            "guardrails: {g: {component: g.wasm, capabilities: {http: [x]}}}",
            "aegis.yaml:1:51: granting capabilities is not in this version: write {}, or leave it out",
        ),
        (
            "guardrails: {g: {component: g.wasm, sha256: abc}}",
            "aegis.yaml:1:45: \"abc\" is not a SHA-256: write for example the 64 hex digits that `sha256sum FILE` prints",
        ),
        ("guardrails: {g: {component: g.wasm, mode: watch}}", "aegis.yaml:1:43: \"watch\" is not possible here: write enforce or monitor"),
        (
            "guardrails: {g: {component: g.wasm, limits: {time: 0s}}}",
            "aegis.yaml:1:52: this lets nothing through: write more, or leave it out",
        ),
        (
            "guardrails: {g: {component: g.wasm, settings: {pepper: \"secret://env/P\"}}}",
            "aegis.yaml:1:56: a secret cannot stand here: only the api_key of a provider is one",
        ),
        (
            "guardrails: {g: {component: g.wasm, settings: {a: 1, a: 2}}}",
            "aegis.yaml:1:54: the key \"a\" stands here a second time, after line 1: leave one",
        ),
        ("approval: {approvers: }", "aegis.yaml:1:21: expected a list, and this is nothing: write [] for none"),
        (
            "approval: {approvers: [\"role:boss\"]}",
            "aegis.yaml:1:24: \"role:boss\": there is no role \"boss\": write user, approver or admin",
        ),
        (
            "approval: {approvers: [\"Teams:risk\", \"urn:x:y\"]}",
            "aegis.yaml:1:24: \"Teams:risk\": did you mean \"team:risk\"? A principal's id cannot begin like that",
        ),
        ("approval: {required: 0}", "aegis.yaml:1:22: 0 is not possible here: write a whole number from 1 to 1000"),
        ("approval: {self_approval: no}", "aegis.yaml:1:27: expected true or false, and this is text: write true or false"),
        ("routes: {r: {}}", "aegis.yaml:1:13: the route \"r\" needs a provider"),
        ("a: [", "aegis.yaml:1:4: this is not YAML that can be read here: unclosed bracket '['"),
        ("just text", "aegis.yaml:1:1: expected a map, and this is text"),
    ] {
        assert_eq!(mistakes(text), said, "{text}");
    }
}

#[test]
fn names_that_nothing_has_are_told() {
    for (text, said) in [
        ("pipeline: {ingress: [h]}", "aegis.yaml:5:22: there is no guard \"h\": did you mean \"g\"?"),
        ("pipeline: {ingres: [g]}", "aegis.yaml:5:12: unknown key \"ingres\": did you mean \"ingress\"?"),
        ("pipeline: {egress: [g, g]}", "aegis.yaml:5:24: the guard \"g\" stands twice at egress: write it once"),
        ("routes: {r: {provider: main}}", "aegis.yaml:5:24: there is no provider \"main\": write f"),
        ("routes: {r: {pipeline: {tool_call: [guard]}}}", "aegis.yaml:5:37: there is no guard \"guard\": write g"),
        ("routes: {r: {backoff: {first: 1h}}}", "aegis.yaml:5:23: first is longer than longest: write it the other way round"),
        ("routes: {r: {attempts: 0}}", "aegis.yaml:5:24: 0 is not possible here: write a whole number from 1 to 100"),
    ] {
        assert_eq!(mistakes(&format!("{GUARD}{text}")), said, "{text}");
    }
}

#[test]
fn a_quorum_that_its_list_cannot_reach_is_told_where_it_is_required() {
    let why = "nobody could ever approve: 2 different approvers are required, and the lists leave 1 who may decide. Write fewer, or name more approvers";
    let text = format!("{GUARD}    approval: {{approvers: [ada], required: 2}}\npipeline: {{ingress: [g]}}");
    assert_eq!(mistakes(&text), format!("aegis.yaml:5:44: {why}"));
    let text = format!("{GUARD}    approval: {{approvers: [ada]}}\npipeline: {{ingress: [g]}}\napproval: {{required: 2}}");
    assert_eq!(mistakes(&text), format!("aegis.yaml:7:22: {why}"));
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text = "
providers:
  main: {type: openai_compatible, base_url: 'https://x/v1', modle: m, api_key: sk-123}
guardrails:
  g: {component: gone.wasm, on_failure: pass, setings: {}}
pipeline: {ingress: [gg]}
routes:
  default: {provider: man}
server: {listen: 80}
persistance: {}
";
    let expected = [
        "aegis.yaml:3:9: \"model\" is missing here",
        "aegis.yaml:3:61: unknown key \"modle\": did you mean \"model\"?",
        "aegis.yaml:3:80: a secret is not written down here: write secret://env/NAME or secret://file/PATH",
        "aegis.yaml:5:18: there is no file gone.wasm: write its path relative to the folder of this configuration",
        "aegis.yaml:5:41: \"pass\" is not possible here: write block or allow",
        "aegis.yaml:5:47: unknown key \"setings\": did you mean \"settings\"?",
        "aegis.yaml:6:22: there is no guard \"gg\": did you mean \"g\"?",
        "aegis.yaml:8:23: there is no provider \"man\": did you mean \"main\"?",
        "aegis.yaml:9:18: expected text, and this is a number: write the address, too, for example 127.0.0.1:80",
        "aegis.yaml:10:1: unknown key \"persistance\": did you mean \"persistence\"?",
    ];
    assert_eq!(mistakes(text), expected.join("\n"));
}

#[test]
fn what_is_too_large_or_too_deep_is_refused() {
    let deep = format!("guardrails: {{g: {{component: g.wasm, settings: {}1{}}}}}", "[".repeat(100), "]".repeat(100));
    let mut aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_string();
    (1..10).for_each(|n| aliases.push_str(&format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(", "))));
    for text in [deep, aliases, "x: 1\n".repeat(30_000)] {
        assert!(mistakes(&text).contains("this is not YAML that can be read here"), "{}", mistakes(&text));
    }
    assert_eq!(mistakes(&" ".repeat(1024 * 1024 + 1)), "aegis.yaml: this is larger than 1 MiB: no configuration is");
    assert_eq!(mistakes(&(0..80).map(|n| format!("k{n}: 1\n")).collect::<String>()).lines().last(), Some("and 30 more"));
}

#[test]
fn an_empty_file_is_the_defaults_and_says_that_nothing_will_run() {
    for text in ["", "# nothing\n", "---\n", "server:\nproviders:\n"] {
        let settings = load(text);
        assert_eq!(settings.server.listen, "127.0.0.1:8000".parse().unwrap());
        assert_eq!(settings.auth, AuthSettings::None);
        assert!(settings.routes.is_empty() && settings.warnings[0].message.contains("there is no provider"));
    }
}

#[test]
fn what_is_written_is_what_it_means() {
    let sha = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let text = format!(
        "
providers:
  main: {{type: openai_compatible, base_url: 'https://x/v1', model: m, api_key: secret://env/KEY, timeout: 2min}}
  fake: {{type: fake, response: hello}}
guardrails:
  g: {{component: g.wasm, sha256: {sha}, settings: {{n: 1.5, on: [yes, true]}}, limits: {{time: 50ms, memory: 64MiB}}, on_failure: allow,
      mode: monitor, approval: {{approvers: ['team:risk'], expires_after: 1h}}}}
  b: {{component: builtin:sensitive-topic}}
pipeline: {{ingress: [b, g], egress: [g]}}
routes:
  default: {{provider: main}}
  payments: {{provider: fake, model: tiny, pipeline: {{egress: []}}, approval: {{approvers: [ada], self_approval: false}}, attempts: 1, on_unknown: error}}
approval: {{required: 2, expires_after: 2h}}
persistence: {{type: sqlite, path: runs.db}}
auth: {{type: api_key}}
server: {{listen: '[::1]:80', hosts: [Aegis.Example], public_url: 'https://aegis.example:443/', cache_dir: none, body_limit: 2MiB}}
"
    )
    .replace("ada]", "ada, bob]");
    let (folder, file) = folder(&text);
    let settings = Settings::load(&file, &variables(&[("KEY", "sk-secret\n")])).unwrap();

    let ProviderSettings::OpenAiCompatible(main) = &settings.providers["main"] else { panic!("another provider") };
    assert_eq!((main.api_key.as_ref().unwrap().reveal(), main.timeout), ("sk-secret", Duration::from_secs(120)));
    assert!(!format!("{settings:?}").contains("sk-secret"));

    let guard = &settings.guards["g"];
    assert_eq!(guard.source, Source::File(folder.path().join("g.wasm")));
    assert_eq!(guard.sha256, Some(sha.parse().unwrap()));
    assert_eq!(guard.settings, serde_json::json!({"n": 1.5, "on": ["yes", true]}));
    assert_eq!((guard.limits.time, guard.limits.memory, guard.limits.log), (Some(Duration::from_millis(50)), Some(64 << 20), None));
    assert_eq!((guard.on_failure, guard.mode), (OnFailure::Allow, Mode::Monitor));
    assert_eq!(settings.guards["b"].source, Source::Builtin("sensitive-topic"));

    let (default, payments) = (&settings.routes["default"], &settings.routes["payments"]);
    assert_eq!((default.model.as_str(), payments.model.as_str()), ("m", "tiny"));
    assert_eq!((default.attempts, payments.attempts, payments.on_unknown), (3, 1, OnUnknown::Error));
    assert_eq!(payments.pipeline, Stages { ingress: vec!["b".into(), "g".into()], ..Stages::default() });
    let names = |rule: &ApprovalRule| rule.approvers.iter().map(|it| it.to_string()).collect::<Vec<_>>();
    let rule = &payments.approval["g"];
    assert_eq!((names(rule), rule.required, rule.expires_after, rule.self_approval), (vec!["team:risk".into()], 2, 3_600_000, false));
    let rule = &payments.approval["b"];
    assert_eq!((names(rule), rule.expires_after), (vec!["ada".into(), "bob".into()], 7_200_000));
    assert!(default.approval["b"].approvers.is_empty() && default.approval["b"].self_approval);

    assert_eq!(settings.persistence, PersistenceSettings::Sqlite(folder.path().join("runs.db")));
    assert_eq!((settings.auth, &settings.server.cache_dir), (AuthSettings::ApiKey, &None));
    assert_eq!(settings.server.public_url.as_deref(), Some("https://aegis.example"));
    assert_eq!((settings.server.hosts.join(" "), settings.server.body_limit), ("aegis.example".to_string(), 2 << 20));
    assert!(settings.warnings.is_empty());
}

#[test]
fn everything_is_kept_for_ever_unless_it_is_written_for_how_long() {
    assert_eq!(load("").retention, RetentionSettings::default());
    let days = |it: u64| Some(Duration::from_secs(it * 24 * 3600));
    let all = RetentionSettings { content: days(7), completed: days(30), ledger: days(400) };
    assert_eq!(load("retention: {completed: 30d, ledger: 400d, content: 7d}").retention, all);
    assert_eq!(load("retention: {content: 7d}").retention, RetentionSettings { content: days(7), ..RetentionSettings::default() });
    assert!(!load("").show().contains("retention"), "where nothing is removed nothing is said");
}

#[test]
fn what_is_shown_reads_back_and_holds_no_secret() {
    let text = format!("{GUARD}  m: {{component: builtin:sensitive-topic}}\npipeline: {{ingress: [g]}}\n")
        .replace("f: {type: fake}", "f: {type: openai_compatible, base_url: 'https://x/v1', model: m, api_key: secret://env/KEY}");
    let shown = load(&text).show();
    assert!(shown.contains("secret://env/KEY") && !shown.contains("sk-secret"), "{shown}");
    assert_eq!(load(&shown).show(), shown);
}

#[test]
fn a_secret_that_is_not_there_is_told_without_its_value() {
    let with =
        |reference: &str| format!("providers: {{a: {{type: openai_compatible, base_url: 'http://x', model: m, api_key: '{reference}'}}}}");
    for (reference, said) in [
        ("secret://env/NONE", "the secret is missing: the environment has no variable NONE: set it"),
        ("secret://env/EMPTY", "the secret is missing: secret://env/EMPTY is there, but empty"),
        ("secret://file/none", "the secret is missing: none cannot be read: No such file or directory (os error 2)"),
        ("secret://vault/x", "this names no secret: write secret://env/NAME or secret://file/PATH"),
        ("sk-very-secret", "a secret is not written down here: write secret://env/NAME or secret://file/PATH"),
    ] {
        let error = load_with(&with(reference), &variables(&[("EMPTY", "\n")])).expect_err("no secret");
        assert_eq!(error, format!("aegis.yaml:1:83: {said}"));
    }
    let (folder, file) = folder(&with("secret://file/key"));
    fs::write(folder.path().join("key"), "sk-from-file\r\n").unwrap();
    let settings = Settings::load(&file, &Environment::new()).unwrap();
    let ProviderSettings::OpenAiCompatible(it) = &settings.providers["a"] else { panic!("another provider") };
    assert_eq!(it.api_key.as_ref().unwrap().reveal(), "sk-from-file");
    fs::write(folder.path().join("key"), "x".repeat(70_000)).unwrap();
    assert_eq!(Settings::load(&file, &Environment::new()).unwrap_err().code(), aegis_core::Code::CFG_SECRET);
    assert!(Settings::persistence(Some(&file), &Environment::new()).is_ok(), "the store needs no key");
}

#[test]
fn variables_override_what_they_name() {
    let text = format!("{GUARD}pipeline: {{ingress: [g]}}").replace("  g:", "  my-guard:").replace("[g]", "[my-guard]");
    let settings = load_with(
        &text,
        &variables(&[
            ("AEGIS__SERVER__LISTEN", "[::1]:9000"),
            ("aegis__server__max_connections", "7"),
            ("AEGIS__SERVER__HOSTS", "[a, b]"),
            ("AEGIS__GUARDRAILS__MY_GUARD__LIMITS__TIME", "5ms"),
            ("AEGIS__PROVIDERS__F__RESPONSE", "007"),
            ("AEGIS_API_KEY", "not meant for here"),
        ]),
    )
    .unwrap();
    assert_eq!((settings.server.listen.to_string(), settings.server.max_connections), ("[::1]:9000".into(), 7));
    assert_eq!(settings.server.hosts, ["a", "b"]);
    assert_eq!(settings.guards["my-guard"].limits.time, Some(Duration::from_millis(5)));
    assert!(matches!(&settings.providers["f"], ProviderSettings::Fake(it) if it.response.as_deref() == Some("007")));
}

#[test]
fn a_variable_that_is_wrong_is_told_by_its_name() {
    for (variable, value, said) in [
        ("AEGIS__SERVER__LISTN", "x", "this names nothing: there is no \"LISTN\" under AEGIS__SERVER: did you mean \"LISTEN\"?"),
        ("AEGIS__GUARDRAILS__H__MODE", "x", "this names nothing: there is no \"H\" under AEGIS__GUARDRAILS: did you mean \"G\"?"),
        ("AEGIS__SERVER__DRAIN__X", "x", "this names nothing: there is no \"X\" under AEGIS__SERVER__DRAIN"),
        ("AEGIS__SERVER__LISTEN", "x", "\"x\" is not an IP address with a port: write for example 127.0.0.1:8000 or [::1]:8000"),
        ("AEGIS__SERVER__HOSTS", "[a", "its value is not YAML that can be read here"),
        ("AEGIS__AUTH__TYPE", "x", "\"x\" is not possible here: write api_key or none"),
    ] {
        let error = load_with(GUARD, &variables(&[(variable, value)])).expect_err(variable);
        assert_eq!(error, format!("{variable}: {said}"));
    }
    let text = "providers: {a: {type: openai_compatible, base_url: 'http://x', model: m}}";
    let error = load_with(text, &variables(&[("AEGIS__PROVIDERS__A__API_KEY", "sk-very-secret")])).expect_err("a secret is no reference");
    assert_eq!(error, "AEGIS__PROVIDERS__A__API_KEY: a secret is not written down here: write secret://env/NAME or secret://file/PATH");
}

#[test]
fn the_url_of_a_database_is_a_secret_that_commands_need_too() {
    let text = "persistence: {type: postgres, url: secret://env/DATABASE_URL}";
    for (url, shown) in [
        ("postgres://ada:hunter2@a:1,b:2/aegis?target_session_attrs=read-write", "postgres://a:1,b:2/aegis"),
        ("host=a password=hunter2", "Postgres"),
        ("postgres://ada:hunter2?x@a/aegis?sslmode=require", "postgres://a/aegis"),
        ("postgres://a/aegis?password=hunter2", "postgres://a/aegis"),
    ] {
        let (_folder, file) = folder(text);
        let persistence = Settings::persistence(Some(&file), &variables(&[("DATABASE_URL", url)])).expect("it is there");
        let PersistenceSettings::Postgres(database) = &persistence else { panic!("{persistence:?}") };
        assert_eq!((database.reveal(), persistence.to_string().as_str()), (url, shown));
        assert!(!format!("{persistence:?}").contains("hunter2"));
        let missing = Settings::persistence(Some(&file), &Environment::new()).expect_err("no secret");
        assert!(missing.to_string().contains("the environment has no variable DATABASE_URL: set it"), "{missing}");
    }
}

#[test]
fn dev_needs_no_file_and_no_keys() {
    let settings = Settings::dev(None, &Environment::new()).unwrap();
    assert_eq!(settings.persistence, PersistenceSettings::Sqlite(".aegis/dev.db".into()));
    assert_eq!(settings.guards["sensitive-topic"].source, Source::Builtin("sensitive-topic"));
    assert_eq!(settings.routes["default"].pipeline.ingress, ["sensitive-topic"]);
    assert!(matches!(settings.providers["fake"], ProviderSettings::Fake(_)) && settings.warnings.is_empty());

    let (_folder, file) = folder("auth: {type: api_key}");
    let settings = Settings::dev(Some(&file), &Environment::new()).unwrap();
    assert_eq!(settings.auth, AuthSettings::None);
    assert_eq!(settings.persistence, PersistenceSettings::Sqlite(".aegis/dev.db".into()));
    assert_eq!(settings.routes["default"].provider, "fake");
}

#[test]
fn a_guard_of_the_command_line_stands_where_its_manifest_says() {
    let mut settings = Settings::dev(None, &Environment::new()).unwrap();
    settings.add_guard("pii", "pii.wasm".into()).unwrap();
    settings.place("pii", &[Stage::Ingress, Stage::Egress]).unwrap();
    settings.place("sensitive-topic", &[Stage::Ingress]).unwrap();
    let loaded = |_: &str| Loaded { component: Digest::of(b"c"), settings: Digest::of(b"s"), scope: Scope::Message };
    let plan = settings.plan("default", loaded).unwrap();
    let names: Vec<&str> = plan.pipeline.ingress.iter().map(|it| it.name.as_str()).collect();
    assert_eq!((names, plan.pipeline.egress.len(), plan.provider.as_str()), (vec!["sensitive-topic", "pii"], 1, "fake"));
    assert!(settings.plan("none", loaded).is_none());
    assert!(settings.add_guard("a b", "x.wasm".into()).is_err());

    let given = serde_json::json!({"words": ["x"]});
    settings.set_guard_settings("pii", given.clone()).unwrap();
    assert_eq!(settings.guards["pii"].settings, given);
    let error = settings.set_guard_settings("pi", given).unwrap_err().to_string();
    assert!(error.contains("--settings: there is no guard \"pi\""), "{error}");

    settings.add_guard("sensitive-topic", "mine.wasm".into()).unwrap();
    assert_eq!(settings.guards["sensitive-topic"].source, Source::File("mine.wasm".into()));
    let error = settings.place("sensitive-topic", &[Stage::Egress]).unwrap_err().to_string();
    assert!(error.ends_with("the guard \"sensitive-topic\" cannot judge at ingress: its manifest names egress"), "{error}");
}

#[test]
fn a_guard_that_stands_nowhere_is_warned_of() {
    let said: Vec<String> = load(GUARD).warnings.iter().map(|it| it.within("aegis.yaml")).collect();
    assert_eq!(said, ["aegis.yaml:4:5: the guard \"g\" stands in no pipeline, so it judges nothing"]);
}

#[test]
fn the_schema_describes_every_key() {
    fn undescribed(at: &str, schema: &serde_json::Value, found: &mut Vec<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if property["description"].is_null() && property["const"].is_null() {
                found.push(format!("{at}.{name}"));
            }
            undescribed(&format!("{at}.{name}"), property, found);
        }
        for (index, branch) in schema["oneOf"].as_array().into_iter().flatten().enumerate() {
            undescribed(&format!("{at}[{index}]"), branch, found);
        }
    }
    let schema = schema();
    let mut found = vec![];
    undescribed("", &schema, &mut found);
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        undescribed(name, definition, &mut found);
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn every_guard_that_may_be_named_comes_with_aegis() {
    for name in format::BUILTIN {
        assert!(crate::builtin(name).is_some(), "{name}");
    }
    assert!(crate::builtin("other").is_none());
}

#[test]
fn what_signs_the_ledger_is_looked_up_for_its_export_alone() {
    let text = "providers: {f: {type: fake}}\nledger: {key: secret://file/ledger.key}\n";
    let (folder, file) = folder(text);
    assert!(Settings::load(&file, &Environment::new()).unwrap().ledger_key.is_none(), "the server never reads it");
    assert!(Settings::persistence(Some(&file), &Environment::new()).is_ok());
    let export = || Settings::for_ledger(Some(&file), &Environment::new()).map_err(|error| error.to_string());
    assert!(export().expect_err("it is missing").contains("aegis.yaml:2:15: the secret is missing"), "{}", export().unwrap_err());
    fs::write(folder.path().join("ledger.key"), "aeg-12").unwrap();
    assert!(export().expect_err("another kind of key").contains("holds no key of the ledger"));
    fs::write(folder.path().join("ledger.key"), format!("aegis-ledger-{}\n", "01".repeat(32))).unwrap();
    let settings = export().unwrap();
    assert!(settings.ledger_key.is_some() && !settings.show().contains("aegis-ledger-") && !format!("{settings:?}").contains("0101"));
    let plain = "ledger: {key: aegis-ledger-0101}";
    assert!(mistakes(plain).contains("a secret is not written down here") && !mistakes(plain).contains("0101"));
}
