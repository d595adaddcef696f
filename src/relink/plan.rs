//! From links as read to the rewrites they need. Asks fingerprints where a rule wants to know whose token a link carries;
//! writes nothing.

use super::{RelinkError, Rules, Users, Warning};
use crate::db::issues::{Back, IssueRow, Rewrite};
use crate::db::{DbError, Tx, fingerprints};
use crate::envelope::{Fingerprint, TokenState};
use crate::link::{self, Tokenless};
use crate::token::Token;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// Which tokens go from a link, whatever the setting.
#[derive(Debug, Clone, Default)]
pub(crate) enum Strip {
    /// None.
    #[default]
    Nothing,
    /// Those that the user no longer has.
    These(Arc<HashSet<Token>>),
    /// Any.
    Everything,
}

impl Strip {
    /// What a user's change says: `everything`, or the sealed tokens that the user no longer has. One of them that does
    /// not open may be any: then every token goes, which is the safe side.
    pub(crate) fn of_change(rules: &Rules, telegram_id: i64, everything: bool, former: &[String]) -> Self {
        if everything {
            return Self::Everything;
        }
        if former.is_empty() {
            return Self::Nothing;
        }
        let opened: Option<HashSet<Token>> = former
            .iter()
            .map(|sealed| match rules.keyring.read(Some(sealed), telegram_id, &rules.token_rule) {
                TokenState::Sealed { token, .. } => Some(token),
                TokenState::None | TokenState::Plaintext(_) | TokenState::Unusable(_) => None,
            })
            .collect();
        opened.map_or(Self::Everything, |tokens| Self::These(Arc::new(tokens)))
    }

    fn takes(&self, carried: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::These(tokens) => tokens.iter().any(|token| token.expose() == carried),
            Self::Everything => true,
        }
    }
}

/// An issue to look at.
pub(crate) struct Due {
    /// The issue as read.
    pub issue: IssueRow,
    /// Which tokens go from it.
    pub strip: Strip,
    /// What goes back into the queue where it cannot be written.
    pub back: Back,
}

impl Due {
    /// An issue of which nothing is known but how it stands.
    pub(crate) fn as_it_stands(issue: IssueRow) -> Self {
        Self { issue, strip: Strip::Nothing, back: Back::default() }
    }
}

/// What is to be written, and what is to be said.
#[derive(Default)]
pub(crate) struct Plan {
    /// Links to write.
    pub rewrites: Vec<Rewrite>,
    /// What does not fit.
    pub warnings: Vec<Warning>,
}

/// Decides for each issue. An issue whose user is not among `users` is somebody else's by now: left alone.
pub(crate) async fn plan(
    tx: &Tx<'_>,
    rules: &Rules,
    users: &Users,
    due: Vec<Due>,
) -> Result<Plan, RelinkError> {
    let mut plan = Plan::default();
    let mut suspects = Vec::new();
    for due in due {
        let state = state_of(users, due.issue.telegram_id);
        let (Some(state), Some(old)) = (state, due.issue.url.as_deref()) else { continue };
        match look(rules, state, old, &due.strip) {
            Look::Leave => {}
            Look::Write(new) => plan.add(rules, due, new),
            Look::Suspect(token) => suspects.push((due, state, token)),
        }
    }
    strip_foreign_tokens(tx, rules, suspects, &mut plan).await?;
    Ok(plan)
}

/// The state of an issue's token; none for a user of whom nothing was read.
fn state_of(users: &Users, telegram_id: Option<i64>) -> Option<&TokenState> {
    match telegram_id {
        None => Some(&TokenState::None),
        Some(id) => users.get(&id).map(|user| &user.state),
    }
}

/// What becomes of a link, as far as it tells by itself.
#[derive(PartialEq, Eq)]
enum Look {
    Leave,
    Write(String),
    /// The rules leave it alone, and it carries this token: only fingerprints tell whose it is.
    Suspect(Token),
}

