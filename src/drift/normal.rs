//! The normal form of printed SQL, in which a database is what it was before its dump and restore.
//!
//! An implicit cast becomes an explicit one when its print is read again, and may then stand elsewhere: `varchar IN ('a',
//! 'b')` is `(ARRAY['a'::character varying, …])::text[]` before and `ARRAY[('a'::character varying)::text, …]` after.
//! PostgreSQL 16 and later print fewer table names in views. So casts, qualifiers, quotes that are not needed, and
//! parentheses around a single thing are left out; parentheses around an operation stay, for they say what is meant.
//! Strings stay as they are, the bodies of functions among them.

/// Deeper nesting is not looked into: PostgreSQL's own limit on its stack is of that order.
const DEEPEST: usize = 400;

/// What a text is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    /// A name, or a keyword; PostgreSQL prints keywords of expressions in capital letters.
    Word(String),
    /// A string, a number.
    Literal(String),
    /// An operator, a comma, a semicolon.
    Mark(String),
    /// In parentheses or brackets.
    Group(char, Vec<Self>),
}

/// The normal form.
pub(super) fn normal(text: &str) -> String {
    let mut reader = Reader { rest: text };
    let mut open: Vec<(char, Vec<Node>)> = Vec::new();
    let mut nodes = Vec::new();
    while let Some(token) = reader.next() {
        match token {
            Token::Open(bracket) => {
                if open.len() == DEEPEST {
                    return text.split_whitespace().collect::<Vec<_>>().join(" ");
                }
                open.push((bracket, std::mem::take(&mut nodes)));
            }
            Token::Close => {
                if let Some((bracket, before)) = open.pop() {
                    let inner = std::mem::replace(&mut nodes, before);
                    close(&mut nodes, bracket, inner);
                }
            }
            Token::Node(node) => nodes.push(node),
        }
    }
    // What is not closed was cut; nothing is lost of it.
    while let Some((bracket, before)) = open.pop() {
        let inner = std::mem::replace(&mut nodes, before);
        close(&mut nodes, bracket, inner);
    }
    if let [Node::Group('(', inner)] = nodes.as_slice() {
        nodes = inner.clone();
    }
    let mut text = String::new();
    print(&nodes, &mut text);
    text
}

/// Adds a group to what stands before it, or only what is in it where the parentheses say nothing.
fn close(nodes: &mut Vec<Node>, bracket: char, inner: Vec<Node>) {
    if bracket == '(' && !is_call(nodes.last()) && is_single(&inner) {
        nodes.extend(inner);
    } else {
        // Of several around one operation one is left.
        let inner = match <[Node; 1]>::try_from(inner) {
            Ok([Node::Group('(', inner)]) if bracket == '(' => inner,
            Ok(single) => single.into(),
            Err(inner) => inner,
        };
        nodes.push(Node::Group(bracket, inner));
    }
}

/// Whether a group behind this holds arguments.
fn is_call(before: Option<&Node>) -> bool {
    match before {
        Some(Node::Word(word)) => !word.starts_with(|c: char| c.is_ascii_uppercase()),
        Some(Node::Group('[', _)) => true,
        _ => false,
    }
}

/// One thing: `a`, `'x'`, `f(x)`, `ARRAY[…]`, `a[1]`, a group.
fn is_single(nodes: &[Node]) -> bool {
    match nodes {
        [Node::Group('(', _)] => true,
        [Node::Word(_) | Node::Literal(_), more @ ..] => {
            more.iter().all(|node| matches!(node, Node::Group(..)))
        }
        _ => false,
    }
}

fn print(nodes: &[Node], text: &mut String) {
    for node in nodes {
        if !text.is_empty() && !text.ends_with(['(', '[']) {
            text.push(' ');
        }
        match node {
            Node::Word(part) | Node::Literal(part) | Node::Mark(part) => text.push_str(part),
            Node::Group(bracket, inner) => {
                text.push(*bracket);
                print(inner, text);
                text.push(if *bracket == '(' { ')' } else { ']' });
            }
        }
    }
}

enum Token {
    Open(char),
    Close,
    Node(Node),
}

struct Reader<'t> {
    rest: &'t str,
}

