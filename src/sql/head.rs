//! Where a statement structurally begins. Prose begins with the same words (`Drop table seven from the plan`), so a verb alone is not
//! enough: what follows must be what PostgreSQL's grammar lets follow. Every statement that PostgreSQL accepts passes here.

use super::lexer::Shape;
use super::tokens::{Cursor, k};
use super::words::{Class, Kw};

/// How many tokens a head needs at most to be known for one. Names of many parts and long lists of columns stand in none that counts.
pub const LONGEST: usize = 64;

/// Whether a statement begins here.
pub fn begins(cursor: &Cursor<'_>) -> bool {
    let mut c = *cursor;
    let Some(first) = c.peek(0) else { return false };
    if first.shape == Shape::Open {
        while c.eat_shape(Shape::Open) {}
        return matches!(c.kw(0), k::SELECT | k::WITH | k::VALUES | k::TABLE) && begins(&c);
    }
    if first.shape != Shape::Word {
        return false;
    }
    let verb = first.kw;
    c.advance(1);
    match verb {
        k::SELECT => select(c),
        k::INSERT => insert(c),
        k::DELETE => delete(c),
        k::UPDATE => update(c),
        k::MERGE => merge(c),
        k::WITH => with(c),
        k::VALUES => c.shape(0) == Some(Shape::Open),
        k::TABLE => {
            c.eat(k::ONLY);
            c.name().is_some() && {
                c.eat_operator("*");
                ends(&c) || matches!(c.kw(0), k::ORDER | k::LIMIT | k::OFFSET | k::FETCH | k::UNION | k::EXCEPT | k::INTERSECT | k::FOR)
            }
        }
        k::TRUNCATE => truncate(c),
        k::DROP => drop(c),
        k::ALTER => alter(c),
        k::CREATE => create(c),
        k::GRANT | k::REVOKE => rights(c),
        k::COPY => copy(c),
        k::EXPLAIN => explain(c),
        k::DO => {
            if c.eat(k::LANGUAGE) {
                let named = is_literal(&c) || c.is_name(0);
                c.advance(1);
                return named && (ends(&c) || is_literal(&c));
            }
            is_literal(&c)
        }
        k::CALL => c.name().is_some() && c.shape(0) == Some(Shape::Open),
        k::EXECUTE => c.name().is_some() && (ends(&c) || c.shape(0) == Some(Shape::Open)),
        k::PREPARE => prepare(c),
        k::DECLARE => declare(c),
        k::SET => set(c),
        k::RESET => matches!(c.kw(0), k::ALL | k::SESSION | k::TIME | k::TRANSACTION) || c.name().is_some() && ends(&c),
        k::SHOW => matches!(c.kw(0), k::ALL | k::SESSION | k::TIME | k::TRANSACTION) && ends_within(c, 3) || c.name().is_some() && ends(&c),
        k::BEGIN | k::START | k::COMMIT | k::END | k::ROLLBACK | k::ABORT => transaction(c, verb),
        k::SAVEPOINT => one_name(c),
        k::RELEASE => one_name(c) || c.eat(k::SAVEPOINT) && one_name(c),
        k::LOAD => is_literal(&c),
        k::LISTEN => one_name(c),
        k::UNLISTEN => c.is_operator(0, "*") || one_name(c),
        k::NOTIFY => c.name().is_some() && (ends(&c) || c.shape(0) == Some(Shape::Comma)),
        k::DISCARD => matches!(c.kw(0), k::ALL | k::PLANS | k::SEQUENCES | k::TEMP | k::TEMPORARY) && ends_within(c, 1),
        k::DEALLOCATE => {
            if !ends(&Cursor { at: c.at + 1, ..c }) {
                c.eat(k::PREPARE);
            }
            (c.eat(k::ALL) || c.name().is_some()) && ends(&c)
        }
        k::CLOSE => (c.eat(k::ALL) || c.name().is_some()) && ends(&c),
        k::FETCH | k::MOVE => fetch(c),
        k::LOCK => {
            c.eat(k::TABLE);
            c.eat(k::ONLY);
            c.eat_shape(Shape::Open);
            c.name().is_some() && (ends(&c) || matches!(c.kw(0), k::IN | k::NOWAIT) || goes_on(&c) || c.shape(0) == Some(Shape::Close))
        }
        k::CHECKPOINT => ends(&c) || c.shape(0) == Some(Shape::Open),
        k::VACUUM | k::ANALYZE | k::ANALYSE | k::CLUSTER | k::REPACK => maintain(c),
        k::REINDEX => {
            c.group();
            let kind = matches!(c.kw(0), k::INDEX | k::TABLE | k::SCHEMA | k::DATABASE | k::SYSTEM);
            c.advance(1);
            c.eat(k::CONCURRENTLY);
            kind && (ends(&c) || c.name().is_some() && ends(&c))
        }
        k::REFRESH => c.eat_all(&[k::MATERIALIZED, k::VIEW]),
        k::REASSIGN => c.eat_all(&[k::OWNED, k::BY]),
        k::COMMENT => c.eat(k::ON) && comment(c),
        k::SECURITY => c.eat(k::LABEL),
        k::IMPORT => c.eat_all(&[k::FOREIGN, k::SCHEMA]),
        _ => false,
    }
}

