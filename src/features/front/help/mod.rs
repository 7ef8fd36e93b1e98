//! `/help`: the manual as it stands in the sources, compiled in, so that it is there without a network; with a search.

mod markdown;
mod pages;

use crate::access::Right;
use crate::feature::Feature;
use crate::http::menu::Entry;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    pages: pages::ROUTES,
    menu: MENU,
    ..Feature::named("help")
};

const MENU: &[Entry] = &[Entry {
    path: "/help",
    word: "help",
    icon: "book",
    keys: "g b",
    right: Right::SignedIn,
    place: (5, 1),
    ..Entry::NEW
}];

/// A text of the manual.
struct Chapter {
    /// In its address.
    name: &'static str,
    /// Markdown; its first heading is its title.
    text: &'static str,
}

macro_rules! chapters {
    ($($name:literal: $file:literal),* $(,)?) => {
        const CHAPTERS: &[Chapter] = &[$(Chapter { name: $name, text: include_str!(concat!("../../../../", $file)) }),*];
    };
}

chapters! {
    "readme": "README.md",
    "start": "src/manual/start.md",
    "operations": "src/manual/operations.md",
    "hosts": "src/manual/hosts.md",
    "services": "src/manual/services.md",
    "availability": "src/manual/availability.md",
    "security": "src/manual/security.md",
    "rights": "src/manual/rights.md",
    "changes": "src/manual/changes.md",
    "architecture": "src/manual/architecture.md",
    "contributing": "src/manual/contributing.md",
    "glossary": "src/manual/glossary.md",
    "decisions": "src/manual/decisions.md",
    "incidents": "src/manual/incidents.md",
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_whole_manual_is_shown() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(
                CHAPTERS.iter().any(|c| c.text == text),
                "{} is no chapter",
                path.display()
            );
        }
    }

    #[test]
    fn each_chapter_begins_with_its_title_and_nothing_in_it_is_lost() {
        for chapter in CHAPTERS {
            let blocks = markdown::parse(chapter.text);
            let first = &blocks[0];
            assert!(
                matches!(first, markdown::Block::Heading { level: 1, .. }),
                "{}",
                chapter.name
            );
            let shown: String = blocks.iter().map(markdown::words).collect();
            let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).count();
            // Where a link leads is not shown; what leads nowhere here stands as it is.
            let places = chapter.text.split("](").skip(1);
            let places: usize = places.map(|rest| letters(rest.split(')').next().unwrap())).sum();
            let (all, shown) = (letters(chapter.text), letters(&shown));
            assert!(
                (all - places..=all).contains(&shown),
                "{}: {shown} of {all} letters",
                chapter.name
            );
        }
    }
}
