//! Old rows of tables that other programs keep, in schema public: as policy names them, with the gatekeeper's own rights, and told of
//! where that is not enough. Names come from policy, which allows nothing in them that would have to be quoted.

use sqlx::postgres::PgArguments;
use sqlx::query::{Query, QueryScalar};
use sqlx::{AssertSqlSafe, PgPool, Postgres};

use super::maintain::{STEP, STEPS};
use super::moment::Moment;
use crate::clock::Timestamp;
use crate::retention::{Archive, Only, OnlyValue, TableKeep};
use crate::store::StoreError;
use crate::store::maintain::{Retained, TableAge};

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
    if let Some(before) = kept.span.gone_before(now) {
        delete(pool, &places, kept, before, &mut here).await;
    }
    if let (Archive::Until(_), Some(before)) = (kept.span.archive, kept.span.here_until(now)) {
        match make_archive(pool, &kept.table).await {
            Ok(columns) => to_archive(pool, &places, kept, &columns, before, &mut here).await,
            Err(error) => here.troubled(format!("its archive cannot be made: {}", StoreError::from(error))),
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
        let moving = format!(
            "with gone as ({found} returning *),
                  moved as (insert into public.{}_archive ({columns}) select {columns} from gone on conflict do nothing)
             select from gone",
            kept.table
        );
        for _ in 0..STEPS {
            let step = bound(sqlx::query(AssertSqlSafe(moving.as_str())), kept, before).execute(pool).await;
            let Some(gone) = retained.note(step).map(|step| step.rows_affected()).filter(|gone| *gone > 0) else { break };
            retained.rows_archived += gone;
        }
    }
}

/// Makes the archive where there is none, closed to whomever the web lets in, and tells the columns it has in common with its table.
async fn make_archive(pool: &PgPool, table: &str) -> sqlx::Result<String> {
    let made = format!(
        "do $do$
         declare
             stranger text;
         begin
             if to_regclass('public.{table}_archive') is not null then
                 return;
             end if;
             create table public.{table}_archive (like public.{table} including all excluding identity);
             alter table public.{table}_archive enable row level security;
             for stranger in
                 select 'public' union all select quote_ident(rolname) from pg_roles where rolname in ('anon', 'authenticated')
             loop
                 execute format('revoke all on public.{table}_archive from %s', stranger);
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
        let oldest = match places(pool, &table).await {
            Ok(places) if places.is_empty() => continue,
            Ok(_) => oldest(pool, &table, kept).await,
            Err(error) => Err(error),
        };
        let (oldest, trouble) = match oldest {
            Ok(oldest) => (oldest, None),
            Err(error) => (None, Some(StoreError::from(error).to_string())),
        };
        ages.push(TableAge { table, oldest, due, trouble });
    }
    ages
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
