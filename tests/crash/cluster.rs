//! Two hosts on three Postgres nodes: one finds the primary by a proxy, the other by a URL that names all three. The primary is killed with all that
//! watches over it, or held still until another has taken its place, and comes back. `make test-cluster`, which has what this needs.

use super::api::Api;
use super::checks::all;
use super::load::{Load, Random, World};
use super::{configuration, given, random};
use crate::host::Host;
use crate::shared::{in_postgres, start};
use aegis_postgres::Cluster;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

const ROUNDS: u64 = 6;
/// Clients that wait for an answer for as long as no host lets anybody wait for the database.
const LOAD: Load = Load { clients: 8, think: Duration::from_millis(200), patience: Duration::from_secs(60) };
/// A statement to which nobody answers is given up after so long.
const ANSWER: Duration = Duration::from_secs(10);
/// From when there is another primary until all hosts work with it.
const FOUND: Duration = Duration::from_secs(5);
/// Until a node that was away is a standby again, from a copy of the primary if need be.
const WHOLE: Duration = Duration::from_secs(90);

/// All that there is.
struct Place {
    cluster: Cluster,
    hosts: [Host; 2],
    world: Arc<World>,
}

impl Place {
    async fn start() -> Place {
        let cluster = block_in_place(Cluster::start);
        let database = block_in_place(|| cluster.database());
        let (api, address) = Api::start(Duration::from_millis(150)).await;
        let config = in_postgres(&configuration(address));
        let hosts = [start(&config, &cluster.url_by_proxy(&database)).await, start(&config, &cluster.url_of_all(&database)).await];
        let world = World::new(api, LOAD);
        world.find(hosts.iter().map(|it| it.url.clone()).collect());
        Place { cluster, hosts, world }
    }

    /// What was done, and how long it took until there was another primary, and until the hosts worked with it.
    async fn round(&mut self, kill: bool, random: &mut Random) -> String {
        let clients = self.world.load(random);
        tokio::time::sleep(Duration::from_millis(500 + random.below(1_500))).await;
        let (primary, begun) = (self.cluster.primary().expect("there is one"), Instant::now());
        if kill {
            self.cluster.kill(primary)
        } else {
            self.cluster.pause(primary, true)
        }
        let (_, taken_over) = block_in_place(|| self.cluster.until_taken_over(primary));
        for host in &mut self.hosts {
            host.ready().await;
        }
        let found = begun.elapsed();
        let most = if kill { taken_over } else { taken_over.max(ANSWER) } + FOUND;
        assert!(found < most, "{found:?}, and there was a primary after {taken_over:?}: {}", self.logs());
        tokio::time::sleep(Duration::from_millis(random.below(1_000))).await;
        if kill {
            self.cluster.bring_back(primary)
        } else {
            self.cluster.pause(primary, false)
        }
        tokio::time::sleep(Duration::from_millis(random.below(3_000))).await;
        self.world.stop(clients).await;
        block_in_place(|| self.cluster.until_whole(WHOLE));
        self.world.look(&self.hosts).await;
        self.world.decide_open(&self.hosts, 3, random).await;
        format!("{}: another primary after {taken_over:.1?}, found after {found:.1?}", if kill { "killed" } else { "held still" })
    }

    /// No host has died: so each call has one answer, and nobody has taken over anything.
    async fn assert_nothing_happened_twice(&self) {
        for (id, run) in all(&self.hosts[0]).await {
            let count = |word: &str| run["events"].as_array().expect("a list").iter().filter(|it| it["type"] == word).count();
            assert_eq!((count("interrupted"), self.world.api.calls(&id)), (0, count("answered")), "{run}");
        }
    }

    fn tally(&self) -> String {
        format!("{}; the slowest answer took {} ms", self.world.tally(), self.world.slowest.load(Ordering::Relaxed))
    }

    fn logs(&self) -> String {
        let end = |host: &Host| {
            let log = host.log();
            let lines: Vec<&str> = log.lines().collect();
            format!("\n--- {}\n{}", host.url, lines[lines.len().saturating_sub(60)..].join("\n"))
        };
        self.hosts.iter().map(end).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_primary_falls_loses_nothing_does_nothing_twice_and_costs_no_answer() {
    if std::env::var_os("AEGIS_CLUSTER").is_none() {
        return println!("skipped: make test-cluster has what this needs");
    }
    let (mut random, mut place) = (random(), Place::start().await);
    for round in 1..=given("AEGIS_CRASH_ROUNDS").unwrap_or(ROUNDS) {
        let told = place.round(round % 3 != 0, &mut random).await;
        println!("round {round}, {told}; {}", place.tally());
    }
    let Place { hosts, world, .. } = &place;
    world.look(hosts).await;
    world.decide_open(hosts, usize::MAX, &mut random).await;
    world.look(hosts).await;
    world.count_runs(&hosts[0]).await;
    place.assert_nothing_happened_twice().await;
    println!("{}", place.tally());
    world.tally().assert_mixed();
    let without = [&world.unanswered, &world.refused].map(|it| it.load(Ordering::Relaxed));
    assert_eq!(without, [0, 0], "a failover is no answer: {}", place.logs());
    assert!(hosts.iter().all(|it| !it.log().contains("took this one for dead")), "{}", place.logs());
}
