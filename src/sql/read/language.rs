//! In what languages code is written, and code that is compiled: which library it is of, and which of the server's functions it is.

use std::borrow::Cow;

use super::Reader;
use crate::sql::act::Act;
use crate::sql::decode;
use crate::sql::finding::{Kind, Name};
use crate::sql::lexer::Shape;
use crate::sql::rules::by_symbol;
use crate::sql::tokens::{Cursor, k};

pub(super) enum Language {
    /// SQL and PL/pgSQL, which are read.
    Read,
    /// Compiled code, which is loaded from a file.
    Compiled,
    /// Compiled code, which is there already.
    Internal,
    Other,
}

impl Reader {
    /// `CREATE EXTENSION plperlu`, `CREATE LANGUAGE plperlu`.
    pub(super) fn language(&mut self, cursor: Cursor<'_>, mut rest: Cursor<'_>) {
        rest.eat_all(&[k::IF, k::NOT, k::EXISTS]);
        if rest.is(k::LANGUAGE) && rest.is_name(1) {
            rest.advance(1);
        }
        if rest.name().is_some_and(|name| UNTRUSTED.contains(&name.last())) {
            self.note(Act::Untrusted, Kind::Create, Vec::new(), cursor);
        }
    }

    /// A function of a library: what is said of it is the library's file, and the function's name in there if that is another.
    pub(super) fn compiled(&mut self, cursor: Cursor<'_>, said: &[Cow<'_, str>], name: Option<&Name>) {
        if said.first().is_some_and(|file| !is_the_servers_own(file)) {
            self.note(Act::Load, Kind::Create, Vec::new(), cursor);
        }
        self.symbol(cursor, said.get(1).map(AsRef::as_ref).or(name.map(Name::last)));
    }

    /// A function of the server's own code under a name that somebody chose.
    pub(super) fn symbol(&mut self, cursor: Cursor<'_>, symbol: Option<&str>) {
        let function = symbol.and_then(|symbol| if symbol == "set_config_by_name" { Some("set_config") } else { by_symbol(symbol) });
        if let Some(function) = function {
            self.named_anew(function, cursor);
        }
    }
}

/// Languages whose code nothing holds back, as extensions and by themselves.
const UNTRUSTED: [&str; 10] = ["javau", "pljavau", "plperlu", "plpython2u", "plpython3u", "plpythonu", "plr", "plsh", "pltclu", "plluau"];

/// Whether a library is one that was installed with the server: by its folder, or as the scripts of extensions name theirs.
fn is_the_servers_own(file: &str) -> bool {
    file == "MODULE_PATHNAME" || file.starts_with("$libdir/") && !file.contains("..")
}

pub(super) fn named(rest: Cursor<'_>) -> Language {
    let Some(token) = rest.peek(0) else { return Language::Read };
    let name = match token.shape {
        Shape::Word | Shape::Quoted | Shape::UnicodeQuoted => decode::name(token.shape, rest.text_of(token)),
        _ => decode::literal(token.shape, rest.text_of(token)).to_ascii_lowercase(),
    };
    match name.as_str() {
        "sql" | "plpgsql" => Language::Read,
        "c" => Language::Compiled,
        "internal" => Language::Internal,
        _ => Language::Other,
    }
}
