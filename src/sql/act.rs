//! What a statement does, as far as any rule asks: the classifier's words, and the rules' only input.

use super::finding::Name;

/// One thing that a statement, or one inside it, would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Drop {
        what: Dropped,
        reach: Reach,
    },
    Truncate {
        reach: Reach,
    },
    AlterDatabase,
    AlterSystem,
    Delete(Rows),
    Update(Rows),
    /// A column of a table, or an attribute of a type.
    DropColumn {
        reach: Reach,
    },
    RowSecurityOff,
    TriggersOff,
    Grant,
    Revoke,
    /// A role that gets a power over others, or another password.
    RolePrivilege,
    /// SET, RESET, DISCARD or `set_config` of a setting; its name in small letters.
    Setting {
        name: String,
        to: SettingTo,
    },
    /// Rows of a system catalog that guard something.
    CatalogWrite,
    CopyProgram,
    /// COPY from or to a file of the server.
    CopyFile,
    /// LOAD, or a function of a library that need not be the server's own.
    Load,
    /// A language is made known whose code nothing holds back.
    Untrusted,
    /// A function that is called, without its schema.
    Call {
        function: Name,
    },
    /// Code that nobody can read before it runs.
    Dynamic(Hidden),
    Unreadable(Unreadable),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Foreign tables too.
    Table,
    Database,
    Schema,
    /// Materialized ones too.
    View,
    Policy,
    /// Users and groups too.
    Role,
    Owned,
    Tablespace,
    /// Rules too.
    Trigger,
    EventTrigger,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What depends on it keeps it from being dropped.
    Alone,
    /// It takes along what depends on it.
    Cascade,
}

/// Which rows a DELETE, an UPDATE or an action of a MERGE is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// No condition at all.
    All,
    /// A condition that is true whatever row is looked at.
    AllAfterAll,
    /// A condition of constants alone: all rows or none, whatever is in them.
    AllOrNone,
    /// Some: the condition looks at the row, or is false.
    Chosen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingTo {
    /// `off`, `false`, `no`, `0`, or a beginning of them.
    Off,
    /// Anything else that can be read.
    Other,
    /// What it is set to is known only when it runs.
    Unknown,
}

/// Why code cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// EXECUTE of what is put together while it runs.
    Executed,
    /// A function that runs SQL is given what is put together while it runs.
    Given,
    /// It is in a language other than SQL and PL/pgSQL.
    Language,
}

/// Why a text that begins as SQL cannot be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    Literal,
    QuotedName,
    DollarQuote,
    Comment,
    Nul,
    TooDeep,
    TooLong,
}
