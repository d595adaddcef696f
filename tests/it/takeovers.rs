//! Takeovers: what the owner of the bot's tables plants for the admin who runs `install` and `uninstall`. A superuser runs
//! every command here, and nobody comes out with more than they had.

use crate::support::cast::{ALICE, BOB, OTHER, THIRD, TOKEN, bench_of, installed, status};
use crate::support::database::psql;
use crate::support::pooler::Pooler;
use crate::support::session::sqlstate;
use crate::support::{Bench, Output, Session, login_link, plain_link};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// A bot whose role wants more, a third role that owns nothing, and a superuser who runs commands.
struct Scene {
    bench: Bench,
    owner: String,
    third: String,
}

/// Tells who runs it, and makes the bot's role a superuser where it can. `harmless` may stand in an index.
const PAYLOAD: &str = "
    create table loot (what text, who text, session_of text, application text);
    grant all on loot to public;
    create function payload(what text) returns void language plpgsql as $$
    begin
        insert into public.loot
            values (what, current_user, session_user, pg_catalog.current_setting('application_name'));
        if pg_catalog.current_setting('application_name') operator(pg_catalog.<>) 'test' then
            set role none;
            alter role OWNER superuser;
        end if;
    exception when others then   -- not allowed, or read only: the first half is all there is to see
        begin
            insert into public.loot
                values (what, current_user, session_user, pg_catalog.current_setting('application_name'));
        exception when others then null;
        end;
    end $$;
    create function harmless(what text) returns boolean immutable language plpgsql as $$
    begin perform public.payload(what); return true; end $$;
    create function sprung() returns trigger language plpgsql as $$
    begin perform public.payload(tg_name); return case when tg_op = 'DELETE' then old else new end; end $$;";

impl Scene {
    fn new() -> Self {
        let bench = bench_of(&[ALICE]);
        bench.db.insert_issue(1, ALICE, Some(&plain_link(1)));
        let (owner, third) =
            (format!("owner_of_{}", bench.db.name()), format!("third_of_{}", bench.db.name()));
        bench.db.admin().execute(&format!(
            "create role {owner} login; create role {third} login; alter database {} owner to {owner};
             alter table users owner to {owner}; alter table issues owner to {owner}; grant create on schema public to {owner}",
            bench.db.name()
        ));
        let scene = Self { bench, owner, third };
        scene.plant(&PAYLOAD.replace("OWNER", &scene.owner));
        scene
    }

    /// What the owner of the tables does, in a session of its own.
    fn plant(&self, sql: &str) {
        self.owner_session().execute(sql);
    }

    fn owner_session(&self) -> Session {
        self.bench.db.connect_as(&self.owner).unwrap()
    }

    fn install(&self) -> Output {
        self.bench.run(["install", "--admin-url", &self.bench.db.admin_url()])
    }

    fn uninstall(&self, how: &str) -> Output {
        self.bench.run(["uninstall", how, "--force", "--admin-url", &self.bench.db.admin_url()])
    }

    /// `install --print`, run by a superuser's psql.
    fn printed(&self) -> Result<(), String> {
        let file = self.bench.path("install.sql");
        std::fs::write(&file, self.bench.run(["install", "--print"]).ok()).unwrap();
        psql(&self.bench.db.admin_url(), &file)
    }

    /// The bot at work, so that every trigger of ours fires.
    fn bot_works(&self) {
        self.owner_session().execute(&format!(
            "insert into users (id, telegram_id, user_type) values (77, 77, 'client');
             insert into issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
             values (77, 77, 77, 'opened', '{}');
             update users set portal_token = '{TOKEN}' where id = 77;
             update issues set okdesk_url = '{}' where id = 77;
             delete from issues where id = 77;
             delete from users where id = 77",
            plain_link(77),
            plain_link(78),
        ));
    }