/// The end of the statement, or of the parentheses around it.
pub fn ends(c: &Cursor<'_>) -> bool {
    c.is_end() || matches!(c.shape(0), Some(Shape::Semicolon | Shape::Close))
}

fn ends_within(mut c: Cursor<'_>, most: usize) -> bool {
    (0..most).any(|_| {
        c.advance(1);
        ends(&c)
    })
}

/// A list goes on, or a name does.
fn goes_on(c: &Cursor<'_>) -> bool {
    matches!(c.shape(0), Some(Shape::Comma)) || c.is_operator(0, "*")
}

fn is_literal(c: &Cursor<'_>) -> bool {
    matches!(c.shape(0), Some(Shape::Literal | Shape::Escaped | Shape::Unicode | Shape::Dollar))
}

fn one_name(mut c: Cursor<'_>) -> bool {
    c.name().is_some() && ends(&c)
}

fn select(mut c: Cursor<'_>) -> bool {
    if c.eat(k::DISTINCT) {
        if c.eat(k::ON) {
            return c.shape(0) == Some(Shape::Open);
        }
    } else {
        c.eat(k::ALL);
    }
    let Some(first) = c.peek(0) else { return true };
    if first.shape != Shape::Word {
        return true;
    }
    // A word that PostgreSQL reserves is no name: it stands in an expression, or begins the next clause.
    if first.kw.class() == Class::Reserved {
        return true;
    }
    c.advance(1);
    match c.peek(0) {
        None => true,
        Some(next) if next.shape == Shape::Word => {
            is_clause(next.kw) || is_infix(next.kw) || is_literal_after_type(&c) || {
                // What it is called, and then the list goes on or ends.
                c.advance(1);
                match c.peek(0) {
                    None => true,
                    Some(after) => {
                        matches!(after.shape, Shape::Comma | Shape::Close | Shape::Semicolon)
                            || is_clause(after.kw)
                            || is_literal(&c)
                            || is_infix(after.kw)
                    }
                }
            }
        }
        Some(next) => !matches!(next.shape, Shape::Stray),
    }
}

/// `double precision '1'`, `timestamp with time zone 'x'`, `interval '1' day`.
fn is_literal_after_type(c: &Cursor<'_>) -> bool {
    matches!(c.kw(0), k::PRECISION | k::VARYING | k::WITH | k::WITHOUT)
}

fn is_clause(kw: Kw) -> bool {
    matches!(
        kw,
        k::FROM
            | k::INTO
            | k::WHERE
            | k::GROUP
            | k::HAVING
            | k::WINDOW
            | k::UNION
            | k::INTERSECT
            | k::EXCEPT
            | k::ORDER
            | k::LIMIT
            | k::OFFSET
            | k::FETCH
            | k::FOR
            | k::AS
    )
}

fn is_infix(kw: Kw) -> bool {
    matches!(
        kw,
        k::AND
            | k::OR
            | k::IS
            | k::IN
            | k::LIKE
            | k::ILIKE
            | k::BETWEEN
            | k::SIMILAR
            | k::COLLATE
            | k::AT
            | k::OPERATOR
            | k::NOT
            | k::ISNULL
            | k::NOTNULL
            | k::OVERLAPS
            | k::OVER
            | k::FILTER
    )
}

