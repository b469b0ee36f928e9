//! PostgreSQL's keywords, those of all versions from 15 on together, and how a word is found among them.

/// A keyword, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kw(u16);

/// What PostgreSQL lets a keyword stand for beside itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It is no keyword.
    Plain,
    /// Any name.
    Unreserved,
    /// A column, but no function.
    Column,
    /// A function or a type, but no column.
    Function,
    /// Nothing.
    Reserved,
}

const UNRESERVED: &str = "\
    abort absent absolute access action add admin after aggregate also alter always asensitive assertion assignment at atomic attach \
    attribute backward before begin breadth by cache call called cascade cascaded catalog chain characteristics checkpoint class \
    close cluster columns comment comments commit committed compression conditional configuration conflict connection constraints \
    content continue conversion copy cost csv cube current cursor cycle data database day deallocate declare defaults deferred \
    definer delete delimiter delimiters depends depth detach dictionary disable discard document domain double drop each empty \
    enable encoding encrypted enforced enum error escape event exclude excluding exclusive execute explain expression extension \
    external family filter finalize first following force format forward function functions generated global granted groups handler \
    header hold hour identity if immediate immutable implicit import include including increment indent index indexes inherit \
    inherits inline input insensitive insert instead invoker isolation keep key keys label language large last leakproof level \
    listen load local location lock locked logged mapping match matched materialized maxvalue merge method minute minvalue mode \
    month move name names nested new next nfc nfd nfkc nfkd no normalized nothing notify nowait nulls object of off oids old omit \
    operator option options ordinality others over overriding owned owner parallel parameter parser partial partition passing \
    password path period plan plans policy preceding prepare prepared preserve prior privileges procedural procedure procedures \
    program publication quote quotes range read reassign recheck recursive ref referencing refresh reindex relative release rename \
    repack repeatable replace replica reset restart restrict return returns revoke role rollback rollup routine routines rows rule \
    savepoint scalar schema schemas scroll search second security sequence sequences serializable server session set sets share show \
    simple skip snapshot source sql stable standalone start statement statistics stdin stdout storage stored strict string strip \
    subscription support sysid system tables tablespace target temp template temporary text ties transaction transform trigger \
    truncate trusted type types uescape unbounded uncommitted unconditional unencrypted unknown unlisten unlogged until update \
    vacuum valid validate validator value varying version view views virtual volatile whitespace within without work wrapper write \
    xml year yes zone";

const COLUMN: &str = "\
    between bigint bit boolean char character coalesce dec decimal exists extract float greatest grouping inout int integer interval \
    json json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar json_serialize json_table json_value \
    least merge_action national nchar none normalize nullif numeric out overlay position precision real row setof smallint substring \
    time timestamp treat trim values varchar xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi \
    xmlroot xmlserialize xmltable";

const FUNCTION: &str = "\
    authorization binary collation concurrently cross current_schema freeze full ilike inner is isnull join left like natural \
    notnull outer overlaps right similar tablesample verbose";

/// `current_timestamp` is one too, and too long for the table; nothing here asks for it by name.
const RESERVED: &str = "\
    all analyse analyze and any array as asc asymmetric both case cast check collate column constraint create current_catalog \
    current_date current_role current_time current_user default deferrable desc distinct do else end except false fetch for foreign \
    from grant group having in initially intersect into lateral leading limit localtime localtimestamp not null offset on only or \
    order placing primary references returning select session_user some symmetric system_user table then to trailing true union \
    unique user using variadic when where window with";

const SLOTS: usize = 2048;
const LONGEST: usize = 16;

struct Table {
    words: [u128; SLOTS],
    classes: [Class; SLOTS],
}

static TABLE: Table = table();

#[expect(clippy::cast_possible_truncation, reason = "a hash takes what fits")]
const fn slot_of(word: u128) -> usize {
    let folded = (word as u64) ^ ((word >> 64) as u64).rotate_left(29);
    (folded.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 53) as usize
}

const fn table() -> Table {
    let mut table = Table { words: [0; SLOTS], classes: [Class::Plain; SLOTS] };
    fill(&mut table, UNRESERVED.as_bytes(), Class::Unreserved);
    fill(&mut table, COLUMN.as_bytes(), Class::Column);
    fill(&mut table, FUNCTION.as_bytes(), Class::Function);
    fill(&mut table, RESERVED.as_bytes(), Class::Reserved);
    table
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where an index out of bounds does not compile")]
const fn fill(table: &mut Table, words: &[u8], class: Class) {
    let (mut at, mut word) = (0, 0_u128);
    while at <= words.len() {
        let byte = if at < words.len() { words[at] } else { b' ' };
        if byte == b' ' {
            if word != 0 {
                let mut slot = slot_of(word);
                // Slot 0 stands for no keyword.
                while slot == 0 || table.words[slot] != 0 {
                    slot = (slot + 1) % SLOTS;
                }
                table.words[slot] = word;
                table.classes[slot] = class;
            }
            word = 0;
        } else {
            word = (word << 8) | byte as u128;
        }
        at += 1;
    }
}

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a slot is always less than SLOTS, and the table is never full"
)]
const fn find(word: u128) -> Kw {
    let mut slot = slot_of(word);
    loop {
        if slot != 0 {
            if TABLE.words[slot] == 0 {
                return Kw::NONE;
            }
            if TABLE.words[slot] == word {
                return Kw(slot as u16);
            }
        }
        slot = (slot + 1) % SLOTS;
    }
}

impl Kw {
    pub const NONE: Self = Self(0);

    /// Of a word as it stands in a text, in any letter case.
    pub fn of(word: &str) -> Self {
        if word.len() > LONGEST {
            return Self::NONE;
        }
        let (most, last) = word.as_bytes().split_at(word.len().saturating_sub(size_of::<u64>()));
        let packed = |bytes: &[u8]| bytes.iter().fold(0_u64, |packed, byte| (packed << 8) | u64::from(byte.to_ascii_lowercase()));
        find(u128::from(packed(most)) << 64 | u128::from(packed(last)))
    }

    /// For constants.
    #[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where an index out of bounds does not compile")]
    pub const fn named(word: &str) -> Self {
        let bytes = word.as_bytes();
        let (mut at, mut packed) = (0, 0_u128);
        while at < bytes.len() {
            packed = (packed << 8) | bytes[at].to_ascii_lowercase() as u128;
            at += 1;
        }
        let found = find(packed);
        assert!(found.0 != 0, "no such keyword");
        found
    }

    pub fn class(self) -> Class {
        TABLE.classes.get(usize::from(self.0)).copied().unwrap_or(Class::Plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_keyword_in_any_letter_case() {
        for word in [UNRESERVED, COLUMN, FUNCTION, RESERVED].iter().flat_map(|list| list.split_ascii_whitespace()) {
            let found = Kw::of(word);
            assert_ne!(found, Kw::NONE, "{word}");
            assert_eq!(Kw::of(&word.to_ascii_uppercase()), found);
            assert_eq!(Kw::named(word), found);
        }
        assert_eq!(Kw::of("select").class(), Class::Reserved);
        assert_eq!(Kw::of("Delete").class(), Class::Unreserved);
    }

    #[test]
    fn other_words_are_none() {
        for word in ["", "selec", "selects", "users", "zzzzzzzzzzzzzzzz", "zzzzzzzzzzzzzzzzz", "ſelect"] {
            assert_eq!(Kw::of(word), Kw::NONE, "{word}");
        }
    }
}
