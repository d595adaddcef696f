//! Metrics are there, each with its value; alert rules and dashboard speak of no others, and say what to do. That all are
//! well formed, and that alerts fire when they should, Prometheus' own tool says: scripts/test-monitoring.

use crate::support::cast::{ALICE, BOB, CAROL, OTHER, TOKEN, installed};
use crate::support::relinkd::quoted;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

const RULES: &str = include_str!("../../packaging/prometheus/relinkd.rules.yml");
const RULES_TEST: &str = include_str!("../../packaging/prometheus/relinkd.rules.test.yml");
const DASHBOARD: &str = include_str!("../../packaging/prometheus/relinkd.dashboard.json");

/// The metrics that relinkd promises.
const METRICS: [&str; 17] = [
    "relinkd_audit_found",
    "relinkd_audit_interval_seconds",
    "relinkd_audit_last_timestamp_seconds",
    "relinkd_backlog_changes",
    "relinkd_backlog_oldest_seconds",
    "relinkd_database_connected",
    "relinkd_last_write_timestamp_seconds",
    "relinkd_links_written_total",
    "relinkd_reconnects_total",
    "relinkd_set_aside",
    "relinkd_spool_files",
    "relinkd_start_time_seconds",
    "relinkd_triggers_sound",
    "relinkd_triggers_wanted",
    "relinkd_up",
    "relinkd_users",
    "relinkd_users_with_token",
];

/// The metrics that a text speaks of.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("relinkd_")).collect()
}

#[test]
fn alerts_and_dashboard_speak_of_metrics_that_there_are() {
    for (name, text) in [("rules", RULES), ("tests of rules", RULES_TEST), ("dashboard", DASHBOARD)] {
        let unknown: Vec<&str> = metrics_in(text).into_iter().filter(|it| !METRICS.contains(it)).collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
    }
    let shown = metrics_in(DASHBOARD);
    let missing: Vec<&&str> = METRICS
        .iter()
        .filter(|it| !shown.contains(**it) && **it != "relinkd_audit_interval_seconds")
        .collect();
    assert!(missing.is_empty(), "the dashboard does not show {missing:?}");
    for page in [include_str!("../../docs/monitoring.md"), include_str!("../../docs/ru/monitoring.md")] {
        assert_eq!(metrics_in(page), BTreeSet::from(METRICS), "the pages list each metric");
        for alert in RULES.split("- alert: ").skip(1) {
            let name = alert.lines().next().unwrap();
            assert!(page.contains(&format!("`{name}`")), "the pages list each alert: {name}");
        }
    }
}

#[test]
fn each_alert_says_what_to_do_and_is_tried() {
    let alerts: Vec<&str> = RULES.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 10, "{}", alerts.len());
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        for key in ["expr: ", "severity: ", "summary: ", "action: "] {
            assert_eq!(alert.matches(key).count(), 1, "{name}: {key}");
        }
        let action = alert.split("action: ").nth(1).unwrap().lines().next().unwrap();
        assert!(action.ends_with('.') && action.len() > 40, "{name}: {action}");
        let fires = format!("alertname: {name}\n        exp_alerts:");
        assert!(RULES_TEST.contains(&fires), "{name} is not seen to fire");
        assert!(RULES_TEST.contains(&format!("alertname: {name}}}")), "{name} is not seen to be silent");
    }
}

#[test]
fn the_dashboard_is_one_that_grafana_loads() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    // A file that is provisioned or imported brings no id of its own, and has a uid that stays.
    assert_eq!(dashboard["id"], Value::Null);
    assert_eq!(dashboard["uid"], "relinkd");
    assert!(dashboard["title"].is_string() && dashboard["schemaVersion"].as_u64() >= Some(36));
    let variables: Vec<&str> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    assert_eq!(variables, ["datasource", "instance"]);
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "ids are unique");
    let mut cells = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(["stat", "timeseries"].contains(&panel["type"].as_str().unwrap()), "{title}");
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title}");
        let side = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(side("x") + side("w") <= 24, "{title}: Grafana's grid has 24 columns");
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                assert!(cells.insert((x, y)), "{title} lies on another panel");
            }
        }
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        let references: BTreeSet<&str> =
            targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
        assert_eq!(references.len(), targets.len(), "{title}");
        for target in targets {
            let query = target["expr"].as_str().unwrap();
            assert!(query.contains("$instance"), "{title} does not keep to the host that is chosen: {query}");
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
}

/// What promtool says of metrics.
fn promtool(metrics: &str) -> Option<String> {
    let tool = ["promtool", concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/promtool")].into_iter().find(
        |tool| Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success()),
    )?;
    let mut child = Command::new(tool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}\n{metrics}");
    Some(String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout))
}

