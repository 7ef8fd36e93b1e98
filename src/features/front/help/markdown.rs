//! The part of Markdown that the manual is written in: headings, paragraphs, lists, code, tables; inside them code, strong
//! text and links. It makes values and no markup: that is the template's, which escapes all text.

use serde::Serialize;

/// A block of a text.
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Block {
    /// `## …`.
    Heading {
        /// 1 to 4.
        level: usize,
        /// For addresses: unique on its page.
        id: String,
        /// What it says.
        text: Vec<Span>,
    },
    /// Lines up to an empty one.
    Paragraph {
        /// What it says.
        text: Vec<Span>,
    },
    /// `- …` or `1. …`.
    List {
        /// With numbers?
        numbered: bool,
        /// In their order.
        items: Vec<Vec<Span>>,
    },
    /// Indented by four spaces, or between lines of three backticks.
    Code {
        /// As it stands.
        text: String,
    },
    /// `| … | … |`, with a line of dashes below its head.
    Table {
        /// Of each column.
        head: Vec<Vec<Span>>,
        /// As many cells as the head has.
        rows: Vec<Vec<Vec<Span>>>,
    },
}

/// A piece of a line.
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "kind", content = "text", rename_all = "snake_case")]
pub enum Span {
    /// As it is.
    Text(String),
    /// Between backticks.
    Code(String),
    /// Between two stars on each side.
    Strong(String),
    /// `[text](place)`: text, place.
    Link(String, String),
}

/// The blocks of a text.
pub fn parse(text: &str) -> Vec<Block> {
    let lines: Vec<&str> = text.lines().collect();
    let (mut blocks, mut at) = (Vec::new(), 0);
    while let Some(line) = lines.get(at) {
        let (block, used) = match line {
            line if line.trim().is_empty() => (None, 1),
            line if line.starts_with("```") => fenced(&lines[at..]),
            line if line.starts_with("    ") => indented(&lines[at..]),
            line if heading(line).is_some() => (heading(line), 1),
            line if line.starts_with('|') => table(&lines[at..]),
            line if item(line).is_some() => list(&lines[at..]),
            _ => paragraph(&lines[at..]),
        };
        blocks.extend(block);
        at += used;
    }
    number(&mut blocks);
    blocks
}

/// A second heading of the same words gets a number behind its id.
fn number(blocks: &mut [Block]) {
    let mut seen: Vec<String> = Vec::new();
    for block in blocks {
        if let Block::Heading { id, .. } = block {
            let again = seen.iter().filter(|known| *known == id).count();
            seen.push(id.clone());
            if again > 0 {
                *id = format!("{id}-{again}");
            }
        }
    }
}

fn heading(line: &str) -> Option<Block> {
    let level = line.bytes().take_while(|b| *b == b'#').count();
    let text = line.get(level..)?.strip_prefix(' ')?;
    (1..=4).contains(&level).then(|| Block::Heading {
        level,
        id: id(text),
        text: spans(text),
    })
}

/// `Where is it?` is found at `where-is-it`.
fn id(text: &str) -> String {
    let words = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}

/// A block and how many lines it has.
type Taken = (Option<Block>, usize);

fn fenced(lines: &[&str]) -> Taken {
    let inner = lines[1..].iter().take_while(|line| !line.starts_with("```"));
    let inner: Vec<_> = inner.copied().collect();
    let text = inner.join("\n");
    (Some(Block::Code { text }), (inner.len() + 2).min(lines.len()))
}

fn indented(lines: &[&str]) -> Taken {
    let inner = lines
        .iter()
        .map_while(|line| line.strip_prefix("    ").or(line.trim().is_empty().then_some("")));
    let inner: Vec<_> = inner.collect();
    let text = inner.join("\n").trim_end().to_string();
    (Some(Block::Code { text }), inner.len())
}