    /// Every command that an admin runs, and the bot between them.
    fn everything(&self) {
        self.install().exits(0);
        self.bot_works();
        self.assert_nothing_gained("install");
        self.install().exits(0);
        self.bot_works();
        self.assert_nothing_gained("a second install");
        self.uninstall("--keep-sealed").exits(0);
        self.assert_nothing_gained("uninstall --keep-sealed");
        self.printed().unwrap();
        self.bot_works();
        self.assert_nothing_gained("install --print");
        self.bench.run_with_input(["token", "set", &ALICE.to_string()], TOKEN).exits(0);
        self.assert_nothing_gained("token set");
        self.uninstall("--unseal").exits(0);
        self.assert_nothing_gained("uninstall --unseal");
        assert_eq!(self.bench.db.token_column(ALICE).as_deref(), Some(TOKEN));
    }

    fn assert_nothing_gained(&self, after: &str) {
        self.assert_nobody_raised(after);
        let admin = self.bench.db.admin();
        let (owner, third) = (&self.owner, &self.third);
        let rights = admin.rows(&format!(
            "with relinkd as (select oid from pg_namespace where nspname = 'relinkd'), object(what, acl) as (
                 select 'schema', nspacl from pg_namespace where nspname = 'relinkd'
                  union all
                 select c.relname, c.relacl from pg_class c join relinkd on relinkd.oid = c.relnamespace
                  union all
                 select c.relname || '.' || a.attname, a.attacl
                   from pg_attribute a join pg_class c on c.oid = a.attrelid join relinkd on relinkd.oid = c.relnamespace
                  union all
                 select case when p.prorettype = 'trigger'::regtype then 'trigger function'
                             when (select y.typtype = 'c' and y.typnamespace <> p.pronamespace
                                     from pg_type y where y.oid = p.proargtypes[0]) then 'accessor'
                             else p.oid::regprocedure::text end, p.proacl
                   from pg_proc p join relinkd on relinkd.oid = p.pronamespace)
             select distinct what || ' ' || privilege_type
               from object, aclexplode(acl)
              where grantee in (0, '{owner}'::regrole, '{third}'::regrole)
                and not (grantee = '{owner}'::regrole and what || ' ' || privilege_type = any ('{{
                    schema USAGE, change.telegram_id INSERT, change.issue_id INSERT, change.strip INSERT,
                    change.former INSERT, change.assigned INSERT, accessor EXECUTE, trigger function EXECUTE}}'))"
        ));
        assert!(rights.is_empty(), "after {after}: {rights:?}");
        let possessions = admin.rows(&format!(
            "select pg_describe_object(s.classid, s.objid, 0)
               from pg_shdepend s join pg_depend d on d.classid = s.classid and d.objid = s.objid
               join pg_namespace n on n.oid = d.refobjid and d.refclassid = 'pg_namespace'::regclass
              where s.deptype = 'o' and s.refobjid in ('{owner}'::regrole, '{third}'::regrole) and n.nspname = 'relinkd'
                and s.dbid = (select oid from pg_database where datname = current_database())
                and not exists (select from pg_proc p where p.oid = s.objid and p.prorettype = 'trigger'::regtype)"
        ));
        assert!(possessions.is_empty(), "after {after}: {possessions:?}");
    }

    /// Nothing of the owner's has run as the daemon's role or as a superuser.
    fn assert_nothing_ran_as_the_daemon(&self) {
        let role = self.bench.db.role();
        let loot = self.bench.db.rows(&format!(
            "select distinct what, application from public.loot where '{role}' operator(pg_catalog.=) any (array[who, session_of])"
        ));
        assert!(loot.is_empty(), "ran as the daemon's role: {loot:?}");
        self.assert_nobody_raised("a day of the daemon's");
    }

    /// Nothing of the owner's has run as a superuser, and nobody has become more than they were.
    fn assert_nobody_raised(&self, after: &str) {
        let admin = self.bench.db.admin();
        let loot = admin.rows(
            "select what, who, session_of, application from loot join pg_roles r on r.rolname in (who, session_of)
              where r.rolsuper and application <> 'test'",
        );
        assert!(loot.is_empty(), "after {after}, ran with a superuser's rights: {loot:?}");
        let (owner, third) = (&self.owner, &self.third);
        let raised = admin.rows(&format!(
            "select rolname::text from pg_roles where rolname in ('{owner}', '{third}')
                and (rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls)
              union all
             select roleid::regrole::text from pg_auth_members
              where member in ('{owner}'::regrole, '{third}'::regrole)"
        ));
        assert!(raised.is_empty(), "after {after}: {raised:?}");
    }

    /// `install`, `uninstall` and the printed SQL refuse, and name what is in the way.
    fn refuses(&self, named: &str) {
        let said = self.install().exits(1);
        assert!(said.stderr.contains(named) && said.stderr.contains("next: "), "{}", said.stderr);
        let said = self.printed().unwrap_err();
        assert!(said.contains(named), "{said}");
        let said = self.uninstall("--keep-sealed").exits(1);
        assert!(said.stderr.contains(named), "{}", said.stderr);
        self.assert_nobody_raised(named);
    }
}

