//! relinkd's daemons without clocks and sockets: two bots, two daemons that relink and take drop files, a command and an
//! operator, each a state machine, against a modelled Postgres; a seed says who takes the next step. What has no state
//! here (what a link looks like, sealing, fingerprints, pauses, the poller's beat) has tests of its own.
//! docs/reliability.md says which part of the code each part of this stands for.

mod bot;
mod intake;
mod postgres;
mod relinker;

use crate::chance::Chance;
use bot::Bot;
use intake::{File, Intake, Spool};
use postgres::{DAEMONS, ISSUES, Postgres, Token, USERS};
use relinker::Relinker;
use std::fmt::Write as _;

/// What to get wrong, to see that it is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Variant {
    AsBuilt,
    /// A step reads tokens before it has the locks of their users.
    LockAfterRead,
    /// Links are written whatever has become of them since they were read.
    BlindWrite,
    /// A link that is locked is forgotten.
    ForgetHeld,
    /// A daemon that got the sleeper's lock sleeps, without a last look.
    NoLastLook,
    /// `sync` has an engine of its own, and takes what is in the queue of a user it has walked for done.
    TwoEngines,
    /// A file is entered in the ledger before it is moved out of `incoming/`.
    ClaimBeforeRename,
    /// The ledger's row goes before the file.
    ForgetBeforeRemove,
    /// A file is accepted in the transaction in which one before it was refused.
    AcceptAfterRefusal,
    /// Assignments do not go one at a time.
    NoAssignLock,
}

pub(crate) struct Rules {
    pub(crate) variant: Variant,
    /// Daemons may be killed. Then, and only then, the poll counts: without deaths the doorbell has to be enough.
    pub(crate) poll: bool,
    /// Issues of a walk that a step looks at.
    pub(crate) chunk: usize,
}

/// Steps after which a schedule is taken to have no end.
const ENDLESS: usize = 20_000;
const ACTORS: [&str; 10] = [
    "bot 1",
    "bot 2",
    "relinker 1",
    "relinker 2",
    "intake 1",
    "intake 2",
    "sync",
    "operator",
    "time",
    "killer",
];

struct World {
    chance: Chance,
    rules: Rules,
    pg: Postgres,
    bots: [Bot; 2],
    relinkers: [Relinker; DAEMONS],
    intakes: [Intake; DAEMONS],
    spools: [Spool; DAEMONS],
    sync: Option<Relinker>,
    queued_everybody: bool,
    files_left: usize,
    dropped: usize,
    kills_left: usize,
    last_token: Token,
    /// How often each file took effect.
    effects: Vec<usize>,
    /// The last file of each spool that took effect for each user.
    last_effect: [[Option<usize>; USERS]; DAEMONS],
    overtaken: bool,
}

/// One schedule from its seed. What went wrong, if anything did; every step goes into the log, if one is kept.
pub(crate) fn run(seed: u64, variant: Variant, mut log: Option<&mut String>) -> Result<usize, &'static str> {
    let mut world = World::new(seed, variant);
    let mut actor = 0;
    for steps in 0..ENDLESS {
        // Mostly the same one goes on: what matters is a long sleep in a bad place.
        if world.chance.one_in(4) {
            actor = world.chance.below(ACTORS.len());
        }
        let Some(who) = (actor..actor + ACTORS.len()).map(|it| it % ACTORS.len()).find(|it| world.step(*it))
        else {
            return world.judge_the_end().map(|()| steps);
        };
        actor = who;
        if let Some(log) = log.as_deref_mut() {
            writeln!(log, "{steps:4} {:10} {}", ACTORS[who], world.state(who)).unwrap();
        }
        world.judge()?;
    }
    Err("it does not come to an end")
}

impl World {
    fn new(seed: u64, variant: Variant) -> Self {
        let mut chance = Chance::new(seed);
        let (mut last_token, mut ids) = (0, 0);
        let deaths = chance.one_in(2);
        let bots = [0, 1].map(|session| Bot::new(session, &mut chance, &mut last_token, &mut ids));
        Self {
            rules: Rules { variant, poll: deaths, chunk: 1 + chance.below(2) },
            pg: Postgres::default(),
            bots,
            relinkers: [0, 1].map(|daemon| Relinker::new(2 + daemon, Some(daemon))),
            intakes: [0, 1].map(|daemon| Intake::new(4 + daemon)),
            spools: [0, 1].map(Spool::of),
            sync: chance.one_in(3).then(|| Relinker::new(6, None)),
            queued_everybody: false,
            files_left: chance.below(6),
            dropped: 0,
            kills_left: if deaths { 1 + chance.below(3) } else { 0 },
            last_token,
            effects: Vec::new(),
            last_effect: [[None; USERS]; DAEMONS],
            overtaken: false,
            chance,
        }
    }

