//! Several hosts and what they share: a clock, seats with leases, and who has which run. The rules are those by which `aegis-store` keeps them in
//! Postgres, told once more: here they meet hosts that stop for a while, die and come back, whose own clocks are minutes apart and are set.

use super::{Case, Held, World};
use crate::dice::Dice;
use aegis_core::RunId;
use std::collections::{BTreeMap, BTreeSet};

/// Hosts of one world, at most.
pub(super) const MOST: usize = 3;
/// Milliseconds for which a host may be silent before others may take it for dead.
const LEASE: u64 = 600;
/// Between two signs of life, where nothing delays them.
const BEAT: u64 = 50;
/// Whoever has asked for so long waits for no answer any more.
const ANSWER: u64 = 300;
/// By so much a measured clock may be wrong: half the time that the question took.
const INACCURATE: u64 = 20;
/// Clocks of machines differ by up to ten minutes.
const APART: u64 = 600_000;

/// A place among the hosts.
struct Seat {
    /// From then on others may take it for dead, by the store's clock.
    lease: u64,
    /// When the world saw the last sign of life.
    beaten: u64,
}

/// What the store knows of hosts.
#[derive(Default)]
pub(super) struct Seats {
    /// What time it is. Nobody's machine goes by it.
    pub(super) clock: u64,
    /// Numbers that were given out: none is given twice.
    given: u64,
    taken: BTreeMap<u64, Seat>,
    /// Whose runs are to be taken over.
    dead: BTreeSet<u64>,
    /// Since when hosts have been able to reach the store.
    within_reach: u64,
    /// Every seat that the world saw taken away.
    lost: BTreeSet<u64>,
    /// Claims that are still on their way, by the seat for which they are, and until when they are to be carried out.
    under_way: Vec<(u64, u64)>,
}

impl Seats {
    pub(super) fn new(clock: u64) -> Seats {
        Seats { clock, within_reach: clock, ..Seats::default() }
    }

    fn take(&mut self) -> u64 {
        self.given += 1;
        self.taken.insert(self.given, Seat { lease: self.clock + LEASE, beaten: self.clock });
        self.given
    }

    /// Whether there was still a seat to prolong.
    fn beat(&mut self, seat: u64) -> bool {
        let clock = self.clock;
        self.taken.get_mut(&seat).map(|it| *it = Seat { lease: clock + LEASE, beaten: clock }).is_some()
    }

    /// Takes those for dead whose leases are over at `now`, and says how many.
    fn bury(&mut self, now: u64) -> usize {
        let late: Vec<u64> = self.taken.iter().filter(|it| it.1.lease < now).map(|it| *it.0).collect();
        for seat in &late {
            let silent = self.taken.remove(seat).expect("it was there").beaten;
            assert!(silent.max(self.within_reach) + LEASE < self.clock, "a host is taken for dead that was not silent for so long");
            self.dead.insert(*seat);
            self.lost.insert(*seat);
        }
        assert!(self.taken.values().all(|it| it.beaten + LEASE >= self.clock), "a dead host is not noticed");
        late.len()
    }

    /// Whether a host that believes to sit there may still write.
    pub(super) fn may_write(&self, seat: u64) -> bool {
        self.taken.contains_key(&seat)
    }

    /// The dead write nothing more: whose last run was taken over has none for ever.
    fn forget(&mut self, owners: &BTreeSet<u64>) {
        self.dead.retain(|it| owners.contains(it));
    }
}

/// A host: a process on a machine.
pub(super) struct Host {
    /// None before it has joined.
    seat: Option<u64>,
    /// What its machine's clock is ahead of the store's, and what it has measured of that.
    skew: i64,
    measured: i64,
    /// The machine's clock was set since it was measured.
    was_set: bool,
    /// Until then nothing of it moves.
    awake_at: u64,
    next_beat: u64,
    /// When it was last in touch with the store, and since when it has been without a gap.
    touched: u64,
    since: u64,
    /// Runs that the store has handed to it.
    todo: BTreeSet<RunId>,
    /// Runs of which it does not know whether its commit was written.
    doubtful: BTreeSet<RunId>,
    /// Runs may have been handed to it of which it was not told.
    claim_in_doubt: bool,
    /// Until then it waits for the answer to a claim.
    claims_again: u64,
}

impl Host {
    pub(super) fn new(dice: &mut Dice) -> Host {
        Host {
            seat: None,
            skew: (dice.roll(2 * APART)).cast_signed() - APART.cast_signed(),
            measured: 0,
            was_set: false,
            awake_at: 0,
            next_beat: 0,
            touched: 0,
            since: 0,
            todo: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            claim_in_doubt: false,
            claims_again: 0,
        }
    }
}

/// Time, and signs of life.
impl World {
    pub(super) fn all_join(&mut self) {
        (0..self.hosts.len()).for_each(|host| self.beat(host));
        self.now = self.clock_of(self.host);
    }