#[test]
fn a_view_in_the_place_of_issues_gains_its_author_nothing() {
    let scene = Scene::new();
    scene.install().exits(0);
    scene.plant(
        "alter table issues rename to hidden;
         create view issues as select h.* from hidden h where harmless('view')",
    );
    scene.plant(
        "update users set portal_token = 'seven'; update users set portal_token = null;
         update users set portal_token = 'eight'; delete from users; truncate users",
    );
    scene.assert_nothing_gained("the bot's writes");
    let refused = scene.install().exits(5);
    assert!(refused.stderr.contains("public.issues must be an ordinary table"), "{}", refused.stderr);
    scene.printed().unwrap_err();
    scene.assert_nothing_gained("install");
    scene.uninstall("--keep-sealed").exits(0);
    scene.assert_nothing_gained("uninstall");
}

#[test]
fn a_schema_made_beforehand_is_refused_and_named() {
    let scene = Scene::new();
    scene.plant(
        "create schema relinkd;
         create function relinkd.ring() returns void language sql as $$ select public.payload('ring') $$",
    );
    scene.refuses(&format!("schema relinkd belongs to role {}", scene.owner));
}

#[test]
fn objects_of_others_in_schema_relinkd_are_refused_and_named() {
    for (object, named) in [
        (
            "create function relinkd.alive() returns void language sql as $$ select public.payload('alive') $$",
            "function relinkd.alive()",
        ),
        ("create view relinkd.bound as select public.harmless('bound') as part", "view relinkd.bound"),
        ("create table relinkd.meta (schema_version integer)", "table relinkd.meta"),
        ("create type relinkd.kind as (a integer)", "type relinkd.kind"),
        (
            "create operator relinkd.=== (leftarg = text, rightarg = text, function = pg_catalog.texteq)",
            "operator relinkd.===",
        ),
        ("create collation relinkd.\"C\" (locale = 'C')", "collation relinkd.\"C\""),
    ] {
        let scene = Scene::new();
        let admin = scene.bench.db.admin();
        admin.execute(&format!("create schema relinkd; grant all on schema relinkd to {}", scene.owner));
        scene.plant(object);
        admin.execute(&format!("revoke all on schema relinkd from {}", scene.owner));
        scene.refuses(named);
    }
}

#[test]
fn who_may_make_objects_or_triggers_in_schema_relinkd_is_refused_and_named() {
    for (right, object) in
        [("create", "schema relinkd"), ("trigger", "relinkd.meta"), ("references", "relinkd.meta")]
    {
        let scene = Scene::new();
        scene.install().exits(0);
        let admin = scene.bench.db.admin();
        admin.execute(&format!("grant {right} on {object} to {}", scene.owner));
        scene.refuses_later(&format!(
            "role {} has the right {} on {object}",
            scene.owner,
            right.to_uppercase()
        ));
        // A trigger that was made while that was allowed runs no more than it.
        if right == "trigger" {
            scene.plant("create trigger trap before insert or update on relinkd.meta for each row execute function sprung()");
            admin.execute(&format!("revoke trigger on relinkd.meta from {}", scene.owner));
            scene.refuses_later("relinkd.meta has the trigger trap");
        }
    }
}

