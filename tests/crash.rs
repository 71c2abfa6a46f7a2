//! Nothing is lost and nothing happens twice: real hosts under mixed load, killed again and again at any moment, in front of a
//! model's API that writes down every call. `AEGIS_CRASH_ROUNDS` sets how often, `AEGIS_CRASH_SEED` repeats what happened before.

mod api;
mod checks;
mod cluster;
mod load;
mod several;

use crate::host::{Host, config};
use api::Api;
use load::{Load, Random, World};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const ROUNDS: u64 = 20;
/// What the configuration allows for one run.
const ATTEMPTS: usize = 3;

/// Guards that block and ask, and routes to the API at `address`: one whose provider may be asked again after a crash, and one whose provider acts.
fn configuration(address: SocketAddr) -> String {
    let provider = format!("fake: {{type: openai_compatible, base_url: \"http://{address}/v1\", model: m}}");
    let strict = "guardrails:\n  strict:\n    component: builtin:sensitive-topic\n    settings: {phrases: [\"forbidden\"], action: block}";
    let route = "default: {provider: fake, backoff: {first: 10ms}}\n  acts: {provider: fake, on_unknown: error}";
    config("none")
        .replace(r#"fake: {type: fake, response: "the reply"}"#, &provider)
        .replace("guardrails:", strict)
        .replace("{ingress: [sensitive-topic]}", "{ingress: [strict, sensitive-topic], egress: [strict]}")
        .replace("default: {provider: fake}", route)
}

fn given(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|it| it.parse().unwrap_or_else(|_| panic!("{name} has to be a number")))
}

/// The dice of a test, by a seed that is printed.
fn random() -> Random {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_nanos() as u64;
    let seed = given("AEGIS_CRASH_SEED").unwrap_or_else(now);
    println!("AEGIS_CRASH_SEED={seed}");
    Random::new(seed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_at_any_moment_nothing_is_lost_and_nothing_happens_twice() {
    let mut random = random();
    let (api, address) = Api::start(Duration::from_millis(150)).await;
    let mut host = Host::start(&configuration(address)).await;
    let world = World::new(api, Load { clients: 6, think: Duration::ZERO, patience: Duration::from_secs(5) });
    for round in 1..=given("AEGIS_CRASH_ROUNDS").unwrap_or(ROUNDS) {
        world.find(vec![host.url.clone()]);
        let clients = world.load(&mut random);
        tokio::time::sleep(Duration::from_millis(20 + random.below(500))).await;
        host.kill();
        world.stop(clients).await;
        host = host.crash_and_restart().await;
        // Some are killed again while they take up what was left behind.
        if random.below(4) > 0 {
            world.look(std::slice::from_ref(&host)).await;
        }
        println!("round {round}: {} requests", world.book().len());
    }
    let hosts = [host];
    world.look(&hosts).await;
    world.decide_open(&hosts, usize::MAX, &mut random).await;
    world.look(&hosts).await;
    world.count_runs(&hosts[0]).await;
    let tally = world.tally();
    println!("{tally}");
    tally.assert_mixed();
}