    pub(super) fn time_passes(&mut self) {
        let step = match self.dice.roll(30) {
            0 if !self.calm => {
                self.set_a_clock();
                0
            }
            1 => 2_000,
            _ => self.dice.roll(100),
        };
        self.seats.clock += step;
        if step > LEASE {
            // So long the store was out of everybody's reach.
            self.seats.within_reach = self.seats.clock;
        }
        self.now = self.clock_of(self.host);
    }

    fn set_a_clock(&mut self) {
        let at = self.dice.index(self.hosts.len());
        let back = !self.dice.one_in(6);
        let by = self.dice.roll(if back { 5_000 } else { 1_500 }).cast_signed();
        let host = &mut self.hosts[at];
        (host.skew, host.was_set) = (if back { host.skew - by } else { host.skew + by }, true);
        self.seen.hit(if back { "time jumps back" } else { "time jumps forward" });
    }

    fn machine_of(&self, host: usize) -> u64 {
        self.seats.clock.saturating_add_signed(self.hosts[host].skew)
    }

    /// What a host takes for the time: what its machine says, corrected by what it has measured.
    pub(super) fn clock_of(&self, host: usize) -> u64 {
        let now = self.machine_of(host).saturating_add_signed(-self.hosts[host].measured);
        let off = now.abs_diff(self.seats.clock);
        assert!(
            self.hosts[host].was_set || self.hosts[host].seat.is_none() || off <= INACCURATE,
            "a host goes by a clock of its own: {off} ms"
        );
        now
    }

    pub(super) fn hearts_beat(&mut self) {
        for host in 0..self.hosts.len() {
            let due = self.is_awake(host) && self.hosts[host].next_beat <= self.seats.clock;
            // Others of its tasks may run before its heart does.
            if due && (self.calm || !self.dice.one_in(3)) {
                self.beat(host);
            }
        }
    }

    fn is_awake(&self, host: usize) -> bool {
        self.calm || self.hosts[host].awake_at <= self.seats.clock
    }

    fn beat(&mut self, host: usize) {
        self.measure(host);
        let clock = self.seats.clock;
        match self.hosts[host].seat {
            Some(seat) if self.seats.beat(seat) => {}
            _ => self.join(host),
        }
        let it = &mut self.hosts[host];
        if clock - it.touched > LEASE / 2 {
            it.since = clock;
        }
        (it.touched, it.next_beat) = (clock, clock + BEAT);
        // Where nobody could reach the store, nobody is dead yet: who has just come back gives the others time to do so, too.
        let steady = clock - it.since > LEASE;
        if steady {
            let buried = self.seats.bury(self.seats.clock);
            (0..buried).for_each(|_| self.seen.hit("a host is taken for dead"));
        }
    }

    fn measure(&mut self, host: usize) {
        let wrong = self.dice.roll(2 * INACCURATE).cast_signed() - INACCURATE.cast_signed();
        let it = &mut self.hosts[host];
        (it.measured, it.was_set) = (it.skew + wrong, false);
    }

    /// It takes a seat, the first one or another one.
    fn join(&mut self, host: usize) {
        if self.hosts[host].seat.is_some() {
            self.seen.hit("a host wakes up without its seat");
        }
        self.hosts[host].seat = Some(self.seats.take());
    }
}

/// Which host acts, and what becomes of it.
impl World {
    /// One that may act now. The one that has the case acts more often than others.
    pub(super) fn pick_host(&mut self, case: usize) -> Option<usize> {
        let holder = self.cases[case].hands.iter().position(Option::is_some).filter(|_| self.dice.one_in(2));
        let host = holder.unwrap_or_else(|| self.dice.index(self.hosts.len()));
        if !self.is_awake(host) || self.hosts[host].seat.is_none() {
            return None;
        }
        if !self.calm && self.dice.one_in(80) {
            let awake_at = self.seats.clock + self.dice.roll(4 * LEASE);
            // When it wakes up, others of its tasks may move before its heart does.
            (self.hosts[host].awake_at, self.hosts[host].next_beat) = (awake_at, awake_at + self.dice.roll(4 * BEAT));
            self.seen.hit("a host stops for a while");
            return None;
        }
        self.host = host;
        self.now = self.clock_of(host);
        Some(host)
    }

    /// The process ends, and another one is started. What it held is gone, and its seat stays until somebody misses it.
    pub(super) fn die(&mut self, host: usize) {
        self.cases.iter_mut().for_each(|it| it.hands[host] = None);
        let it = &mut self.hosts[host];
        (it.seat, it.claim_in_doubt, it.claims_again, it.touched, it.next_beat) = (None, false, 0, 0, 0);
        it.todo.clear();
        it.doubtful.clear();
        it.awake_at = self.seats.clock + self.dice.roll(LEASE);
    }

    pub(super) fn seat(&self) -> u64 {
        self.hosts[self.host].seat.expect("only those act that have joined")
    }

    /// Whether this host takes up a run that nobody here holds: one that was handed to it, or that waits for people, or is over. In some worlds
    /// hosts also take what is not theirs.
    pub(super) fn takes(&mut self, case: &Case) -> bool {
        let Some(stored) = &case.stored else { return false };
        let rests = !is_unfinished(&stored.held);
        let handed = self.hosts[self.host].todo.remove(&stored.held.run.id());
        handed || rests || (self.strays && !self.calm && self.dice.one_in(2))
    }