impl Scene {
    /// As [`Scene::refuses`], where rights in the schema are what is in the way.
    fn refuses_later(&self, named: &str) {
        let said = self.install().exits(1);
        assert!(said.stderr.contains(named), "{}", said.stderr);
        assert!(self.printed().unwrap_err().contains(named));
        let said = self.uninstall("--keep-sealed").exits(1);
        assert!(said.stderr.contains(named), "{}", said.stderr);
        let loot = self.bench.db.number("select count(*) from loot");
        assert_eq!(loot, 0);
    }
}

#[test]
fn default_privileges_of_the_admins_give_nobody_rights_in_the_schema() {
    let scene = Scene::new();
    for to in [&scene.owner, &scene.third] {
        for what in ["tables", "schemas", "sequences"] {
            scene.bench.db.admin().execute(&format!("alter default privileges grant all on {what} to {to}"));
        }
    }
    scene.install().exits(0);
    let usage = "select count(*) from pg_namespace, aclexplode(nspacl)
                  where nspname = 'relinkd' and privilege_type = 'CREATE' and grantee <> nspowner";
    assert_eq!(scene.bench.db.number(usage), 0);
    for role in [&scene.owner, &scene.third] {
        let session = scene.bench.db.connect_as(role).unwrap();
        for forbidden in [
            "select * from relinkd.bot_user",
            "update relinkd.bot_user set portal_token = null",
            "select * from relinkd.change",
            "update relinkd.meta set users_table = 'x'",
            "create trigger t after insert on relinkd.change for each row execute function public.sprung()",
            "create table relinkd.mine ()",
        ] {
            let error = session.try_execute(forbidden).expect_err(forbidden);
            assert_eq!(sqlstate(&error), "42501", "{forbidden}");
        }
    }
}

#[test]
fn predicates_of_indexes_are_never_evaluated_by_a_superuser() {
    let scene = Scene::new();
    scene.plant(
        "create index trap_of_users on users (telegram_id) where harmless('predicate of users');
         create index trap_of_issues on issues (telegram_user_id) where harmless('predicate of issues');
         create statistics trap_of_all on (harmless(okdesk_url)), id from issues",
    );
    scene.everything();
}

#[test]
fn deferred_triggers_never_fire_at_a_superusers_commit() {
    let scene = Scene::new();
    for table in ["users", "issues"] {
        scene.plant(&format!(
            "create constraint trigger deferred after insert or update or delete on {table}
             deferrable initially deferred for each row execute function sprung()"
        ));
    }
    scene.everything();
}

#[test]
fn what_uninstall_unseals_fires_nothing_as_the_admin() {
    let scene = Scene::new();
    for table in ["users", "issues"] {
        scene.plant(&format!(
            "create trigger before_row before insert or update or delete on {table}
             for each row execute function sprung();
             create trigger after_row after insert or update or delete on {table}
             for each row execute function sprung();
             create trigger after_statement after insert or update or delete or truncate on {table}
             for each statement execute function sprung();
             alter table {table} add column made boolean generated always as (harmless('generated')) stored;
             alter table {table} add column given boolean default harmless('default');
             alter table {table} add constraint checked check (harmless('check'));
             alter table {table} enable row level security, force row level security;
             create policy seen on {table} using (harmless('policy'))"
        ));
    }
    scene.everything();
}

#[test]
fn rules_of_the_tables_never_run_as_the_superuser() {
    let scene = Scene::new();
    scene.install().exits(0);
    scene.bench.run_with_input(["token", "set", &ALICE.to_string()], TOKEN).exits(0);
    for table in ["users", "issues"] {
        scene.plant(&format!("create rule ruled as on update to {table} do also select harmless('rule')"));
    }
    scene.bot_works();
    scene.install().exits(0);
    // Postgres refuses some writes through such a rule. What counts is as whom it runs.
    scene.uninstall("--unseal");
    scene.assert_nobody_raised("uninstall --unseal");
    scene.uninstall("--keep-sealed");
    scene.assert_nobody_raised("uninstall --keep-sealed");
}

#[test]
fn planted_functions_operators_and_casts_are_not_run() {
    let scene = Scene::new();
    scene.plant(&planted("evil"));
    scene.plant(&planted("public"));
    scene.plant(&format!(
        "alter database {} set search_path = evil, public, pg_catalog",
        scene.bench.db.name()
    ));
    scene.everything();
}

