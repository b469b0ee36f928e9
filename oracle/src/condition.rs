//! What a condition comes to, told from its syntax tree. Folds only what PostgreSQL is sure to fold likewise.

use pg_query::protobuf::{AExprKind, BoolExprType, BoolTestType, NullTestType, SubLinkType};

use crate::tree::Tree;

/// Which rows a condition chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// It is true, whatever the row.
    All,
    /// It looks at no row, or at nothing of it but whether something is NULL: a judge may call it no condition, or may not.
    Unsure,
    /// It looks at the row, or is never true.
    Some,
}

/// None is no condition at all.
pub fn choice(condition: &Tree) -> Choice {
    if condition.is_nothing() {
        return Choice::All;
    }
    let come_to = |folding| truth(&Folder { folding }.value(condition));
    match (come_to(Folding::Full), come_to(Folding::Plain)) {
        (Value::Truth(true), _) => Choice::All,
        // What is false by arithmetic that nobody writes, a judge need not work out.
        (Value::Fixed | Value::Same, _) | (_, Value::Fixed | Value::Same | Value::Truth(true)) => Choice::Unsure,
        _ if condition.any(&may_look_at_no_row) => Choice::Unsure,
        _ => Choice::Some,
    }
}

/// Of what is not worked out here: what a query, a parameter, chance or a comparison with itself comes to can be the same for every row.
fn may_look_at_no_row(tree: &Tree) -> bool {
    match tree.name() {
        "SubLink" | "ParamRef" | "FuncCall" => true,
        name if name.starts_with("Xml") || name.starts_with("Json") => true,
        "AExpr" => {
            let (left, right) = (tree.get("lexpr"), tree.get("rexpr"));
            let is_between = [AExprKind::AexprBetween, AExprKind::AexprNotBetween].iter().any(|kind| tree.get("kind").is(*kind as i32));
            is_between || !left.is_nothing() && left == right
        }
        "BoolExpr" => tree.get("args").items().iter().any(|arg| arg.get("boolop").is(BoolExprType::NotExpr as i32)),
        _ => false,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Folding {
    Full,
    /// Constants, comparisons of two of them, NOT, AND and OR: what anyone sees at once.
    Plain,
}

struct Folder {
    folding: Folding,
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Truth(bool),
    Number(i128),
    Text(String),
    /// Of no row, and not worked out here.
    Fixed,
    /// True for every row where something is not NULL: `id = id`.
    Same,
    /// False for every row, or NULL.
    Never,
    /// It looks at the row.
    Row,
}

impl Value {
    fn is_known(&self) -> bool {
        !matches!(self, Self::Fixed | Self::Same | Self::Never | Self::Row)
    }

    /// Whether it may be true for every row, and whether it may be false for every row.
    fn bounds(&self) -> (bool, bool) {
        match self {
            Self::Fixed | Self::Number(_) | Self::Text(_) => (true, true),
            Self::Truth(true) | Self::Same => (true, false),
            Self::Truth(false) | Self::Never => (false, true),
            Self::Null | Self::Row => (false, false),
        }
    }

    fn within(may_be_true: bool, may_be_false: bool) -> Self {
        match (may_be_true, may_be_false) {
            (true, true) => Self::Fixed,
            (true, false) => Self::Same,
            (false, true) => Self::Never,
            (false, false) => Self::Row,
        }
    }
}

/// As the condition that it is used for.
fn truth(value: &Value) -> Value {
    match value {
        Value::Text(text) => said(text).map_or(Value::Fixed, Value::Truth),
        // Not a condition to PostgreSQL.
        Value::Number(_) => Value::Fixed,
        other => other.clone(),
    }
}

fn said(text: &str) -> Option<bool> {
    let text = text.trim_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']).to_ascii_lowercase();
    let begins = |word: &str, least: usize| text.len() >= least && word.starts_with(&text);
    match text.as_str() {
        "1" => Some(true),
        "0" => Some(false),
        _ if begins("true", 1) || begins("yes", 1) || text == "on" => Some(true),
        _ if begins("false", 1) || begins("no", 1) || begins("off", 2) => Some(false),
        _ => None,
    }
}

/// A question whether something is NULL, true, false, known, distinct or there.
fn is_never_null(tree: &Tree) -> bool {
    match tree.name() {
        "NullTest" | "BooleanTest" => true,
        "SubLink" => tree.get("sub_link_type").is(SubLinkType::ExistsSublink as i32),
        "AExpr" => [AExprKind::AexprDistinct, AExprKind::AexprNotDistinct].iter().any(|kind| tree.get("kind").is(*kind as i32)),
        "BoolExpr" => tree.get("args").items().iter().all(is_never_null),
        _ => false,
    }
}

impl Folder {
    fn value(&self, tree: &Tree) -> Value {
        let value = self.whole_value(tree);
        if self.folding == Folding::Plain && value.is_known() && !is_plain(tree) { Value::Fixed } else { value }
    }

    fn whole_value(&self, tree: &Tree) -> Value {
        match tree.name() {
            "AConst" => constant(tree),
            "ColumnRef" | "CurrentOfExpr" | "ParamRef" => Value::Row,
            "BoolExpr" => self.logic(tree),
            "TypeCast" => self.cast(tree),
            "AExpr" => self.operation(tree),
            "NullTest" => self.null_test(tree),
            "BooleanTest" => self.truth_test(tree),
            "CaseExpr" => self.case(tree),
            "CoalesceExpr" => {
                let mut args = tree.get("args").items().iter().map(|arg| self.value(arg)).filter(|arg| *arg != Value::Null);
                match args.next() {
                    None => Value::Null,
                    Some(first) if first.is_known() => first,
                    Some(_) => unknown(tree),
                }
            }
            // What it is given may look at no row, whatever stands in it: `f(a OR true)`.
            "FuncCall" if tree.get("agg_filter").is_nothing() && tree.get("over").is_nothing() && tree.get("agg_order").is_nothing() => {
                let looks = |arg| matches!(self.value(arg), Value::Row | Value::Same | Value::Never);
                if tree.get("args").items().iter().any(looks) { Value::Row } else { Value::Fixed }
            }
            "CollateClause" => match self.value(tree.get("arg")) {
                Value::Row => Value::Row,
                Value::Null => Value::Null,
                _ => Value::Fixed,
            },
            _ => unknown(tree),
        }
    }

    fn logic(&self, tree: &Tree) -> Value {
        let mut args = tree.get("args").items().iter().map(|arg| truth(&self.value(arg)));
        if tree.get("boolop").is(BoolExprType::AndExpr as i32) {
            all(args)
        } else if tree.get("boolop").is(BoolExprType::NotExpr as i32) {
            args.next().map_or(Value::Fixed, not)
        } else if is_null_or_not(tree.get("args").items()) {
            Value::Same
        } else {
            any(args)
        }
    }

    fn cast(&self, tree: &Tree) -> Value {
        let inner = self.value(tree.get("arg"));
        let name = tree.get("type_name");
        let plain = name.get("typmods").items().is_empty() && name.get("array_bounds").items().is_empty();
        let to = name.get("names").last_name();
        match (inner, to) {
            (Value::Row | Value::Same | Value::Never, _) => Value::Row,
            (Value::Null, _) if plain => Value::Null,
            (Value::Truth(is), "bool") if plain => Value::Truth(is),
            (Value::Text(text), "bool") if plain => said(&text).map_or(Value::Fixed, Value::Truth),
            (Value::Number(number), "bool") if plain => Value::Truth(number != 0),
            (Value::Text(text), "text" | "varchar") if plain => Value::Text(text),
            (Value::Number(number), "int2" | "int4" | "int8" | "numeric") if plain => Value::Number(number),
            (Value::Text(text), "int2" | "int4" | "int8" | "numeric") if plain => text.trim().parse().map_or(Value::Fixed, Value::Number),
            _ => Value::Fixed,
        }
    }

    fn operation(&self, tree: &Tree) -> Value {
        let (left, right) = (tree.get("lexpr"), tree.get("rexpr"));
        let name = tree.get("name").last_name();
        let kind = AExprKind::try_from(i32::try_from(tree.get("kind").number()).unwrap_or_default()).unwrap_or(AExprKind::Undefined);
        match kind {
            AExprKind::AexprOp => {
                if left.name() == "RowExpr" && right.name() == "RowExpr" && matches!(name, "=" | "<>") {
                    return self.rows(left, right, name);
                }
                if is_column(left) && left == right {
                    return if matches!(name, "=" | ">=" | "<=") { Value::Same } else { Value::Row };
                }
                if matches!(name, "~" | "~*") && self.value(right) == Value::Text(String::new()) {
                    // Every text has nothing in it.
                    return Value::Same;
                }
                if left.is_nothing() {
                    self.prefixed(name, &self.value(right))
                } else {
                    self.operate(name, &self.value(left), &self.value(right))
                }
            }
            AExprKind::AexprDistinct | AExprKind::AexprNotDistinct => {
                if left == right && is_column(left) {
                    return if kind == AExprKind::AexprNotDistinct { Value::Same } else { Value::Row };
                }
                let same = match (self.value(left), self.value(right)) {
                    (Value::Null, Value::Null) => Value::Truth(true),
                    (Value::Null, other) | (other, Value::Null) if other.is_known() => Value::Truth(false),
                    (Value::Null, Value::Row) | (Value::Row, Value::Null) => Value::Row,
                    (a, b) => self.operate("=", &a, &b),
                };
                if kind == AExprKind::AexprNotDistinct { same } else { not(same) }
            }
            AExprKind::AexprIn => {
                let one = self.value(left);
                let same = if is_column(left) && right.items().contains(left) {
                    Value::Same
                } else {
                    any(right.items().iter().map(|item| self.operate("=", &one, &self.value(item))))
                };
                if name == "=" { same } else { not(same) }
            }
            AExprKind::AexprBetween | AExprKind::AexprNotBetween => {
                let one = self.value(left);
                let [low, high] = right.items() else { return unknown(tree) };
                let inside = all([self.operate(">=", &one, &self.value(low)), self.operate("<=", &one, &self.value(high))].into_iter());
                // A column between itself and itself.
                if inside == Value::Row && [low, high].iter().all(|bound| *bound == left) && is_column(left) {
                    return if kind == AExprKind::AexprBetween { Value::Same } else { Value::Row };
                }
                if kind == AExprKind::AexprBetween { inside } else { not(inside) }
            }
            // Its pattern is given to a function.
            AExprKind::AexprSimilar if self.value(&pattern_of(right)) == Value::Text("%".to_owned()) => Value::Same,
            AExprKind::AexprLike | AExprKind::AexprIlike => {
                let like = match (self.value(left), self.value(right)) {
                    (Value::Text(_), Value::Text(pattern)) if pattern == "%" => Value::Truth(true),
                    (Value::Text(text), Value::Text(pattern)) if !pattern.contains(['%', '_', '\\']) && kind == AExprKind::AexprLike => {
                        Value::Truth(text == pattern)
                    }
                    (Value::Row, _) | (_, Value::Row) => {
                        // Every text is like itself, and every text is like %: a judge may know.
                        let surely =
                            matches!(self.value(right), Value::Text(pattern) if pattern.bytes().all(|b| b == b'%') && !pattern.is_empty());
                        if surely || is_column(left) && left == right { Value::Same } else { Value::Row }
                    }
                    (Value::Null, _) | (_, Value::Null) => Value::Null,
                    _ => Value::Fixed,
                };
                if name.starts_with('!') { not(like) } else { like }
            }
            _ => unknown(tree),
        }
    }

    fn rows(&self, left: &Tree, right: &Tree, name: &str) -> Value {
        let (left, right) = (left.get("args").items(), right.get("args").items());
        if left.len() != right.len() || left.is_empty() {
            return Value::Fixed;
        }
        let same = all(left
            .iter()
            .zip(right)
            .map(|(a, b)| if is_column(a) && a == b { Value::Same } else { self.operate("=", &self.value(a), &self.value(b)) }));
        // Of rows with a NULL in them nobody need know more.
        let same = if same == Value::Null { Value::Fixed } else { same };
        if name == "=" { same } else { not(same) }
    }

    fn prefixed(&self, name: &str, right: &Value) -> Value {
        match (name, right) {
            ("-", Value::Number(number)) => number.checked_neg().map_or(Value::Fixed, Value::Number),
            ("+", Value::Number(number)) => Value::Number(*number),
            (_, Value::Row | Value::Same | Value::Never) => Value::Row,
            _ => Value::Fixed,
        }
    }

    fn operate(&self, name: &str, left: &Value, right: &Value) -> Value {
        match (left, right) {
            // Whoever defines an operator of his own decides what it makes of NULL.
            (Value::Null, _) | (_, Value::Null) if matches!(name, "=" | "<>" | "!=" | "<" | ">" | "<=" | ">=" | "+" | "-" | "*") => {
                Value::Null
            }
            (Value::Row, _) | (_, Value::Row) => Value::Row,
            (Value::Same | Value::Never, _) | (_, Value::Same | Value::Never) => Value::Fixed,
            (Value::Number(a), Value::Number(b)) => self.numbers(name, *a, *b),
            (Value::Text(a), Value::Number(b)) => a.trim().parse().map_or(Value::Fixed, |a| self.numbers(name, a, *b)),
            (Value::Number(a), Value::Text(b)) => b.trim().parse().map_or(Value::Fixed, |b| self.numbers(name, *a, b)),
            (Value::Text(a), Value::Text(b)) => match name {
                "=" => Value::Truth(a == b),
                "<>" | "!=" => Value::Truth(a != b),
                ">=" | "<=" if a == b => Value::Truth(true),
                "||" => Value::Text(format!("{a}{b}")),
                _ => Value::Fixed,
            },
            (a, b) => match (truth(a), truth(b), name) {
                (Value::Truth(a), Value::Truth(b), "=") => Value::Truth(a == b),
                (Value::Truth(a), Value::Truth(b), "<>" | "!=") => Value::Truth(a != b),
                _ => Value::Fixed,
            },
        }
    }

    fn numbers(&self, name: &str, a: i128, b: i128) -> Value {
        let made = |made: Option<i128>| made.map_or(Value::Fixed, Value::Number);
        match name {
            "=" => Value::Truth(a == b),
            "<>" | "!=" => Value::Truth(a != b),
            "<" => Value::Truth(a < b),
            ">" => Value::Truth(a > b),
            "<=" => Value::Truth(a <= b),
            ">=" => Value::Truth(a >= b),
            "+" => made(a.checked_add(b)),
            "-" => made(a.checked_sub(b)),
            "*" => made(a.checked_mul(b)),
            _ => Value::Fixed,
        }
    }

    fn null_test(&self, tree: &Tree) -> Value {
        let asked = tree.get("arg");
        let is_null = match self.value(asked) {
            Value::Null => Value::Truth(true),
            // It is true or false for every row, and a judge may see that.
            Value::Row if is_never_null(asked) => Value::Fixed,
            Value::Row => Value::Row,
            Value::Same | Value::Never | Value::Fixed => Value::Fixed,
            _ => Value::Truth(false),
        };
        if tree.get("nulltesttype").is(NullTestType::IsNull as i32) { is_null } else { not(is_null) }
    }

    fn truth_test(&self, tree: &Tree) -> Value {
        let inner = truth(&self.value(tree.get("arg")));
        let (wanted, negated) = match BoolTestType::try_from(i32::try_from(tree.get("booltesttype").number()).unwrap_or_default()) {
            Ok(BoolTestType::IsTrue) => (Value::Truth(true), false),
            Ok(BoolTestType::IsNotTrue) => (Value::Truth(true), true),
            Ok(BoolTestType::IsFalse) => (Value::Truth(false), false),
            Ok(BoolTestType::IsNotFalse) => (Value::Truth(false), true),
            Ok(BoolTestType::IsUnknown) => (Value::Null, false),
            _ => (Value::Null, true),
        };
        match inner {
            Value::Same if wanted == Value::Truth(true) && !negated => Value::Same,
            // `(id = id) IS NOT FALSE` and the like.
            Value::Same | Value::Never => Value::Fixed,
            inner if inner.is_known() => Value::Truth((inner == wanted) != negated),
            inner => inner,
        }
    }

    fn case(&self, tree: &Tree) -> Value {
        let tested = tree.get("arg");
        let mut results = Vec::new();
        let mut is_settled = false;
        for when in tree.get("args").items() {
            let condition = when.get("expr");
            let holds = if tested.is_nothing() {
                truth(&self.value(condition))
            } else {
                self.operate("=", &self.value(tested), &self.value(condition))
            };
            if !matches!(holds, Value::Truth(false) | Value::Null) {
                results.push(self.value(when.get("result")));
            }
            is_settled = holds == Value::Truth(true);
            if is_settled {
                break;
            }
        }
        if !is_settled {
            results.push(if tree.get("defresult").is_nothing() { Value::Null } else { self.value(tree.get("defresult")) });
        }
        if let [only] = &results[..] {
            return only.clone();
        }
        // Which of them it is depends on the row, or on what is not worked out.
        let bounds = || results.iter().map(|result| truth(result).bounds());
        Value::within(bounds().all(|(may_be_true, _)| may_be_true), bounds().all(|(_, may_be_false)| may_be_false))
    }
}

fn unknown(tree: &Tree) -> Value {
    let is_star = |part: &Tree| part.get("fields").items().last().is_some_and(|field| field.name() == "AStar");
    let looks = tree.any(&|part| matches!(part.name(), "ColumnRef" | "CurrentOfExpr" | "ParamRef") && !is_star(part));
    if looks { Value::Row } else { Value::Fixed }
}

fn constant(tree: &Tree) -> Value {
    if tree.get("isnull").is(1) {
        return Value::Null;
    }
    let what = tree.get("val");
    match what.name() {
        "Boolean" => Value::Truth(what.get("boolval").is(1)),
        "Integer" => Value::Number(what.get("ival").number().into()),
        "Float" => what.get("fval").text().parse().map_or(Value::Fixed, Value::Number),
        "String" => Value::Text(what.get("sval").text().to_owned()),
        _ => Value::Fixed,
    }
}

fn pattern_of(similar: &Tree) -> Tree {
    similar.get("args").items().first().cloned().unwrap_or(Tree::Nothing)
}

/// `a IS NULL OR a IS NOT NULL`
fn is_null_or_not(args: &[Tree]) -> bool {
    let tests = || args.iter().filter(|arg| arg.name() == "NullTest");
    tests().any(|one| tests().any(|other| one.get("arg") == other.get("arg") && one.get("nulltesttype") != other.get("nulltesttype")))
}

fn is_plain(tree: &Tree) -> bool {
    // How a literal is written decides who can tell what it says.
    let is_number = |tree: &Tree| tree.name() == "AConst" && tree.get("val").name() != "String";
    match tree.name() {
        "AConst" | "BoolExpr" => true,
        "AExpr" => {
            let is_comparison = matches!(tree.get("name").last_name(), "=" | "<>" | "<" | ">" | "<=" | ">=");
            tree.get("kind").is(AExprKind::AexprOp as i32) && is_comparison && is_number(tree.get("lexpr")) && is_number(tree.get("rexpr"))
        }
        _ => false,
    }
}

fn is_column(tree: &Tree) -> bool {
    tree.name() == "ColumnRef"
}

fn not(value: Value) -> Value {
    match value {
        Value::Truth(is) => Value::Truth(!is),
        Value::Same => Value::Never,
        Value::Never => Value::Same,
        other => other,
    }
}

fn any(values: impl Iterator<Item = Value>) -> Value {
    not(all(values.map(not)))
}

fn all(values: impl Iterator<Item = Value>) -> Value {
    let values: Vec<Value> = values.collect();
    if values.contains(&Value::Truth(false)) {
        return Value::Truth(false);
    }
    if values.iter().all(|value| matches!(value, Value::Truth(true) | Value::Null)) {
        return if values.contains(&Value::Null) { Value::Null } else { Value::Truth(true) };
    }
    let bounds = || values.iter().map(Value::bounds);
    Value::within(bounds().all(|(may_be_true, _)| may_be_true), bounds().any(|(_, may_be_false)| may_be_false))
}
