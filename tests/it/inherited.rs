//! Faults that others paid for (docs/inherited-faults.md), where no other test shows that they are not ours.

use crate::support::cast::{ALICE, TOKEN, installed};
use crate::support::{login_link, plain_link};

#[test]
fn the_triggers_work_without_any_search_path() {
    let bench = installed(&[ALICE]);
    let daemon = bench.start();
    bench.wait_idle();
    // As pg_restore begins: no unqualified name is found but Postgres' own.
    let restore = bench.db.another_bot();
    restore.execute("set search_path = ''");
    restore.execute(&format!(
        "insert into public.issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
         values (9, {ALICE}, 9, 'opened', '{}');
         update public.users set portal_token = '{TOKEN}' where telegram_id = {ALICE};
         update public.issues set okdesk_url = '{}' where id = 1",
        plain_link(9),
        plain_link(2),
    ));
    bench.wait_link(1, &login_link(TOKEN, 2));
    bench.wait_link(9, &login_link(TOKEN, 9));
    restore.execute("delete from public.issues; delete from public.users");
    daemon.stop();
}