// === impl Reader ===

impl<'t> Reader<'t> {
    fn next(&mut self) -> Option<Token> {
        loop {
            self.rest = self.rest.trim_start();
            let first = self.rest.chars().next()?;
            if self.rest.starts_with("::") {
                self.take(2);
                self.skip_type();
                continue;
            }
            return Some(match first {
                '(' | '[' => {
                    self.take(1);
                    Token::Open(first)
                }
                ')' | ']' => {
                    self.take(1);
                    Token::Close
                }
                '\'' => Token::Node(Node::Literal(self.quoted('\'').to_owned())),
                '$' if self.dollar_tag().is_some() => {
                    Token::Node(Node::Literal(self.dollar_quoted().to_owned()))
                }
                'E' if self.rest.starts_with("E'") => {
                    // As PostgreSQL prints it every backslash is doubled, so that a quote behind one ends the string.
                    self.take(1);
                    Token::Node(Node::Literal(format!("E{}", self.quoted('\''))))
                }
                '0'..='9' => Token::Node(Node::Literal(
                    self.while_true(|c| c.is_ascii_alphanumeric() || c == '.')
                        .to_owned(),
                )),
                first if first == '"' || is_word(first) => {
                    let mut word = self.word();
                    // What comes before a point only says where the name is.
                    while self.rest.starts_with('.') {
                        self.take(1);
                        if self.rest.starts_with(|c| c == '"' || is_word(c)) {
                            word = self.word();
                        } else {
                            word.clear();
                            break;
                        }
                    }
                    if word.is_empty() {
                        continue;
                    }
                    Token::Node(Node::Word(word))
                }
                ',' | ';' => Token::Node(Node::Mark(self.take(1).to_owned())),
                first => {
                    let mark = self.while_true(|c| "+-*/<>=~!@#%^&|?`:".contains(c));
                    let mark = if mark.is_empty() {
                        self.take(first.len_utf8())
                    } else {
                        mark
                    };
                    Token::Node(Node::Mark(mark.to_owned()))
                }
            });
        }
    }

    fn take(&mut self, length: usize) -> &'t str {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn while_true(&mut self, belongs: impl Fn(char) -> bool) -> &'t str {
        let length = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        self.take(length)
    }

