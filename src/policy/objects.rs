//! Patterns over the names of what is in a database, as SQL writes them.

use crate::identity::glob;
use crate::sql::Name;

/// A pattern over the names of what is in a database: `tmp_*` in any schema, `staging.*` in that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectPattern {
    written: String,
    parts: Vec<String>,
}

/// PostgreSQL cuts longer names, so their end says nothing of what they name.
const NAME_BYTES: usize = 63;

impl ObjectPattern {
    /// A name as SQL writes it, with `*` for any run of characters.
    pub fn parse(text: &str) -> Result<Self, String> {
        let unfit = |why: &str| Err(format!("`{text}` is no pattern of names: {why}"));
        let mut parts = vec![String::new()];
        let mut chars = text.chars().peekable();
        let mut is_open = true;
        while let Some(c) = chars.next() {
            let is_first = parts.last().is_none_or(String::is_empty);
            let Some(part) = parts.last_mut() else { break };
            match c {
                '.' if is_first => return unfit("a part of it is empty"),
                '.' => {
                    parts.push(String::new());
                    is_open = true;
                }
                _ if !is_open => return unfit("what follows a name in quotes is a dot, or nothing"),
                '"' if is_first => {
                    is_open = false;
                    loop {
                        match chars.next() {
                            Some('"') if chars.peek() == Some(&'"') => part.extend(chars.next()),
                            Some('"') => break,
                            Some(c) => part.push(c),
                            None => return unfit("a quote in it does not end"),
                        }
                    }
                }
                c if c.is_ascii_uppercase() => {
                    let small = text.to_ascii_lowercase();
                    return Err(format!(
                        "`{text}` never matches: without quotes PostgreSQL keeps names in small letters; write \"{small}\", or '\"…\"' for a name \
                         that was created in quotes"
                    ));
                }
                c if c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '*') || !c.is_ascii() => part.push(c),
                _ => return unfit("such a name stands in double quotes, as in '\"Order Items\"'"),
            }
        }
        if parts.iter().any(String::is_empty) { unfit("a part of it is empty") } else { Ok(Self { written: text.to_owned(), parts }) }
    }

    pub fn as_str(&self) -> &str {
        &self.written
    }

    pub fn matches(&self, name: &Name) -> bool {
        let fits = |pattern: &String, part: &String| part.len() <= NAME_BYTES && glob(pattern.as_bytes(), part.as_bytes());
        match (self.parts.as_slice(), name.parts.last()) {
            ([pattern], Some(last)) => fits(pattern, last),
            (parts, _) => parts.len() == name.parts.len() && parts.iter().zip(&name.parts).all(|(pattern, part)| fits(pattern, part)),
        }
    }

    /// Whether it matches everything that `narrow` matches.
    pub fn covers(&self, narrow: &Self) -> bool {
        let covers = |wide: &String, narrow: &String| glob(wide.as_bytes(), narrow.as_bytes());
        match (self.parts.as_slice(), narrow.parts.last()) {
            ([wide], Some(last)) => covers(wide, last),
            (wide, _) => wide.len() == narrow.parts.len() && wide.iter().zip(&narrow.parts).all(|(wide, narrow)| covers(wide, narrow)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name { parts: text.split('.').map(str::to_owned).collect() }
    }

    #[test]
    fn names_match_as_a_reader_of_sql_expects() {
        let long = "x".repeat(64);
        let cases = [
            ("tmp_*", "tmp_a", true),
            ("tmp_*", "staging.tmp_a", true),
            ("tmp_*", "tmp_a.users", false),
            ("tmp_*", "users", false),
            ("staging.*", "staging.users", true),
            ("staging.*", "users", false),
            ("staging.*", "shop.staging.users", false),
            ("*.tmp_*", "public.tmp_1", true),
            ("*", "anything", true),
            ("*", &long, false),
            (r#""Users""#, "Users", true),
            (r#""Users""#, "users", false),
            (r#"public."Order Items""#, "public.Order Items", true),
            (r#""a""b""#, "a\"b", true),
            ("größe", "größe", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(ObjectPattern::parse(pattern).unwrap().matches(&name(text)), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for (text, words) in [
            ("", "is empty"),
            ("a.", "is empty"),
            (".a", "is empty"),
            ("a..b", "is empty"),
            ("\"\"", "is empty"),
            ("\"a", "does not end"),
            ("\"a\"b", "is a dot, or nothing"),
            ("a b", "double quotes"),
            ("a\"b\"", "double quotes"),
            ("tmp-*", "double quotes"),
            ("Users", "write \"users\""),
            ("public.TMP_*", "write \"public.tmp_*\""),
        ] {
            let said = ObjectPattern::parse(text).unwrap_err();
            assert!(said.contains(words), "{text}: {said}");
        }
    }

    #[test]
    fn a_wider_pattern_covers_a_narrower_one() {
        for (wide, narrow, expected) in [
            ("tmp_*", "tmp_a*", true),
            ("tmp_*", "staging.tmp_a", true),
            ("tmp_a*", "tmp_*", false),
            ("staging.*", "staging.tmp_*", true),
            ("staging.*", "tmp_*", false),
            ("*", "\"Users\"", true),
        ] {
            let [wider, narrower] = [wide, narrow].map(|text| ObjectPattern::parse(text).unwrap());
            assert_eq!(wider.covers(&narrower), expected, "{wide} over {narrow}");
        }
    }
}
