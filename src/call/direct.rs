//! The address of a direct call: the target it names, and what goes on to that target as it was sent. Whatever a server further on
//! could read as another target's address is refused here.

use percent_encoding::percent_decode_str;

use crate::verdict::Failure;

/// What direct addresses begin with.
pub const DIRECT: &str = "/functions/v1/";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address<'a> {
    /// Whether there is such a target is for the route to find.
    pub target: &'a str,
    /// The path and query behind it, byte for byte.
    pub rest: &'a str,
}

impl<'a> Address<'a> {
    /// Of a path and query as they were sent.
    pub fn parse(sent: &'a str) -> Result<Self, Failure> {
        let behind = sent.strip_prefix(DIRECT).ok_or_else(|| bad("it does not begin with /functions/v1/"))?;
        let end = behind.find(['/', '?']).unwrap_or(behind.len());
        let (target, rest) = behind.split_at_checked(end).unwrap_or((behind, ""));
        if target.is_empty() {
            return Err(bad("it names none"));
        }
        if percent_decode_str(target).any(|byte| matches!(byte, b'/' | b'\\' | 0)) {
            return Err(bad("a slash, a backslash or a NUL is encoded in it"));
        }
        if leads_out(target) || leads_out(path_of(rest)) {
            return Err(bad("its dot segments lead elsewhere"));
        }
        Ok(Self { target, rest })
    }

    pub fn query(&self) -> Option<&'a str> {
        self.rest.split_once('?').map(|(_, query)| query)
    }
}

fn path_of(rest: &str) -> &str {
    rest.split_once('?').map_or(rest, |(path, _)| path)
}

fn bad(what: &'static str) -> Failure {
    Failure::BadTarget { what }
}

/// Whether some server might read a step upwards into this path: encoded dots and slashes, backslashes and parameters count as well, and
/// what is encoded twice, for some decode twice.
pub fn leads_out(path: &str) -> bool {
    let once: Vec<u8> = percent_decode_str(path).collect();
    let twice: Vec<u8> = percent_encoding::percent_decode(&once).collect();
    [once, twice].iter().any(|path| {
        path.split(|byte| matches!(byte, b'/' | b'\\')).any(|segment| {
            let name = segment.split(|byte| matches!(byte, b';' | 0)).next().unwrap_or(segment);
            matches!(name, b"." | b"..")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_names_a_target_and_what_is_wanted_of_it() {
        let table = [
            ("/functions/v1/brain", "brain", "", None),
            ("/functions/v1/brain/", "brain", "/", None),
            ("/functions/v1/brain?a=/../b", "brain", "?a=/../b", Some("a=/../b")),
            ("/functions/v1/brain?", "brain", "?", Some("")),
            ("/functions/v1/brain/a//b/%20c;d?x=%2e%2E&y", "brain", "/a//b/%20c;d?x=%2e%2E&y", Some("x=%2e%2E&y")),
            ("/functions/v1/brain/a..b/...", "brain", "/a..b/...", None),
            ("/functions/v1/br%61in/x", "br%61in", "/x", None),
            ("/functions/v1/.hidden", ".hidden", "", None),
        ];
        for (sent, target, rest, query) in table {
            let address = Address::parse(sent).unwrap();
            assert_eq!((address, address.query()), (Address { target, rest }, query), "{sent}");
        }
    }

    #[test]
    fn what_could_be_another_targets_address_is_refused() {
        for target in [
            "",
            "/",
            "/brain",
            "?x=1",
            ".",
            "..",
            "../admin",
            "./brain",
            "%2e%2e/admin",
            "%2E",
            "..;/admin",
            "..;x=1",
            ".%3b/admin",
            "brain%2f..%2fadmin",
            "brain%2Fadmin",
            "brain%5cadmin",
            "brain\\admin",
            "brain%00",
            "%00",
            "..%00",
            "%252e%252e/admin",
            "brain/..",
            "brain/../admin",
            "brain/./a",
            "brain/a/%2e%2E/b",
            "brain/%252e%252e/admin",
            "brain/..%2fadmin",
            "brain/..%5cadmin",
            "brain/..;x=1/admin",
            "brain/..%00/admin",
            "brain\\..\\admin",
            "brain/..?x=1",
        ] {
            let parsed = Address::parse(&format!("{DIRECT}{target}")).map(|address| format!("{address:?}"));
            assert!(matches!(parsed, Err(Failure::BadTarget { .. })), "{target}: {parsed:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_between_target_and_rest(behind in "[a-z./%?;\\\\0-9]{0,24}") {
            let sent = format!("{DIRECT}{behind}");
            if let Ok(Address { target, rest }) = Address::parse(&sent) {
                prop_assert_eq!(format!("{target}{rest}"), behind);
                prop_assert!(!target.is_empty() && !target.contains(['/', '?', '\\']));
                prop_assert!(rest.is_empty() || rest.starts_with(['/', '?']));
            }
        }
    }
}
