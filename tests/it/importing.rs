//! `relinkd token import`: tables as spreadsheets save them, all of them or none, with the faults of the database too.

use crate::support::cast::{
    ALICE, BOB, CAROL, OTHER, THIRD, TOKEN, bench_of, installed, is_sealed, revealed,
};
use crate::support::{Bench, Output, login_link};
use std::fs;

fn import(bench: &Bench, table: &str, arguments: &[&str]) -> Output {
    bench.run_with_input(["token", "import", "-"].iter().chain(arguments), table)
}

#[test]
fn a_table_is_previewed_and_then_put_in_force() {
    let bench = installed(&[ALICE, BOB, CAROL]);
    bench.run_with_input(["token", "set", &BOB.to_string()], OTHER).ok();
    bench.db.set_token(CAROL, Some("9999-0000-0000-0001"));
    let table = format!(
        "\u{feff}telegram_id;имя;token\r\n{ALICE};\"А; Б\";{TOKEN}\r\n{BOB};;{OTHER}\r\n{CAROL};;{THIRD}\r\n"
    );
    let preview = import(&bench, &table, &["--dry-run"]).exits(3).stdout;
    insta::assert_snapshot!(preview, @"
    TELEGRAM ID  WHAT     NOW                   THEN
    413129274    gets                           7812…
    500100200    keeps    4401…                 4401…
    77000001     changes  9999… (in plaintext)  9035…
    nothing was changed: 1 user would get a token, 1 another one, 1 would keep theirs
    ");
    assert_eq!(bench.db.token_column(ALICE), None);
    let before = bench.db.token_column(BOB);
    insta::assert_snapshot!(import(&bench, &table, &[]).ok(), @"
    2 tokens set, 1 of them for users who had another one; 1 user kept theirs
    no daemon is running: the links follow when one starts, or with `relinkd sync`
    ");
    assert_eq!([ALICE, BOB, CAROL].map(|user| revealed(&bench, user)), [TOKEN, OTHER, THIRD]);
    assert!(is_sealed(&bench, ALICE) && bench.db.token_column(BOB) == before);
    let history = bench.run(["history", &ALICE.to_string(), "--json"]).ok();
    assert!(history.contains("\"cli\"") && history.contains("\"set\""), "{history}");
    let again = import(&bench, &table, &["--dry-run"]).ok();
    assert!(again.contains("0 users would get a token, 0 another one, 3 would keep theirs"), "{again}");
    assert_eq!(import(&bench, &table, &[]).ok().lines().count(), 1);
    bench.assert_no_leak(&[TOKEN, OTHER, THIRD]);
}

#[test]
fn a_running_daemon_brings_an_import_into_links() {
    let bench = installed(&[ALICE, BOB]);
    let daemon = bench.start();
    fs::write(bench.path("tokens.csv"), format!("{ALICE},{TOKEN}\n{BOB},{OTHER}\n")).unwrap();
    let said = bench.run(["token", "import", "tokens.csv"]).ok();
    assert!(said.contains("the daemon will rewrite the links"), "{said}");
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.wait_link(2, &login_link(OTHER, 2));
    daemon.stop();
}

#[test]
fn all_faults_are_told_with_their_places_and_nothing_is_imported() {
    let bench = installed(&[ALICE, BOB, CAROL]);
    bench.run_with_input(["token", "set", &CAROL.to_string()], THIRD).ok();
    let table = format!(
        "token,telegram_id\n{TOKEN},{ALICE}\n{OTHER},99\n{THIRD},{BOB}\n{TOKEN},{CAROL}\nbad token,5\n,x\n"
    );
    let refused = import(&bench, &table, &[]).exits(1);
    assert_eq!(refused.stdout, "");
    let said = refused.stderr;
    insta::assert_snapshot!(said, @"
    relinkd: nothing was imported: the table has 6 faults
      3:21: no user has this `telegram_id`
      5:1: the same token stands at 2:1 already
      6:1: the token holds a character that is not visible ASCII
      6:11: no user has this `telegram_id`
      7:1: the token is empty
      7:2: `telegram_id` must be a whole number
      next: correct it and import it again; --dry-run shows what would be done
    ");
    let dry = import(&bench, &table, &["--dry-run"]).exits(1);
    assert_eq!(dry.stderr, said);
    assert_eq!(bench.db.token_column(ALICE), None);
    bench.assert_no_leak(&[TOKEN, OTHER, THIRD, "bad token"]);
}

/// Root may do something about it; others are not told whose it is.
#[test]
fn root_is_told_who_holds_a_token() {
    let bench = installed(&[ALICE, BOB]);
    bench.run_with_input(["token", "set", &ALICE.to_string()], TOKEN).ok();
    let by_import = import(&bench, &format!("telegram_id,token\n{BOB},{TOKEN}\n"), &[]).exits(1).stderr;
    let by_set = bench.run_with_input(["token", "set", &BOB.to_string()], TOKEN).exits(1).stderr;
    let told = format!("another user holds this token: {ALICE}\n");
    assert_eq!(by_import.contains(&told), nix::unistd::geteuid().is_root(), "{by_import}");
    assert_eq!(by_set.contains(&told), nix::unistd::geteuid().is_root(), "{by_set}");
    assert!(by_import.contains("2:11: another user holds this token"), "{by_import}");
    // A swap is none.
    bench.run_with_input(["token", "set", &BOB.to_string()], OTHER).ok();
    import(&bench, &format!("{ALICE};{OTHER}\n{BOB};{TOKEN}\n"), &[]).ok();
    assert_eq!([revealed(&bench, ALICE), revealed(&bench, BOB)], [OTHER, TOKEN]);
    bench.assert_no_leak(&[TOKEN, OTHER]);
}

#[test]
fn columns_encodings_and_files_that_are_none() {
    let bench = bench_of(&[ALICE]);
    bench.install();
    // "Чат;Токен" in Windows-1251.
    let mut table = b"\xd7\xe0\xf2;\xd2\xee\xea\xe5\xed\r\n".to_vec();
    table.extend(format!("{ALICE};{TOKEN}\r\n").bytes());
    fs::write(bench.path("cyrillic.csv"), &table).unwrap();
    let unnamed = bench.run(["token", "import", "cyrillic.csv", "--dry-run"]).exits(1).stderr;
    assert!(unnamed.contains("1:1: the first line must name") && unnamed.contains("--columns"), "{unnamed}");
    bench.run(["token", "import", "cyrillic.csv", "--dry-run", "--columns", "чат,токен"]).exits(3);
    bench.run(["token", "import", "cyrillic.csv", "--columns", "1,2"]).ok();
    assert_eq!(revealed(&bench, ALICE), TOKEN);
    bench.run(["token", "import", "cyrillic.csv", "--columns", "1"]).exits(2);
    let none = bench.run(["token", "import", "none.csv"]).exits(1).stderr;
    assert!(none.contains("none.csv cannot be read"), "{none}");
    let large = import(&bench, &format!("{ALICE};{TOKEN}\n{}", ";\n".repeat(600_000)), &[]).exits(1).stderr;
    assert!(large.contains("larger than 1 MiB"), "{large}");
    bench.assert_no_leak(&[TOKEN]);
}

#[test]
fn removing_what_is_not_there_says_so() {
    let bench = installed(&[ALICE]);
    let said = bench.run(["token", "remove", &ALICE.to_string()]).ok();
    assert_eq!(said, format!("user {ALICE} has no token: there is nothing to remove\n"));
    assert_eq!(bench.run(["history", "--json"]).ok(), "", "nothing was done");
    let unknown = bench.run(["token", "remove", "99"]).exits(1).stderr;
    assert!(unknown.contains("the bot has no user 99"), "{unknown}");
}
