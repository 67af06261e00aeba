//! Typed values out of settings, with every mistake collected.

use std::str::FromStr;

use super::settings::Settings;
use crate::problem::Problem;

/// Reads keywords and keeps the problems.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    settings: &'a Settings,
    problems: Vec<Problem>,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn new(settings: &'a Settings) -> Self {
        Self {
            settings,
            problems: Vec::new(),
        }
    }

    pub(super) fn value(&self, keyword: &str) -> Option<&'a str> {
        self.settings.value(keyword)
    }

    pub(super) fn text(&self, keyword: &str) -> Option<String> {
        self.value(keyword).map(str::to_owned)
    }

    /// One of a list of words.
    pub(super) fn word<T: Copy>(&mut self, keyword: &str, words: &[(&str, T)], default: T) -> T {
        let Some(value) = self.value(keyword) else {
            return default;
        };
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == value) {
            return *meaning;
        }
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.problem(keyword, &format!("expected one of {}", words.join(", ")));
        default
    }

    pub(super) fn number<T: FromStr>(&mut self, keyword: &str, expected: &str) -> Option<T> {
        let number = self.value(keyword)?.trim().parse().ok();
        if number.is_none() {
            self.problem(keyword, &format!("expected {expected}"));
        }
        number
    }

    pub(super) fn problem(&mut self, keyword: &str, expected: &str) {
        let problem = self.settings.problem(keyword, expected);
        self.add(problem);
    }

    pub(super) fn add(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    pub(super) fn finish<T>(self, value: T) -> Result<T, Vec<Problem>> {
        if self.problems.is_empty() {
            Ok(value)
        } else {
            Err(self.problems)
        }
    }
}
