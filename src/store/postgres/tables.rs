//! Old rows of tables that other programs keep, in schema public: as policy names them, with the gatekeeper's own rights, and told of
//! where that is not enough. Names come from policy, which allows nothing in them that would have to be quoted.

use sqlx::postgres::PgArguments;
use sqlx::query::{Query, QueryScalar};
use sqlx::{AssertSqlSafe, PgPool, Postgres, Row as _};

use super::BEGIN;
use super::maintain::{STEP, STEPS};
use super::moment::Moment;
use crate::clock::Timestamp;
use crate::retention::{Archive, Only, OnlyValue, TableKeep};
use crate::store::maintain::{Halt, Retained, TableAge};
use crate::store::{StoreError, fault};

/// The table and its archive, as far as they are there.
pub(super) async fn retain(pool: &PgPool, kept: &TableKeep, now: Timestamp) -> Vec<Retained> {
    let (mut here, mut archive) = (Retained::of(&kept.table), Retained::of(&format!("{}_archive", kept.table)));
    let places = match places(pool, &kept.table).await {
        Ok(places) if places.is_empty() => return Vec::new(),
        Ok(places) => places,
        Err(error) => {
            here.troubled(StoreError::from(error).to_string());
            return vec![here];
        }
    };
    if let Some(Some(why)) = here.note(hidden(pool, &kept.table).await) {
        here.troubled(why);
    }
    if let Some(before) = kept.span.gone_before(now) {
        delete(pool, &places, kept, before, &mut here).await;
    }
    if let (Archive::Until(_), Some(before)) = (kept.span.archive, kept.span.here_until(now)) {
        match fit_archive(pool, kept).await {
            Ok(columns) => to_archive(pool, &places, kept, &columns, before, &mut here).await,
            Err(error) if fault::is_lock_missed(&error) => here.busy = true,
            Err(error) => here.troubled(format!("its archive cannot be made as it must be: {}", StoreError::from(error))),
        }
        if let Some(before) = kept.span.gone_before(now) {
            let places = [format!("public.{}", archive.table)];
            delete(pool, &places, kept, before, &mut archive).await;
        }
        return vec![here, archive];
    }
    vec![here]
}

/// The table, or the partitions in which its rows lie. None if it is not there; a view is not there either.
async fn places(pool: &PgPool, table: &str) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select place::regclass::text from (
             select oid as place from pg_class where oid = to_regclass($1) and relkind = 'r'
             union
             select relid from pg_class cross join pg_partition_tree(oid) where oid = to_regclass($1) and relkind = 'p' and isleaf
         ) as places order by 1",
    )
    .bind(format!("public.{table}"))
    .fetch_all(pool)
    .await
}

/// Rows that row security may keep from this role, which would neither go nor be late. It may be meant to see all of them if a policy names
/// it, or shows everybody everything.
async fn hidden(pool: &PgPool, table: &str) -> sqlx::Result<Option<String>> {
    let is_hidden: bool = sqlx::query_scalar(
        "select exists (
             select from (select to_regclass($1) as oid union select relid from pg_partition_tree(to_regclass($1))) as place
             where row_security_active(oid) and not exists (
                 select from pg_policy cross join unnest(polroles) as role
                 where polrelid = place.oid and polpermissive and polcmd in ('*', 'r')
                   and (role <> 0 and pg_has_role(role, 'member') or role = 0 and pg_get_expr(polqual, polrelid) = 'true')
             )
         )",
    )
    .bind(format!("public.{table}"))
    .fetch_one(pool)
    .await?;
    Ok(is_hidden.then(|| "row security may hide rows from this role: give it a policy, or BYPASSRLS".to_owned()))
}

/// `$1` is the moment; what the columns must hold follows from `$2` on.
fn condition(kept: &TableKeep) -> String {
    let only = kept.only.iter().zip(2..).map(|(Only { column, .. }, n)| format!(" and {column}::text = any (${n})"));
    format!("{} < $1{}", kept.by, only.collect::<String>())
}

fn texts(only: &Only) -> Vec<String> {
    let text = |value: &OnlyValue| match value {
        OnlyValue::Is(is) => is.to_string(),
        OnlyValue::Number(number) => number.to_string(),
        OnlyValue::Text(text) => text.clone(),
    };
    only.values.iter().map(text).collect()
}

fn bound<'q>(mut query: Query<'q, Postgres, PgArguments>, kept: &TableKeep, before: Timestamp) -> Query<'q, Postgres, PgArguments> {
    query = query.bind(before.to_datetime());
    for only in &kept.only {
        query = query.bind(texts(only));
    }
    query
}

/// A number of rows of one place, found once and locked.
fn found(kept: &TableKeep, place: &str) -> String {
    let condition = condition(kept);
    format!("delete from {place} where ctid = any (array(select ctid from {place} where {condition} limit {STEP} for update skip locked))")
}

async fn delete(pool: &PgPool, places: &[String], kept: &TableKeep, before: Timestamp, retained: &mut Retained) {
    for place in places {
        let delete = found(kept, place);
        for _ in 0..STEPS {
            let step = bound(sqlx::query(AssertSqlSafe(delete.as_str())), kept, before).execute(pool).await;
            let Some(gone) = retained.note(step).map(|step| step.rows_affected()).filter(|gone| *gone > 0) else { break };
            retained.rows_deleted += gone;
        }
    }
}

