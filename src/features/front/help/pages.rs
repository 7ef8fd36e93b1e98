//! The pages of the manual: its chapters with what was searched for, and one chapter.

use super::markdown::{self, Block};
use super::{CHAPTERS, Chapter};
use crate::access::Right;
use crate::base::error::{Error, Result};
use crate::base::text;
use crate::form::param::{self, Param};
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::Get;
use crate::http::route::{Ctx, Route, route};
use serde::Serialize;

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Get, "/help", Right::SignedIn, contents).query(QUESTION),
    route(Get, "/help/{chapter}", Right::SignedIn, chapter),
];

const QUESTION: &[Param] = &[param::text("q", 200, "Words that stand together in a paragraph.")];

/// Hits shown of a search.
const HITS_MAX: usize = 60;
/// Characters shown before and behind what was found.
const AROUND: usize = 90;

#[derive(Serialize)]
struct Contents<'a> {
    q: &'a str,
    chapters: Vec<Title>,
    hits: Vec<Hit>,
    /// There are more than are shown.
    more: bool,
}

#[derive(Serialize)]
struct Title {
    name: &'static str,
    title: String,
    sections: Vec<Section>,
}

#[derive(Serialize)]
struct Section {
    id: String,
    title: String,
}

/// A paragraph that has all words of a search.
#[derive(Serialize)]
struct Hit {
    href: String,
    chapter: String,
    section: String,
    before: String,
    found: String,
    after: String,
}

#[derive(Serialize)]
struct Shown {
    name: &'static str,
    title: String,
    blocks: Vec<Block>,
    sections: Vec<Section>,
}

fn contents(ctx: &Ctx) -> Result<Reply> {
    let q = ctx.param("q").trim();
    let manual: Vec<_> = CHAPTERS.iter().map(|c| (c, markdown::parse(c.text))).collect();
    let mut hits = find(&manual, q);
    let more = hits.len() > HITS_MAX;
    hits.truncate(HITS_MAX);
    let chapters = manual.iter().map(|(chapter, blocks)| title(chapter, blocks)).collect();
    page::show(
        ctx,
        "help/contents.html",
        Contents {
            q,
            chapters,
            hits,
            more,
        },
    )
}

fn chapter(ctx: &Ctx) -> Result<Reply> {
    let found = CHAPTERS.iter().find(|c| c.name == ctx.arg(0));
    let chapter = found.ok_or_else(|| Error::not_found("chapter"))?;
    let blocks = markdown::parse(chapter.text);
    let Title { name, title, sections } = title(chapter, &blocks);
    let blocks = blocks.into_iter().skip(1).collect(); // the title is the page's
    page::show(
        ctx,
        "help/chapter.html",
        Shown {
            name,
            title,
            blocks,
            sections,
        },
    )
}

fn title(chapter: &Chapter, blocks: &[Block]) -> Title {
    let sections = blocks.iter().filter_map(|block| match block {
        Block::Heading { level: 2, id, .. } => Some(Section {
            id: id.clone(),
            title: markdown::words(block),
        }),
        _ => None,
    });
    Title {
        name: chapter.name,
        title: blocks.first().map(markdown::words).unwrap_or_default(),
        sections: sections.collect(),
    }
}

/// The paragraphs that have all words of `q`, whatever their case; one more than are shown, at most.
fn find(manual: &[(&Chapter, Vec<Block>)], q: &str) -> Vec<Hit> {
    let wanted: Vec<String> = q.split_whitespace().map(str::to_lowercase).collect();
    let mut hits = Vec::new();
    if wanted.is_empty() {
        return hits;
    }
    for (chapter, blocks) in manual {
        let (mut at, mut section) = (String::new(), String::new());
        let title = blocks.first().map(markdown::words).unwrap_or_default();
        for block in blocks {
            if let Block::Heading { id, .. } = block {
                (at, section) = (id.clone(), markdown::words(block));
            }
            // Each line by itself: an item of a list, a row of a table.
            for line in markdown::words(block).lines() {
                let Some((before, found, after)) = cut(line, &wanted) else {
                    continue;
                };
                hits.push(Hit {
                    href: format!("/help/{}#{at}", chapter.name),
                    chapter: title.clone(),
                    section: section.clone(),
                    before,
                    found,
                    after,
                });
                if hits.len() > HITS_MAX {
                    return hits;
                }
            }
        }
    }
    hits
}

/// A line around the first of the words, if it has all of them.
fn cut(line: &str, wanted: &[String]) -> Option<(String, String, String)> {
    // Characters whose small letter has another length keep theirs, so that places in both texts are the same.
    let small: String = line
        .chars()
        .map(|c| {
            let mut small = c.to_lowercase();
            match (small.next(), small.next()) {
                (Some(one), None) if one.len_utf8() == c.len_utf8() => one,
                _ => c,
            }
        })
        .collect();
    if !wanted.iter().all(|word| small.contains(word.as_str())) {
        return None;
    }
    let at = small.find(wanted[0].as_str())?;
    let end = at + wanted[0].len();
    let before: Vec<char> = line[..at].chars().collect();
    let from = before.len().saturating_sub(AROUND);
    let mut head: String = before[from..].iter().collect();
    if from > 0 {
        head.insert(0, '…');
    }
    Some((
        head,
        line[at..end].to_string(),
        text::cut(&line[end..], AROUND * 2).to_string(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_searched_for_is_found_with_its_place() {
        let manual: Vec<_> = CHAPTERS.iter().map(|c| (c, markdown::parse(c.text))).collect();
        let find = |q| find(&manual, q);
        let hits = find("Import LAW");
        assert!(hits.iter().any(|h| h.href.starts_with("/help/")), "nothing found");
        assert!(hits.iter().all(|h| h.found.eq_ignore_ascii_case("import")));
        assert!(find("").is_empty() && find("  ").is_empty() && find("qwxzv").is_empty());
        assert!(find("e").len() == HITS_MAX + 1);
    }

    #[test]
    fn a_line_is_cut_between_characters() {
        let line = format!("{}İ Дом ß {}", "ж".repeat(300), "é".repeat(300));
        let (before, found, after) = cut(&line, &["дом".into()]).unwrap();
        assert_eq!((found.as_str(), before.starts_with('…')), ("Дом", true));
        assert!(after.starts_with(" ß"));
    }
}