/// The samples, each with its value.
fn samples(metrics: &str) -> BTreeMap<&str, f64> {
    let samples = metrics.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

#[test]
fn the_daemon_writes_every_metric_into_its_file() {
    let bench = installed(&[ALICE, BOB, CAROL]);
    let directory = bench.path("metrics");
    fs::create_dir(&directory).unwrap();
    let file = directory.join("relinkd.prom");
    bench.set("metrics.file", &quoted(&file.display().to_string()));
    bench.db.set_token(BOB, Some(TOKEN));
    bench.db.set_token(CAROL, Some("relinkd:v1:broken"));
    let daemon = bench.start();
    bench.drop_token("a.toml", ALICE, OTHER);
    bench.drop_file("b.toml", "no");
    bench.wait_rejected("b.toml");
    bench.wait_applied("a.toml");
    bench.wait_idle();
    let wanted = [
        ("relinkd_up", 1.0),
        ("relinkd_database_connected", 1.0),
        ("relinkd_reconnects_total", 0.0),
        ("relinkd_links_written_total", 2.0),
        ("relinkd_backlog_changes", 0.0),
        ("relinkd_backlog_oldest_seconds", 0.0),
        ("relinkd_set_aside", 0.0),
        ("relinkd_users_with_token", 2.0),
        ("relinkd_users{state=\"sealed\"}", 2.0),
        ("relinkd_users{state=\"plaintext\"}", 0.0),
        ("relinkd_users{state=\"unusable\"}", 1.0),
        ("relinkd_users{state=\"duplicated\"}", 0.0),
        ("relinkd_spool_files{state=\"waiting\"}", 0.0),
        ("relinkd_spool_files{state=\"rejected\"}", 1.0),
        ("relinkd_spool_files{state=\"not_taken\"}", 0.0),
        ("relinkd_triggers_sound", 6.0),
        ("relinkd_triggers_wanted", 6.0),
        ("relinkd_audit_last_timestamp_seconds", 0.0),
        ("relinkd_audit_found", 0.0),
        ("relinkd_audit_interval_seconds", 3600.0),
    ];
    let is_right = |text: &str| {
        let samples = samples(text);
        wanted.iter().all(|(name, value)| samples.get(name) == Some(value))
    };
    bench.wait_until("the file says so", || fs::read_to_string(&file).is_ok_and(|text| is_right(&text)));
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(metrics_in(&text), BTreeSet::from(METRICS), "the file has each metric");
    assert!(samples(&text)["relinkd_start_time_seconds"] > 1.7e9);
    assert!(
        samples(&text)["relinkd_last_write_timestamp_seconds"]
            >= samples(&text)["relinkd_start_time_seconds"]
    );
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "no draft is left");
    if let Some(said) = promtool(&text) {
        assert_eq!(said, "");
    }

    // The command says the same, once the daemon has told the database of itself.
    bench.wait_until("the command says so", || is_right(&bench.run(["status", "--prometheus"]).ok()));
    let said = bench.run(["status", "--prometheus"]).ok();
    assert_eq!(metrics_in(&said), BTreeSet::from(METRICS), "the command has each metric");
    if let Some(said) = promtool(&said) {
        assert_eq!(said, "");
    }

    daemon.stop();
    assert!(!file.exists(), "a daemon that is gone has no metrics");
    let said = bench.run(["status", "--prometheus"]).ok();
    assert!(said.contains("\nrelinkd_up 0\n"), "{said}");
    bench.assert_no_leak(&[TOKEN, OTHER]);
}

/// Two instances on one host share a collector, which takes no metric twice.
#[test]
fn an_instance_has_a_label_of_its_own() {
    let bench = installed(&[ALICE]);
    let config = bench.path("shop.toml");
    fs::copy(bench.config_file(), &config).unwrap();
    let said = bench.run(["--config", config.to_str().unwrap(), "status", "--prometheus"]).ok();
    assert!(said.contains("relinkd_up{database=\"shop\"} 0\n"), "{said}");
    assert!(said.contains("relinkd_users{database=\"shop\",state=\"sealed\"} 0\n"), "{said}");
    if let Some(said) = promtool(&said) {
        assert_eq!(said, "");
    }
}

#[test]
fn without_the_database_the_file_has_what_is_known() {
    let bench = installed(&[ALICE]);
    bench.set("database.url", "\"host=/nonexistent user=r dbname=d\"");
    let file = bench.path("relinkd.prom");
    bench.set("metrics.file", &quoted(&file.display().to_string()));
    let daemon = bench.start();
    bench.wait_until("there is a file", || file.exists());
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("\nrelinkd_database_connected 0\n"), "{text}");
    assert!(!text.contains("relinkd_backlog") && !text.contains("relinkd_users"), "{text}");
    daemon.stop();
}

#[test]
fn a_file_that_cannot_be_written_is_told_once_and_another_is_found_by_a_reload() {
    let bench = installed(&[ALICE]);
    bench.set("metrics.file", "\"/nonexistent/relinkd.prom\"");
    let daemon = bench.start();
    daemon.wait_log("the metrics cannot be written");
    let file = bench.path("relinkd.prom");
    bench.set("metrics.file", &quoted(&file.display().to_string()));
    daemon.hup();
    bench.wait_until("there is a file", || file.exists());
    assert_eq!(daemon.log().matches("the metrics cannot be written").count(), 1);
    daemon.stop();
}
