//! The measured part of docs/performance.md. What people wrote around it stays.

use crate::figure::{Figure, Results};
use crate::report::{lines, number};
use crate::rows;

const BEGIN: &str = "<!-- measured: written by scripts/bench --document, not by hand -->";
const END: &str = "<!-- end of what was measured -->";

/// The README's three figures: each line's words, with a place for each value.
pub(crate) const ENGLISH: [&str; 3] = [
    "- A link is right {} ms after the bot's commit (the median; 99 of 100 within {} ms), one issue every 20 ms.",
    "- One client that inserts issues, each commit flushed, keeps {} of its speed; bots that never pause keep less ([why](docs/performance.md)).",
    "- relinkd takes {} MiB of memory, and {} MiB while it rewrites {} links a second.",
];
pub(crate) const RUSSIAN: [&str; 3] = [
    "- Ссылка верна через {} мс после коммита бота (медиана; в 99 случаях из 100 — не позже {} мс), одна заявка каждые 20 мс.",
    "- Клиент, который вставляет заявки и ждёт записи каждого коммита на диск, сохраняет {} своей скорости; боты, которые пишут без пауз, — меньше ([почему](docs/performance.md), по-английски).",
    "- relinkd занимает {} МиБ памяти, а пока переписывает {2} ссылок в секунду — {1} МиБ.",
];

/// The page with these results in it.
pub(crate) fn renew(page: &str, results: &Results, plots: &[String]) -> String {
    in_place(page, &measured(results, plots))
}

/// A README with its figures of these results.
pub(crate) fn renew_readme(readme: &str, results: &Results, words: [&str; 3]) -> String {
    let value = |row: &str, what: &str| {
        let is_it =
            |figure: &&Figure| figure.subject == "relinkd" && figure.row == row && figure.what.contains(what);
        let figure = results.figures.iter().find(is_it);
        number(figure.unwrap_or_else(|| panic!("nothing was measured of {row}: {what}")).value)
    };
    let values = [
        vec![value("latency", "p50"), value("latency", "p99")],
        vec![value("inserts", "1 client, token, flushed: daemon runs, of no relinkd")],
        vec![
            value("footprint", "memory, idle"),
            value("footprint", "memory, highest"),
            value("bulk", "fresh table: links"),
        ],
    ];
    let lines: Vec<String> = words.iter().zip(&values).map(|(words, values)| filled(words, values)).collect();
    in_place(readme, &(lines.join("\n") + "\n"))
}

/// The words with the values at their places: `{}` for the next one, `{N}` for a certain one.
fn filled(words: &str, values: &[String]) -> String {
    let mut text = words.to_owned();
    for (number, value) in values.iter().enumerate() {
        let named = format!("{{{number}}}");
        text =
            if text.contains(&named) { text.replace(&named, value) } else { text.replacen("{}", value, 1) };
    }
    text
}

fn in_place(page: &str, text: &str) -> String {
    let (before, rest) = page.split_once(BEGIN).expect("the page has a place for figures");
    let (_, after) = rest.split_once(END).expect("the page's place for figures has an end");
    format!("{before}{BEGIN}\n\n{text}\n{END}{after}")
}

fn measured(results: &Results, plots: &[String]) -> String {
    let machine = &results.machine;
    let sizes = &results.sizes;
    let mut text = format!(
        "Measured on {}: {}, {} cores, {} MiB of memory, Linux {}, Postgres {} on {}. {} interleaved rounds; figures are \
         their medians, percentiles of a latency are over all samples.\n\n",
        machine.date,
        machine.cpu,
        machine.cores,
        machine.memory_mib,
        machine.kernel,
        machine.postgres,
        machine.file_system,
        sizes.rounds
    );
    for (name, version) in &results.programs {
        text += &format!("- {name}: `{version}`\n");
    }
    let settings: Vec<_> =
        results.settings.iter().map(|(name, value)| format!("`{name} = {value}`")).collect();
    text += &format!("- the cluster: {}\n", settings.join(", "));
    let has_baseline = results.programs.contains_key("baseline");
    for row in &rows::ALL {
        let of_row: Vec<_> = lines(results).into_iter().filter(|line| line.figure.row == row.name).collect();
        let is_failed = results.failed.iter().any(|failed| failed == row.name);
        if of_row.is_empty() && !is_failed {
            continue;
        }
        text += &format!("\n### {}\n\n", capitalised(row.about));
        if is_failed {
            text += "This row did not run to its end.\n\n";
        }
        text += if has_baseline {
            "| | measured | goal | | baseline | rounds |\n|---|---:|---|---|---:|---|\n"
        } else {
            "| | measured | goal | | rounds |\n|---|---:|---|---|---|\n"
        };
        for line in of_row {
            let (value, baseline) = line.values();
            let value = format!("{value} {}", line.figure.unit);
            let baseline = if has_baseline { format!(" {baseline} |") } else { String::new() };
            let (what, goal, verdict) = (line.what(), line.goal(), line.verdict());
            text += &format!("| {what} | {value} | {goal} | {verdict} |{baseline} {} |\n", line.range());
        }
        for plot in plots.iter().filter(|plot| belongs(plot, row.name)) {
            text += &format!("\n![{}](performance/{plot})\n", row.about);
        }
    }
    if plots.iter().any(|plot| plot == "goals.svg") {
        text += "\n### All goals\n\nA bar that reaches the line meets its goal.\n\n![goals](performance/goals.svg)\n";
    }
    text
}

/// Whether a plot is of this row: `latency.svg`, `latency-2.svg`, but not `latency-rare.svg`.
fn belongs(plot: &str, row: &str) -> bool {
    let number = plot.strip_prefix(row).and_then(|rest| rest.strip_suffix(".svg"));
    number.is_some_and(|number| number.trim_start_matches('-').chars().all(|c| c.is_ascii_digit()))
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