#[test]
fn a_role_that_the_database_sets_is_not_who_an_admins_session_trusts() {
    let scene = Scene::new();
    scene.plant(&format!("alter database {} set role = '{}'", scene.bench.db.name(), scene.owner));
    scene.plant(
        "create schema relinkd;
         create function relinkd.bound() returns void language sql as $$ select public.payload('bound') $$",
    );
    scene.refuses(&format!("schema relinkd belongs to role {}", scene.owner));
    scene.plant("drop schema relinkd cascade");
    scene.everything();
}

/// Functions, operators and tables that fit better than Postgres' own, in a schema.
#[allow(clippy::format_push_string, reason = "a test's SQL")]
fn planted(schema: &str) -> String {
    let mut sql = format!("create schema if not exists {schema}; grant usage on schema {schema} to public;");
    for (name, arguments, result, value) in [
        ("format", "text, text, text, text", "text", "''"),
        ("format", "text, text", "text", "''"),
        ("format", "text, text, text", "text", "''"),
        ("format", "text, name", "text", "''"),
        ("current_setting", "text", "text", "''"),
        ("current_setting", "text, boolean", "text", "null"),
        ("set_config", "text, text, boolean", "text", "''"),
        ("to_regnamespace", "text", "regnamespace", "null"),
        ("to_regclass", "text", "regclass", "null"),
        ("pg_is_in_recovery", "", "boolean", "false"),
        ("pg_notify", "text, text", "void", "null"),
        ("pg_try_advisory_xact_lock_shared", "integer, integer", "boolean", "false"),
        ("quote_ident", "text", "text", "''"),
        ("starts_with", "text, text", "boolean", "false"),
        ("substring", "text, text", "text", "null"),
        ("now", "", "timestamptz", "null"),
        ("current_database", "", "name", "null"),
    ] {
        let value = if result == "void" { String::new() } else { format!("{value}::{result}") };
        let value = if value.is_empty() { "null".to_owned() } else { value };
        sql += &format!(
            "create function {schema}.{name}({arguments}) returns {result} language plpgsql as $f$
             begin perform public.payload('{schema}.{name}'); {} end $f$;",
            if result == "void" { "return;".to_owned() } else { format!("return {value};") }
        );
    }
    for (operator, left, right) in [
        ("=", "varchar", "text"),
        ("=", "varchar", "varchar"),
        ("=", "text", "text"),
        ("=", "name", "text"),
        ("=", "bigint", "bigint"),
        ("=", "oid", "oid"),
        ("<>", "varchar", "varchar"),
        ("<>", "text", "text"),
        ("<>", "varchar", "text"),
        ("@>", "text[]", "text[]"),
        (">", "bigint", "bigint"),
        (">", "integer", "integer"),
        ("||", "text", "text"),
    ] {
        let (name, result, value) = (
            format!("operator_{}", sql.len()),
            if operator == "||" { "text" } else { "boolean" },
            if operator == "||" { "''::text" } else { "null::boolean" },
        );
        sql += &format!(
            "create function {schema}.{name}(a {left}, b {right}) returns {result} language plpgsql as $f$
             begin perform public.payload('{schema}.{operator}({left}, {right})'); return {value}; end $f$;
             create operator {schema}.{operator} (leftarg = {left}, rightarg = {right}, function = {schema}.{name});"
        );
    }
    sql += &format!(
        "create type {schema}.kind as enum ('a');
         create function {schema}.kind_of(value text) returns {schema}.kind language plpgsql as $f$
         begin perform public.payload('{schema}.kind_of'); return 'a'; end $f$;
         create cast (text as {schema}.kind) with function {schema}.kind_of(text) as implicit;
         create cast (varchar as {schema}.kind) with inout as implicit;"
    );
    sql
}