    /// It does not know whether this was written; when it asks the next time for what the dead have left, it learns of it.
    pub(super) fn doubts(&mut self, run: RunId) {
        self.hosts[self.host].doubtful.insert(run);
    }

    /// It has no seat any more, and takes another one.
    pub(super) fn rejoin(&mut self) {
        self.measure(self.host);
        self.join(self.host);
        self.now = self.clock_of(self.host);
    }

    /// Between the beginning of a commit and its end the heart may find that the seat is gone, and take over what was left.
    pub(super) fn beats_meanwhile(&mut self, case: &mut Case) {
        if self.dice.one_in(2) {
            self.beat(self.host);
            self.now = self.clock_of(self.host);
            self.claim(Some(case));
        }
    }

    /// Takes over what the dead have left; `also` is not among the others at the moment.
    pub(super) fn claim(&mut self, mut also: Option<&mut Case>) {
        let (seat, clock) = (self.seat(), self.seats.clock);
        if !self.seats.may_write(seat) || clock < self.hosts[self.host].claims_again {
            return;
        }
        if !self.calm && !self.seats.dead.is_empty() && self.dice.one_in(3) {
            self.seats.under_way.push((seat, clock + ANSWER / 2));
            let host = &mut self.hosts[self.host];
            (host.claim_in_doubt, host.claims_again) = (true, clock + ANSWER);
            return;
        }
        self.learn(seat, also.as_deref_mut());
        if self.dice.one_in(3) {
            self.claims_arrive();
        }
        self.claim_from_the_dead(seat, also);
    }

    /// What came of commits and claims that had no answer.
    fn learn(&mut self, seat: u64, also: Option<&mut Case>) {
        let host = &mut self.hosts[self.host];
        for case in self.cases.iter_mut().chain(also) {
            let Some(stored) = case.stored.as_ref().filter(|it| is_unfinished(&it.held) && it.owner == seat) else { continue };
            let run = stored.held.run.id();
            if host.claim_in_doubt || host.doubtful.contains(&run) {
                host.todo.insert(run);
            }
        }
        host.doubtful.clear();
        host.claim_in_doubt = false;
    }

    fn claim_from_the_dead(&mut self, seat: u64, also: Option<&mut Case>) {
        let (lost, mut owners, mut claimed) = (self.dice.one_in(20), BTreeSet::new(), 0);
        let host = &mut self.hosts[self.host];
        for (case, busy) in self.cases.iter_mut().map(|it| (it, false)).chain(also.map(|it| (it, true))) {
            let driven = busy || case.hands[self.host].is_some();
            let Some(stored) = case.stored.as_mut().filter(|it| is_unfinished(&it.held)) else { continue };
            // What somebody else has in hand at this moment is left to the next time.
            if self.seats.dead.contains(&stored.owner) && (busy || self.calm || !self.dice.one_in(6)) {
                stored.owner = seat;
                claimed += 1;
                self.seen.hit(if driven { "handed what it drives" } else { "handed over" });
                // Also what this host drives: a commit of it that began from the seat that was lost may be under way, and will be refused.
                if !lost {
                    host.todo.insert(stored.held.run.id());
                }
            }
            owners.insert(stored.owner);
        }
        host.claim_in_doubt = lost && claimed > 0;
        if claimed == 0 {
            self.seats.forget(&owners);
        }
    }

    /// The store comes to claims that were sent to it before.
    pub(super) fn claims_arrive(&mut self) {
        if self.seats.under_way.is_empty() || !self.dice.one_in(10) {
            return;
        }
        for (seat, until) in std::mem::take(&mut self.seats.under_way) {
            let in_time = self.seats.clock < until;
            self.seen.hit(if in_time { "a claim arrives late" } else { "a claim arrives too late" });
            // Whoever has asked has looked for what it may have found once it gave up waiting, and does not look again.
            if in_time && self.seats.may_write(seat) {
                let stored = self.cases.iter_mut().filter_map(|it| it.stored.as_mut()).filter(|it| is_unfinished(&it.held));
                stored.filter(|it| self.seats.dead.contains(&it.owner)).for_each(|it| it.owner = seat);
            }
        }
    }

    pub(super) fn check_writer(&self, seat: u64) {
        assert!(!self.seats.lost.contains(&seat), "a host writes from seat {seat}, which it has lost");
    }

    /// Whoever has an unfinished run lives, or will be missed.
    pub(super) fn check_owners(&self) {
        for stored in self.cases.iter().filter_map(|it| it.stored.as_ref()).filter(|it| is_unfinished(&it.held)) {
            let known = self.seats.taken.contains_key(&stored.owner) || self.seats.dead.contains(&stored.owner);
            assert!(known, "nobody will ever take over what seat {} has", stored.owner);
        }
    }
}

/// Whether it goes on by itself: who has it has to drive it.
fn is_unfinished(held: &Held) -> bool {
    let status = held.run.status();
    !status.is_final() && status != aegis_core::Status::Paused
}
