//! Weak passwords: the most common ones, such a word with digits and signs after it, few different characters, and
//! variations of the login.

/// Passwords and words in lower case, from published lists of common ones, terms of system administration, and keyboard
/// rows.
const WORST: &str = include_str!("weak.txt");

/// Characters after a word that do not make it strong: `Password@1234567`.
const TAIL_MAX: usize = 8;

/// Shorter logins occur in many phrases.
const LOGIN_MIN: usize = 3;

/// Characters besides the login that make a password acceptable.
const BESIDES_MIN: usize = 10;

/// Minimum of different characters.
const DIFFERENT_MIN: usize = 5;

/// Why a password is weak: code and sentence.
pub fn why(login: &str, password: &str) -> Option<(&'static str, &'static str)> {
    let (login, low) = (login.to_lowercase(), password.to_lowercase());
    let mut different: Vec<char> = low.chars().collect();
    different.sort_unstable();
    different.dedup();
    let word = low.trim_end_matches(|c: char| !c.is_alphabetic());
    let plain = plain(word);
    let is_word = low[word.len()..].chars().count() <= TAIL_MAX;
    let besides = || low.replace(&login, "").chars().count();
    if login.chars().count() >= LOGIN_MIN && low.contains(&login) && besides() < BESIDES_MIN {
        Some((
            "has_login",
            "Without the login in it, too little is left of this password.",
        ))
    } else if different.len() < DIFFERENT_MIN {
        Some((
            "few_characters",
            "This password repeats very few characters. A sentence of your own is better.",
        ))
    } else if WORST
        .lines()
        .any(|worst| worst == low || is_word && [word, &plain].contains(&worst))
    {
        Some((
            "known_password",
            "This password is on the lists that guessers try first. A sentence of your own is better.",
        ))
    } else {
        None
    }
}

/// `p@ssw0rd` is `password`.
fn plain(word: &str) -> String {
    let letter = |c| match c {
        '@' | '4' => 'a',
        '3' => 'e',
        '1' | '!' => 'i',
        '0' => 'o',
        '$' | '5' => 's',
        '7' => 't',
        c => c,
    };
    word.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guesser_tries_first_is_refused_and_a_sentence_is_not() {
        for (login, password, code) in [
            ("root-admin", "root-admin", "has_login"),
            ("anna", "x-ANNA-2024-x", "has_login"),
            ("anna", "1234567890", "known_password"),
            ("anna", "Password@123", "known_password"),
            ("anna", "P@$$w0rd2024!", "known_password"),
            ("anna", "qwertyuiop", "known_password"),
            ("anna", "Administrator1", "known_password"),
            ("anna", "Lamplighter!", "known_password"),
            ("anna", "парольпароль", "known_password"),
            ("anna", "Пароль123456", "known_password"),
            ("anna", "aaaaaaaaaaaaaaaa", "few_characters"),
            ("anna", "121212121212", "few_characters"),
        ] {
            assert_eq!(why(login, password).map(|(code, _)| code), Some(code), "{password}");
        }
        for good in [
            "a long password",
            "the lamp was lit at noon",
            "password of nobody",
            "Zr7!kq0vM2",
            "в чащах юга жил бы цитрус",
        ] {
            assert_eq!(why("anna", good), None, "{good}");
        }
        assert_eq!(why("anna", "the lamp of anna was lit"), None, "enough besides");
        assert_eq!(why("an", "a banana for an ape"), None, "a short login is in many words");
    }

    #[test]
    fn the_list_is_in_order_and_as_it_is_compared() {
        let words: Vec<_> = WORST.lines().collect();
        assert!(words.is_sorted_by(|a, b| a < b));
        assert!(words.iter().all(|w| w.to_lowercase() == *w && w.chars().count() > 2));
        assert!((300..2_000).contains(&words.len()), "{}", words.len());
    }
}