fn insert(mut c: Cursor<'_>) -> bool {
    c.eat(k::INTO) && c.name().is_some() && {
        if c.eat(k::AS) {
            c.advance(1);
        }
        ends(&c)
            || c.shape(0) == Some(Shape::Open)
            || matches!(c.kw(0), k::VALUES | k::SELECT | k::DEFAULT | k::OVERRIDING | k::WITH | k::TABLE)
    }
}

/// `ONLY`, a name, `*`, and what it is called here.
fn relation(c: &mut Cursor<'_>, stop: &[Kw]) -> bool {
    if c.relation().is_none() {
        return false;
    }
    if c.eat(k::AS) {
        return c.is_name(0) && {
            c.advance(1);
            true
        };
    }
    if c.is_name(0) && !stop.contains(&c.kw(0)) {
        c.advance(1);
    }
    true
}

fn delete(mut c: Cursor<'_>) -> bool {
    c.eat(k::FROM) && relation(&mut c, &[]) && (ends(&c) || matches!(c.kw(0), k::USING | k::WHERE | k::RETURNING | k::ORDER | k::LIMIT))
}

fn update(mut c: Cursor<'_>) -> bool {
    relation(&mut c, &[k::SET]) && c.eat(k::SET) && (c.shape(0) == Some(Shape::Open) || assignment(c))
}

fn assignment(mut c: Cursor<'_>) -> bool {
    if !matches!(c.shape(0), Some(Shape::Word | Shape::Quoted | Shape::UnicodeQuoted)) {
        return false;
    }
    c.advance(1);
    loop {
        match c.shape(0) {
            Some(Shape::Dot) => c.advance(2),
            Some(Shape::OpenBracket) => c.skip(),
            Some(Shape::Operator) => return c.word(0).starts_with('='),
            _ => return false,
        }
    }
}

fn merge(mut c: Cursor<'_>) -> bool {
    c.eat(k::INTO) && relation(&mut c, &[k::USING]) && c.is(k::USING)
}

fn with(mut c: Cursor<'_>) -> bool {
    c.eat_recursive();
    if c.name().is_none() {
        return false;
    }
    c.group();
    if !c.eat(k::AS) {
        return false;
    }
    c.eat(k::NOT);
    c.eat(k::MATERIALIZED);
    c.shape(0) == Some(Shape::Open)
}

fn truncate(mut c: Cursor<'_>) -> bool {
    c.eat(k::TABLE);
    c.eat(k::ONLY);
    c.eat_shape(Shape::Open);
    c.name().is_some()
        && (ends(&c)
            || goes_on(&c)
            || matches!(c.kw(0), k::RESTART | k::CONTINUE | k::CASCADE | k::RESTRICT)
                && c.peek(1).is_none_or(|next| next.kw != Kw::NONE || next.shape != Shape::Word))
}

/// The words that name a kind of object after DROP, ALTER or CREATE, and how many tokens they are.
pub fn kind_of_object(c: &Cursor<'_>) -> Option<usize> {
    let second = c.kw(1);
    Some(match c.kw(0) {
        k::TABLE
        | k::VIEW
        | k::INDEX
        | k::SEQUENCE
        | k::SCHEMA
        | k::DATABASE
        | k::DOMAIN
        | k::TYPE
        | k::FUNCTION
        | k::PROCEDURE
        | k::ROUTINE
        | k::AGGREGATE
        | k::TRIGGER
        | k::RULE
        | k::POLICY
        | k::EXTENSION
        | k::ROLE
        | k::GROUP
        | k::TABLESPACE
        | k::COLLATION
        | k::CONVERSION
        | k::LANGUAGE
        | k::PUBLICATION
        | k::SUBSCRIPTION
        | k::SERVER
        | k::STATISTICS
        | k::CAST
        | k::TRANSFORM
        | k::SYSTEM
        | k::OWNED
        | k::CONSTRAINT
        | k::COLUMN => 1,
        k::USER => match (second, c.kw(2)) {
            (k::MAPPING, k::FOR | k::IF) => 2,
            _ => 1,
        },
        k::OPERATOR => match second {
            k::CLASS | k::FAMILY => 2,
            _ => 1,
        },
        k::MATERIALIZED if second == k::VIEW => 2,
        k::FOREIGN if second == k::TABLE => 2,
        k::FOREIGN if second == k::DATA => 3,
        k::EVENT if second == k::TRIGGER => 2,
        k::ACCESS if second == k::METHOD => 2,
        k::LARGE if second == k::OBJECT => 2,
        k::DEFAULT if second == k::PRIVILEGES => 2,
        k::TEXT if second == k::SEARCH => 3,
        k::PROCEDURAL if second == k::LANGUAGE => 2,
        k::TRUSTED if matches!(second, k::LANGUAGE | k::PROCEDURAL) => 2,
        _ => return None,
    })
}

