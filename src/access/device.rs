//! Device cookies: prove that a login has signed in from this browser, and nothing else. Their bearer is not slowed
//! down by failures of others (OWASP, "Slow Down Online Guessing Attacks with Device Cookies"). Signed by us, valid for
//! half a year, renewed at each sign-in.

use crate::base::clock::{self, DAY, Ms, SECOND};
use crate::base::id::{Id, User};
use crate::base::{random, text};
use ring::hmac;

/// Validity.
pub const AGE_MAX: Ms = 180 * DAY;

/// A new cookie for this user: `number.until.mac`.
pub fn make(key: &hmac::Key, user: Id<User>) -> String {
    let until = (clock::now() + AGE_MAX) / SECOND;
    let said = format!("{}.{until}", random::name());
    format!(
        "{said}.{}",
        text::base64url(hmac::sign(key, &bound(&said, user)).as_ref())
    )
}

/// The cookie's number, if we made it for this user.
pub fn number<'a>(key: &hmac::Key, cookie: &'a str, user: Id<User>) -> Option<&'a str> {
    let (said, mac) = cookie.rsplit_once('.')?;
    hmac::verify(key, &bound(said, user), &text::unbase64(mac)?).ok()?;
    let (number, until) = said.split_once('.')?;
    (until.parse::<i64>().ok()? > clock::now() / SECOND).then_some(number)
}

/// The same key signs access tokens, which never begin like this.
fn bound(said: &str, user: Id<User>) -> Vec<u8> {
    format!("device of {user}: {said}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_good_for_the_user_it_was_made_for() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef0123456789abcdef");
        let (mine, other) = (Id::new(7), Id::new(8));
        let cookie = make(&key, mine);
        let known = number(&key, &cookie, mine).unwrap();
        assert!(cookie.starts_with(&format!("{known}.")));
        assert_eq!(number(&key, &cookie, other), None);
        assert_ne!(make(&key, mine), cookie);
        let (said, mac) = cookie.rsplit_once('.').unwrap();
        for forged in [
            format!("{}.9999999999.{mac}", said.split_once('.').unwrap().0),
            format!("{said}."),
            said.into(),
            "x".repeat(5_000),
        ] {
            assert_eq!(number(&key, &forged, mine), None, "{forged}");
        }
        let old = format!("{known}.{}", clock::now() / SECOND - 1);
        let mac = text::base64url(hmac::sign(&key, &bound(&old, mine)).as_ref());
        assert_eq!(number(&key, &format!("{old}.{mac}"), mine), None);
    }
}
