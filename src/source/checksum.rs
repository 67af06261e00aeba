//! SHA-256 of a text as its tool computes it, over a stream.
//!
//! Drizzle hashes the text that Node.js decoded from UTF-8: invalid bytes count as U+FFFD. For valid UTF-8 that is the
//! hash of the bytes as they are, byte order mark and carriage returns included; plain SQL admits nothing else.

use sha2::{Digest, Sha256};

/// The hashes of a text that is fed in pieces.
#[derive(Default)]
pub(super) struct Checksums {
    whole: Sha256,
    /// Forked from `whole` at the first CRLF; until then the text with LF is the text.
    lf: Option<Sha256>,
    /// Forked from `whole` at the first bare LF.
    crlf: Option<Sha256>,
    /// The last piece ended with a CR, which is held back.
    pending_cr: bool,
    /// The bytes of a character that the next piece must complete; at most three.
    partial: Vec<u8>,
    /// How many bytes and line breaks came before.
    offset: u64,
    lines: u64,
    first_invalid: Option<Invalid>,
}

/// Where a text is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Invalid {
    /// Bytes before it.
    pub(super) offset: u64,
    /// Its line, from 1.
    pub(super) line: u64,
}

/// The result, all in lowercase hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) checksum: String,
    /// With LF and with CRLF at the end of every line.
    pub(super) other_endings: [String; 2],
    pub(super) invalid: Option<Invalid>,
}

/// The checksum of a text that is at hand as a whole.
pub(super) fn of_text(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(*byte));
    }
    text
}

// === impl Checksums ===

impl Checksums {
    /// The next piece of the file.
    pub(super) fn update(&mut self, mut piece: &[u8]) {
        while !self.partial.is_empty() && !piece.is_empty() {
            self.partial.push(piece[0]);
            piece = &piece[1..];
            let bytes = std::mem::take(&mut self.partial);
            self.decode(&bytes);
        }
        self.decode(piece);
    }

    /// The hashes of all that came.
    pub(super) fn finish(mut self) -> Sums {
        if !self.partial.is_empty() {
            self.note_invalid();
            self.text(REPLACEMENT);
        }
        if self.pending_cr {
            self.feed(b"\r");
        }
        let checksum = hex(&self.whole.finalize());
        let or_same = |sum: Option<Sha256>| match sum {
            Some(sum) => hex(&sum.finalize()),
            None => checksum.clone(),
        };
        Sums {
            other_endings: [or_same(self.lf), or_same(self.crlf)],
            checksum,
            invalid: self.first_invalid,
        }
    }

    fn decode(&mut self, mut bytes: &[u8]) {
        loop {
            let Err(error) = std::str::from_utf8(bytes) else {
                return self.valid(bytes);
            };
            let (valid, rest) = bytes.split_at(error.valid_up_to());
            self.valid(valid);
            let Some(length) = error.error_len() else {
                self.partial = rest.to_vec();
                return;
            };
            self.note_invalid();
            self.text(REPLACEMENT);
            self.offset += length as u64;
            bytes = rest.get(length..).unwrap_or_default();
        }
    }

    fn valid(&mut self, bytes: &[u8]) {
        self.text(bytes);
        self.offset += bytes.len() as u64;
    }

    fn note_invalid(&mut self) {
        let here = Invalid {
            offset: self.offset,
            line: self.lines + 1,
        };
        self.first_invalid.get_or_insert(here);
    }

