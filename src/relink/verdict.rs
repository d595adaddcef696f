//! One rule for failures: what is not about the connection halves the load, down to a single issue; what fails alone is set
//! aside alone.

use crate::policy::Trouble;

/// What is to be done about a step that failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Once more, passing over what others hold.
    GoRound,
    /// Once more, with half of it.
    Halve,
    /// It is this one thing, which is set aside.
    SetAside,
    /// The session is gone, perhaps by what the step did: the next one finds out.
    Suspect,
    /// It is about the connection, the server or the schema as a whole.
    GiveUp,
}

/// How far a step had come that failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct HowFar {
    pub doing: Doing,
    /// It was about one thing.
    pub alone: bool,
    /// The session is gone.
    pub ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// Nothing but relinkd's own tables was involved.
    Looking,
    Reading,
    Writing,
}

impl HowFar {
    pub(super) fn verdict(self, kind: Trouble, careful: bool) -> Verdict {
        match kind {
            Trouble::Held if !careful => Verdict::GoRound,
            Trouble::Connection | Trouble::Server | Trouble::Schema
                if self.ended && self.doing != Doing::Looking =>
            {
                Verdict::Suspect
            }
            // What everything would fail with: names that are not there, rights that are missing, a full disk.
            Trouble::Connection | Trouble::Schema if self.doing != Doing::Writing => Verdict::GiveUp,
            Trouble::Server if self.doing == Doing::Looking => Verdict::GiveUp,
            // A row that the server cannot read, and not the server; or a trigger of the bot's that raises the very same.
            _ if !self.alone => Verdict::Halve,
            _ if self.doing == Doing::Looking => Verdict::GiveUp,
            _ => Verdict::SetAside,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_everybody_stops_the_work_and_what_is_about_one_thing_sets_that_aside() {
        let [looking, reading, writing] = [Doing::Looking, Doing::Reading, Doing::Writing]
            .map(|doing| HowFar { doing, alone: false, ended: false });
        let alone = |it| HowFar { alone: true, ..it };
        let ended = |it| HowFar { ended: true, ..it };
        for (kind, how_far, verdict) in [
            (Trouble::Held, writing, Verdict::GoRound),
            (Trouble::Work, writing, Verdict::Halve),
            (Trouble::Work, alone(writing), Verdict::SetAside),
            (Trouble::Work, alone(looking), Verdict::GiveUp),
            (Trouble::Schema, looking, Verdict::GiveUp),
            (Trouble::Schema, reading, Verdict::GiveUp),
            // A trigger of the bot's raises it.
            (Trouble::Schema, writing, Verdict::Halve),
            (Trouble::Schema, alone(writing), Verdict::SetAside),
            (Trouble::Server, looking, Verdict::GiveUp),
            (Trouble::Server, alone(reading), Verdict::SetAside),
            (Trouble::Connection, ended(looking), Verdict::GiveUp),
            (Trouble::Connection, ended(writing), Verdict::Suspect),
        ] {
            assert_eq!(how_far.verdict(kind, false), verdict, "{kind:?}, {how_far:?}");
        }
        assert_eq!(alone(writing).verdict(Trouble::Held, true), Verdict::SetAside);
    }
}
