//! A body known to be UTF-8, as bytes: where a string ends is seen from bytes alone, and few of its strings are asked for as text.

use std::borrow::Cow;
use std::str::Utf8Error;

#[derive(Clone, Copy, Debug)]
pub struct Text<'t> {
    bytes: &'t [u8],
    is_plain: bool,
    has_controls: bool,
}

impl<'t> Text<'t> {
    pub fn of(bytes: &'t [u8]) -> Result<Self, Utf8Error> {
        if is_plain(bytes) {
            return Ok(Self { bytes, is_plain: true, has_controls: false });
        }
        str::from_utf8(bytes)?;
        Ok(Self { bytes, is_plain: false, has_controls: has_controls(bytes) })
    }

    pub fn as_bytes(self) -> &'t [u8] {
        self.bytes
    }

    /// Whether there is nothing in it but ASCII, and no control characters.
    pub const fn is_plain(self) -> bool {
        self.is_plain
    }

    /// Whether there is any control character in it.
    pub const fn has_controls(self) -> bool {
        self.has_controls
    }

    /// All of it: it is looked at once more whether it is UTF-8.
    pub fn as_str(self) -> &'t str {
        str::from_utf8(self.bytes).unwrap_or_default()
    }
}

/// A part of such a text that was cut out between two characters.
pub fn part(bytes: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

/// In blocks, each of which is looked at as a whole.
fn is_plain(bytes: &[u8]) -> bool {
    let most = |bytes: &[u8]| bytes.iter().fold(0, |most: u8, byte| most.max(byte.wrapping_sub(b' ')));
    let (blocks, rest) = bytes.as_chunks::<256>();
    blocks.iter().all(|block| most(block) < 0x60) && most(rest) < 0x60
}

/// The same for whether there are control characters.
pub fn has_controls(bytes: &[u8]) -> bool {
    let least = |bytes: &[u8]| bytes.iter().fold(u8::MAX, |least, byte| least.min(*byte));
    let (blocks, rest) = bytes.as_chunks::<256>();
    blocks.iter().any(|block| least(block) < b' ') || least(rest) < b' '
}
