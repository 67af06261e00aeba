use super::*;
use crate::sql::Options;

fn script(text: &str) -> Script {
    Script::prepare(text.to_owned(), Options::default()).unwrap()
}

fn rules(only: &[&str], exclude: &[&str]) -> Rules {
    let owned = |names: &[&str]| {
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>()
    };
    Rules::new(&owned(only), &owned(exclude)).unwrap()
}

#[track_caller]
fn found(text: &str, only: &[&str]) -> Vec<(String, u32)> {
    let script = script(text);
    let looked = look(&script, &rules(only, &[]), "15", true);
    let line = |found: &Found| (found.rule.clone(), script.line_column(found.offset).0);
    looked.found.iter().map(line).collect()
}

#[test]
fn the_lists_name_rules_of_squawk() {
    let all = [ON_REQUEST, OPT_IN, TOLD_BY_RISK, OF_NEW_TABLES].concat();
    for name in all {
        let rule = Rule::try_from(name).unwrap();
        assert_eq!(rule.to_string(), name);
    }
    for name in OPT_IN {
        assert!(Rule::try_from(*name).unwrap().is_opt_in(), "{name}");
    }
}

#[test]
fn rules_are_chosen_by_name() {
    let usual = rules(&[], &[]);
    let has = |rules: &Rules, name: &str| rules.names().any(|known| known == name);
    assert!(has(&usual, "adding-required-field") && !usual.chosen);
    assert!(!has(&usual, "prefer-text-field") && !has(&usual, "require-lock-timeout"));
    assert!(!has(
        &rules(&[], &["adding-required-field"]),
        "adding-required-field"
    ));
    let chosen = rules(&["prefer-text-field", " require-timeout-settings"], &[]);
    let names: Vec<&str> = chosen.names().collect();
    assert_eq!(
        names,
        [
            "prefer-text-field",
            "require-lock-timeout",
            "require-statement-timeout"
        ]
    );
    assert_eq!(rules(&["none"], &[]).names().count(), 0);
    let unknown = Rules::new(&["prefer-txt-field".to_owned(), "xyz".to_owned()], &[]).unwrap_err();
    let told: Vec<String> = unknown.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "there is no rule prefer-txt-field; did you mean prefer-text-field",
            "there is no rule xyz"
        ]
    );
    let unknown = Rules::new(&[], &["ban-drop-indx".to_owned()]).unwrap_err();
    assert_eq!(unknown[0].nearest.as_deref(), Some("ban-drop-index"));
}

#[test]
fn places_are_those_of_the_file_whatever_was_left_out() {
    let rows = "INSERT INTO t VALUES (1, '\n');\n".repeat(1000);
    let text = format!(
        "-- a\n{rows}\nCOPY t FROM stdin;\n1\n2\n\\.\nALTER TABLE t DROP COLUMN a;\n{rows}\n  DROP TABLE t;"
    );
    let expected = [
        ("ban-drop-column".to_owned(), 2007),
        ("ban-drop-table".to_owned(), 4009),
    ];
    assert_eq!(
        found(&text, &["ban-drop-column", "ban-drop-table"]),
        expected
    );
}

#[test]
fn comments_of_squawk_are_honoured() {
    let only = &["ban-drop-column"];
    let drop = "ALTER TABLE t DROP COLUMN a;";
    assert_eq!(found(drop, only).len(), 1);
    for comment in [
        "-- squawk-ignore ban-drop-column",
        "/* squawk-ignore ban-drop-column */",
    ] {
        assert_eq!(
            found(&format!("{comment}\n{drop}\n{drop}"), only),
            [("ban-drop-column".to_owned(), 3)]
        );
        let crlf = format!("INSERT INTO t VALUES (1);\r\n{comment}\r\n{drop}\r\n{drop}\r\n");
        assert_eq!(found(&crlf, only), [("ban-drop-column".to_owned(), 4)]);
    }
    let file = format!(
        "{drop}\nINSERT INTO t VALUES (1);\n-- squawk-ignore-file ban-drop-column\nINSERT INTO t VALUES (1);\n{drop}"
    );
    assert!(found(&file, only).is_empty());
    assert!(found(&format!("{drop}\n-- squawk-ignore-file"), only).is_empty());
}