    /// Text that is UTF-8; a CR at its end waits for what follows.
    fn text(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if std::mem::take(&mut self.pending_cr) {
            if bytes[0] == b'\n' {
                self.crlf_break();
                return self.text(&bytes[1..]);
            }
            self.feed(b"\r");
        }
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(at);
            if let Some(line) = line.strip_suffix(b"\r") {
                self.feed(line);
                self.crlf_break();
            } else {
                self.feed(line);
                self.lf_break();
            }
            rest = &after[1..];
        }
        if let Some(line) = rest.strip_suffix(b"\r") {
            self.pending_cr = true;
            rest = line;
        }
        self.feed(rest);
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.whole.update(bytes);
        for other in [&mut self.lf, &mut self.crlf].into_iter().flatten() {
            other.update(bytes);
        }
    }

    fn crlf_break(&mut self) {
        self.lines += 1;
        self.lf
            .get_or_insert_with(|| self.whole.clone())
            .update(b"\n");
        self.whole.update(b"\r\n");
        if let Some(crlf) = &mut self.crlf {
            crlf.update(b"\r\n");
        }
    }

    fn lf_break(&mut self) {
        self.lines += 1;
        self.crlf
            .get_or_insert_with(|| self.whole.clone())
            .update(b"\r\n");
        self.whole.update(b"\n");
        if let Some(lf) = &mut self.lf {
            lf.update(b"\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(bytes: &[u8], piece: usize) -> Sums {
        let mut checksums = Checksums::default();
        for piece in bytes.chunks(piece) {
            checksums.update(piece);
        }
        checksums.finish()
    }

    /// In pieces of every size the sums are those of the text as a whole.
    #[track_caller]
    fn check(bytes: &[u8], expected: Option<&str>) {
        let text = String::from_utf8_lossy(bytes);
        let lf = text.replace("\r\n", "\n");
        let crlf = lf.replace('\n', "\r\n");
        for piece in 1..=bytes.len().max(1) {
            let sums = sums(bytes, piece);
            assert_eq!(sums.checksum, of_text(&text), "pieces of {piece}");
            assert_eq!(
                sums.other_endings,
                [of_text(&lf), of_text(&crlf)],
                "pieces of {piece}"
            );
            if let Some(expected) = expected {
                assert_eq!(sums.checksum, expected);
            }
        }
    }

    #[test]
    fn gives_the_hashes_that_drizzle_writes() {
        let two = b"CREATE TABLE \"a\" (\"id\" integer);\n--> statement-breakpoint\nCREATE TABLE \"b\" (\"id\" integer);";
        check(
            two,
            Some("f8e2ff6e1e61c4edc8fab076441b8a2c6d8d749a10e66d33a1d17bf9de09cafd"),
        );
        let plain =
            b"ALTER TABLE \"a\" ADD COLUMN \"n\" text;\nALTER TABLE \"b\" ADD COLUMN \"n\" text;";
        check(
            plain,
            Some("52780b822693b911beef8298f78d6f1812d89eee043b4d6e64f005d8f9f1c6e0"),
        );
        let latin1 = b"CREATE TABLE lat(t text default '\xe9');";
        check(
            latin1,
            Some("b2dc84cf328948de660048354b64677d341c74f1ad286346e96f22811fb51c5a"),
        );
        check(
            b"SELECT 1;\n",
            Some("b4e0497804e46e0a0b0b8c31975b062152d551bac49c3c2e80932567b4085dcd"),
        );
        check(
            b"SELECT 1;\r\n",
            Some("d3cd5042f97738960d802ad6b3a548dfa18152215118ba18f04493bc6944b0e4"),
        );
    }

    #[test]
    fn a_stream_has_the_sums_of_the_whole() {
        for text in [
            "",
            "\n",
            "\r",
            "\r\n",
            "\r\r\n\n\r",
            "a\nb\r\nc\rd\n\r\n",
            "\u{feff}SELECT '\u{e9}\u{1f680}';\r\n",
            "no break at all",
        ] {
            check(text.as_bytes(), None);
        }
        check(b"\xf0\x9f\x92 half \xf0\x9f\r\n\xc3", None);
        check(b"\xed\xa0\x80\xff\xfe\n", None);
        check(b"\xe2\x82", None);
    }

    #[test]
    fn says_where_a_text_is_no_utf8() {
        assert_eq!(sums(b"ab\n", 1).invalid, None);
        let expected = Some(Invalid { offset: 5, line: 3 });
        for piece in 1..8 {
            assert_eq!(
                sums(b"a\nb\r\n\xe9 \xff", piece).invalid.map(|i| i.line),
                Some(3)
            );
            assert_eq!(sums(b"a\n\xc3\xa9\n\xff", piece).invalid, expected);
        }
        assert_eq!(
            sums(b"abc\xc3", 2).invalid,
            Some(Invalid { offset: 3, line: 1 })
        );
    }
}
