//! Plots as SVG, drawn by hand: two kinds are all there is.

use crate::figure::{Figure, Results, Spread};
use crate::report::number;

const COLOURS: [&str; 4] = ["#1f6f8b", "#c8553d", "#8a8d91", "#6b4e9b"];
const MET: &str = "#2f855a";
const MISSED: &str = "#c8553d";

fn open(width: f64, height: f64, title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n{}",
        label(10.0, 20.0, "start", title)
    )
}

fn label(x: f64, y: f64, anchor: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n")
}

fn line(x1: f64, y1: f64, x2: f64, y2: f64, colour: &str) -> String {
    format!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>\n")
}

fn bar(x: f64, y: f64, width: f64, height: f64, colour: &str) -> String {
    format!(
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>\n"
    )
}

/// A bar for each goal: as long as the figure is good, the goal at one half of the width; longer ones are cut.
#[expect(clippy::cast_precision_loss, reason = "a count of bars fits")]
pub(crate) fn goals(results: &Results) -> String {
    const LEFT: f64 = 560.0;
    const GOAL: f64 = 150.0;
    const STEP: f64 = 20.0;
    let with_goal = |figure: &&Figure| figure.goal.is_some() && figure.subject == "relinkd";
    let bars: Vec<_> = results.figures.iter().filter(with_goal).collect();
    let height = 50.0 + STEP * bars.len() as f64;
    let mut text = open(LEFT + 2.0 * GOAL + 90.0, height, "relinkd against its goals: longer is better");
    for (i, figure) in bars.iter().enumerate() {
        let Some(goal) = figure.goal else { continue };
        let y = 40.0 + STEP * i as f64;
        let colour = if goal.is_met(figure.value) { MET } else { MISSED };
        let width = GOAL * goal.score(figure.value).clamp(0.0, 2.0);
        text += &label(LEFT - 8.0, y + 11.0, "end", &figure.what);
        text += &bar(LEFT, y, width, 14.0, colour);
        text += &label(
            LEFT + width + 4.0,
            y + 11.0,
            "start",
            &format!("{} {}", number(figure.value), figure.unit),
        );
    }
    text + &line(LEFT + GOAL, 32.0, LEFT + GOAL, height - 8.0, "#333333") + "</svg>\n"
}

/// The value at each percentile, by program; the scale of values is logarithmic.
#[expect(clippy::cast_precision_loss, reason = "a number of a curve or tick fits")]
pub(crate) fn spread(results: &Results, what: &str) -> String {
    const LEFT: f64 = 70.0;
    const TOP: f64 = 50.0;
    const WIDTH: f64 = 560.0;
    const HEIGHT: f64 = 260.0;
    let curves: Vec<&Spread> = results.spreads.iter().filter(|spread| spread.what == what).collect();
    let values = || curves.iter().flat_map(|curve| curve.points.iter().map(|(_, value)| value.max(0.01)));
    let low = values().fold(f64::INFINITY, f64::min).log10().floor();
    let high = values().fold(f64::NEG_INFINITY, f64::max).log10().ceil().max(low + 1.0);
    let y = |value: f64| TOP + HEIGHT * (high - value.max(0.01).log10()) / (high - low);
    let count = curves.iter().map(|curve| curve.points.len()).max().unwrap_or(2);
    let x = |index: usize| LEFT + WIDTH * index as f64 / (count - 1) as f64;

    let unit = curves.first().map_or("", |curve| &curve.unit);
    let mut text =
        open(LEFT + WIDTH + 30.0, TOP + HEIGHT + 60.0, &format!("{what} ({unit}, at each percentile)"));
    let mut power = low;
    while power <= high {
        let value = 10f64.powf(power);
        text += &line(LEFT, y(value), LEFT + WIDTH, y(value), "#dddddd");
        text += &label(LEFT - 6.0, y(value) + 4.0, "end", &format!("{value}"));
        power += 1.0;
    }
    if let Some(curve) = curves.first() {
        for (i, (percent, _)) in curve.points.iter().enumerate() {
            text += &label(x(i), TOP + HEIGHT + 18.0, "middle", &format!("{percent}"));
        }
    }
    for (i, curve) in curves.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let points = curve.points.iter().enumerate();
        let points: Vec<_> = points.map(|(i, (_, value))| format!("{:.1},{:.1}", x(i), y(*value))).collect();
        text += &format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n",
            points.join(" ")
        );
        let left = LEFT + 180.0 * i as f64;
        text += &bar(left, TOP + HEIGHT + 34.0, 12.0, 12.0, colour);
        text += &label(left + 18.0, TOP + HEIGHT + 44.0, "start", &curve.subject);
    }
    text + "</svg>\n"
}
