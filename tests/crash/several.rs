//! Two hosts that share a Postgres: each of the three is killed, held still, restarted or cut off in turn, while clients ask both hosts.

use super::api::Api;
use super::checks::Tally;
use super::load::{Load, Random, World};
use super::{configuration, given, random};
use crate::host::Host;
use crate::shared::{in_postgres, start};
use aegis_postgres::Server;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

const ROUNDS: u64 = 3;
/// After so many a new database begins: every round looks at every run of it.
const FRESH: u64 = 12;
/// Clients that do not ask without a pause: what counts here is how often something is struck, not how much there is to look at afterwards.
const LOAD: Load = Load { clients: 12, think: Duration::from_millis(100), patience: Duration::from_secs(2) };
/// Whatever takes longer has stopped.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lines of a host's log that are worth reading.
const SAID: usize = 200;

/// What happens in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
    KillHost,
    /// For longer than its lease: it wakes up when others have taken its place.
    HoldHost,
    KillPostgres,
    /// A host, and Postgres at the same moment.
    KillBoth,
    RestartPostgres,
    CutConnections,
    /// At times for longer than anybody waits for an answer.
    HoldPostgres,
}

const BLOWS: [Blow; 7] =
    [Blow::KillHost, Blow::HoldHost, Blow::KillPostgres, Blow::KillBoth, Blow::RestartPostgres, Blow::CutConnections, Blow::HoldPostgres];

/// Blows in an order that nobody knows, each as often as the others.
#[derive(Default)]
struct Deck(Vec<Blow>);

impl Deck {
    fn draw(&mut self, random: &mut Random) -> Blow {
        if self.0.is_empty() {
            self.0.extend(BLOWS);
        }
        let at = random.below(self.0.len() as u64) as usize;
        self.0.swap_remove(at)
    }
}

/// A seat that was taken from a host which was held still, and the versions of the runs that it had written last, by then.
struct Lost {
    seat: String,
    left: BTreeMap<String, String>,
}

/// Two hosts, one database and the clients of both.
struct Cluster<'a> {
    server: &'a mut Server,
    database: String,
    hosts: Vec<Host>,
    world: Arc<World>,
    lost: Vec<Lost>,
}

