//! Content encodings, taken off a body before it is judged: what is judged is what its target gets. What a few bytes unfold to is known
//! only once they are unfolded, so that is done in bounds, and stops where they are passed.

use std::io::{self, Read};
use std::sync::Arc;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::Bytes;
use flate2::bufread::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use ruzstd::decoding::StreamingDecoder;
use tokio::sync::Semaphore;

use super::{Budget, Taken};
use crate::verdict::Failure;

/// What callers are told to use.
pub const UNDERSTOOD: &str = "gzip, deflate, br, zstd";

/// More of them on one body than anybody means.
const LAYERS: usize = 3;
/// What of a body is unfolded at a time.
const CHUNK: usize = 16 * 1024;
/// What one may look back at, in zstd: RFC 9659 lets no sender ask for more.
const WINDOW: u64 = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Gzip,
    /// With the frame of zlib around it (RFC 9110).
    Deflate,
    Brotli,
    Zstd,
}

impl Encoding {
    fn parse(name: &str) -> Option<Self> {
        let known = [("gzip", Self::Gzip), ("x-gzip", Self::Gzip), ("deflate", Self::Deflate), ("br", Self::Brotli), ("zstd", Self::Zstd)];
        known.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, encoding)| encoding)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// What is folded around a body, in the order in which it was put there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encodings(Vec<Encoding>);

impl Encodings {
    pub fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let mut found = Vec::new();
        for line in headers.get_all(CONTENT_ENCODING) {
            for name in line.to_str().map_err(|_| unsupported())?.split(',').map(str::trim) {
                if name.is_empty() || name.eq_ignore_ascii_case("identity") {
                    continue;
                }
                found.push(Encoding::parse(name).filter(|_| found.len() < LAYERS).ok_or_else(unsupported)?);
            }
        }
        Ok(Self(found))
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The body itself, with its own share of the memory. No step on the way may be larger than the body may be.
    pub fn take_off(&self, body: Bytes, max_bytes: usize, memory: &Arc<Semaphore>) -> Result<Taken, Failure> {
        let mut taken = Taken { bytes: body, trailers: None, memory: None };
        for encoding in self.0.iter().rev() {
            let mut unfolded = Unfolded { bytes: Vec::new(), max_bytes, budget: Budget::of(memory) };
            let rest = unfolded.all_of(*encoding, &taken.bytes)?;
            if !rest.is_empty() {
                return Err(Failure::BadEncoding { encoding: encoding.as_str(), what: "more follows its end" });
            }
            taken = Taken { bytes: unfolded.bytes.into(), trailers: None, memory: unfolded.budget.held };
        }
        Ok(taken)
    }
}

fn unsupported() -> Failure {
    Failure::UnsupportedEncoding { accepted: UNDERSTOOD }
}

struct Unfolded<'a> {
    bytes: Vec<u8>,
    max_bytes: usize,
    budget: Budget<'a>,
}

impl Unfolded<'_> {
    /// What follows the end of the encoding is returned.
    fn all_of<'i>(&mut self, encoding: Encoding, input: &'i [u8]) -> Result<&'i [u8], Failure> {
        let broken = || Failure::BadEncoding { encoding: encoding.as_str(), what: "it is cut off or damaged" };
        match encoding {
            Encoding::Gzip => {
                let mut decoder = GzDecoder::new(input);
                self.drain(&mut decoder, broken)?;
                Ok(decoder.into_inner())
            }
            Encoding::Deflate => {
                let mut decoder = Zlib { state: Decompress::new(true), rest: input };
                self.drain(&mut decoder, broken)?;
                Ok(decoder.rest)
            }
            Encoding::Brotli => {
                let mut decoder = Brotli::new(input);
                self.drain(&mut decoder, broken)?;
                Ok(decoder.rest)
            }
            Encoding::Zstd => {
                let decoder = StreamingDecoder::new_with_max_window_size(input, WINDOW);
                let mut decoder = decoder.map_err(|_| broken())?;
                self.drain(&mut decoder, broken)?;
                let (rest, frame) = decoder.into_parts();
                let promised = frame.get_checksum_from_data();
                if promised.is_some() && promised != frame.get_calculated_checksum() {
                    return Err(broken());
                }
                Ok(rest)
            }
        }
    }

    fn drain(&mut self, decoder: &mut impl Read, broken: impl Fn() -> Failure) -> Result<(), Failure> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = decoder.read(&mut chunk).map_err(|_| broken())?;
            let Some(read) = chunk.get(..length).filter(|read| !read.is_empty()) else { return Ok(()) };
            if self.bytes.len() + length > self.max_bytes {
                return Err(Failure::BodyTooLarge { limit: self.max_bytes });
            }
            self.budget.cover(self.bytes.len() + length)?;
            self.bytes.extend_from_slice(read);
        }
    }
}

