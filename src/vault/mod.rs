//! Secrets at rest. The master key (KEK) is never stored in the database; it wraps one data key per purpose
//! (`keyring`). A sealed value is bound to its place: table, column, row and key id are authenticated (AES-256-GCM's
//! AAD), so a value copied to another row or column does not open. Passwords are PBKDF2 hashes with a pepper.

pub mod password;
mod queries;
mod rotate;
pub mod reference;

use crate::base::config::Config;
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use crate::base::{clock, file, random, text};
use crate::db::{Conn, Db, Tx};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::{hkdf, hmac};
pub use rotate::{Sealed, begin_reseal, begin_rotation, end_reseal, end_rotation};
use std::path::Path;

/// Purpose of the keys that seal; there may be several of it.
const SECRETS: &str = "secrets";
/// Version byte of sealed values.
const VERSION: u8 = 1;
/// Length of the header: version, key id, nonce.
const HEAD: usize = 1 + 4 + 12;

/// The place of a sealed value.
#[derive(Debug, Clone, Copy)]
pub struct SealContext {
    /// Table name.
    pub table: &'static str,
    /// Column name.
    pub column: &'static str,
    /// Row id; it must be known before sealing.
    pub row: i64,
}

/// The unwrapped keyring.
pub struct Vault {
    /// By their numbers, the newest last: it seals. Older ones are there until all is sealed by it.
    secrets: Vec<(u32, LessSafeKey)>,
    access: hmac::Key,
    pepper: hmac::Key,
    audit: hmac::Key,
}

impl Vault {
    /// Unwraps the data keys, or creates them in a new database. A wrong master key is [`Kind::Config`].
    pub fn open(db: &Db, master: &Secret) -> Result<Vault> {
        let wrapping = wrapping_key(master)?;
        let keys = db.write(|tx| {
            if queries::all(tx)?.is_empty() {
                make_keys(tx, &wrapping)?;
            }
            let rows = queries::all(tx)?;
            let keys: Vec<_> = rows
                .iter()
                .map(|row| unwrap_key(&wrapping, row))
                .collect::<Result<_>>()?;
            // The master key was replaced, and that it counts was not written any more.
            if keys.iter().any(|key| key.is_next) {
                queries::take_next(tx)?;
            }
            Ok(keys)
        })?;
        let find = |purpose: &str| -> Result<&DataKey> {
            let key = keys.iter().rev().find(|key| key.purpose == purpose);
            key.ok_or_else(|| wrong_key("a key is missing"))
        };
        let mac = |purpose| -> Result<hmac::Key> {
            Ok(hmac::Key::new(
                hmac::HMAC_SHA256,
                find(purpose)?.key.reveal_for("a mac key in memory"),
            ))
        };
        find(SECRETS)?;
        let secrets = keys.iter().filter(|key| key.purpose == SECRETS);
        Ok(Vault {
            secrets: secrets
                .map(|key| Ok((key.id, cipher(&key.key)?)))
                .collect::<Result<_>>()?,
            access: mac("access")?,
            pepper: mac("pepper")?,
            audit: mac("audit")?,
        })
    }

    /// Encrypts `plain` for its place.
    pub fn seal(&self, place: SealContext, plain: &Secret) -> Result<Vec<u8>> {
        let (id, key) = self.newest()?;
        seal_with(key, *id, &aad(place, *id), plain)
    }

    fn newest(&self) -> Result<&(u32, LessSafeKey)> {
        self.secrets.last().ok_or_else(|| Error::internal("no key for secrets"))
    }

    /// Seals a stored value by the newest key; `None`: it is.
    fn reseal(&self, place: SealContext, sealed: &[u8]) -> Result<Option<Vec<u8>>> {
        // A reference is no value: its secret has its own place.
        match reference::is_reference(sealed) || sealed_by(sealed) == Some(self.newest()?.0) {
            true => Ok(None),
            false => self.seal(place, &self.open_sealed(place, sealed)?).map(Some),
        }
    }

