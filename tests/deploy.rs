//! What `deploy/` says: each manifest holds to its schema, and all of them agree with each other and with the configuration. What it does is in
//! `deployed.rs`, `image.rs` and `systemd.rs`.

use crate::host::{aegis, ends, root};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// A file of `deploy/`.
pub(crate) fn file(name: &str) -> String {
    let path = root().join("deploy").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The user of the image, by number.
pub(crate) fn image_user() -> String {
    let users = instructions("USER");
    let (user, group) = users[0].split_once(':').expect("a user and a group");
    assert_eq!(user, group);
    user.into()
}

pub(crate) fn image_workdir() -> String {
    instructions("WORKDIR").pop().expect("the last stage has one")
}

pub(crate) fn image_environment() -> BTreeMap<String, String> {
    let set = instructions("ENV").pop().expect("the last stage has some");
    set.split_whitespace().filter_map(|it| it.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
}

/// What follows each of these instructions in the Containerfile.
fn instructions(name: &str) -> Vec<String> {
    let whole = file("Containerfile").replace("\\\n", " ");
    let said = whole.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    said.map(|it| it.trim().into()).collect()
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every document of every manifest for Kubernetes, with the file that it stands in.
fn kubernetes() -> Vec<(String, Value)> {
    let folder = fs::read_dir(root().join("deploy/kubernetes")).expect("a folder");
    let names = folder.flatten().map(|it| format!("kubernetes/{}", it.file_name().display()));
    let documents = |name: String| {
        let found: Vec<Value> = serde_saphyr::from_multiple(&file(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        found.into_iter().map(move |it| (name.clone(), it))
    };
    names.flat_map(documents).collect()
}

fn of_kind(kind: &str) -> Value {
    let found = kubernetes().into_iter().find(|(_, it)| it["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}")).1
}

fn pod() -> Value {
    of_kind("Deployment")["spec"]["template"]["spec"].clone()
}

fn container() -> Value {
    pod()["containers"][0].clone()
}

/// The services of compose.yaml that are hosts, by name.
fn hosts_by_name() -> Vec<(String, Value)> {
    let compose = yaml("compose.yaml");
    let services = compose["services"].as_object().expect("services");
    services.iter().filter(|(name, _)| name.starts_with("aegis-")).map(|(name, it)| (name.clone(), it.clone())).collect()
}

fn hosts() -> Vec<Value> {
    hosts_by_name().into_iter().map(|it| it.1).collect()
}

/// What stands behind `KEY=` in the unit, each time.
fn unit(key: &str) -> Vec<String> {
    let unit = file("systemd/aegis.service");
    let said = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    said.map(str::to_owned).collect()
}

fn faults(schema: &Value, document: &Value) -> Vec<String> {
    let schema = jsonschema::options().offline().build(schema).expect("the schema is one");
    schema.iter_errors(document).map(|it| format!("{}: {it}", it.instance_path())).collect()
}

fn schema(name: &str) -> Value {
    let text = fs::read_to_string(root().join("tests/schemas").join(name)).expect("a schema");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn the_compose_file_holds_to_its_schema() {
    assert_eq!(faults(&schema("compose.json"), &yaml("compose.yaml")), [""; 0]);
    let mut wrong = yaml("compose.yaml");
    wrong["services"]["balancer"]["stop_grace"] = json!("10s");
    assert!(!faults(&schema("compose.json"), &wrong).is_empty(), "the schema takes anything");
}

/// Which schema a document has to hold to.
fn kubernetes_schema(document: &Value) -> Option<Value> {
    let mut all = schema("kubernetes.json");
    let kind = format!("{} {}", document["apiVersion"].as_str()?, document["kind"].as_str()?);
    let name = all["kinds"].get(&kind)?.clone();
    all["$ref"] = json!(format!("#/definitions/{}", name.as_str()?));
    all.as_object_mut()?.remove("kinds");
    Some(all)
}

#[test]
fn the_manifests_of_kubernetes_hold_to_its_schemas_and_know_no_other_field() {
    let (mut checked, mut others) = (0, vec![]);
    for (name, document) in kubernetes() {
        match kubernetes_schema(&document) {
            Some(schema) => assert_eq!(faults(&schema, &document), [""; 0], "{name}"),
            None => others.push(document["kind"].clone()),
        }
        checked += 1;
    }
    assert!(checked > 6, "the manifests are not where this test looks");
    assert_eq!(others, ["Cluster"], "only the operator's own kind has no schema here");
    let mut wrong = of_kind("Deployment");
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = json!({});
    let schema = kubernetes_schema(&wrong).expect("a known kind");
    assert!(!faults(&schema, &wrong).is_empty(), "the schema takes anything");
}

#[test]
fn every_manifest_is_applied_but_the_examples() {
    let resources = yaml("kustomization.yaml")["resources"].clone();
    let applied: BTreeSet<&str> = resources.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let there: BTreeSet<String> = kubernetes().into_iter().map(|it| it.0).filter(|it| !it.ends_with(".example.yaml")).collect();
    assert_eq!(applied.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), there);
}

#[test]
fn services_budgets_and_policies_are_about_the_pods_that_there_are() {
    let labels = of_kind("Deployment")["spec"]["template"]["metadata"]["labels"].clone();
    let policy = of_kind("NetworkPolicy");
    let selectors = [
        of_kind("Deployment")["spec"]["selector"]["matchLabels"].clone(),
        of_kind("Service")["spec"]["selector"].clone(),
        of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].clone(),
        policy["spec"]["podSelector"]["matchLabels"].clone(),
    ];
    assert!(selectors.iter().all(|it| *it == labels), "{labels}: {selectors:?}");
    let database = of_kind("Cluster")["metadata"]["name"].as_str().expect("a name").to_owned();
    assert!(policy.to_string().contains(&format!(r#"{{"cnpg.io/cluster":"{database}"}}"#)), "{policy}");
    let volumes = pod()["volumes"].to_string();
    assert!(volumes.contains(&format!("{database}-app")) && volumes.contains(&format!("{database}-ca")), "{volumes}");
}

/// The secrets that the configuration names, by the names of their files.
fn secrets() -> BTreeSet<String> {
    let text = file("aegis.yaml");
    let named = text.split("secret://file/secrets/").skip(1);
    named.map(|it| it.split(|it: char| !it.is_ascii_alphanumeric() && it != '-').next().expect("a name").to_owned()).collect()
}

#[test]
fn every_host_is_given_the_secrets_that_its_configuration_names() {
    let named = secrets();
    assert_eq!(named.len(), 2, "{named:?}");
    let folder = format!("{}/secrets", image_workdir());
    for host in hosts() {
        let given = host["secrets"].as_array().expect("secrets").iter().map(|it| it["target"].as_str().expect("a path").to_owned());
        assert_eq!(given.collect::<BTreeSet<_>>(), named.iter().map(|it| format!("{folder}/{it}")).collect());
    }
    let mounts = container()["volumeMounts"].clone();
    assert!(mounts.as_array().expect("mounts").iter().any(|it| it["name"] == "secrets" && it["mountPath"] == folder), "{mounts}");
    let volumes = pod()["volumes"].clone();
    let sources = volumes[1]["projected"]["sources"].as_array().expect("sources").clone();
    let given = sources.iter().map(|it| it["secret"]["items"][0]["path"].as_str().expect("a path").to_owned());
    assert_eq!(given.collect::<BTreeSet<_>>(), named);
    let loaded: BTreeSet<String> = unit("LoadCredential").iter().map(|it| it.split(':').next().expect("a name").into()).collect();
    let used = unit("Environment").iter().filter_map(|it| Some(it.split_once("secret://file/%d/")?.1.to_owned())).collect();
    assert_eq!((&loaded, &used), (&named, &named));
}

#[test]
fn every_host_finds_its_configuration_its_cache_and_its_user() {
    let (configuration, user) = (format!("{}/aegis.yaml", image_workdir()), image_user());
    let cache = image_environment()["AEGIS__SERVER__CACHE_DIR"].clone();
    let writable = Path::new(&cache).parent().expect("a folder").display().to_string();
    assert!(file("image.sh").contains(&format!("user={user}\n")) && file("image.sh").contains(&format!("\"$root{writable}\"")));
    for host in hosts() {
        assert_eq!((&host["configs"][0]["target"], &host["user"]), (&json!(configuration), &json!(format!("{user}:{user}"))));
        let disk = host["tmpfs"][0].as_str().expect("a tmpfs");
        assert!(disk.starts_with(&format!("{writable}:")) && disk.contains("mode=1777"), "{disk}");
        assert_eq!((&host["read_only"], &host["cap_drop"]), (&json!(true), &json!(["ALL"])));
    }
    let mounts: Vec<Value> = container()["volumeMounts"].as_array().expect("mounts").clone();
    assert!(mounts.iter().any(|it| it["mountPath"] == *configuration && it["subPath"] == "aegis.yaml"), "{mounts:?}");
    assert!(mounts.iter().any(|it| it["mountPath"] == *writable && it["readOnly"] == Value::Null), "{mounts:?}");
    let security = pod()["securityContext"].clone();
    assert_eq!((security["runAsUser"].to_string(), &security["runAsNonRoot"]), (user, &json!(true)));
    assert_eq!(container()["securityContext"]["readOnlyRootFilesystem"], true);
}

#[test]
fn all_agree_on_the_port() {
    let listen = yaml("aegis.yaml")["server"]["listen"].clone();
    let (_, port) = listen.as_str().expect("an address").rsplit_once(':').expect("a port");
    assert_eq!(instructions("EXPOSE"), [port]);
    assert_eq!(container()["ports"][0]["containerPort"].to_string(), port);
    let servers = file("haproxy.cfg").lines().filter_map(|it| it.strip_prefix("    server ").map(str::to_owned)).collect::<Vec<_>>();
    let hosts = hosts_by_name().iter().map(|(name, _)| format!("{name} {name}:{port}")).collect::<Vec<_>>();
    assert_eq!(servers, [hosts.clone(), hosts].concat(), "those that are ready, and those that are alive");
    // What `aegis ready` asks where nothing else is said.
    assert_eq!(port, "8000");
}

#[test]
fn what_the_balancer_says_itself_has_the_shape_of_an_error_and_a_code_that_there_is() {
    let codes = fs::read_to_string(root().join("docs/codes.md")).expect("a page");
    let balancer = file("haproxy.cfg");
    let said = balancer.lines().filter_map(|it| it.trim().strip_prefix("http-error status ")?.strip_suffix('\'')?.split_once(" string '"));
    let said: Vec<(&str, Value)> = said.map(|(head, body)| (head, serde_json::from_str(body).expect("JSON"))).collect();
    assert_eq!(said.iter().map(|it| &it.0[..3]).collect::<Vec<_>>(), ["503", "429"]);
    for (head, body) in said {
        let error = body["error"].as_object().expect("an error");
        let names: BTreeSet<&str> = error.keys().map(String::as_str).collect();
        assert_eq!(names, BTreeSet::from(["code", "fix", "message", "param", "request_id", "type", "why"]), "{body}");
        assert!(head.contains("application/json hdr Retry-After "), "{head}");
        assert!(codes.contains(&format!("## {}: ", error["code"].as_str().expect("a code"))), "{body}");
    }
}

#[test]
fn whatever_stops_a_host_waits_until_it_has_drained() {
    let seconds = |text: &str| -> u64 { text.trim_end_matches('s').parse().unwrap_or_else(|_| panic!("{text} is no number of seconds")) };
    // Beside the drain: answers go out, the seat in the database is left, and the machine is slow.
    let needed = Duration::from_secs(seconds(yaml("aegis.yaml")["server"]["drain"].as_str().expect("a time")) + 25);
    for host in hosts() {
        assert!(Duration::from_secs(seconds(host["stop_grace_period"].as_str().expect("a time"))) >= needed);
    }
    assert!(Duration::from_secs(seconds(&unit("TimeoutStopSec")[0])) >= needed);
    let before = container()["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().expect("a number");
    let grace = pod()["terminationGracePeriodSeconds"].as_u64().expect("a number");
    assert!(Duration::from_secs(grace - before) >= needed);
}

#[test]
fn the_image_is_made_of_stages_that_there_are_and_ends_with_nobody() {
    let stages = instructions("FROM");
    assert!(stages.len() == 2 && stages[0].ends_with(" AS build") && stages[1] == "scratch", "{stages:?}");
    assert_eq!(instructions("COPY").last().map(String::as_str), Some("--from=build /image /"));
    assert!(image_user().parse::<u32>().is_ok_and(|it| it > 0));
    let toolchain = fs::read_to_string(root().join("rust-toolchain.toml")).expect("a file");
    let version = instructions("ENV")[0].strip_prefix("RUSTUP_TOOLCHAIN=").expect("the toolchain").to_owned();
    assert!(toolchain.contains(&format!("\"{version}\"")) && stages[0].contains(&format!("rust:{version}-")), "{version}: {toolchain}");
}

#[test]
fn the_configuration_of_deploy_is_understood() {
    let folder = TempDir::new().expect("a temporary folder");
    fs::write(folder.path().join("aegis.yaml"), file("aegis.yaml")).expect("writable");
    let mut script = Command::new(root().join("deploy/secrets.sh"));
    assert!(script.arg(folder.path().join("secrets")).env("PROVIDER_KEY", "sk-test").status().expect("a shell").success());
    let mut check = aegis(folder.path());
    check.args(["config", "check"]).env("AEGIS__SERVER__CACHE_DIR", crate::host::target().join("test-cache"));
    let checked = ends(check);
    assert!(checked.status.success() && checked.stderr.is_empty(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// The unit with paths that there are on this machine.
fn unit_here(folder: &Path) -> std::path::PathBuf {
    let binary = aegis(folder).get_program().to_str().expect("a path").to_owned();
    let file = folder.join("aegis.service");
    fs::write(&file, self::file("systemd/aegis.service").replace("/usr/local/bin/aegis", &binary)).expect("writable");
    file
}

#[test]
fn systemd_finds_no_fault_in_the_unit_and_little_that_it_could_reach() {
    let folder = TempDir::new().expect("a temporary folder");
    let unit = unit_here(folder.path());
    let analyze = |args: &[&str]| Command::new("systemd-analyze").args(args).arg(&unit).env("SYSTEMD_LOG_LEVEL", "warning").output();
    let Ok(verified) = analyze(&["verify", "--man=no"]) else {
        println!("skipped: systemd is not installed here");
        return;
    };
    assert!(verified.status.success() && verified.stderr.is_empty(), "{}", String::from_utf8_lossy(&verified.stderr));
    // Tenths, 100 is without any protection.
    let judged = analyze(&["security", "--offline=true", "--no-pager", "--threshold=15"]).expect("it is there");
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
}