#[test]
fn trigger_functions_resolve_nothing_by_the_path_of_whoever_fires_them() {
    let scene = Scene::new();
    scene.install().exits(0);
    scene.plant(&planted("evil"));
    scene.bench.db.admin().execute("truncate loot; delete from relinkd.change");
    let bot = scene.owner_session();
    bot.execute(
        "create temp table change (telegram_id bigint, issue_id bigint, strip boolean, former text[]);
         create temp table inserted (telegram_id bigint); create temp table deleted (telegram_id bigint);
         set search_path = evil, pg_temp, public, pg_catalog",
    );
    for (fired, rows) in [
        ("insert into public.users (telegram_id, user_type, portal_token) values (9, 'client', 'seven')", 1),
        ("update public.users set portal_token = 'eight'", 2),
        (
            "insert into public.issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url) values (9, 9, 9, 'x', 'y')",
            1,
        ),
        ("update public.issues set okdesk_url = 'z', telegram_user_id = 10", 2),
        ("update public.users set portal_token = 'relinkd:v1:k1:x'", 2),
        ("update public.users set portal_token = null", 2),
        ("update public.users set portal_token = 'nine'", 2),
        ("delete from public.users where telegram_id operator(pg_catalog.=) 9", 1),
        ("truncate public.users", 1),
    ] {
        bot.execute(fired);
        let admin = scene.bench.db.admin();
        assert_eq!(admin.number("select count(*) from relinkd.change"), rows, "{fired}");
        assert_eq!(admin.rows("select distinct what from loot"), Vec::<Vec<_>>::new(), "{fired}");
        admin.execute("delete from relinkd.change");
    }
}

/// What the daemon does in a day: a token by file, by command and by the bot, a hand-over, a removal, an audit.
fn a_day_of_the_daemons(scene: &Scene, in_the_evening: impl FnOnce()) {
    let bench = &scene.bench;
    let owner = scene.owner_session();
    let user = ALICE;
    owner.execute("set search_path = public, pg_catalog");
    let daemon = bench.start();
    bench.wait_idle();
    bench.drop_token("a.toml", user, TOKEN);
    bench.wait_applied("a.toml");
    bench.wait_link(1, &login_link(TOKEN, 1));
    bench.run_with_input(["token", "set", &user.to_string()], OTHER).exits(0);
    bench.wait_link(1, &login_link(OTHER, 1));
    owner.execute(&format!(
        "insert into public.users (telegram_id, user_type, portal_token) values ({BOB}, 'client', '{THIRD}');
         insert into public.issues (id, telegram_user_id, okdesk_issue_id, status, okdesk_url)
         values (2, {BOB}, 2, 'opened', '{}');
         update public.issues set telegram_user_id = {BOB} where id operator(pg_catalog.=) 1",
        plain_link(2)
    ));
    bench.wait_link(1, &login_link(THIRD, 1));
    bench.wait_link(2, &login_link(THIRD, 2));
    bench.drop_removal("b.toml", BOB);
    bench.wait_applied("b.toml");
    bench.wait_link(1, &plain_link(1));
    bench.wait_link(2, &plain_link(2));
    for command in [
        &["sync"][..],
        &["sync", "--dry-run"],
        &["status"],
        &["token", "list"],
        &["explain", "1"],
        &["rekey"],
    ] {
        bench.run(command).exits(0);
    }
    in_the_evening();
    daemon.stop();
}

#[test]
fn the_daemons_sessions_run_no_planted_operator() {
    for path in ["evil, public, pg_catalog", "public, pg_catalog"] {
        let scene = Scene::new();
        scene.bench.set("audit.interval", "\"1s\"");
        scene.install().exits(0);
        scene.plant(&planted(path.split(',').next().unwrap()));
        scene.plant(&format!("alter database {} set search_path = {path}", scene.bench.db.name()));
        scene.bench.db.admin().execute("truncate public.loot");
        a_day_of_the_daemons(&scene, || ());
        scene.assert_nothing_ran_as_the_daemon();
    }
}