fn drop(mut c: Cursor<'_>) -> bool {
    let Some(words) = kind_of_object(&c) else { return false };
    let kind = c.kw(0);
    c.advance(words);
    match kind {
        k::OWNED => return c.eat(k::BY) && c.peek(0).is_some(),
        k::CAST => return c.shape(0) == Some(Shape::Open) || c.is(k::IF),
        k::TRANSFORM => return matches!(c.kw(0), k::FOR | k::IF),
        k::USER if words == 2 => return matches!(c.kw(0), k::FOR | k::IF),
        k::OPERATOR if words == 1 => return !ends(&c),
        _ => {}
    }
    c.eat(k::CONCURRENTLY);
    c.if_exists();
    if matches!(kind, k::ROLE | k::USER | k::GROUP) && c.is_role() && !c.is_name(0) {
        return true;
    }
    if c.name().is_none() {
        return false;
    }
    ends(&c)
        || matches!(c.shape(0), Some(Shape::Comma | Shape::Open))
        || matches!(c.kw(0), k::CASCADE | k::RESTRICT | k::ON | k::USING | k::WITH)
}

fn alter(mut c: Cursor<'_>) -> bool {
    let Some(words) = kind_of_object(&c) else { return false };
    let kind = c.kw(0);
    c.advance(words);
    match kind {
        k::SYSTEM => return matches!(c.kw(0), k::SET | k::RESET),
        k::DEFAULT => return matches!(c.kw(0), k::GRANT | k::REVOKE | k::FOR | k::IN),
        k::OPERATOR | k::LARGE | k::CAST => return !ends(&c),
        _ => {}
    }
    if matches!(c.kw(0), k::ALL) || c.is(k::FOR) {
        return matches!(c.kw(1), k::IN | k::SET | k::RESET | k::USER | k::CURRENT_USER | k::CURRENT_ROLE | k::SESSION_USER)
            || c.is(k::FOR);
    }
    c.if_exists();
    if c.is_role() && !c.is_name(0) {
        c.advance(1);
    } else if c.relation().is_none() {
        return false;
    }
    // The arguments of a function, or the options of a dictionary, which are all that is said of it.
    if c.group().is_some() && ends(&c) {
        return true;
    }
    if c.eat(k::ON) {
        c.name();
    }
    if kind == k::POLICY && ends(&c) {
        return true;
    }
    // Of an operator class its index method; of a policy its condition.
    if c.is(k::USING) && c.shape(1) == Some(Shape::Word) {
        c.advance(2);
    }
    if matches!(kind, k::ROLE | k::USER | k::GROUP | k::DATABASE | k::SUBSCRIPTION) {
        // Their options are plain words.
        return !ends(&c) || matches!(kind, k::ROLE | k::USER | k::DATABASE);
    }
    matches!(
        c.kw(0),
        k::ADD
            | k::DROP
            | k::ALTER
            | k::SET
            | k::RESET
            | k::RENAME
            | k::OWNER
            | k::ENABLE
            | k::DISABLE
            | k::FORCE
            | k::NO
            | k::ATTACH
            | k::DETACH
            | k::INHERIT
            | k::OF
            | k::NOT
            | k::CLUSTER
            | k::VALIDATE
            | k::REPLICA
            | k::OPTIONS
            | k::REFRESH
            | k::VERSION
            | k::UPDATE
            | k::TO
            | k::DEPENDS
            | k::HANDLER
            | k::VALIDATOR
            | k::CONNECTION
            | k::OPERATOR
            | k::MERGE
            | k::CALLED
            | k::RETURNS
            | k::IMMUTABLE
            | k::STABLE
            | k::VOLATILE
            | k::STRICT
            | k::SECURITY
            | k::EXTERNAL
            | k::LEAKPROOF
            | k::COST
            | k::ROWS
            | k::SUPPORT
            | k::PARALLEL
            | k::AS
            | k::INCREMENT
            | k::MINVALUE
            | k::MAXVALUE
            | k::START
            | k::RESTART
            | k::CACHE
            | k::CYCLE
            | k::OWNED
            | k::SEQUENCE
            | k::LOGGED
            | k::WITH
            | k::SKIP
            | k::FOR
            | k::USING
    ) || c.shape(0) == Some(Shape::Open)
}

