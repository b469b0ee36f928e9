//! Texts from `grammar.txt`.

use std::collections::HashMap;

use super::render::{Token, render};
use crate::Random;

/// Where alternatives end to be chosen at random, so that every text ends.
const DEPTH: usize = 14;
const TOKENS: usize = 160;

#[derive(Debug)]
pub struct Grammar {
    rules: Vec<Rule>,
    start: usize,
}

#[derive(Debug, Default)]
struct Rule {
    alternatives: Vec<Vec<Part>>,
    /// Indices of alternatives, each as often as it weighs.
    wheel: Vec<usize>,
}

#[derive(Debug)]
enum Part {
    Word(String),
    Sign(String),
    Made(String),
    Rule { rule: usize, times: Times },
}

#[derive(Clone, Copy, Debug)]
enum Times {
    One,
    Perhaps,
    List,
}

impl Grammar {
    /// # Panics
    ///
    /// If the grammar names a rule that it does not have: a mistake in `grammar.txt`.
    pub fn shipped() -> Self {
        Self::parse(include_str!("grammar.txt"))
    }

    fn parse(text: &str) -> Self {
        let lines: Vec<(&str, &str)> =
            text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = ")).collect();
        let numbers: HashMap<&str, usize> = lines.iter().enumerate().map(|(at, (name, _))| (*name, at)).collect();
        assert_eq!(numbers.len(), lines.len(), "a rule that is there twice");
        let rules = lines.iter().map(|(_, tokens)| Rule::parse(tokens, &numbers)).collect();
        Self { rules, start: numbers["text"] }
    }

    pub fn text(&self, random: &mut Random) -> String {
        let mut tokens = Vec::new();
        self.expand(self.start, 0, random, &mut tokens);
        render(&tokens, random)
    }

    fn expand(&self, rule: usize, depth: usize, random: &mut Random, into: &mut Vec<Token>) {
        let rule = &self.rules[rule];
        let is_deep = depth > DEPTH || into.len() > TOKENS;
        let chosen = if is_deep { 0 } else { random.pick(&rule.wheel) };
        for part in &rule.alternatives[chosen] {
            match part {
                Part::Word(word) => into.push(Token::Word(word.clone())),
                Part::Sign(sign) => into.push(Token::Exact(sign.clone())),
                Part::Made(what) => into.extend(Token::made(what, random)),
                Part::Rule { rule, times } => {
                    let times = match times {
                        Times::One => 1,
                        Times::Perhaps if is_deep => 0,
                        Times::Perhaps => random.below(2),
                        Times::List if is_deep => 1,
                        Times::List => random.pick(&[1, 1, 2, 3]),
                    };
                    for time in 0..times {
                        if time > 0 {
                            into.push(Token::Exact(",".to_owned()));
                        }
                        self.expand(*rule, depth + 1, random, into);
                    }
                }
            }
        }
    }
}

impl Rule {
    fn parse(text: &str, numbers: &HashMap<&str, usize>) -> Self {
        let mut rule = Self::default();
        for alternative in split(text).split(|token| token == "|") {
            let weight = alternative.first().and_then(|token| token.strip_suffix('*')).and_then(|weight| weight.parse().ok());
            let parts = if weight.is_some() { &alternative[1..] } else { alternative };
            rule.wheel.extend(std::iter::repeat_n(rule.alternatives.len(), weight.unwrap_or(1)));
            rule.alternatives.push(parts.iter().map(|token| Part::parse(token, numbers)).collect());
        }
        rule
    }
}

impl Part {
    fn parse(token: &str, numbers: &HashMap<&str, usize>) -> Self {
        if let Some((name, times)) = token.strip_prefix('<').and_then(|rest| rest.split_once('>'))
            && name.starts_with(|c: char| c.is_ascii_lowercase())
        {
            let times = match times {
                "" => Times::One,
                "?" => Times::Perhaps,
                ",+" => Times::List,
                other => panic!("{token}: {other}?"),
            };
            let rule = *numbers.get(name).unwrap_or_else(|| panic!("no rule {name}"));
            return Self::Rule { rule, times };
        }
        match token.strip_prefix('@') {
            Some(what) if what.starts_with(|c: char| c.is_ascii_lowercase()) => Self::Made(what.to_owned()),
            _ if token.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_') => Self::Word(token.to_owned()),
            _ => Self::Sign(token.to_owned()),
        }
    }
}

/// At blanks that are not within quotes.
fn split(text: &str) -> Vec<String> {
    let mut tokens = vec![String::new()];
    let mut quote = None;
    for c in text.chars() {
        match quote {
            None if c == ' ' => tokens.push(String::new()),
            None => {
                quote = matches!(c, '\'' | '"').then_some(c);
                tokens.last_mut().expect("never empty").push(c);
            }
            Some(open) => {
                if c == open {
                    quote = None;
                }
                tokens.last_mut().expect("never empty").push(c);
            }
        }
    }
    tokens.retain(|token| !token.is_empty());
    tokens
}
