//! Lines that nobody wrote: real ones with pieces missing, doubled, exchanged and spoilt.

use super::random::Random;

/// Pieces that parsers, dates and address readers may stumble over.
const PIECES: &[&str] = &[
    "\0",
    "é",
    "漢字",
    "\u{202e}",
    "İ",
    "ß",
    "\u{feff}",
    "\t",
    "\"",
    "'",
    "\\",
    "%{x}",
    "{}",
    "[]",
    "null",
    "  ",
    "=",
    ":",
    "-",
    "/",
    "?a=b&c=%00",
    "<>&",
    "\u{2028}",
    "::1",
    "::ffff:192.0.2.7",
    "2001:db8:1:2:3:4:5:6",
    "fe80::1%eth0",
    "010.1.2.3",
    "256.1.1.1",
    "192.0.2.77",
    "10.0.0.1",
    "1.2.3.4:80",
    "127.0.0.1",
];

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "00",
    "7",
    "31",
    "59",
    "60",
    "99",
    "200",
    "404",
    "500",
    "1e9",
    "3.5",
    "65536",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "99999999999999999999",
];

const MONTHS: &[&str] = &["Jan", "Feb", "Mar", "Jun", "Dec", "Xyz", "dec"];

/// A place in a text where a character begins, or its end.
fn place(text: &str, random: &mut Random) -> usize {
    let mut at = random.below(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A piece of a text: by chance a word, or from anywhere to anywhere near.
fn piece(text: &str, random: &mut Random) -> (usize, usize) {
    if random.once_in(2) {
        let words: Vec<(usize, &str)> = text.split(' ').map(|word| (word.as_ptr() as usize, word)).collect();
        let (start, word) = *random.pick(&words);
        let start = start - text.as_ptr() as usize;
        return (start, start + word.len());
    }
    let start = place(text, random);
    let mut end = (start + random.below(20)).min(text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    (start, end)
}

/// The runs of characters of a kind, as ranges.
fn runs(text: &str, of: impl Fn(char) -> bool) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (at, c) in text.char_indices().filter(|(_, c)| of(*c)) {
        match runs.last_mut() {
            Some((_, end)) if *end == at => *end = at + c.len_utf8(),
            _ => runs.push((at, at + c.len_utf8())),
        }
    }
    runs
}

/// A line with one thing changed. `pool`: lines to take pieces from.
fn changed(text: &mut String, pool: &[String], random: &mut Random) {
    let replace =
        |text: &mut String, (start, end): (usize, usize), with: &str| text.replace_range(start..end, with);
    match random.below(13) {
        0 => {
            let piece = piece(text, random);
            replace(text, piece, "");
        }
        1 => {
            let (start, end) = piece(text, random);
            let copy = text[start..end].to_owned();
            text.insert_str(end, &copy);
        }
        2 => {
            let other = random.pick(pool);
            let (start, end) = piece(other, random);
            let taken = other[start..end].to_owned();
            let piece = piece(text, random);
            replace(text, piece, &taken);
        }
        3 => {
            let mut bytes = std::mem::take(text).into_bytes();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.next() as u8;
                }
            }
            *text = String::from_utf8_lossy(&bytes).replace(['\n', '\r'], " ");
        }
        4 | 5 => {
            let numbers = runs(text, |c| c.is_ascii_digit());
            if !numbers.is_empty() {
                let (start, end) = *random.pick(&numbers);
                let with = if random.once_in(2) {
                    random.word(NUMBERS).to_owned()
                } else {
                    // As many digits, so that dates and addresses stay what they are.
                    (start..end).map(|_| char::from(b'0' + random.below(10) as u8)).collect()
                };
                replace(text, (start, end), &with);
            }
        }
        6 => {
            // Another minute, hour or second.
            let clocks: Vec<usize> = text.match_indices(':').map(|(at, _)| at + 1).collect();
            if !clocks.is_empty() {
                let at = *random.pick(&clocks);
                if text.as_bytes()[at..].iter().take(2).filter(|b| b.is_ascii_digit()).count() == 2 {
                    replace(text, (at, at + 2), &format!("{:02}", random.below(60)));
                }
            }
        }
        7 => {
            for month in ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
            {
                if let Some(at) = text.find(month) {
                    replace(text, (at, at + 3), random.word(MONTHS));
                    break;
                }
            }
        }
        8 => {
            let (start, end) = piece(text, random);
            let long = text[start..end].repeat(1 + 3000 / (end - start).max(1));
            if random.once_in(4) {
                replace(text, (start, end), &long);
            }
        }
        9 | 10 => {
            let at = place(text, random);
            text.insert_str(at, random.word(PIECES));
        }
        11 => {
            let piece = piece(text, random);
            replace(text, piece, random.word(PIECES));
        }
        _ => {
            // The value of something becomes empty.
            let quotes: Vec<usize> = text.match_indices(['"', '=']).map(|(at, _)| at + 1).collect();
            if !quotes.is_empty() {
                let start = *random.pick(&quotes);
                let end =
                    text[start..].find(['"', ' ', ',', '}']).map_or(text.len(), |length| start + length);
                replace(text, (start, end), "");
            }
        }
    }
}

/// Lines made of these: most changed in one or more places, some doubled, missing, moved or from elsewhere.
pub(crate) fn mutated(lines: &[String], pool: &[String], random: &mut Random) -> Vec<String> {
    let mut out: Vec<String> = Vec::with_capacity(lines.len());
    for line in lines {
        if random.once_in(12) {
            continue;
        }
        let mut line = line.clone();
        // Now and then a line stays as it is, so that buckets still fill.
        if !random.once_in(3) {
            for _ in 0..=random.below(3) {
                changed(&mut line, pool, random);
            }
        }
        if random.once_in(10) {
            out.push(line.clone());
        }
        out.push(line);
        if random.once_in(15) {
            out.push(random.pick(pool).clone());
        }
        if random.once_in(8) {
            let other = random.below(out.len());
            let last = out.len() - 1;
            out.swap(other, last);
        }
    }
    out.retain(|line| !line.is_empty());
    out
}
