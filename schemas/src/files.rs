//! Files that somebody names, read up to a cap. A stated length promises nothing: a device tells none and may never end, and a
//! file may grow while it is read.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use crate::limits::MAX_SECRET_BYTES;

/// The bytes of a file that has at most `most` of them.
///
/// # Errors
/// What the system says; [`io::ErrorKind::FileTooLarge`] when there are more.
#[allow(clippy::disallowed_methods, reason = "capped by take")]
pub fn read_file(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        let too_large = format!("it has more than {most} bytes, and no larger one is read");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, too_large));
    }
    Ok(bytes)
}

/// The text of a file that has at most `most` bytes. No error tells what it says: it may be a secret (SEC-1).
///
/// # Errors
/// As [`read_file`]; [`io::ErrorKind::InvalidData`] when it is not UTF-8.
pub fn read_text(path: &Path, most: usize) -> io::Result<String> {
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text");
    String::from_utf8(read_file(path, most)?).map_err(not_text)
}

/// The text of a file that holds one secret: a password or a token.
///
/// # Errors
/// As [`read_text`], with [`MAX_SECRET_BYTES`] as the most.
pub fn read_secret(path: &Path) -> io::Result<String> {
    read_text(path, MAX_SECRET_BYTES)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::fs;

    use super::*;

    #[test]
    fn a_file_may_have_as_many_bytes_as_the_cap_and_none_ends_it() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let whole = fs::read_to_string(&path).unwrap();
        assert_eq!(read_file(&path, whole.len()).unwrap(), whole.as_bytes());
        assert_eq!(read_text(&path, whole.len()).unwrap(), whole);
        let less = whole.len() - 1;
        let error = read_text(&path, less).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert!(error.to_string().contains(&format!("more than {less} bytes")), "{error}");
        assert_eq!(read_file(Path::new("/dev/zero"), 1_000).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read_secret(Path::new("/dev/zero")).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read_secret(Path::new("/dev/null")).unwrap(), "");
    }
}
