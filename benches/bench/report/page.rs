//! The measured part of docs/performance.md. What people wrote around it stays.

use crate::figure::Results;
use crate::report::lines;
use crate::rows;

const BEGIN: &str = "<!-- measured: written by scripts/bench --document, not by hand -->";
const END: &str = "<!-- end of what was measured -->";

/// The page with these results in it.
pub(crate) fn renew(page: &str, results: &Results, plots: &[String]) -> String {
    let (before, rest) = page.split_once(BEGIN).expect("docs/performance.md has a place for figures");
    let (_, after) = rest.split_once(END).expect("the place for figures in docs/performance.md has an end");
    format!("{before}{BEGIN}\n\n{}\n{END}{after}", measured(results, plots))
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