fn create(mut c: Cursor<'_>) -> bool {
    c.eat_all(&[k::OR, k::REPLACE]);
    let mut words = 0;
    while words < 4
        && matches!(
            c.kw(0),
            k::TEMP
                | k::TEMPORARY
                | k::LOCAL
                | k::GLOBAL
                | k::UNLOGGED
                | k::UNIQUE
                | k::RECURSIVE
                | k::DEFAULT
                | k::TRUSTED
                | k::PROCEDURAL
                | k::CONSTRAINT
        )
    {
        c.advance(1);
        words += 1;
    }
    let Some(words) = kind_of_object(&c) else { return false };
    let kind = c.kw(0);
    c.advance(words);
    match kind {
        k::CAST | k::TRANSFORM | k::OPERATOR | k::SCHEMA | k::USER | k::INDEX => !ends(&c),
        k::LARGE | k::SYSTEM | k::OWNED | k::COLUMN | k::CONSTRAINT => false,
        k::STATISTICS if c.shape(0) == Some(Shape::Open) || c.is(k::ON) => true,
        _ => {
            c.eat(k::CONCURRENTLY);
            c.eat_all(&[k::IF, k::NOT, k::EXISTS]);
            // `Create table of contents` has no parentheses, and no clause, behind its name.
            c.is_name(0) && {
                c.name();
                ends(&c)
                    || c.shape(0) == Some(Shape::Open)
                    || c.kw(0) != Kw::NONE
                    || c.shape(0) == Some(Shape::Operator)
                    || matches!(kind, k::DATABASE | k::ROLE | k::EXTENSION | k::GROUP | k::DOMAIN)
            }
        }
    }
}

fn rights(mut c: Cursor<'_>) -> bool {
    if c.kw(1) == k::OPTION && c.kw(2) == k::FOR {
        return true;
    }
    let mut first = true;
    // A list of rights or of roles, and then ON, TO or FROM.
    loop {
        if !matches!(c.shape(0), Some(Shape::Word | Shape::Quoted | Shape::UnicodeQuoted)) {
            return false;
        }
        if first && c.is(k::ALL) {
            c.advance(1);
            c.eat(k::PRIVILEGES);
        } else {
            let is_system = c.kw(0) == k::ALTER && c.kw(1) == k::SYSTEM;
            c.advance(if is_system { 2 } else { 1 });
        }
        first = false;
        c.group();
        if !c.eat_shape(Shape::Comma) {
            return matches!(c.kw(0), k::ON | k::TO | k::FROM);
        }
    }
}

fn copy(mut c: Cursor<'_>) -> bool {
    if c.eat(k::BINARY) && c.is_end() {
        return false;
    }
    if c.shape(0) == Some(Shape::Open) {
        return matches!(c.kw(1), k::SELECT | k::WITH | k::VALUES | k::TABLE | k::INSERT | k::UPDATE | k::DELETE | k::MERGE)
            || c.shape(1) == Some(Shape::Open);
    }
    c.name().is_some() && {
        c.group();
        matches!(c.kw(0), k::FROM | k::TO)
            && (is_literal(&Cursor { at: c.at + 1, ..c }) || matches!(c.kw(1), k::STDIN | k::STDOUT | k::PROGRAM))
    }
}

fn explain(mut c: Cursor<'_>) -> bool {
    explain_options(&mut c);
    while matches!(c.kw(0), k::ANALYZE | k::ANALYSE | k::VERBOSE) {
        c.advance(1);
    }
    !c.is(k::EXPLAIN) && begins(&c)
}

