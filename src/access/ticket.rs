//! Whose password was right and whose code is still missing: what the page of the sign-in carries from its first step to
//! its second, so that the password does not travel twice. Signed by us, good for five minutes, and of no use without a
//! code; an API client sends both at once.

use super::Account;
use crate::base::clock::{self, MINUTE, SECOND};
use crate::base::id::{Id, User};
use crate::base::text;
use ring::hmac;

const AGE_MAX_S: i64 = 5 * MINUTE / SECOND;

/// For somebody who has just shown the password: `user.generation.until.mac`.
pub fn make(key: &hmac::Key, account: &Account) -> String {
    let until = clock::now() / SECOND + AGE_MAX_S;
    let said = format!("{}.{}.{until}", account.id, account.generation);
    let mac = hmac::sign(key, &bound(&said));
    format!("{said}.{}", text::base64url(mac.as_ref()))
}

/// Whose it is, and their account's generation then, if we made it a moment ago.
pub fn read(key: &hmac::Key, ticket: &str) -> Option<(Id<User>, i64)> {
    let (said, mac) = ticket.rsplit_once('.')?;
    hmac::verify(key, &bound(said), &text::unbase64(mac)?).ok()?;
    let mut parts = said.split('.');
    let (user, generation) = (Id::parse(parts.next()?)?, parts.next()?.parse().ok()?);
    let until: i64 = parts.next()?.parse().ok()?;
    (until > clock::now() / SECOND).then_some((user, generation))
}

/// The same key signs access tokens; none of them begins like this.
fn bound(said: &str) -> Vec<u8> {
    format!("password shown: {said}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_ours_and_young() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef0123456789abcdef");
        let sealed = |said: &str| format!("{said}.{}", text::base64url(hmac::sign(&key, &bound(said)).as_ref()));
        let now = clock::now() / SECOND;
        let good = sealed(&format!("7.3.{}", now + 60));
        assert_eq!(read(&key, &good), Some((Id::new(7), 3)));
        let forged = good.replacen("7.3", "8.3", 1);
        for bad in [
            sealed(&format!("7.3.{now}")),
            sealed("7.3"),
            forged,
            "7.3".into(),
            String::new(),
        ] {
            assert_eq!(read(&key, &bad), None, "{bad}");
        }
    }
}