/// The text of a list's item, with it: is it numbered?
fn item(line: &str) -> Option<(bool, &str)> {
    if let Some(text) = line.strip_prefix("- ") {
        return Some((false, text));
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let text = line.get(digits..)?.strip_prefix(". ")?;
    (1..=3).contains(&digits).then_some((true, text))
}

fn list(lines: &[&str]) -> Taken {
    let numbered = item(lines[0]).is_some_and(|(numbered, _)| numbered);
    let mut items: Vec<String> = Vec::new();
    let mut used = 0;
    for line in lines {
        match (item(line), items.last_mut()) {
            (Some((kind, text)), _) if kind == numbered => items.push(text.into()),
            // What is indented goes on with the item before.
            (None, Some(last)) if line.starts_with(' ') && !line.trim().is_empty() => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => break,
        }
        used += 1;
    }
    let items = items.iter().map(|text| spans(text)).collect();
    (Some(Block::List { numbered, items }), used)
}

fn paragraph(lines: &[&str]) -> Taken {
    let ends = |line: &&&str| line.trim().is_empty() || line.starts_with(['|', '#']) || item(line).is_some();
    let more = lines[1..].iter().take_while(|line| !ends(line));
    let inner: Vec<_> = lines[..1].iter().chain(more).map(|line| line.trim()).collect();
    let text = spans(&inner.join(" "));
    (Some(Block::Paragraph { text }), inner.len())
}

fn table(lines: &[&str]) -> Taken {
    let lines: Vec<_> = lines.iter().take_while(|line| line.starts_with('|')).collect();
    let head = cells(lines[0]);
    let is_rule = |line: &str| line.bytes().all(|b| b"|-: ".contains(&b));
    let rows = lines[1..].iter().filter(|line| !is_rule(line)).map(|line| {
        let mut row = cells(line);
        row.resize_with(head.len(), Vec::new);
        row
    });
    let rows = rows.collect();
    (Some(Block::Table { head, rows }), lines.len())
}

/// The cells of a line; a bar in code, or behind a backslash, is none between them.
fn cells(line: &str) -> Vec<Vec<Span>> {
    let line = line.trim().trim_start_matches('|');
    let line = line.strip_suffix('|').unwrap_or(line);
    let (mut cells, mut cell, mut in_code) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek() == Some(&'|') => cell.extend(chars.next()),
            '|' if !in_code => cells.push(std::mem::take(&mut cell)),
            c => {
                in_code ^= c == '`';
                cell.push(c);
            }
        }
    }
    cells.push(cell);
    cells.iter().map(|cell| spans(cell.trim())).collect()
}