#[test]
fn behind_a_pooler_no_planted_operator_runs_and_nothing_stays_in_its_sessions() {
    for (whose, path) in [
        ("database", "public, pg_catalog"),
        ("role", "evil, public, pg_catalog"),
        // Of somebody who shares the pool.
        ("session", "evil, public, pg_catalog"),
    ] {
        let scene = Scene::new();
        let bench = &scene.bench;
        bench.set("audit.interval", "\"1s\"");
        scene.install().exits(0);
        scene.plant(&planted("public"));
        scene.plant(&planted("evil"));
        match whose {
            "database" => {
                scene.plant(&format!("alter database {} set search_path = {path}", bench.db.name()));
            }
            "role" => {
                bench.db.admin().execute(&format!("alter role {} set search_path = {path}", bench.db.role()));
            }
            _ => {}
        }
        let pooler = Pooler::start(bench, "transaction", 4);
        let leaves = if whose == "session" { format!("set search_path = {path}") } else { String::new() };
        for session in &lent(&pooler) {
            session.execute(&leaves);
            session.execute("commit");
        }
        bench.db.admin().execute("truncate public.loot");

        // The daemon learns of the pooler by listening, and takes that back where it meets it.
        let daemon = bench.start();
        daemon.wait_log("notifications do not come through");
        bench.wait_until("no session of the pool listens", || !a_session_listens(&pooler));
        daemon.stop();

        let fresh = bench.db.connect_as(bench.db.role()).unwrap();
        let begun = |before: &str| {
            fresh.execute(&format!("{before}; begin"));
            let state = state(&fresh);
            fresh.execute("rollback");
            state
        };
        let expected = [begun(""), begun(&leaves)];
        let watcher = Watcher::start(&pooler);
        a_day_of_the_daemons(&scene, || {
            assert_eq!(status(bench)["mode"], "poll");
            let in_use = format!(
                "select pid from pg_stat_activity where usename = '{}' and pid <> {}",
                bench.db.role(),
                fresh.value("select pg_catalog.pg_backend_pid()").unwrap()
            );
            let in_use = bench.db.rows(&in_use);
            assert!(!in_use.is_empty());
            let mut met = Vec::new();
            for session in lent(&pooler) {
                assert_eq!(foreign(&state(&session), &expected), None, "{whose}");
                met.extend(session.rows("select pg_catalog.pg_backend_pid()"));
            }
            assert!(in_use.iter().all(|pid| met.contains(pid)), "{in_use:?} in {met:?}");
        });
        let seen = watcher.stop();
        assert!(!seen.is_empty());
        for state in seen {
            assert_eq!(foreign(&state, &expected), None, "{whose}");
        }
        let locks = "select count(*) from pg_locks l join pg_stat_activity a using (pid)
                      where l.locktype = 'advisory' and a.usename = ";
        assert_eq!(bench.db.number(&format!("{locks}'{}'", bench.db.role())), 0, "{whose}");
        scene.assert_nothing_ran_as_the_daemon();
    }
}

type State = Vec<Vec<Option<String>>>;

/// What in this state is in none of the expected ones, where it is none of them.
fn foreign(state: &State, expected: &[State]) -> Option<State> {
    let known = |row: &&Vec<Option<String>>| !expected.iter().any(|state| state.contains(row));
    (!expected.contains(state)).then(|| state.iter().filter(known).cloned().collect())
}

/// Another client of the pool, who looks again and again at what it is lent.
struct Watcher(Arc<AtomicBool>, JoinHandle<Vec<State>>);

impl Watcher {
    fn start(pooler: &Pooler) -> Self {
        let session = pooler.connect();
        let enough = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&enough);
        let looks = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                session.execute("begin");
                let state = state(&session);
                session.execute("commit");
                if !seen.contains(&state) {
                    seen.push(state);
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            seen
        });
        Self(enough, looks)
    }

    fn stop(self) -> Vec<State> {
        self.0.store(true, Ordering::Relaxed);
        self.1.join().unwrap()
    }
}

fn a_session_listens(pooler: &Pooler) -> bool {
    let sessions = lent(pooler);
    let listens = |session: &Session| !session.rows("select pg_catalog.pg_listening_channels()").is_empty();
    let found = sessions.iter().any(listens);
    // A pooler closes what is given back within a transaction.
    for session in &sessions {
        session.execute("commit");
    }
    found
}

