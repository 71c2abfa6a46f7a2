//! Two hosts on three Postgres nodes: one finds the primary by a proxy, the other by a URL that names all three. The primary is killed with all that
//! watches over it, held still until another has taken its place, or goes on without knowing that another has; then it comes back. `make test-cluster`,
//! which has what this needs.

use super::api::Api;
use super::checks::all;
use super::load::{Kind, Load, Random, World};
use super::{configuration, given, random};
use crate::host::Host;
use crate::shared::{in_postgres, start};
use aegis_postgres::Cluster;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

const ROUNDS: u64 = 4;
/// Clients that wait for an answer for as long as no host lets anybody wait for the database.
const LOAD: Load = Load { clients: 8, think: Duration::from_millis(200), patience: Duration::from_secs(60) };
/// A statement to which nobody answers is given up after so long.
const ANSWER: Duration = Duration::from_secs(10);
/// From when there is another primary until all hosts work with it.
const FOUND: Duration = Duration::from_secs(5);
/// Until a node that was away is a standby again, from a copy of the primary if need be.
const WHOLE: Duration = Duration::from_secs(90);

/// What happens to a primary.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Blow {
    Killed,
    HeldStill,
    /// It answers whoever asks, and nothing that it takes reaches a standby any more.
    LeftAlone,
}

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
    async fn round(&mut self, blow: Blow, random: &mut Random) -> String {
        let clients = self.world.load(random);
        tokio::time::sleep(Duration::from_millis(500 + random.below(1_500))).await;
        let primary = self.cluster.primary().expect("there is one");
        self.strike(blow, primary);
        let (_, taken_over) = block_in_place(|| self.cluster.until_taken_over(primary));
        let other = Instant::now();
        self.until_found(primary).await;
        let found = other.elapsed();
        let most = if blow == Blow::Killed { FOUND } else { ANSWER + FOUND };
        assert!(found < most, "{found:?}, and there was a primary after {taken_over:?}");
        tokio::time::sleep(Duration::from_millis(random.below(1_000))).await;
        self.bring_back(blow, primary);
        tokio::time::sleep(Duration::from_millis(random.below(3_000))).await;
        self.world.stop(clients).await;
        block_in_place(|| self.cluster.until_whole(WHOLE));
        self.world.look(&self.hosts).await;
        self.world.decide_open(&self.hosts, 3, random).await;
        format!("{blow:?}: another primary after {taken_over:.1?}, found after {found:.1?} more")
    }

    fn strike(&mut self, blow: Blow, primary: usize) {
        match blow {
            Blow::Killed => self.cluster.kill(primary),
            Blow::HeldStill => self.cluster.pause(primary, true),
            Blow::LeftAlone => self.cluster.leave_alone(primary, true),
        }
    }

    fn bring_back(&mut self, blow: Blow, primary: usize) {
        match blow {
            Blow::Killed => self.cluster.bring_back(primary),
            Blow::HeldStill => self.cluster.pause(primary, false),
            Blow::LeftAlone => self.cluster.leave_alone(primary, false),
        }
    }

    /// Until every host has written to another primary than `before`, and says that it is ready.
    async fn until_found(&mut self, before: usize) {
        for host in &mut self.hosts {
            let asked = self.world.next(Kind::Allowed);
            assert_eq!(self.world.submit(&host.url, &asked).await, Some(200));
            host.ready().await;
        }
        assert_ne!(self.cluster.primary(), Some(before));
    }

    /// So many rounds of these in turn, and all of it is looked at, and everybody was answered.
    async fn play(&mut self, blows: &[Blow], rounds: u64) {
        let mut random = random();
        for (round, blow) in (1..=rounds).zip(blows.iter().cycle()) {
            let told = self.round(*blow, &mut random).await;
            println!("round {round}, {told}; {}", self.tally());
        }
        self.world.look(&self.hosts).await;
        self.world.decide_open(&self.hosts, usize::MAX, &mut random).await;
        self.world.look(&self.hosts).await;
        self.world.count_runs(&self.hosts[0]).await;
        println!("{}", self.tally());
        self.world.tally().assert_mixed();
        let without = [&self.world.unanswered, &self.world.refused].map(|it| it.load(Ordering::Relaxed));
        assert_eq!(without, [0, 0], "a failover is no answer");
    }

    /// No host was taken for dead, so nobody has taken over anything: each call has one answer.
    async fn assert_no_call_was_cut_off(&self) {
        assert!(self.hosts.iter().all(|it| !it.log().contains("took this one for dead")));
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
            format!("\n--- {}\n{}", host.url, lines[lines.len().saturating_sub(200)..].join("\n"))
        };
        self.hosts.iter().map(end).collect()
    }
}

/// What the hosts have said, where something is wrong.
impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.logs());
        }
    }
}

/// Where there is what this needs.
async fn place() -> Option<Place> {
    if std::env::var_os("AEGIS_CLUSTER").is_none() {
        println!("skipped: make test-cluster has what this needs");
        return None;
    }
    Some(Place::start().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_primary_falls_loses_nothing_does_nothing_twice_and_costs_no_answer() {
    let Some(mut place) = place().await else { return };
    place.play(&[Blow::Killed, Blow::HeldStill], given("AEGIS_CRASH_ROUNDS").unwrap_or(ROUNDS)).await;
    place.assert_no_call_was_cut_off().await;
}

/// A host that the proxy cuts off from it, while another still reaches it, is as good as dead: what it was in the middle of is taken over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_of_a_cluster_that_does_not_know_that_it_is_none_any_more_is_left_and_costs_no_answer() {
    let Some(mut place) = place().await else { return };
    place.play(&[Blow::LeftAlone], given("AEGIS_CRASH_ROUNDS").unwrap_or(ROUNDS / 2)).await;
}