    /// Decrypts a value sealed for this place. The error names the place, never the content.
    pub fn open_sealed(&self, place: SealContext, sealed: &[u8]) -> Result<Secret> {
        let by = sealed_by(sealed).and_then(|id| self.secrets.iter().find(|(known, _)| *known == id));
        let opened = match by {
            Some((id, key)) => open_with(key, &aad(place, *id), sealed),
            None => Err(Error::internal("sealed by a key that is not there")),
        };
        opened.map_err(|e| {
            let where_ = format!("{}.{} of row {}", place.table, place.column, place.row);
            Error::new(
                Kind::Internal,
                "sealed_value",
                format!("A stored secret does not open ({where_}). Enter it again."),
            )
            .log(e.log)
        })
    }

    /// What a secret that is only compared is stored as: no use without the keyring, and none at another place.
    pub fn tag(&self, place: SealContext, secret: &Secret) -> Vec<u8> {
        let bound = [aad(place, 0).as_bytes(), b"|", secret.reveal_for("tagging")].concat();
        hmac::sign(&self.pepper, &bound).as_ref().to_vec()
    }

    /// Key that signs access tokens.
    pub fn access_key(&self) -> &hmac::Key {
        &self.access
    }

    /// Key that chains audit rows.
    pub fn audit_key(&self) -> &hmac::Key {
        &self.audit
    }
}

/// The master key of this configuration. Errors: as [`read_master_key`].
pub fn master_key(config: &Config) -> Result<Secret> {
    match &config.master_key {
        None => read_master_key(&config.master_key_file),
        Some(digits) => parse_digits(digits).map_err(|e| {
            let say = "ENV_MASTER_KEY is not a master key: 64 hex digits are wanted.";
            Error::new(Kind::Config, "master_key", say).log(e)
        }),
    }
}

/// Checks that this is the master key of this database. Error: [`Kind::Config`].
pub fn fits(conn: &Conn, master: &Secret) -> Result<()> {
    let wrapping = wrapping_key(master)?;
    let rows = queries::all(conn)?;
    rows.iter().try_for_each(|row| unwrap_key(&wrapping, row).map(drop))
}

/// Reads the master key: 32 raw bytes or 64 hex digits. Error: the file is readable by others (unless a systemd
/// credential) or malformed.
pub fn read_master_key(path: &Path) -> Result<Secret> {
    read_master_key_of(path, None)
}

/// The same, read by root for the service with this group.
pub fn read_master_key_of(path: &Path, service: Option<u32>) -> Result<Secret> {
    let shown = path.display();
    let config = |say: String| Error::new(Kind::Config, "master_key", say);
    if let Err(e) = std::fs::metadata(path) {
        return Err(config(format!(
            "The master key {shown} cannot be read: {e}. Make one with `lamplighter encrypt-keygen --out {shown}`."
        )));
    }
    file::check_secret_of(path, service).map_err(|say| config(format!("The master key {say}")))?;
    let bytes =
        file::read_limited(path, 200).map_err(|e| config(format!("The master key {shown} cannot be read: {e}.")))?;
    parse_master_key(bytes).ok_or_else(|| {
        config(format!(
            "{shown} is not a master key: 32 bytes or 64 hex digits are wanted."
        ))
    })
}

/// The key that [`new_master_key`] has written.
pub fn parse_digits(digits: &Secret) -> Result<Secret> {
    let bytes = digits.reveal_for("reading its digits").to_vec();
    parse_master_key(bytes).ok_or_else(|| Error::internal("not a master key"))
}

fn parse_master_key(bytes: Vec<u8>) -> Option<Secret> {
    if bytes.len() == 32 {
        return Some(Secret::new(bytes));
    }
    let key = text::unhex(std::str::from_utf8(&bytes).ok()?.trim())?;
    (key.len() == 32).then(|| Secret::new(key))
}

/// A new master key as 64 hex digits.
pub fn new_master_key() -> Secret {
    Secret::new(text::hex(&random::bytes::<32>()))
}

fn make_keys(tx: &Tx, wrapping: &LessSafeKey) -> Result<()> {
    for (n, purpose) in [SECRETS, "access", "pepper", "audit"].into_iter().enumerate() {
        let id = n as i64 + 1;
        let wrapped = seal_with(
            wrapping,
            0,
            &keyring_aad(id, purpose),
            &Secret::new(random::bytes::<32>()),
        )?;
        queries::insert(
            tx,
            &queries::Row {
                id,
                purpose: purpose.into(),
                wrapped,
                next: None,
            },
            clock::now(),
        )?;
    }
    Ok(())
}

