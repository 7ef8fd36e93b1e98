//! Line differences between two texts, in the form of `diff -u`. Pure.
//!
//! Myers' greedy algorithm ("An O(ND) Difference Algorithm and Its Variations", 1986) between the common head and tail.
//! Texts that differ too much are shown as replaced: correct, but longer than necessary.

use std::fmt;

/// Unchanged lines around a change, as `diff -u` shows them.
const CONTEXT: usize = 3;
/// Edits until the search is given up. Memory grows with the square: 1 000 edits take 4 MB.
const EDITS_MAX: usize = 1_000;

/// Kind of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is in both.
    Same,
    /// Only in the old text.
    Removed,
    /// Only in the new text.
    Added,
}

/// One line of a difference.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Line<'a> {
    /// Kind of the line.
    pub change: Change,
    /// Its number in the old text, from 1.
    pub old: Option<usize>,
    /// Its number in the new text, from 1.
    pub new: Option<usize>,
    /// The line without its end.
    pub text: &'a str,
}

/// Changed lines with their context.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Hunk<'a> {
    /// In order; never empty.
    pub lines: Vec<Line<'a>>,
}

/// All differences. Displayed with `{}` it is the body of a unified diff; empty when the texts are equal.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Diff<'a> {
    /// In order.
    pub hunks: Vec<Hunk<'a>>,
    /// Lines only in the new text.
    pub added: usize,
    /// Lines only in the old text.
    pub removed: usize,
}

/// Compares two texts.
pub fn diff<'a>(old: &'a str, new: &'a str) -> Diff<'a> {
    let (a, b): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let head = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let tail = a[head..]
        .iter()
        .rev()
        .zip(b[head..].iter().rev())
        .take_while(|(x, y)| x == y)
        .count();
    let (middle_a, middle_b) = (&a[head..a.len() - tail], &b[head..b.len() - tail]);
    let script = edits(middle_a, middle_b);
    let mut lines = Vec::with_capacity(a.len() + middle_b.len());
    let (mut x, mut y) = (0, 0);
    let all = std::iter::repeat_n(Change::Same, head)
        .chain(script)
        .chain(std::iter::repeat_n(Change::Same, tail));
    for change in all {
        let (in_old, in_new) = (change != Change::Added, change != Change::Removed);
        lines.push(Line {
            change,
            old: in_old.then_some(x + 1),
            new: in_new.then_some(y + 1),
            text: if in_old { a[x] } else { b[y] },
        });
        x += usize::from(in_old);
        y += usize::from(in_new);
    }
    let count = |change| lines.iter().filter(|l| l.change == change).count();
    Diff {
        added: count(Change::Added),
        removed: count(Change::Removed),
        hunks: hunks(&lines),
    }
}

/// Groups changes with their context; overlapping groups are merged.
fn hunks<'a>(lines: &[Line<'a>]) -> Vec<Hunk<'a>> {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for at in (0..lines.len()).filter(|i| lines[*i].change != Change::Same) {
        let (from, to) = (at.saturating_sub(CONTEXT), (at + CONTEXT + 1).min(lines.len()));
        match spans.last_mut() {
            Some((_, end)) if *end >= from => *end = to,
            _ => spans.push((from, to)),
        }
    }
    let hunk = |(from, to): (usize, usize)| Hunk {
        lines: lines[from..to].to_vec(),
    };
    spans.into_iter().map(hunk).collect()
}

/// The edit script from `a` to `b`, removals before additions.
fn edits(a: &[&str], b: &[&str]) -> Vec<Change> {
    let most = (a.len() + b.len()).min(EDITS_MAX);
    // furthest[k + most]: how far along `a` diagonal k = x - y reaches.
    let mut furthest = vec![0usize; 2 * most + 3];
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    let middle = most + 1;
    for round in 0..=most {
        rounds.push(furthest[middle - round..=middle + round].to_vec());
        for step in 0..=round {
            let diagonal = middle + 2 * step - round;
            let (left, right) = (furthest[diagonal - 1], furthest[diagonal + 1]);
            let down = step == 0 || (step != round && left < right);
            let mut x = if down { right } else { left + 1 };
            let mut y = x + middle - diagonal;
            while x < a.len() && y < b.len() && a[x] == b[y] {
                (x, y) = (x + 1, y + 1);
            }
            furthest[diagonal] = x;
            if x >= a.len() && y >= b.len() {
                return walk_back(&rounds, a.len(), b.len());
            }
        }
    }
    let replaced = [(Change::Removed, a.len()), (Change::Added, b.len())];
    replaced
        .into_iter()
        .flat_map(|(change, n)| std::iter::repeat_n(change, n))
        .collect()
}