#[test]
fn what_people_do_not_write_is_left_out() {
    let deep = |open: &str, close: &str| {
        format!("SELECT {}1{};", open.repeat(100_000), close.repeat(100_000))
    };
    let texts = [
        deep("(", ")"),
        deep("[", "]"),
        format!("SELECT {} a;", "NOT ".repeat(200_000)),
        format!("SELECT {} a;", "a AND ".repeat(200_000)),
        format!(
            "SELECT {} a {};",
            "CASE WHEN ".repeat(50_000),
            "THEN 1 END ".repeat(50_000)
        ),
    ];
    for text in texts {
        let script = script(&format!("{text}\nDROP TABLE t;"));
        let looked = look(&script, &rules(&["ban-drop-table"], &[]), "15", true);
        assert_eq!(looked.left_out, [0]);
        assert_eq!(looked.found.len(), 1);
    }
}

/// At the limits the stack holds, also in a build without optimisation.
#[test]
fn what_is_not_left_out_fits_on_the_stack() {
    let nested = |open: &str, close: &str, times: usize| {
        format!("{}1{}", open.repeat(times), close.repeat(times))
    };
    let depth = DEPTH as usize;
    let texts = [
        format!("SELECT {}", nested("(", ")", depth)),
        format!("SELECT {}", nested("(SELECT (", "))", depth / 2)),
        format!("SELECT {}", nested("f(", ")", depth)),
        format!("SELECT {} a", "NOT ".repeat(TOKENS - 2)),
        format!("SELECT {} 1", "- ".repeat(TOKENS - 2)),
        format!("SELECT {} a", "a AND ".repeat(TOKENS / 2 - 2)),
        format!("SELECT {} a", "a || ".repeat(TOKENS / 3 - 2)),
        format!("SELECT 1 {}", "UNION SELECT 1 ".repeat(TOKENS / 3 - 2)),
        format!(
            "SELECT {} 1 {}",
            "CASE WHEN 1 THEN ".repeat(TOKENS / 5 - 4),
            "END ".repeat(TOKENS / 5 - 4)
        ),
        format!(
            "SELECT * FROM a {}",
            "JOIN b ON true ".repeat(TOKENS / 4 - 4)
        ),
        format!("SELECT * FROM {}", "a JOIN ".repeat(TOKENS / 2 - 4)),
        format!("SELECT 1{}", "::int".repeat(TOKENS / 3 - 4)),
        format!("SELECT a{}", ".b".repeat(TOKENS / 2 - 4)),
        format!("{} SELECT 1", "EXPLAIN ".repeat(TOKENS - 2)),
        format!("{} SELECT 1", "CREATE SCHEMA s ".repeat(TOKENS / 3 - 2)),
        format!("DO $$ {} $$", "BEGIN ".repeat(TOKENS)),
        format!(
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT {} $$",
            nested("(", ")", TOKENS)
        ),
        format!(
            "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ {} $$",
            "IF a THEN ".repeat(TOKENS)
        ),
    ];
    let usual = rules(&[], &[]);
    let names: Vec<&str> = usual
        .names()
        .chain(OPT_IN.iter().copied())
        .chain(ON_REQUEST.iter().copied())
        .collect();
    for text in texts {
        let looked = look(&script(&text), &rules(&names, &[]), "15", true);
        assert!(looked.left_out.is_empty(), "{}", &text[..40]);
    }
}

/// Statements with tokens lost, doubled and swapped: the parser must not give up on itself.
#[test]
fn broken_statements_are_read() {
    let table = include_str!("../../../tests/fixtures/risk/statements.tsv");
    let usual = rules(&[], &[]);
    let names: Vec<&str> = usual
        .names()
        .chain(OPT_IN.iter().copied())
        .chain(ON_REQUEST.iter().copied())
        .collect();
    let all = rules(&names, &[]);
    let mut seed = 1_u64;
    let mut next = |below: usize| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below.max(1)
    };
    let statements: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split('\t').nth(3))
        .collect();
    let mut tried = 0;
    for _ in 0..20 {
        let mut text = String::new();
        for statement in &statements {
            let tokens = Tokens::new(statement).map(|token| token.of(statement));
            let mut tokens: Vec<&str> = tokens.collect();
            for _ in 0..=next(3) {
                let (a, b) = (next(tokens.len()), next(tokens.len()));
                match next(3) {
                    0 => drop(tokens.remove(a)),
                    1 => tokens.insert(a, tokens[b]),
                    _ => tokens.swap(a, b),
                }
                if tokens.is_empty() {
                    break;
                }
            }
            let broken = tokens.concat();
            // A quote that is torn open takes in everything behind it.
            if Tokens::new(&broken)
                .all(|token| token.terminated && token.lexeme != Lexeme::Backslash)
            {
                text.push_str(&broken);
                text.push_str(";\n");
                tried += 1;
            }
        }
        if let Ok(script) = Script::prepare(text, Options::default()) {
            look(&script, &all, "18", false);
        }
    }
    assert!(tried > 1000, "{tried}");
}
