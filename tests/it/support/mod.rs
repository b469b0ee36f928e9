//! What the tests stand on.

pub mod bare;
pub mod client;
pub mod client_script;
pub mod cores;
pub mod disk;
pub mod frames;
pub mod house;
pub mod line;
pub mod operator;
pub mod postgres;
pub mod program;
pub mod rows;
pub mod strict;
pub mod targets;

/// Which database a house keeps its records in.
#[derive(Clone, Copy, Debug)]
pub enum Database {
    Sqlite,
    Postgres,
}

/// The same promises, held on each database.
macro_rules! on_each_database {
    ($($promise:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")] async fn $promise() { super::$promise(crate::support::Database::Sqlite).await })+
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")] async fn $promise() { super::$promise(crate::support::Database::Postgres).await })+
        }
    };
}
pub(crate) use on_each_database;
