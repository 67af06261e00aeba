use super::*;
use crate::sql::{Options, Script};

/// The statements of a text, and that nothing but space, comments and `;` lies between them.
#[track_caller]
fn split(text: &str) -> Vec<&str> {
    let mut splitter = Splitter::at(0);
    let mut found = Vec::new();
    loop {
        match splitter.step(text) {
            Step::Statement(bounds, _) => found.push(&text[bounds.start..bounds.body_end]),
            Step::End => return found,
            other => panic!("{other:?} in {text:?}"),
        }
    }
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    assert_eq!(split(text), expected, "{text}");
}

#[test]
fn a_semicolon_ends_a_statement() {
    check("", &[]);
    check(" ;; -- nothing\n ; /* ; */", &[]);
    check("SELECT 1", &["SELECT 1"]);
    check("SELECT 1;SELECT 2 ; ", &["SELECT 1", "SELECT 2"]);
    check(
        "-- a;\nSELECT 1 -- b;\n; SELECT 2 /* c; */",
        &["SELECT 1", "SELECT 2"],
    );
    check("SELECT 1;\r\nSELECT 2;\r\n", &["SELECT 1", "SELECT 2"]);
}

#[test]
fn not_in_quotes_or_comments() {
    for one in [
        "SELECT ';'",
        "SELECT 'it''s;'",
        r"SELECT E'\';'",
        r"SELECT 'a\'",
        "SELECT E'a'\n'b\\';'",
        "SELECT U&';\\0061', U&\";\"",
        "SELECT B';', X';', N';'",
        "SELECT \"a;\"\"b;\"",
        "SELECT $$;$$, $a$;$$;$a$, $ü$;$ü$",
        "SELECT $a$ $b$ ; $b$ ; $a$",
        "SELECT $$a$b$;$$",
        "SELECT a$b$c, 1 AS \"d$;\"",
        "SELECT /* ; /* ; */ ; */ 1",
        "SELECT 1 --;\r+ 2",
        "SELECT '漢;字', \"é;\"",
    ] {
        check(&format!("{one}; SELECT 2;"), &[one, "SELECT 2"]);
    }
    check("SELECT $1;$$;$$", &["SELECT $1", "$$;$$"]);
    check(
        "SELECT a$x$;SELECT $x$;$x$",
        &["SELECT a$x$", "SELECT $x$;$x$"],
    );
    check(r"SELECT E'\\'; SELECT 2", &[r"SELECT E'\\'", "SELECT 2"]);
    check(
        "SELECT 1 - -1; SELECT 1 */ 2",
        &["SELECT 1 - -1", "SELECT 1 */ 2"],
    );
}

#[test]
fn not_in_parentheses() {
    check(
        "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT (2);); SELECT 3",
        &[
            "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT (2);)",
            "SELECT 3",
        ],
    );
    check("SELECT 1); SELECT 2", &["SELECT 1)", "SELECT 2"]);
}

#[test]
fn not_in_the_body_of_a_routine() {
    for one in [
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END; END",
        "CREATE OR REPLACE PROCEDURE p() LANGUAGE sql BEGIN ATOMIC INSERT INTO t VALUES (1); END",
        "create function f(a int default 1) returns int begin atomic ; return a; end",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC END",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 AS end; SELECT 2 end; END",
        "CREATE FUNCTION f() RETURNS int BEGIN /* x */ ATOMIC SELECT 1; -- END;\n END",
    ] {
        check(&format!("{one}; SELECT 2;"), &[one, "SELECT 2"]);
    }
    // No body of statements: `begin` is a name here.
    check(
        "CREATE FUNCTION begin() RETURNS int RETURN 1; SELECT 2",
        &["CREATE FUNCTION begin() RETURNS int RETURN 1", "SELECT 2"],
    );
    check(
        "CREATE TABLE t (a int); BEGIN; SELECT 1; END; SELECT 2",
        &[
            "CREATE TABLE t (a int)",
            "BEGIN",
            "SELECT 1",
            "END",
            "SELECT 2",
        ],
    );
}

#[test]
fn data_of_a_copy_is_not_sql() {
    let check = |text: &str, expected_data: &str, expected: &[&str]| {
        let mut splitter = Splitter::at(0);
        let mut found = Vec::new();
        while let Step::Statement(bounds, data) = splitter.step(text) {
            found.push(&text[bounds.start..bounds.body_end]);
            if let Data::Inline(range) = data {
                assert_eq!(&text[range], expected_data);
            }
        }
        assert_eq!(found, expected, "{text:?}");
    };
    check(
        "COPY t FROM stdin;\n1\tit's; \"\n\\N\t\\.x\n\\.\nSELECT 2;",
        "1\tit's; \"\n\\N\t\\.x\n",
        &["COPY t FROM stdin", "SELECT 2"],
    );
    check(
        "copy t from STDIN ; \r\n1\r\n\\.\r\nSELECT 2",
        "1\r\n",
        &["copy t from STDIN ", "SELECT 2"].map(str::trim_end),
    );
    check("COPY t FROM stdin;\n\\.", "", &["COPY t FROM stdin"]);
}