    /// From a quote to the one that ends it; two of them are one that does not.
    fn quoted(&mut self, quote: char) -> &'t str {
        let mut from = 1;
        loop {
            let found = self.rest.get(from..).and_then(|rest| rest.find(quote));
            let Some(at) = found else {
                return self.take(self.rest.len());
            };
            let end = from + at + 1;
            if !self
                .rest
                .get(end..)
                .is_some_and(|rest| rest.starts_with(quote))
            {
                return self.take(end);
            }
            from = end + 1;
        }
    }

    fn dollar_tag(&self) -> Option<&'t str> {
        let length = self.rest.get(1..)?.find('$')? + 2;
        let tag = self.rest.get(..length)?;
        let name = tag.trim_matches('$');
        name.chars().all(is_word).then_some(tag)
    }

    fn dollar_quoted(&mut self) -> &'t str {
        let tag = self.dollar_tag().unwrap_or("$");
        let end = self
            .rest
            .get(tag.len()..)
            .and_then(|rest| rest.find(tag))
            .map_or(self.rest.len(), |at| at + 2 * tag.len());
        self.take(end)
    }

    /// A name without quotes where it is the same without them.
    fn word(&mut self) -> String {
        if !self.rest.starts_with('"') {
            return self.while_true(is_word).to_owned();
        }
        let quoted = self.quoted('"');
        let inner = quoted
            .strip_prefix('"')
            .and_then(|inner| inner.strip_suffix('"'));
        match inner {
            Some(inner)
                if !inner.is_empty()
                    && inner.chars().all(|c| is_word(c) && !c.is_ascii_uppercase()) =>
            {
                inner.to_owned()
            }
            _ => quoted.to_owned(),
        }
    }

    /// Whether the next word is this one; then it is taken.
    fn took(&mut self, word: &str) -> bool {
        let rest = self.rest.trim_start();
        let found = rest
            .strip_prefix(word)
            .filter(|behind| !behind.starts_with(is_word));
        if let Some(behind) = found {
            self.rest = behind;
        }
        found.is_some()
    }

    /// The name of a type behind `::`, as `format_type` prints it.
    fn skip_type(&mut self) {
        self.rest = self.rest.trim_start();
        let mut first = self.word();
        while self.rest.starts_with('.') {
            self.take(1);
            first = self.word();
        }
        let second: &[&str] = match first.as_str() {
            "character" | "bit" => &["varying"],
            "double" => &["precision"],
            "interval" => &["year", "month", "day", "hour", "minute", "second"],
            _ => &[],
        };
        let took_second = second.iter().any(|word| self.took(word));
        if first == "interval" && took_second && self.took("to") {
            let _ = second.iter().any(|word| self.took(word));
        }
        if self.rest.starts_with('(') {
            self.while_true(|c| c != ')');
            self.take(1);
        }
        if matches!(first.as_str(), "timestamp" | "time")
            && (self.took("with") || self.took("without"))
        {
            self.took("time");
            self.took("zone");
        }
        while self.rest.starts_with('[') {
            self.while_true(|c| c != ']');
            self.take(1);
        }
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric() || !c.is_ascii() && !c.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each pair was printed by PostgreSQL 15 before and after a dump and its restore.
    #[test]
    fn what_a_restore_changes_is_the_same() {
        for (before, after) in [
            (
                "CHECK (((name)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))",
                "CHECK (((name)::text = ANY (ARRAY[('a'::character varying)::text, ('b'::character varying)::text])))",
            ),
            (
                "CREATE INDEX part ON shop.\"Order 🛒\" USING btree (lower((\"sel\"\"ect\")::text)) WHERE ((\"sel\"\"ect\")::text = ANY ((ARRAY['a'::character varying])::text[]))",
                "CREATE INDEX part ON shop.\"Order 🛒\" USING btree (lower((\"sel\"\"ect\")::text)) WHERE ((\"sel\"\"ect\")::text = ANY (ARRAY[('a'::character varying)::text]))",
            ),
            (
                " SELECT customer.id,\n    customer.name\n   FROM shop.customer;",
                " SELECT id,\n    name\n   FROM shop.customer;",
            ),
            ("'x'::\"My Type\"", "'x'::public.\"My Type\""),
            ("(a)::timestamp(3) without time zone", "a"),
            ("(a)::timestamp with time zone at", "a at"),
            ("(a)::interval day to second(3)", "a"),
            ("((a || b))::numeric(10,2)[]", "(a || b)"),
            ("\"name\"", "name"),
            (
                "(ARRAY[1, 2])::bit varying(3)[]",
                "ARRAY[1, (2)::double precision]",
            ),
        ] {
            assert_eq!(normal(before), normal(after));
        }
    }

    #[test]
    fn what_somebody_changes_is_not() {
        for (before, after) in [
            ("((a OR b) AND c)", "(a OR (b AND c))"),
            ("(a > 0)", "(a > 1)"),
            ("(a > 0)", "(a >= 0)"),
            ("f(a)", "f"),
            ("f((a + 1), b)", "f(a + (1, b))"),
            ("'a b'::text", "'a  b'::text"),
            ("'it''s'", "'its'"),
            (
                "AS $function$ a::text $function$",
                "AS $function$ a $function$",
            ),
            ("AS $f$ (a) $f$", "AS $f$ a $f$"),
            ("\"Name\"", "name"),
            ("a[1]", "a[2]"),
            ("count(*)", "count(a)"),
            ("a - b", "a - - b"),
            ("E'a\\\\'", "E'b\\\\'"),
        ] {
            assert_ne!(normal(before), normal(after), "{before}");
        }
    }

    #[test]
    fn anything_has_a_form() {
        let deep = "(".repeat(100_000);
        for text in [
            "", "(", ")", "'", "\"", "$", "$a", "::", "a::", ".", "a.", "🙂", "[", "a::b(", "E'",
            &deep,
        ] {
            normal(text);
        }
        let nested = format!("{}a + b{}", "(".repeat(DEEPEST), ")".repeat(DEEPEST));
        assert_eq!(normal(&nested), "a + b");
    }
}