/// What is deleted here is there, or neither has happened.
async fn to_archive(pool: &PgPool, places: &[String], kept: &TableKeep, columns: &str, before: Timestamp, retained: &mut Retained) {
    for place in places {
        let found = found(kept, place);
        // Nothing is passed over: what the archive refuses stays where it is, and is told of.
        let moving = format!(
            "with gone as ({found} returning *),
                  moved as (insert into public.{}_archive ({columns}) select {columns} from gone returning 1)
             select (select count(*) from gone), (select count(*) from moved)",
            kept.table
        );
        for _ in 0..STEPS {
            let step = move_rows(pool, &moving, kept, before).await;
            let Some(gone) = retained.note(step).filter(|gone| *gone > 0) else { break };
            retained.rows_archived += gone;
        }
    }
}

async fn move_rows(pool: &PgPool, moving: &str, kept: &TableKeep, before: Timestamp) -> Result<u64, Halt> {
    let mut tx = pool.begin_with(BEGIN).await?;
    let counts = bound(sqlx::query(AssertSqlSafe(moving)), kept, before).fetch_one(&mut *tx).await?;
    let (gone, moved): (i64, i64) = (counts.try_get(0)?, counts.try_get(1)?);
    if gone != moved {
        return Err(Halt::unequal(gone.unsigned_abs(), moved.unsigned_abs(), gone.unsigned_abs()));
    }
    tx.commit().await?;
    Ok(gone.unsigned_abs())
}

/// Makes the archive where there is none, closed to whomever the web lets in, adds the columns it lacks, and tells those that are given.
/// Rules about new rows are not the archive's: of the indexes it has the key alone, and what finds a row by its age.
async fn fit_archive(pool: &PgPool, kept: &TableKeep) -> sqlx::Result<String> {
    let TableKeep { table, by, .. } = kept;
    let made = format!(
        "do $do$
         declare
             stranger text;
             key      text;
             lacking  record;
         begin
             perform set_config('lock_timeout', '100ms', true);
             if to_regclass('public.{table}_archive') is null then
                 create table public.{table}_archive
                     (like public.{table} including all excluding identity excluding indexes excluding constraints);
                 select string_agg(quote_ident(attname), ', ' order by place) into key
                 from pg_index cross join unnest(indkey::int2[]) with ordinality as of (attnum, place)
                 join pg_attribute on attrelid = indrelid and pg_attribute.attnum = of.attnum
                 where indrelid = 'public.{table}'::regclass and indisprimary and place <= indnkeyatts;
                 if key is not null then
                     execute format('alter table public.{table}_archive add primary key (%s)', key);
                 end if;
                 create index on public.{table}_archive ({by});
                 alter table public.{table}_archive enable row level security;
                 for stranger in
                     select 'public' union all select quote_ident(rolname) from pg_roles where rolname in ('anon', 'authenticated')
                 loop
                     execute format('revoke all on public.{table}_archive from %s', stranger);
                 end loop;
             end if;
             for lacking in
                 select attname, format_type(atttypid, atttypmod) as kind from pg_attribute
                 where attrelid = 'public.{table}'::regclass and attnum > 0 and not attisdropped and attname not in (
                     select attname from pg_attribute
                     where attrelid = 'public.{table}_archive'::regclass and attnum > 0 and not attisdropped
                 )
             loop
                 execute format('alter table public.{table}_archive add column if not exists %I %s', lacking.attname, lacking.kind);
             end loop;
         end
         $do$"
    );
    sqlx::query(AssertSqlSafe(made)).execute(pool).await?;
    sqlx::query_scalar(
        "select string_agg(quote_ident(here.attname), ', ' order by here.attnum)
         from pg_attribute as here
         join pg_attribute as there on there.attname = here.attname and there.attrelid = to_regclass($2)
         where here.attrelid = to_regclass($1) and here.attnum > 0 and not here.attisdropped and not there.attisdropped
           and there.attgenerated = ''",
    )
    .bind(format!("public.{table}"))
    .bind(format!("public.{table}_archive"))
    .fetch_one(pool)
    .await
}

pub(super) async fn ages(pool: &PgPool, kept: &TableKeep, lately: Timestamp) -> Vec<TableAge> {
    let archived = match kept.span.archive {
        Archive::None => None,
        Archive::Until(_) => Some((format!("{}_archive", kept.table), kept.span.gone_before(lately))),
    };
    let mut ages = Vec::new();
    for (table, due) in std::iter::once((kept.table.clone(), kept.span.here_until(lately))).chain(archived) {
        let seen = match places(pool, &table).await {
            Ok(places) if places.is_empty() => continue,
            Ok(_) => look(pool, &table, kept).await,
            Err(error) => Err(error),
        };
        let (oldest, trouble) = seen.unwrap_or_else(|error| (None, Some(StoreError::from(error).to_string())));
        ages.push(TableAge { table, oldest, due, trouble });
    }
    ages
}

/// The oldest row, and what keeps others from being seen.
async fn look(pool: &PgPool, table: &str, kept: &TableKeep) -> sqlx::Result<(Option<Timestamp>, Option<String>)> {
    Ok((oldest(pool, table, kept).await?, hidden(pool, table).await?))
}

async fn oldest(pool: &PgPool, table: &str, kept: &TableKeep) -> sqlx::Result<Option<Timestamp>> {
    let sql = format!("select min({})::timestamptz from public.{table} where {}", kept.by, condition(kept));
    let asked: QueryScalar<'_, Postgres, Option<Moment>, PgArguments> = sqlx::query_scalar(AssertSqlSafe(sql));
    let mut asked = asked.bind(Timestamp::from_secs(i64::from(i32::MAX) * 16).to_datetime());
    for only in &kept.only {
        asked = asked.bind(texts(only));
    }
    Ok(asked.fetch_one(pool).await?.map(|oldest| oldest.0))
}
