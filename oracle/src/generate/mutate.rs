//! Known texts, changed: what nobody would write and a parser may yet read in its own way.

use crate::Random;
use crate::minimize::pieces;

/// No longer than this: small texts find as much, and sooner.
const LONGEST: usize = 2000;

const INSERTED: [&str; 44] = [
    "'",
    "\"",
    "--",
    "/*",
    "*/",
    "$$",
    "$a$",
    "\\",
    ";",
    "(",
    ")",
    "E'",
    "U&'",
    "U&\"",
    "N'",
    "B'",
    "X'",
    "\n",
    "\r",
    "\u{b}",
    "\u{c}",
    "\u{a0}",
    "\u{2003}",
    "\u{feff}",
    "\u{e9}",
    ",",
    ".",
    "::",
    "''",
    "\\'",
    "/",
    "*",
    "-",
    "!",
    "$1",
    " WHERE ",
    " WHERE true ",
    " OR true ",
    " AND ",
    " NOT ",
    " BEGIN ",
    " END ",
    " AS ",
    "DELETE FROM t",
];

pub fn mutate(first: &str, second: &str, random: &mut Random) -> String {
    let mut text = cut(first).to_owned();
    for _ in 0..random.pick(&[1, 1, 1, 2, 2, 3, 5]) {
        text = once(&text, cut(second), random);
    }
    text
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn once(text: &str, other: &str, random: &mut Random) -> String {
    let mut parts: Vec<&str> = pieces(text);
    let at = random.below(parts.len());
    let next = random.below(parts.len());
    match random.below(12) {
        0 if !parts.is_empty() => {
            parts.remove(at);
        }
        1 if !parts.is_empty() => parts.insert(at, parts[next]),
        2 if !parts.is_empty() => parts.swap(at, next),
        // A stretch goes.
        3 if !parts.is_empty() => {
            let (from, to) = (at.min(next), at.max(next));
            parts.drain(from..to.min(from + 6));
        }
        4..=6 => parts.insert(at, random.pick(&INSERTED)),
        7 => {
            let others = pieces(other);
            if let Some(piece) = others.get(random.below(others.len())) {
                parts.insert(at, piece);
            }
        }
        // The beginning of one, the end of another.
        8 => {
            let others = pieces(other);
            parts.truncate(at);
            parts.extend(others.into_iter().skip(next));
        }
        9 => {
            parts.push(";");
            parts.push(other);
        }
        10 => return at_a_character(text, random),
        // One inside of the other.
        _ => {
            let (open, close) = random.pick(&[
                ("(", ")"),
                ("/*", "*/"),
                ("$q$", "$q$"),
                ("'", "'"),
                ("--", "\n"),
                ("DO $q$ BEGIN ", "; END $q$"),
                ("EXPLAIN ", ""),
            ]);
            return format!("{}{open}{other}{close}{}", parts[..at].concat(), parts[at..].concat());
        }
    }
    parts.concat()
}

fn at_a_character(text: &str, random: &mut Random) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    if characters.is_empty() {
        return text.to_owned();
    }
    let at = random.below(characters.len());
    match random.below(3) {
        0 => {
            characters.remove(at);
        }
        1 => characters.insert(at, characters[random.below(characters.len())]),
        _ => {
            characters[at] =
                random.pick(&[' ', '\'', '"', '$', '\\', '-', '/', '*', ';', '\u{e9}', '\u{1}', '\u{10ffff}', '0', 'e', 'U', '&'])
        }
    }
    characters.into_iter().collect()
}