/// The pieces of a text. A mark without its end is text.
fn spans(text: &str) -> Vec<Span> {
    let (mut out, mut plain, mut rest) = (Vec::new(), String::new(), text);
    while let Some(first) = rest.chars().next() {
        match mark(rest) {
            Some((span, used)) => {
                if !plain.is_empty() {
                    out.push(Span::Text(std::mem::take(&mut plain)));
                }
                out.push(span);
                rest = &rest[used..];
            }
            None => {
                plain.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    if !plain.is_empty() {
        out.push(Span::Text(plain));
    }
    out
}

/// The marked piece that a text begins with, and how many bytes it has.
fn mark(text: &str) -> Option<(Span, usize)> {
    let between = |mark: &'static str| {
        let (inner, _) = text.strip_prefix(mark)?.split_once(mark)?;
        (!inner.is_empty()).then(|| (inner.to_string(), inner.len() + 2 * mark.len()))
    };
    if let Some((inner, used)) = between("`") {
        return Some((Span::Code(inner), used));
    }
    if let Some((inner, used)) = between("**") {
        return Some((Span::Strong(inner), used));
    }
    let (say, behind) = text.strip_prefix('[')?.split_once("](")?;
    let (to, _) = behind.split_once(')')?;
    let is_plain = !say.contains(['[', ']']) && is_place(to);
    is_plain.then(|| (Span::Link(say.into(), to.into()), say.len() + to.len() + 4))
}

/// Where a link may lead: on this page, in this house, or to another over TLS. Nothing that a browser would run.
fn is_place(to: &str) -> bool {
    let ours = to.starts_with('#') || to.starts_with('/') && !to.starts_with("//");
    (ours || to.starts_with("https://")) && to.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
}

/// All words of a block, for the search.
pub fn words(block: &Block) -> String {
    let line = |spans: &[Span]| spans.iter().map(Span::say).collect::<String>();
    match block {
        Block::Heading { text, .. } | Block::Paragraph { text } => line(text),
        Block::List { items, .. } => items.iter().map(|i| line(i)).collect::<Vec<_>>().join("\n"),
        Block::Code { text } => text.clone(),
        Block::Table { head, rows } => {
            let rows = [head].into_iter().chain(rows);
            let rows = rows.map(|row| row.iter().map(|cell| line(cell)).collect::<Vec<_>>().join(" "));
            rows.collect::<Vec<_>>().join("\n")
        }
    }
}

impl Span {
    fn say(&self) -> &str {
        match self {
            Span::Text(text) | Span::Code(text) | Span::Strong(text) | Span::Link(text, _) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(say: &str) -> Vec<Span> {
        vec![Span::Text(say.into())]
    }

    #[test]
    fn each_kind_of_block_is_read() {
        let read = parse(
            "# A `b`?\nOne\ntwo.\n\n- x\n  and y\n- z\n1. n\n\n    c  d\n\n    e\nafter\n| a | b |\n|---|:-:|\n| `x|y` | 1 \\| 2 |\n| 3 |\n```sh\n# no heading\n```\n## A b\n### A b\n",
        );
        let heading = |level, id: &str, text| Block::Heading {
            level,
            id: id.into(),
            text,
        };
        let spans = vec![Span::Text("A ".into()), Span::Code("b".into()), Span::Text("?".into())];
        let cells = |cells: Vec<Vec<Span>>| cells;
        assert_eq!(
            read,
            [
                heading(1, "a-b", spans),
                Block::Paragraph { text: text("One two.") },
                Block::List {
                    numbered: false,
                    items: vec![text("x and y"), text("z")]
                },
                Block::List {
                    numbered: true,
                    items: vec![text("n")]
                },
                Block::Code {
                    text: "c  d\n\ne".into()
                },
                Block::Paragraph { text: text("after") },
                Block::Table {
                    head: cells(vec![text("a"), text("b")]),
                    rows: vec![
                        vec![vec![Span::Code("x|y".into())], text("1 | 2")],
                        vec![text("3"), Vec::new()]
                    ],
                },
                Block::Code {
                    text: "# no heading".into()
                },
                heading(2, "a-b-1", text("A b")),
                heading(3, "a-b-2", text("A b")),
            ]
        );
    }

    #[test]
    fn marks_are_read_and_what_is_none_is_text() {
        let link = |say: &str, to: &str| Span::Link(say.into(), to.into());
        assert_eq!(
            spans("**a** `b*c` [d](/e) f"),
            [
                Span::Strong("a".into()),
                Span::Text(" ".into()),
                Span::Code("b*c".into()),
                Span::Text(" ".into()),
                link("d", "/e"),
                Span::Text(" f".into())
            ]
        );
        assert_eq!(spans("[a](https://b.example/)"), [link("a", "https://b.example/")]);
        for plain in [
            "`a",
            "**a",
            "****",
            "[a](",
            "[a]",
            "a*b*c",
            "[x](javascript:alert(1))",
            "[x](//evil.example)",
            "[x](/\\evil.example)",
            "[x](http://a)",
            "<b>&",
        ] {
            assert_eq!(spans(plain), text(plain), "{plain}");
        }
    }

    #[test]
    fn any_text_ends_and_loses_no_word() {
        for bad in [
            "|", "||", "- ", "1. ", "```", "    ", "#", "# ", "\n\n", "| a", "`|`", "[](", "#######",
        ] {
            parse(bad);
        }
        let words: String = parse("a **b** `c`\n- d\n\n| e | f |\n|---|---|\n| g | h |")
            .iter()
            .map(words)
            .collect();
        let letters: String = words.chars().filter(|c| c.is_alphabetic()).collect();
        assert_eq!(letters, "abcdefgh");
    }
}