    /// One step of an actor's; false where there is none to take.
    fn step(&mut self, actor: usize) -> bool {
        let coin = self.chance.one_in(2);
        match actor {
            0 | 1 => self.bots[actor].step(&mut self.pg),
            2 | 3 => self.relinkers[actor - 2].step(&mut self.pg, &self.rules, coin),
            4 | 5 => {
                let daemon = actor - 4;
                let committing: Vec<File> = self.intakes[daemon].committing().collect();
                let done = self.intakes[daemon].step(&mut self.pg, &mut self.spools[daemon], &self.rules);
                for file in committing {
                    self.effects[file.number] += 1;
                    let last = self.last_effect[daemon][file.user].replace(file.number);
                    self.overtaken |= last.is_some_and(|last| last > file.number);
                }
                done
            }
            6 => self.sync(),
            7 => self.drop_file(),
            8 => {
                let deferred = self.pg.queue.iter_mut().filter(|change| change.deferred);
                deferred.map(|change| change.deferred = false).count() > 0
            }
            _ => self.kill(coin),
        }
    }

    /// `relinkd sync`: queues everybody, rings, and works on the queue until it is empty.
    fn sync(&mut self) -> bool {
        let Some(sync) = &mut self.sync else { return false };
        if self.queued_everybody {
            return sync.step(&mut self.pg, &self.rules, false);
        }
        for user in 0..USERS {
            let about = postgres::About::Walk(0);
            self.pg.put(6, postgres::Change { place: 0, user, about, deferred: false });
        }
        self.pg.commit(6);
        self.pg.ring(6);
        self.pg.end(6);
        self.queued_everybody = true;
        true
    }

    fn drop_file(&mut self) -> bool {
        if self.files_left == 0 {
            return false;
        }
        self.files_left -= 1;
        let token = match self.chance.below(4) {
            0 => 0,
            // One that the bot has given, or will give, to somebody.
            1 | 2 => self.chance.below(self.last_token + 1),
            _ => 1_000 + self.chance.below(2),
        };
        let file = File { number: self.effects.len(), user: self.chance.below(USERS), token };
        self.effects.push(0);
        self.spools[self.chance.below(DAEMONS)].incoming.push(file);
        self.dropped += 1;
        true
    }

    /// SIGKILL, and a new start: what the server has of the daemon's sessions ends, the disk stays.
    fn kill(&mut self, first: bool) -> bool {
        if self.kills_left == 0 {
            return false;
        }
        self.kills_left -= 1;
        let daemon = usize::from(!first);
        for session in [2 + daemon, 4 + daemon] {
            self.pg.end(session);
        }
        self.pg.unlock_bell(daemon);
        self.pg.hears(daemon);
        self.relinkers[daemon] = Relinker::new(2 + daemon, Some(daemon));
        self.intakes[daemon] = Intake::new(4 + daemon);
        true
    }

    /// What must hold at every moment.
    fn judge(&self) -> Result<(), &'static str> {
        let tokens = self.pg.tokens();
        let twice = |user: &usize| tokens[*user] >= 1_000 && tokens[..*user].contains(&tokens[*user]);
        if (0..USERS).any(|user| twice(&user)) {
            return Err("a token was given to a second user");
        }
        if self.effects.iter().any(|times| *times > 1) {
            return Err("a file took effect twice");
        }
        if self.overtaken {
            return Err("a file took effect after one that arrived later for the same user");
        }
        Ok(())
    }

    /// What must hold when nobody has anything left to do.
    fn judge_the_end(&self) -> Result<(), &'static str> {
        let rests = self.relinkers.iter().chain(&self.sync).all(Relinker::rests);
        let all_done = self.spools.iter().all(|it| it.incoming.is_empty() && it.claimed.is_empty());
        let tokens = self.pg.tokens();
        let mut issues = (0..ISSUES).filter_map(|id| self.pg.issue(id));
        let taken = |file: &File| self.effects[file.number] == 1;
        let fate_is_right =
            self.spools.iter().all(|it| it.applied.iter().all(taken) && !it.rejected.iter().any(taken));
        let fates: usize = self.spools.iter().map(|it| it.applied.len() + it.rejected.len()).sum();
        match () {
            () if !self.pg.queue.is_empty() => Err("everybody sleeps, and changes wait"),
            () if !rests => Err("somebody is stuck"),
            () if issues.any(|issue| issue.carries != tokens[issue.user]) => Err("a link is wrong"),
            () if !all_done || !self.pg.ledger.is_empty() => Err("a file or a row of the ledger is left"),
            () if fates != self.dropped || !fate_is_right => Err("a file has another fate than its tokens"),
            () => Ok(()),
        }
    }

    fn state(&self, actor: usize) -> String {
        match actor {
            0 | 1 => format!("then {}", self.bots[actor].state()),
            2 | 3 => format!("then {}", self.relinkers[actor - 2].state()),
            4 | 5 => format!("then {}", self.intakes[actor - 4].state()),
            6 => self.sync.as_ref().map_or_else(String::new, |sync| format!("then {}", sync.state())),
            _ => String::new(),
        }
    }
}