fn damaged() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// `flate2` has a reader of its own, but that one takes the end of its input for the end of the stream.
struct Zlib<'i> {
    state: Decompress,
    rest: &'i [u8],
}

impl Read for Zlib<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let (before_in, before_out) = (self.state.total_in(), self.state.total_out());
        let status = self.state.decompress(self.rest, out, FlushDecompress::None).map_err(|_| damaged())?;
        let step = |after: u64, before: u64| usize::try_from(after - before).map_err(|_| damaged());
        let (taken, made) = (step(self.state.total_in(), before_in)?, step(self.state.total_out(), before_out)?);
        self.rest = self.rest.get(taken..).unwrap_or_default();
        match status {
            Status::Ok | Status::BufError if made == 0 => Err(damaged()),
            Status::Ok | Status::BufError | Status::StreamEnd => Ok(made),
        }
    }
}

/// The crate's own reader takes what follows the end along.
struct Brotli<'i> {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    rest: &'i [u8],
    is_done: bool,
}

impl<'i> Brotli<'i> {
    fn new(rest: &'i [u8]) -> Self {
        let alloc = StandardAlloc::default;
        // Strict: without the windows beyond what RFC 7932 allows.
        Self { state: BrotliState::new_strict(alloc(), alloc(), alloc()), rest, is_done: false }
    }
}

