//! Files that somebody names, read up to a cap. A stated length promises nothing: a device tells none and may never end, and a
//! file may grow while it is read.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_file_may_have_as_many_bytes_as_the_cap_and_none_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [7; 10]).unwrap();
        assert_eq!(read_file(&path, 10).unwrap().len(), 10);
        let error = read_file(&path, 9).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().contains("more than 9 bytes")),
            (io::ErrorKind::FileTooLarge, true)
        );
        assert_eq!(read_file(Path::new("/dev/zero"), 1_000).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
