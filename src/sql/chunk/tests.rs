use super::*;
use crate::sql::{Options, Script};

#[track_caller]
fn check(text: &str, max_bytes: usize, expected: &[(&str, usize, usize)]) {
    let script = Script::prepare(text.to_owned(), Options::default()).unwrap();
    let found: Vec<_> = script
        .chunks(max_bytes)
        .map(|chunk| match chunk {
            Chunk::Sql {
                range,
                first_statement,
                statements,
            } => (&script.text()[range], first_statement, statements),
            Chunk::Copy {
                range, statement, ..
            } => (&script.text()[range], statement, 0),
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn statements_are_grouped_up_to_the_limit() {
    let text = "-- a\nSELECT 1; SELECT 2;\nSELECT 'long one' ;; SELECT 3";
    check(
        text,
        1000,
        &[("SELECT 1; SELECT 2;\nSELECT 'long one' ;; SELECT 3", 0, 4)],
    );
    check(
        text,
        19,
        &[
            ("SELECT 1; SELECT 2;", 0, 2),
            ("SELECT 'long one' ;", 2, 1),
            ("SELECT 3", 3, 1),
        ],
    );
    check(
        text,
        0,
        &[
            ("SELECT 1;", 0, 1),
            ("SELECT 2;", 1, 1),
            ("SELECT 'long one' ;", 2, 1),
            ("SELECT 3", 3, 1),
        ],
    );
    check("-- nothing", 10, &[]);
}

#[test]
fn a_copy_goes_alone_with_its_data() {
    let text = "SELECT 1; COPY t FROM stdin;\n;1\n\\.\nSELECT 2; SELECT 3;";
    check(
        text,
        1000,
        &[
            ("SELECT 1;", 0, 1),
            ("COPY t FROM stdin", 1, 0),
            ("SELECT 2; SELECT 3;", 2, 2),
        ],
    );
    let script = Script::prepare(text.to_owned(), Options::default()).unwrap();
    let data = script.chunks(9).find_map(|chunk| match chunk {
        Chunk::Copy { data, .. } => Some(data),
        Chunk::Sql { .. } => None,
    });
    assert_eq!(&text[data.unwrap()], ";1\n");
}