/// All sessions of a pool of four at once, each in a transaction.
fn lent(pooler: &Pooler) -> Vec<Session> {
    (0..4)
        .map(|_| {
            let session = pooler.connect();
            session.execute("begin");
            session
        })
        .collect()
}

/// What whoever is lent a session finds in it. Nothing here is looked for by the path.
fn state(session: &Session) -> State {
    let mut state = session.rows("select name, setting from pg_catalog.pg_settings");
    // Each client of a pooler has its own name, and PL/pgSQL's settings come with its first function.
    let named = |row: &[Option<String>]| row[0].clone().unwrap_or_default();
    state.retain(|row| named(row) != "application_name" && !named(row).starts_with("plpgsql."));
    state.sort();
    for setting in ["relinkd.applying", "relinkd.assigning"] {
        // Empty where it was known once and is set no more.
        let value = session.value(&format!("select pg_catalog.current_setting('{setting}', true)"));
        state.push(vec![Some(setting.to_owned()), value.filter(|value| !value.is_empty())]);
    }
    for things in [
        "select current_user, session_user",
        "select name from pg_catalog.pg_prepared_statements",
        "select name from pg_catalog.pg_cursors",
        "select pg_catalog.pg_my_temp_schema()",
    ] {
        state.extend(session.rows(things));
    }
    state
}

#[test]
fn the_bots_triggers_see_the_path_they_always_saw_when_relinkd_writes() {
    let scene = Scene::new();
    scene.install().exits(0);
    let role = scene.bench.db.role().to_owned();
    scene.plant(&format!(
        "create schema app; create table app.seen (what text); grant usage on schema app to public; grant insert on app.seen to public;
         create function app.note(what text) returns void language plpgsql as $$ begin insert into seen values (what); end $$;
         create function unqualified() returns trigger language plpgsql as $$
         begin perform note(tg_table_name); return new; end $$;
         create trigger z_unqualified after update on users for each row execute function unqualified();
         create trigger z_unqualified before update on issues for each row execute function unqualified();
         alter table issues add constraint z_checked check (okdesk_url is null or length(okdesk_url) > 0);
         alter database {} set search_path = app, public",
        scene.bench.db.name()
    ));
    let daemon = scene.bench.start();
    scene.bench.run_with_input(["token", "set", &ALICE.to_string()], TOKEN).exits(0);
    scene.bench.wait_link(1, &login_link(TOKEN, 1));
    daemon.stop();
    let seen = scene.bench.db.rows("select distinct what from app.seen order by 1");
    assert_eq!(seen, [[Some("issues".to_owned())], [Some("users".to_owned())]], "{role}");
}

#[test]
fn a_trigger_function_that_was_moved_or_altered_is_found_and_mended() {
    let bench = installed(&[ALICE]);
    bench.db.execute("alter function relinkd.user_updated() set schema public");
    bench.db.execute("alter function relinkd.user_deleted() security invoker");
    bench.db.execute("alter function relinkd.issue_updated() set search_path = public");
    let found = bench.run(["check"]).exits(5).stdout;
    for trigger in ["user_updated", "user_deleted", "issue_updated"] {
        assert!(found.contains(&format!("the trigger relinkd_2_{trigger} ")), "{found}");
    }
    bench.install();
    assert!(bench.run(["check"]).exits(0).stdout.contains("triggers 6/6"));
    bench.db.execute("drop function public.user_updated()");
}

#[test]
fn a_former_owner_of_the_tables_keeps_no_right() {
    let bench = installed(&[ALICE]);
    let heir = format!("{}_heir", bench.db.role());
    bench.db.admin().execute(&format!(
        "create role {heir}; grant {heir} to okdesk_user;
         alter table users owner to {heir}; alter table issues owner to {heir}"
    ));
    assert!(bench.run(["check"]).exits(5).stdout.contains("belongs to a former owner of the table"));
    bench.install();
    let rights = "select count(*) from pg_attribute a, aclexplode(a.attacl) g
                   where a.attrelid = 'relinkd.change'::regclass and g.grantee = 'okdesk_user'::regrole";
    assert_eq!(bench.db.number(rights), 0);
    bench.run(["check"]).exits(0);
}