/// The options of EXPLAIN in parentheses, which could also be around a query.
pub fn explain_options<'t>(c: &mut Cursor<'t>) -> Option<Cursor<'t>> {
    let is_query = matches!(c.kw(1), k::SELECT | k::WITH | k::VALUES | k::TABLE) || c.shape(1) == Some(Shape::Open);
    if is_query { None } else { c.group() }
}

/// SESSION and LOCAL, unless they are the name of what is set.
pub fn set_scope(c: &mut Cursor<'_>) {
    for _ in 0..2 {
        let is_name = c.is_operator(1, "=") || c.kw(1) == k::TO || c.shape(1) == Some(Shape::Dot);
        if matches!(c.kw(0), k::LOCAL | k::SESSION) && !is_name {
            c.advance(1);
        }
    }
}

fn prepare(mut c: Cursor<'_>) -> bool {
    if c.eat(k::TRANSACTION) {
        return is_literal(&c);
    }
    c.name().is_some() && {
        c.group();
        c.is(k::AS)
    }
}

fn declare(mut c: Cursor<'_>) -> bool {
    c.name().is_some() && {
        while matches!(c.kw(0), k::BINARY | k::INSENSITIVE | k::ASENSITIVE | k::SCROLL | k::NO) {
            c.advance(1);
        }
        c.is(k::CURSOR)
    }
}

fn set(mut c: Cursor<'_>) -> bool {
    set_scope(&mut c);
    match c.kw(0) {
        k::TRANSACTION | k::CHARACTERISTICS | k::CONSTRAINTS | k::AUTHORIZATION => return c.peek(1).is_some(),
        k::TIME => return c.kw(1) == k::ZONE,
        k::NAMES if ends(&Cursor { at: c.at + 1, ..c }) => return true,
        k::ROLE | k::NAMES | k::CATALOG | k::SCHEMA => {
            return c.peek(1).is_some() && (ends_within(c, 2) || c.is_operator(1, "=") || c.kw(1) == k::TO);
        }
        k::XML => return c.kw(1) == k::OPTION,
        _ => {}
    }
    c.name().is_some() && (c.is_operator(0, "=") || matches!(c.kw(0), k::TO) || c.eat_all(&[k::FROM, k::CURRENT]))
}

fn transaction(mut c: Cursor<'_>, verb: Kw) -> bool {
    if verb == k::START && !c.is(k::TRANSACTION) {
        return false;
    }
    if matches!(c.kw(0), k::WORK | k::TRANSACTION) {
        c.advance(1);
    }
    ends(&c)
        || matches!(c.kw(0), k::ISOLATION | k::READ | k::DEFERRABLE | k::NOT | k::AND | k::TO)
        || matches!(verb, k::COMMIT | k::ROLLBACK) && c.is(k::PREPARED)
}

fn fetch(mut c: Cursor<'_>) -> bool {
    // At most: a direction, a count, FROM or IN, and the cursor.
    for _ in 0..5 {
        match c.shape(0) {
            Some(Shape::Word | Shape::Quoted | Shape::UnicodeQuoted | Shape::Number) => c.advance(1),
            Some(Shape::Operator) => c.advance(1),
            _ => return ends(&c),
        }
        if ends(&c) {
            return true;
        }
    }
    false
}

fn maintain(mut c: Cursor<'_>) -> bool {
    c.group();
    while matches!(c.kw(0), k::FULL | k::FREEZE | k::VERBOSE | k::ANALYZE | k::ANALYSE) {
        c.advance(1);
    }
    if ends(&c) {
        return true;
    }
    c.eat(k::ONLY);
    c.name().is_some() && (ends(&c) || goes_on(&c) || c.shape(0) == Some(Shape::Open) || matches!(c.kw(0), k::USING | k::ON))
}

fn comment(mut c: Cursor<'_>) -> bool {
    if kind_of_object(&c).is_none() {
        return false;
    }
    // Whatever it is on, its text is a literal or NULL.
    let far = c.at + LONGEST;
    let on = c.until(|c| c.is(k::IS) || ends(c) || c.at > far);
    !on.here().is_empty() && c.eat(k::IS) && (is_literal(&c) || c.is(k::NULL))
}