/// An unwrapped key of the keyring.
struct DataKey {
    id: u32,
    purpose: String,
    key: Secret,
    /// Did the master key that is to come open it?
    is_next: bool,
}

fn unwrap_key(wrapping: &LessSafeKey, row: &queries::Row) -> Result<DataKey> {
    let aad = keyring_aad(row.id, &row.purpose);
    let of = |key, is_next| -> Result<DataKey> {
        let id = u32::try_from(row.id).map_err(|_| wrong_key("a key's number"))?;
        let purpose = row.purpose.clone();
        Ok(DataKey {
            id,
            purpose,
            key,
            is_next,
        })
    };
    match (open_with(wrapping, &aad, &row.wrapped), &row.next) {
        (Ok(key), _) => of(key, false),
        (Err(_), Some(next)) => of(open_with(wrapping, &aad, next).map_err(|e| wrong_key(&e.log))?, true),
        (Err(e), None) => Err(wrong_key(&e.log)),
    }
}

/// Number of the key that a value was sealed by.
fn sealed_by(sealed: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(sealed.get(1..5)?.try_into().ok()?))
}

/// The wrapped keys are their own check value: GCM's tag shows whether this master key wrapped them.
fn wrong_key(cause: &str) -> Error {
    Error::new(
        Kind::Config,
        "wrong_master_key",
        "This master key does not belong to this database. Put back the key the database was made with; without it the stored secrets cannot be opened.",
    )
    .log(cause)
}

/// The wrapping key, derived from the master key (HKDF, RFC 5869) so that the latter is used for nothing else.
fn wrapping_key(master: &Secret) -> Result<LessSafeKey> {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"lamplighter/v1");
    let prk = salt.extract(master.reveal_for("deriving the wrapping key"));
    let okm = prk
        .expand(&[b"keyring"], &AES_256_GCM)
        .map_err(|_| Error::internal("hkdf"))?;
    Ok(LessSafeKey::new(UnboundKey::from(okm)))
}

fn cipher(key: &Secret) -> Result<LessSafeKey> {
    let unbound = UnboundKey::new(&AES_256_GCM, key.reveal_for("making the cipher"));
    Ok(LessSafeKey::new(
        unbound.map_err(|_| Error::internal("data key has a wrong length"))?,
    ))
}

fn aad(place: SealContext, key: u32) -> String {
    format!("lamplighter/v1|{}|{}|{}|{key}", place.table, place.column, place.row)
}

fn keyring_aad(id: i64, purpose: &str) -> String {
    format!("lamplighter/v1|keyring|{purpose}|{id}|0")
}

fn seal_with(key: &LessSafeKey, key_id: u32, aad: &str, plain: &Secret) -> Result<Vec<u8>> {
    // Random nonces are safe below 2^32 values per key (NIST SP 800-38D §8.3); a fleet seals thousands.
    let nonce = random::bytes::<12>();
    let plain = plain.reveal_for("sealing");
    let mut out = Vec::with_capacity(HEAD + plain.len() + 16);
    out.push(VERSION);
    out.extend_from_slice(&key_id.to_be_bytes());
    out.extend_from_slice(&nonce);
    out.extend_from_slice(plain);
    let tag = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut out[HEAD..])
        .map_err(|_| Error::internal("sealing failed"))?;
    out.extend_from_slice(tag.as_ref());
    Ok(out)
}

fn open_with(key: &LessSafeKey, aad: &str, sealed: &[u8]) -> Result<Secret> {
    let bad = || Error::internal("not sealed for this place, or by another key");
    if sealed.len() < HEAD + 16 || sealed[0] != VERSION {
        return Err(bad());
    }
    let nonce: [u8; 12] = sealed[5..HEAD].try_into().map_err(|_| bad())?;
    let mut body = sealed[HEAD..].to_vec();
    let plain = key
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut body)
        .map_err(|_| bad())?
        .len();
    let out = Secret::new(&body[..plain]);
    body.fill(0);
    std::hint::black_box(&body);
    Ok(out)
}