#[test]
fn a_copy_without_its_data_is_told() {
    for (text, expected) in [
        ("COPY t FROM stdin", Data::Missing),
        ("COPY t FROM stdin;", Data::Missing),
        ("COPY t FROM stdin;\n1\n", Data::Missing),
        ("COPY t FROM stdin;\n1\\.\n", Data::Missing),
        ("COPY t FROM stdin; SELECT 1;\n\\.\n", Data::NotAlone(19)),
        ("COPY t FROM stdin; x", Data::NotAlone(18)),
    ] {
        match Splitter::at(0).step(text) {
            Step::Statement(_, data) => assert_eq!(data, expected, "{text:?}"),
            other => panic!("{other:?}"),
        }
    }
}

/// A small deterministic source of numbers (xorshift64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).unwrap()
    }
}

/// Any soup of tokens is read without a panic, in order, and nothing is lost between the statements.
#[test]
fn token_soup() {
    const PIECES: &[&str] = &[
        ";",
        ";",
        "\n",
        " ",
        "'",
        "''",
        "E'",
        "\\",
        "\\'",
        "\"",
        "$$",
        "$a$",
        "$1",
        "(",
        ")",
        "--",
        "/*",
        "*/",
        "COPY t FROM stdin;\n",
        "\n\\.\n",
        "BEGIN",
        " ATOMIC ",
        "END",
        "COMMIT;",
        "CREATE ",
        "FUNCTION ",
        "OR REPLACE ",
        "é",
        "漢",
        "\u{feff}",
        "\r",
        "\t",
        "--> statement-breakpoint",
        "-",
        "*",
        "/",
        "BEGIN;",
        "COMMIT;",
        "-- schemagate: x=y\n",
        "\\restrict x\n",
        "SELECT 1",
        "DO ",
        "SET x = 1;",
        "1e",
        "0x",
        "U&\"",
        "ROLLBACK TO a;",
        "\0",
        "REINDEX (",
        "CREATE INDEX CONCURRENTLY i ON t (a);",
        "SELECT set_config('a','b',false);",
        ",",
        ".",
        "=",
    ];
    let mut dice = Dice(0x5eed);
    let mut prepared = 0;
    for _ in 0..20_000 {
        let length = 1 + dice.roll(14);
        let text: String = (0..length)
            .map(|_| PIECES[dice.roll(PIECES.len())])
            .collect();
        let marker = Some("--> statement-breakpoint");
        let in_transaction = dice.roll(2) == 0;
        let options = Options {
            marker,
            in_transaction,
        };
        crate::sql::excerpt(&text);
        drop(crate::sql::directive::parse(&text));
        let Ok(script) = Script::prepare(text.clone(), options) else {
            continue;
        };
        prepared += 1;
        whole(&script, text.strip_prefix('\u{feff}').unwrap_or(&text));
    }
    assert!(prepared > 1000, "{prepared}");
}

fn whole(script: &Script, original: &str) {
    let text = script.text();
    assert_eq!(text.len(), original.len(), "{original:?} {text:?}");
    assert_eq!(text.chars().count(), original.chars().count());
    assert_eq!(text.lines().count(), original.lines().count());
    let mut end = 0;
    let mut count = 0;
    for statement in script.statements() {
        assert!(end <= statement.start && statement.start < statement.end);
        assert_eq!(
            split(&text[end..statement.start]),
            Vec::<&str>::new(),
            "{text:?}"
        );
        let behind = text[statement.start..statement.end].strip_prefix(statement.text);
        assert_eq!(split(behind.unwrap()), Vec::<&str>::new(), "{text:?}");
        assert_eq!(script.line_column(statement.start).0, statement.line);
        assert_eq!(statement.index, count);
        statement.kind();
        let place = script.place_of_statement(count).unwrap();
        assert_eq!(place.line, statement.line);
        end = statement.end;
        if let Some(data) = statement.copy_data {
            end = data.end + text[data.end..].find('\n').map_or(2, |at| at + 1);
        }
        count += 1;
    }
    assert_eq!(split(&text[end..]), Vec::<&str>::new(), "{text:?}");
    assert_eq!(script.summary().statements, count, "{text:?}");
    if let Ok(units) = script.units() {
        let inside: usize = units.list.iter().map(|unit| unit.statements).sum();
        assert!(inside <= count);
        for unit in &units.list {
            assert_eq!(script.statements_in(unit).count(), unit.statements);
            units.settings(unit);
        }
    }
    let chunked: usize = script
        .chunks(20)
        .map(|chunk| match chunk {
            crate::sql::Chunk::Sql { statements, .. } => statements,
            crate::sql::Chunk::Copy { .. } => 1,
        })
        .sum();
    assert_eq!(chunked, count);
}