fn look(rules: &Rules, state: &TokenState, written: &str, strip: &Strip) -> Look {
    let carried = rules.portal.carried(written);
    let strip = carried.as_ref().is_some_and(|token| strip.takes(token));
    match link::decide(&rules.portal, written, state, rules.tokenless, strip) {
        Some(new) => Look::Write(new),
        None if left_alone(rules, state) => {
            carried.and_then(|text| Token::parse(&text).ok()).map_or(Look::Leave, Look::Suspect)
        }
        None => Look::Leave,
    }
}

/// Whether the rules leave this user's links as they are.
fn left_alone(rules: &Rules, state: &TokenState) -> bool {
    match state {
        TokenState::Sealed { .. } | TokenState::Plaintext(_) => false,
        TokenState::None => rules.tokenless == Tokenless::Keep,
        TokenState::Unusable(_) => true,
    }
}

/// Whether a token that these users had goes from a link of this one, whom the rules leave alone.
fn is_foreign(state: &TokenState, telegram_id: Option<i64>, had_it: &BTreeSet<i64>) -> bool {
    match (state, telegram_id) {
        // The value may be the very token, in a form that cannot be read at the moment.
        (TokenState::Unusable(_), Some(id)) if had_it.contains(&id) => false,
        _ => !had_it.is_empty(),
    }
}

/// Where the rules leave links alone, a link that carries a token which relinkd knows to be another user's, or one that
/// this user no longer has, loses it all the same: such a link is a change that no trigger saw.
async fn strip_foreign_tokens(
    tx: &Tx<'_>,
    rules: &Rules,
    suspects: Vec<(Due, &TokenState, Token)>,
    plan: &mut Plan,
) -> Result<(), DbError> {
    if suspects.is_empty() {
        return Ok(());
    }
    let prints: Vec<Vec<Fingerprint>> =
        suspects.iter().map(|(.., token)| rules.keyring.fingerprints_ever(token)).collect();
    let all: Vec<Fingerprint> = prints.iter().flatten().copied().collect();
    let known = fingerprints::holders(tx, &all).await?;
    for ((due, state, _), prints) in suspects.into_iter().zip(prints) {
        let had_it: BTreeSet<i64> =
            prints.iter().filter_map(|one| known.get(&one[..])).flatten().copied().collect();
        if is_foreign(state, due.issue.telegram_id, &had_it)
            && let Some(old) = due.issue.url.as_deref()
            && let Some(new) = link::decide(&rules.portal, old, state, rules.tokenless, true)
        {
            plan.add(rules, due, new);
        }
    }
    Ok(())
}

impl Plan {
    fn add(&mut self, rules: &Rules, due: Due, new: String) {
        let Due { issue, back, .. } = due;
        match rules.url_limit {
            Some(limit) if !fits(&new, limit) => {
                self.warnings.push(Warning::NoRoomForLink { issue_id: issue.id, limit });
            }
            _ => self.rewrites.push(Rewrite {
                issue_id: issue.id,
                telegram_id: issue.telegram_id,
                place: issue.place,
                old: issue.url.unwrap_or_default(),
                new,
                back,
            }),
        }
    }
}

