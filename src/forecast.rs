//! What relinkd is about to change, counted: the end of `install`.

use crate::config::Settings;
use crate::db::Session;
use crate::link::{Shape, Tokenless};
use crate::relink::{Preview, RelinkError, Rules};
use crate::survey::{self, Survey};

/// The counts.
#[derive(Debug, Default)]
pub(crate) struct Forecast {
    /// Links that get a token.
    pub gain: usize,
    /// Login links that become plain.
    pub lose: usize,
    /// Links that change otherwise: another host, another path.
    pub other: usize,
    /// The tokens.
    pub tokens: Survey,
}

/// Looks at every link and every token.
pub(crate) async fn forecast(session: &mut Session, rules: &Rules) -> Result<Forecast, RelinkError> {
    let mut forecast = Forecast {
        tokens: survey::survey(session, Some(&rules.keyring), &rules.token_rule).await?,
        ..Forecast::default()
    };
    let mut preview = Preview::of_everybody();
    while let Some(page) = preview.next(session, rules).await? {
        for rewrite in &page.plan.rewrites {
            let (old, new) = (rules.portal.read(&rewrite.old), rules.portal.read(&rewrite.new));
            match (old.map(|l| l.shape()), new.map(|l| l.shape())) {
                (Some(Shape::Login), Some(Shape::Plain)) => forecast.lose += 1,
                (_, Some(Shape::Login)) => forecast.gain += 1,
                _ => forecast.other += 1,
            }
        }
    }
    Ok(forecast)
}

impl Forecast {
    /// The summary, a line each.
    pub(crate) fn lines(&self, settings: &Settings) -> Vec<String> {
        let mut lines = vec![
            "what will change when the daemon runs:".to_owned(),
            format!("  links that get a token        {}", self.gain),
            format!("  login links that become plain {}", self.lose),
            format!("  links that change otherwise   {}", self.other),
            format!(
                "  tokens to seal                {}",
                if settings.seal.plaintext { self.tokens.plaintext } else { 0 }
            ),
        ];
        if self.lose > 0 && settings.portal.tokenless == Tokenless::Plain {
            lines.push(
                "  (to leave login links of users without a token alone, set portal.tokenless = \"keep\")"
                    .to_owned(),
            );
        }
        let ids = |ids: Vec<String>| if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
        lines.push(format!(
            "  users who share a token       {}",
            ids(self.tokens.duplicated.iter().map(ToString::to_string).collect())
        ));
        lines.push(format!(
            "  users with an unusable value  {}",
            ids(self.tokens.unusable.iter().map(|(id, reason)| format!("{id} ({reason})")).collect())
        ));
        lines
    }
}
