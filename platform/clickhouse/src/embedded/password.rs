//! The writing user's password: random, made once, in a file only its owner may read.

use rand::RngCore as _;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use waybill_schemas::files::read_secret;

/// The file's name in the store's folder.
pub const PASSWORD_FILE: &str = "store-password";

/// Reads the password, making it first if there is none. Two processes that make one at once agree on the first.
pub(super) fn load_or_create(data_dir: &Path) -> io::Result<String> {
    let path = data_dir.join(PASSWORD_FILE);
    if let Some(password) = read(&path)? {
        return Ok(password);
    }
    fs::create_dir_all(data_dir)?;
    let fresh = data_dir.join(format!("{PASSWORD_FILE}.{}", std::process::id()));
    let mut bytes = [0_u8; 24];
    rand::rng().fill_bytes(&mut bytes);
    let password = bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&fresh).and_then(|mut file| {
        file.write_all(password.as_bytes())?;
        file.sync_all()
    });
    // A link, not a rename: it fails if somebody else was first, and then theirs is the password.
    let linked = written.and_then(|()| match fs::hard_link(&fresh, &path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    let _ = fs::remove_file(&fresh);
    linked?;
    read(&path)?
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the file is empty: remove it and start again"))
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match read_secret(path) {
        Ok(text) if text.trim().is_empty() => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty: remove it and start again"))
        }
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    use super::*;

    #[test]
    fn sec_1_the_password_is_made_once_and_only_its_owner_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_create(dir.path()).unwrap();
        assert_eq!(first.len(), 48);
        assert_eq!(load_or_create(dir.path()).unwrap(), first);
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &fs::metadata(dir.path().join(PASSWORD_FILE)).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no half-made file is left");
        let refused = read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(refused.contains("more than 65536 bytes"), "{refused}");
    }
}