/// Traces the edits backwards. `rounds[r]` holds the diagonals -r..=r as they were before round r.
fn walk_back(rounds: &[Vec<usize>], mut x: usize, mut y: usize) -> Vec<Change> {
    let mut script = Vec::new();
    for (round, before) in rounds.iter().enumerate().skip(1).rev() {
        let at = |diagonal: isize| before[(diagonal + round as isize) as usize];
        let k = x as isize - y as isize;
        let down = k == -(round as isize) || (k != round as isize && at(k - 1) < at(k + 1));
        let from_x = if down { at(k + 1) } else { at(k - 1) };
        let from_k = if down { k + 1 } else { k - 1 };
        let from_y = (from_x as isize - from_k) as usize;
        let start_x = if down { from_x } else { from_x + 1 };
        while x > start_x {
            script.push(Change::Same);
            x -= 1;
        }
        script.push(if down { Change::Added } else { Change::Removed });
        (x, y) = (from_x, from_y);
    }
    script.extend(std::iter::repeat_n(Change::Same, x));
    script.reverse();
    script
}

impl fmt::Display for Diff<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for hunk in &self.hunks {
            writeln!(f, "{}", hunk.head())?;
            for line in &hunk.lines {
                let sign = match line.change {
                    Change::Same => ' ',
                    Change::Removed => '-',
                    Change::Added => '+',
                };
                writeln!(f, "{sign}{}", line.text)?;
            }
        }
        Ok(())
    }
}

impl Hunk<'_> {
    /// `@@ -1,4 +1,5 @@`
    pub fn head(&self) -> String {
        let span = |number: fn(&Line) -> Option<usize>| {
            let first = self.lines.iter().find_map(number);
            let count = self.lines.iter().filter(|l| number(l).is_some()).count();
            // An empty side is written "0,0": it occurs only at the start of a file (new or removed), since elsewhere
            // there is context.
            format!("{},{count}", first.unwrap_or(0))
        };
        format!("@@ -{} +{} @@", span(|l| l.old), span(|l| l.new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_with_its_surroundings() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\n";
        let new = "a\nb\nc\nd\nE\nf\ng\nh\ni\n";
        let told = diff(old, new);
        assert_eq!((told.added, told.removed), (2, 1));
        assert_eq!(
            told.to_string(),
            "@@ -2,7 +2,8 @@\n b\n c\n d\n-e\n+E\n f\n g\n h\n+i\n"
        );
    }

    #[test]
    fn equal_texts_differ_in_nothing_and_new_ones_in_all() {
        assert_eq!(diff("a\nb\n", "a\nb\n"), Diff::default());
        assert_eq!(diff("", "x\ny\n").to_string(), "@@ -0,0 +1,2 @@\n+x\n+y\n");
        assert_eq!(diff("x\n", "").to_string(), "@@ -1,1 +0,0 @@\n-x\n");
    }

    /// A difference applied to the old text gives the new one; of all shortest ones it need not be a particular one.
    #[test]
    fn the_way_leads_there() {
        let mut seed = 7u64;
        let mut roll = |n: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % n
        };
        for _ in 0..3_000 {
            let (m, n) = (roll(14), roll(14));
            let a: Vec<String> = (0..m).map(|_| roll(4).to_string()).collect();
            let b: Vec<String> = (0..n).map(|_| roll(4).to_string()).collect();
            let (x, y): (Vec<&str>, Vec<&str>) = (
                a.iter().map(String::as_str).collect(),
                b.iter().map(String::as_str).collect(),
            );
            let script = edits(&x, &y);
            let side = |skip: Change| script.iter().filter(|c| **c != skip).count();
            assert_eq!((side(Change::Added), side(Change::Removed)), (x.len(), y.len()));
            let (mut i, mut j) = (0, 0);
            for change in &script {
                if *change == Change::Same {
                    assert_eq!(x[i], y[j], "{x:?} {y:?} {script:?}");
                }
                i += usize::from(*change != Change::Added);
                j += usize::from(*change != Change::Removed);
            }
            let same = script.iter().filter(|c| **c == Change::Same).count();
            assert_eq!(same, longest_common(&x, &y), "not the shortest: {x:?} {y:?}");
        }
    }

    fn longest_common(a: &[&str], b: &[&str]) -> usize {
        let mut row = vec![0; b.len() + 1];
        for x in a {
            let mut corner = 0;
            for (j, y) in b.iter().enumerate() {
                let above = row[j + 1];
                row[j + 1] = if x == y { corner + 1 } else { above.max(row[j]) };
                corner = above;
            }
        }
        row[b.len()]
    }

    #[test]
    fn texts_with_nothing_in_common_do_not_take_all_memory() {
        let old: String = (0..20_000).map(|n| format!("old {n}\n")).collect();
        let new: String = (0..20_000).map(|n| format!("new {n}\n")).collect();
        let told = diff(&old, &new);
        assert_eq!((told.added, told.removed), (20_000, 20_000));
    }
}