/// Whether a column of so many characters takes this.
fn fits(link: &str, limit: usize) -> bool {
    link.chars().count() <= limit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Key, KeyId, Keyring, OpenFault, UnusableReason};
    use crate::link::{Origin, Portal};
    use crate::token::TokenRule;

    const PLAIN: &str = "https://a.example/issues/1";
    const WITH_OLD: &str = "https://a.example/login?token=OLD&redirect=/issues/1";

    fn rules(tokenless: Tokenless) -> Rules {
        let id = KeyId::parse("k").unwrap();
        let ring = Keyring::new(id.clone(), [(id, Key::generate().unwrap())].into(), [].into()).unwrap();
        Rules {
            portal: Portal::new(Origin::parse("https://a.example").unwrap(), vec![]),
            tokenless,
            token_rule: TokenRule::default(),
            seal_plaintext: true,
            keyring: Arc::new(ring),
            url_limit: None,
            token_limit: None,
            portal_fingerprint: String::new(),
            missing_keys: None,
        }
    }

    fn unusable() -> TokenState {
        TokenState::Unusable(UnusableReason::Sealed(OpenFault::DoesNotOpen))
    }

    fn token(text: &str) -> Token {
        Token::parse(text).unwrap()
    }

    #[test]
    fn a_change_takes_the_tokens_it_names_and_every_one_where_it_cannot_tell() {
        let rules = rules(Tokenless::Keep);
        let seal = |text, id| rules.keyring.seal(&token(text), id).unwrap();
        let strip = |everything, former: &[String]| Strip::of_change(&rules, 7, everything, former);
        let takes = |strip: Strip| ["OLD", "other"].map(|carried| strip.takes(carried));
        assert_eq!(takes(strip(false, &[])), [false, false]);
        assert_eq!(takes(strip(true, &[])), [true, true]);
        assert_eq!(takes(strip(false, &[seal("OLD", 7), seal("third", 7)])), [true, false]);
        assert_eq!(takes(strip(false, &[seal("third", 7), seal("OLD", 8)])), [true, true], "does not open");
        assert_eq!(takes(strip(false, &["plaintext".to_owned()])), [true, true]);
        assert_eq!(takes(Strip::default()), [false, false]);
    }

    #[test]
    fn a_link_that_is_left_alone_is_suspect_for_its_token() {
        let (keep, plain) = (rules(Tokenless::Keep), rules(Tokenless::Plain));
        let old = || Strip::These(Arc::new([token("OLD")].into()));
        let plain_link = || Look::Write(PLAIN.to_owned());
        let suspect = || Look::Suspect(token("OLD"));
        for (rules, state, written, strip, expected) in [
            (&keep, TokenState::None, WITH_OLD, Strip::Nothing, suspect()),
            (&keep, TokenState::None, WITH_OLD, old(), plain_link()),
            (&keep, TokenState::None, PLAIN, Strip::Everything, Look::Leave),
            (&plain, TokenState::None, WITH_OLD, Strip::Nothing, plain_link()),
            (&plain, TokenState::None, PLAIN, Strip::Nothing, Look::Leave),
            (&plain, TokenState::None, "https://b.example/issues/1", Strip::Everything, Look::Leave),
            (&plain, unusable(), WITH_OLD, Strip::Nothing, suspect()),
            (&plain, unusable(), WITH_OLD, Strip::Everything, plain_link()),
            (&keep, TokenState::Plaintext(token("OLD")), WITH_OLD, old(), Look::Leave),
            (
                &keep,
                TokenState::Plaintext(token("NEW")),
                WITH_OLD,
                Strip::Nothing,
                Look::Write(WITH_OLD.replace("OLD", "NEW")),
            ),
            // A token that could be nobody's.
            (
                &keep,
                TokenState::None,
                "https://a.example/login?token=%20&redirect=/issues/1",
                Strip::Nothing,
                Look::Leave,
            ),
        ] {
            assert!(look(rules, &state, written, &strip) == expected, "{written} {strip:?}");
        }
    }

    #[test]
    fn a_token_is_foreign_unless_it_may_be_the_users_own() {
        let had_it = |ids: &[i64]| ids.iter().copied().collect::<BTreeSet<_>>();
        for (state, id, had_it, foreign) in [
            (TokenState::None, Some(7), had_it(&[]), false),
            (TokenState::None, Some(7), had_it(&[7]), true),
            (TokenState::None, None, had_it(&[8]), true),
            (unusable(), Some(7), had_it(&[]), false),
            (unusable(), Some(7), had_it(&[7, 8]), false),
            (unusable(), Some(7), had_it(&[8]), true),
        ] {
            assert_eq!(is_foreign(&state, id, &had_it), foreign, "{state:?} {id:?} {had_it:?}");
        }
    }

    #[test]
    fn a_column_takes_as_many_characters_as_it_says() {
        assert!(fits("ключ", 4) && !fits("ключ", 3) && fits("", 0));
    }
}