impl Read for Brotli<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.is_done {
            return Ok(0);
        }
        let (mut left, mut taken, mut room, mut made, mut total) = (self.rest.len(), 0, out.len(), 0, 0);
        let result = BrotliDecompressStream(&mut left, &mut taken, self.rest, &mut room, &mut made, out, &mut total, &mut self.state);
        self.rest = self.rest.get(taken..).unwrap_or_default();
        match result {
            BrotliResult::ResultSuccess => self.is_done = true,
            BrotliResult::NeedsMoreOutput if made > 0 => {}
            BrotliResult::NeedsMoreOutput | BrotliResult::NeedsMoreInput | BrotliResult::ResultFailure => return Err(damaged()),
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use http::HeaderValue;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    const MANY: usize = 1 << 16;

    fn of(lines: &[&'static str]) -> Result<Encodings, Failure> {
        Encodings::of(&lines.iter().map(|line| (CONTENT_ENCODING, HeaderValue::from_static(line))).collect())
    }

    fn fold(encoding: Encoding, text: &[u8]) -> Vec<u8> {
        match encoding {
            Encoding::Gzip => {
                let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
                gzip.write_all(text).unwrap();
                gzip.finish().unwrap()
            }
            Encoding::Deflate => {
                let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
                zlib.write_all(text).unwrap();
                zlib.finish().unwrap()
            }
            Encoding::Brotli => {
                let mut out = Vec::new();
                brotli::BrotliCompress(&mut &*text, &mut out, &brotli::enc::BrotliEncoderParams::default()).unwrap();
                out
            }
            Encoding::Zstd => compress_to_vec(text, CompressionLevel::Fastest),
        }
    }

    const ALL: [Encoding; 4] = [Encoding::Gzip, Encoding::Deflate, Encoding::Brotli, Encoding::Zstd];

    fn unfold(encodings: &[Encoding], body: Vec<u8>, max_bytes: usize) -> Result<Bytes, Failure> {
        let memory = Arc::new(Semaphore::new(MANY));
        Encodings(encodings.to_vec()).take_off(body.into(), max_bytes, &memory).map(|taken| taken.bytes)
    }

    #[test]
    fn a_header_names_what_is_folded_around_a_body() {
        let cases: [(&[&str], Option<&[Encoding]>); 14] = [
            (&[], Some(&[])),
            (&[""], Some(&[])),
            (&["Identity"], Some(&[])),
            (&["gzip"], Some(&[Encoding::Gzip])),
            (&["X-GZip"], Some(&[Encoding::Gzip])),
            (&["deflate, BR"], Some(&[Encoding::Deflate, Encoding::Brotli])),
            (&["zstd", "gzip,"], Some(&[Encoding::Zstd, Encoding::Gzip])),
            (&["gzip, identity, gzip, gzip"], Some(&[Encoding::Gzip; 3])),
            (&["gzip, gzip, gzip, gzip"], None),
            (&["compress"], None),
            (&["gzip;q=1"], None),
            (&["gzip br"], None),
            (&["gzip", "aes128gcm"], None),
            (&["*"], None),
        ];
        for (lines, wanted) in cases {
            assert_eq!(of(lines).ok(), wanted.map(|wanted| Encodings(wanted.to_vec())), "{lines:?}");
        }
        let unreadable = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_bytes(b"gzip\xFF").unwrap())]);
        assert_eq!(Encodings::of(&unreadable), Err(unsupported()));
    }

    #[test]
    fn every_encoding_is_taken_off_and_all_of_them_in_order() {
        let long: Vec<u8> = (0..100_000_u32).flat_map(|n| (n % 7919).to_le_bytes()).collect();
        for text in [&b""[..], b"{}", &long] {
            for outer in ALL {
                assert_eq!(unfold(&[outer], fold(outer, text), MANY * 16).unwrap(), text, "{outer:?}");
                for inner in ALL {
                    let folded = fold(outer, &fold(inner, text));
                    assert_eq!(unfold(&[inner, outer], folded, MANY * 16).unwrap(), text, "{inner:?} in {outer:?}");
                }
            }
        }
    }

    /// At its highest level, with a checksum.
    #[test]
    fn zstd_of_the_reference_encoder_is_read() {
        let text = b"{\"target\":\"brain\",\"payload\":{\"sql\":\"SELECT 1\",\"again\":{\"target\":\"brain\",\"payload\":{\"sql\":\"SELECT 1\"}}}}";
        let folded = *b"\x28\xb5\x2f\xfd\x04\x68\xed\x01\x00\xa2\x03\x0d\x12\x90\xcf\x01\xd8\x3e\x38\x86\x0d\x2c\x0d\x5b\xd6\x51\x85\x22\x67\x46\x98\xf7\xde\xcb\x77\xac\x57\x3f\x5c\x80\x33\x48\x21\xe6\xfc\x16\xe7\x2d\x3f\xf5\x6b\xb5\xe1\xc3\x1d\x6b\x89\xce\xa7\x6a\xc9\xa6\xb7\x01\x01\x00\x66\x36\x15\x14\x8d\xf3\x21\xc2";
        assert_eq!(unfold(&[Encoding::Zstd], folded.to_vec(), MANY).unwrap(), &text[..]);
        let mut damaged = folded;
        damaged[folded.len() - 1] ^= 1;
        assert!(matches!(unfold(&[Encoding::Zstd], damaged.to_vec(), MANY), Err(Failure::BadEncoding { .. })));
    }

    #[test]
    fn what_unfolds_beyond_the_bound_is_too_large_at_once() {
        let memory = Arc::new(Semaphore::new(8));
        for encoding in ALL {
            let bomb = fold(encoding, &vec![0; 10 << 20]);
            assert!(bomb.len() < 20_000, "{encoding:?}: {}", bomb.len());
            assert_eq!(unfold(&[encoding], bomb.clone(), 10 << 20).map(|bytes| bytes.len()), Ok(10 << 20), "{encoding:?}");
            assert_eq!(unfold(&[encoding], bomb.clone(), (10 << 20) - 1), Err(Failure::BodyTooLarge { limit: (10 << 20) - 1 }));
            assert_eq!(unfold(&[encoding], bomb.clone(), 1000), Err(Failure::BodyTooLarge { limit: 1000 }));
            let in_little = Encodings(vec![encoding]).take_off(bomb.into(), 10 << 20, &memory);
            assert_eq!(in_little.map(|_| ()), Err(Failure::Overloaded), "{encoding:?}");
            assert_eq!(memory.available_permits(), 8);
        }
    }

    #[test]
    fn what_is_cut_off_damaged_or_followed_by_more_is_refused() {
        let text = br#"{"target":"brain","payload":{"sql":"SELECT 1"}}"#;
        let is_bad = |encoding, bytes: &[u8], what: &str| match unfold(&[encoding], bytes.to_vec(), MANY) {
            Err(Failure::BadEncoding { what: got, .. }) => got == what,
            _ => false,
        };
        for encoding in ALL {
            let whole = fold(encoding, text);
            for length in 0..whole.len() {
                assert!(is_bad(encoding, &whole[..length], "it is cut off or damaged"), "{encoding:?} cut to {length}");
            }
            for more in [&b"\0"[..], b"{}", &whole] {
                assert!(is_bad(encoding, &[&whole, more].concat(), "more follows its end"), "{encoding:?} and {more:?}");
            }
            assert!(is_bad(encoding, text, "it is cut off or damaged"), "{encoding:?} that is none");
        }
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
        bare.write_all(text).unwrap();
        assert!(is_bad(Encoding::Deflate, &bare.finish().unwrap(), "it is cut off or damaged"), "deflate without its frame");
    }
}