impl Cluster<'_> {
    async fn start(server: &mut Server) -> Cluster<'_> {
        let (api, address) = Api::start(Duration::from_millis(400)).await;
        let (config, database) = (in_postgres(&configuration(address)), block_in_place(|| server.database()));
        let hosts = vec![start(&config, &database).await, start(&config, &database).await];
        let cluster = Cluster { server, database, hosts, world: World::new(api, LOAD), lost: vec![] };
        cluster.tell_clients();
        cluster
    }

    fn tell_clients(&self) {
        self.world.find(self.hosts.iter().map(|it| it.url.clone()).collect());
    }

    fn sql(&self, sql: &str) -> String {
        block_in_place(|| self.server.sql(&self.database, sql))
    }

    async fn round(&mut self, blows: &[Blow], random: &mut Random) {
        let clients = self.world.load(random);
        for blow in blows {
            tokio::time::sleep(Duration::from_millis(100 + random.below(900))).await;
            self.strike(*blow, random).await;
        }
        tokio::time::sleep(Duration::from_millis(random.below(900))).await;
        self.world.stop(clients).await;
        for host in &mut self.hosts {
            host.ready().await;
        }
        self.world.look(&self.hosts).await;
        self.world.decide_open(&self.hosts, 3, random).await;
        for host in &self.hosts {
            self.world.ask_more(host).await;
        }
        self.assert_lost_seats_are_as_they_were_left();
    }

    async fn strike(&mut self, blow: Blow, random: &mut Random) {
        let (host, moment) = (random.below(2) as usize, Duration::from_millis(random.below(2_000)));
        match blow {
            Blow::KillHost => self.restart(host).await,
            Blow::HoldHost => self.hold(host, moment).await,
            Blow::KillPostgres => {
                block_in_place(|| self.server.kill());
                tokio::time::sleep(moment).await;
                block_in_place(|| self.server.start_again());
            }
            Blow::KillBoth => {
                self.hosts[host].kill();
                block_in_place(|| self.server.kill());
                tokio::time::sleep(moment).await;
                block_in_place(|| self.server.start_again());
                self.restart(host).await;
            }
            Blow::RestartPostgres => {
                block_in_place(|| self.server.stop());
                tokio::time::sleep(moment).await;
                block_in_place(|| self.server.start_again());
            }
            Blow::CutConnections => block_in_place(|| self.server.cut_connections()),
            Blow::HoldPostgres => {
                self.server.pause(true);
                tokio::time::sleep(moment * 6).await;
                self.server.pause(false);
            }
        }
    }

    /// Kills a host, if it was not killed before, and starts it again.
    async fn restart(&mut self, host: usize) {
        let dead = self.hosts.remove(host);
        self.hosts.insert(host, dead.crash_and_restart().await);
        self.tell_clients();
    }

    /// Holds a host still until another has taken it for dead, and `longer`; then it comes back by itself.
    async fn hold(&mut self, host: usize, longer: Duration) {
        let seat = self.until("it has a seat", |it| it.seat(host)).await;
        self.hosts[host].signal("STOP");
        let gone = |it: &Cluster<'_>| it.sql(&format!("SELECT 1 FROM aegis.host WHERE id = {seat}")).is_empty().then_some(());
        self.until("the other host takes it for dead", gone).await;
        let left = self.left_by(&seat);
        tokio::time::sleep(longer).await;
        self.hosts[host].signal("CONT");
        self.until("it has another seat", |it| it.seat(host).filter(|it| *it != seat)).await;
        self.lost.push(Lost { seat, left });
    }

    async fn until<T>(&self, what: &str, look: impl Fn(&Cluster<'_>) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(Instant::now() < until, "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Where a host sits, if it does.
    fn seat(&self, host: usize) -> Option<String> {
        let pid = self.hosts[host].pid();
        let seat = self.sql(&format!("SELECT id FROM aegis.host WHERE name LIKE '%process {pid}' AND id IS NOT NULL"));
        (!seat.is_empty()).then_some(seat)
    }

    /// Runs that were written last from this seat, and their versions.
    fn left_by(&self, seat: &str) -> BTreeMap<String, String> {
        let rows = self.sql(&format!("SELECT id, version FROM aegis.run WHERE host = {seat}"));
        rows.lines().filter_map(|it| it.split_once('|')).map(|(run, version)| (run.into(), version.into())).collect()
    }

    fn assert_lost_seats_are_as_they_were_left(&self) {
        for Lost { seat, left } in &self.lost {
            let now = self.left_by(seat);
            assert!(now.iter().all(|(run, version)| left.get(run) == Some(version)), "written from seat {seat} after it was lost: {now:?}");
            let open = format!("SELECT id FROM aegis.run WHERE host = {seat} AND status IN ('pending', 'running')");
            assert_eq!(self.sql(&open), "", "nobody has taken over what seat {seat} had");
        }
    }

    /// Everything is decided, and every request has made one run.
    async fn end(self, random: &mut Random) -> Tally {
        self.world.look(&self.hosts).await;
        self.world.decide_open(&self.hosts, usize::MAX, random).await;
        self.world.look(&self.hosts).await;
        self.world.count_runs(&self.hosts[0]).await;
        self.assert_lost_seats_are_as_they_were_left();
        self.world.tally()
    }
}

/// What the hosts have said, where something is wrong.
impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        for host in self.hosts.iter().filter(|_| std::thread::panicking()) {
            let log = host.log();
            println!("--- {}", host.url);
            log.lines().skip(log.lines().count().saturating_sub(SAID)).for_each(|it| println!("{it}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_struck_of_two_hosts_and_their_postgres_nothing_is_lost_and_nothing_happens_twice() {
    let (mut random, rounds) = (random(), given("AEGIS_CRASH_ROUNDS").unwrap_or(ROUNDS));
    let (mut deck, mut struck, mut total) = (Deck::default(), BTreeMap::<Blow, u64>::new(), Tally::default());
    let (mut server, mut round) = (block_in_place(Server::start), 0);
    while round < rounds {
        let mut cluster = Cluster::start(&mut server).await;
        for _ in 0..FRESH.min(rounds - round) {
            round += 1;
            let begun = Instant::now();
            let blows: Vec<Blow> = (0..1 + u64::from(random.below(4) == 0)).map(|_| deck.draw(&mut random)).collect();
            blows.iter().for_each(|it| *struck.entry(*it).or_default() += 1);
            cluster.round(&blows, &mut random).await;
            println!("round {round}, {blows:?}: {:.1} s, {}", begun.elapsed().as_secs_f64(), cluster.world.tally());
        }
        total.add(cluster.end(&mut random).await);
        println!("so far {round} rounds, {struck:?}: {total}");
    }
    total.assert_mixed();
}
