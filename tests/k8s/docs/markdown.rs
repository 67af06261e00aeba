//! A Markdown file: its blocks of code, its links, its anchors.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::relative;

/// A Markdown file.
pub(super) struct Document {
    /// As the repository names it.
    pub(super) path: String,
    /// Everything in it.
    pub(super) text: String,
    /// Its fenced blocks.
    pub(super) blocks: Vec<Block>,
    /// Code in a line.
    pub(super) inline: Vec<(Place, String)>,
    /// Where its links lead.
    pub(super) links: Vec<(Place, String)>,
    /// What `#…` may name, as GitHub makes it of the headings.
    pub(super) anchors: BTreeSet<String>,
    /// Its headings, in order, with their level and the text below them.
    pub(super) sections: Vec<Section>,
}

/// `file:line`.
pub(super) type Place = String;

/// A fenced block.
pub(super) struct Block {
    /// Where its fence is.
    pub(super) place: Place,
    /// The first word behind the fence: its language.
    pub(super) language: String,
    /// What it is a part of: `fragment=…` behind the language.
    pub(super) fragment: Option<String>,
    /// What stands in it.
    pub(super) text: String,
}

/// A heading and what stands below it, up to the next.
pub(super) struct Section {
    /// Its text.
    pub(super) title: String,
    /// What stands below it.
    pub(super) text: String,
}

// === impl Document ===

impl Document {
    #[track_caller]
    pub(super) fn read(path: &Path) -> Self {
        let text =
            fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::parse(relative(path), text)
    }

    pub(super) fn parse(path: String, text: String) -> Self {
        let mut document = Self {
            path,
            text: String::new(),
            blocks: Vec::new(),
            inline: Vec::new(),
            links: Vec::new(),
            anchors: BTreeSet::new(),
            sections: Vec::new(),
        };
        document.fill(&text);
        document.text = text;
        document
    }

    fn fill(&mut self, text: &str) {
        let mut same = BTreeMap::new();
        let mut heading: Option<String> = None;
        let mut block: Option<Block> = None;
        let mut below = 0;
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            let line = 1 + text[..range.start].matches('\n').count();
            let place = format!("{}:{line}", self.path);
            match event {
                Event::Start(Tag::Heading { .. }) => {
                    if let Some(section) = self.sections.last_mut() {
                        text[below..range.start].clone_into(&mut section.text);
                    }
                    heading = Some(String::new());
                }
                Event::End(TagEnd::Heading(_)) => {
                    let title = heading.take().unwrap_or_default();
                    self.anchors.insert(anchor(&title, &mut same));
                    below = range.end;
                    let text = String::new();
                    self.sections.push(Section { title, text });
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    block = Some(Block::new(place, &info));
                }
                Event::End(TagEnd::CodeBlock) => self.blocks.extend(block.take()),
                Event::Start(Tag::Link { dest_url, .. }) => {
                    self.links.push((place, dest_url.into_string()));
                }
                Event::Text(words) => match (&mut block, &mut heading) {
                    (Some(block), _) => block.text.push_str(&words),
                    (None, Some(heading)) => heading.push_str(&words),
                    (None, None) => {}
                },
                Event::Code(words) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&words);
                    }
                    self.inline.push((place, words.into_string()));
                }
                _ => {}
            }
        }
        if let Some(section) = self.sections.last_mut() {
            text[below..].clone_into(&mut section.text);
        }
    }
}

// === impl Block ===

impl Block {
    fn new(place: Place, info: &str) -> Self {
        let mut words = info.split_whitespace();
        let language = words.next().unwrap_or_default().to_owned();
        let fragment = words.next().map(|word| {
            let fragment = word.strip_prefix("fragment=");
            fragment
                .unwrap_or_else(|| panic!("{place}: {word:?} is no fragment=…"))
                .to_owned()
        });
        Self {
            place,
            language,
            fragment,
            text: String::new(),
        }
    }
}

/// GitHub's: lower case, without punctuation, hyphens for spaces, numbered when it comes again.
fn anchor(title: &str, same: &mut BTreeMap<String, usize>) -> String {
    let kept = title.to_lowercase();
    let kept: String = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect();
    let count = same.entry(kept.clone()).or_insert(0);
    *count += 1;
    match *count {
        1 => kept,
        count => format!("{kept}-{}", count - 1),
    }
}

#[test]
fn what_a_document_is_made_of() {
    let text = "# A `b` & c's: d\n\n[x](y.md#z) `code`\n\n## Twice\n\n- in a list:\n\n  ```yaml fragment=pod\n  a: 1\n  ```\n\n## Twice\nend";
    let document = Document::parse("d.md".to_owned(), text.to_owned());
    let anchors: Vec<&str> = document.anchors.iter().map(String::as_str).collect();
    assert_eq!(anchors, ["a-b--cs-d", "twice", "twice-1"]);
    assert_eq!(document.links, [("d.md:3".to_owned(), "y.md#z".to_owned())]);
    assert_eq!(document.inline.last().unwrap().1, "code");
    let block = &document.blocks[0];
    assert_eq!(
        (&*block.place, &*block.language, &*block.text),
        ("d.md:9", "yaml", "a: 1\n")
    );
    assert_eq!(block.fragment.as_deref(), Some("pod"));
    assert_eq!(document.sections[2].text.trim(), "end");
}
