//! The gaps of literals: what a program puts into them (`{table}`, `${table}`, `%s`) when it runs.

use std::borrow::Cow;

/// The words that a name stands behind, of a table or of something else that can be destroyed, or a condition or a value.
const BEFORE_NAMES: [&str; 31] = [
    "from", "into", "table", "update", "only", "exists", "truncate", "schema", "database", "view", "index", "sequence", "role", "type",
    "column", "policy", "where", "and", "or", "not", "on", "set", "by", "having", "using", "in", "like", "between", "select", "limit",
    "offset",
];

/// No such word is longer.
const LONGEST: usize = 8;

/// Whether a text that begins with a gap may say something else once that is filled.
pub fn may_fill(text: &str) -> bool {
    text.trim_start().starts_with(['{', '$'])
}

/// A literal whose gaps are filled: where a name is wanted, with one that stands nowhere else, and with what stands there where that is a
/// literal itself. What stands in a gap elsewhere nobody knows, and it gets the benefit of the doubt: it chooses rows.
pub fn filled(text: &str) -> Option<String> {
    if !text.bytes().any(|b| matches!(b, b'{' | b'%')) {
        return None;
    }
    let mut out = String::new();
    let mut rest = text;
    let mut count = 0_usize;
    let mut so_far = SoFar::default();
    while let Some((before, gap)) = rest.find(['{', '$', '%']).and_then(|at| rest.split_at_checked(at)) {
        out.push_str(before);
        so_far.goes_on(before);
        let (open, length) = match gap.as_bytes() {
            [b'{', ..] => (1, gap_end(gap)?),
            [b'$', b'{', ..] => (2, gap_end(gap)?),
            [b'%', b's', ..] => (2, 2),
            [b'%', b'(', ..] => (2, gap.find(")s")? + 2),
            _ => {
                out.extend(gap.chars().next());
                rest = gap.get(1..).unwrap_or_default();
                continue;
            }
        };
        rest = gap.get(length..).unwrap_or_default();
        count += 1;
        let said = match gap.get(open..length.saturating_sub(1)).and_then(only_literal) {
            Some(known) => Cow::Borrowed(known),
            None => filling(&out, so_far, count),
        };
        so_far.goes_on(&said);
        // Blanks are not gathered, for they are looked over at each gap.
        if said.is_empty() && out.ends_with(char::is_whitespace) {
            out.truncate(out.trim_end().len());
            out.push(' ');
        }
        out.push_str(&said);
    }
    out.push_str(rest);
    (count > 0).then_some(out)
}

/// What stands in the gaps of a literal.
pub fn gaps(said: &str) -> impl Iterator<Item = &str> {
    let mut rest = said;
    std::iter::from_fn(move || {
        loop {
            let (_, gap) = rest.find('{').and_then(|at| rest.split_at_checked(at))?;
            // Two are one that is meant.
            if let Some(behind) = gap.strip_prefix("{{") {
                rest = behind;
                continue;
            }
            let length = gap_end(gap)?;
            rest = gap.get(length..)?;
            return gap.get(1..length - 1);
        }
    })
}

/// Behind the brackets that open here, and those in them.
fn gap_end(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, b) in text.bytes().enumerate() {
        match b {
            b'{' => depth += 1,
            b'}' if depth == 1 => return Some(at + 1),
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// What a gap says that holds a literal and nothing else.
fn only_literal(gap: &str) -> Option<&str> {
    let gap = gap.trim();
    let quote = gap.chars().next().filter(|c| matches!(c, '\'' | '"' | '`'))?;
    let said = gap.strip_prefix(quote)?.strip_suffix(quote)?;
    (!said.contains([quote, '\\', '{'])).then_some(said)
}

/// What is known of the statement that a gap stands in.
#[derive(Clone, Copy, Default)]
struct SoFar {
    /// Whether it is one that no condition makes harmless, once it has begun.
    destroys: Option<bool>,
    has_where: bool,
}

impl SoFar {
    fn goes_on(&mut self, part: &str) {
        let mut last = part;
        if let Some((_, behind)) = part.rsplit_once(';') {
            (*self, last) = (Self::default(), behind);
        }
        let mut words = last.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty()).peekable();
        if self.destroys.is_none() {
            let destroys = |word: &&str| ["drop", "truncate", "alter"].iter().any(|verb| word.eq_ignore_ascii_case(verb));
            self.destroys = words.peek().map(destroys);
        }
        self.has_where |= words.any(|word| word.eq_ignore_ascii_case("where"));
    }
}

/// What a gap holds that comes after this.
fn filling(before: &str, so_far: SoFar, count: usize) -> Cow<'static, str> {
    let said = before.trim_end();
    // Whatever it is, the statements before it are statements.
    if said.ends_with(';') {
        return Cow::Borrowed("select x");
    }
    let letters = said.bytes().rev().take(LONGEST + 1).take_while(u8::is_ascii_alphabetic).count();
    let word = said.get(said.len() - letters..).unwrap_or_default();
    let wants_name = BEFORE_NAMES.iter().any(|before| word.eq_ignore_ascii_case(before));
    let is_whole = said.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '"' | '\'' | ')'));
    let is_apart = said.len() < before.len();
    Cow::Borrowed(match so_far {
        _ if !is_whole || !is_apart || wants_name => return if count == 1 { Cow::Borrowed("x") } else { Cow::Owned(format!("x{count}")) },
        SoFar { destroys: Some(true), .. } => "",
        SoFar { has_where: true, .. } => " and x ",
        SoFar { has_where: false, .. } => " where x ",
    })
}

/// How many templates in templates are told apart.
const NESTED: usize = 16;

/// What a place in a template is in.
enum Inside {
    Template,
    /// With so many brackets open in it.
    Gap(usize),
}

/// Where the template ends that begins here, with all that stand in its gaps.
pub fn template_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut inside = vec![Inside::Template];
    let mut at = from;
    while let (Some(byte), Some(innermost)) = (bytes.get(at), inside.last_mut()) {
        match (innermost, byte) {
            (_, b'\\') => at += 1,
            (Inside::Template, b'`') => {
                inside.pop();
                if inside.is_empty() {
                    return Some(at);
                }
            }
            (Inside::Template, b'$') if bytes.get(at + 1) == Some(&b'{') => {
                inside.push(Inside::Gap(0));
                at += 1;
            }
            (Inside::Gap(_), b'`') => inside.push(Inside::Template),
            (Inside::Gap(open), b'{') => *open += 1,
            (Inside::Gap(0), b'}') => drop(inside.pop()),
            (Inside::Gap(open), b'}') => *open -= 1,
            _ => {}
        }
        if inside.len() > NESTED {
            return None;
        }
        at += 1;
    }
    None
}
