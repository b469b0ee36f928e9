//! Addresses of targets: `${NAME}` and `{target}` filled in, and read as strictly as something that secrets are sent to must be.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::Uri;
use http::uri::Scheme;

use super::Variables;

/// What a template comes to.
pub enum Expanded {
    Full(String),
    /// The first variable that is not set.
    Unset(String),
}

/// Fills in a template in one pass, so that nothing in a value is taken for a placeholder.
pub fn expand(template: &str, target: &str, variables: Variables<'_>) -> Result<Expanded, String> {
    let mut full = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (inside, after) = after.split_once('}').ok_or("a `{` is never closed: write {target} or ${NAME}")?;
        rest = after;
        if let Some(before) = before.strip_suffix('$') {
            full.push_str(before);
            let name = variable_name(inside)?;
            let Some(value) = variables(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()) else {
                return Ok(Expanded::Unset(name.to_owned()));
            };
            // `https://host/` and `/path` make one slash, not two.
            full.push_str(if rest.starts_with('/') { value.trim_end_matches('/') } else { &value });
        } else if inside == "target" {
            full.push_str(before);
            full.push_str(target);
        } else {
            return Err(format!("`{{{inside}}}` stands for nothing: there are {{target}}, the target's name, and ${{NAME}}, a variable"));
        }
    }
    full.push_str(rest);
    Ok(Expanded::Full(full))
}

/// Secrets of the gatekeeper's own. No policy can send one to a target.
const OWN_SECRETS: [&str; 8] = [
    "INTERNAL_ELIZA_KEY",
    "INTERNAL_ELIZA_KEY_PREVIOUS",
    "SUPABASE_SERVICE_ROLE_KEY",
    "GATEKEEPER_ADMIN_TOKEN",
    "ADMIN_TOKEN",
    "OPS_API_KEY",
    "DATABASE_URL",
    "REDIS_URL",
];

/// Names are published: in problems, warnings and health pages. Whoever has put the secret itself in the name's place must not find it
/// there, so what is no name is never repeated, and names are strict enough that few secrets look like one.
pub fn variable_name(text: &str) -> Result<&str, String> {
    let plain = text.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'0'..=b'9' | b'_'));
    if !plain || !text.starts_with(|first: char| !first.is_ascii_digit()) {
        return Err(
            "this is no name of a variable: names have capital letters, digits and `_` only, and a secret itself never belongs here".into(),
        );
    }
    if OWN_SECRETS.contains(&text) {
        return Err(format!(
            "`{text}` is a secret of the gatekeeper's own and goes to no target; for the service role key write credentials = \"service-role\""
        ));
    }
    Ok(text)
}

/// The message never holds the text: it may come from a variable.
pub fn parse(text: &str) -> Result<Uri, String> {
    let wrong = |what: &str| format!("this gives no address: {what}, as in \"https://host/path\"");
    if text.contains(['?', '#']) {
        return Err(wrong("it must end with its path, without query or fragment"));
    }
    let uri: Uri = text.parse().map_err(|_| wrong("write an absolute http or https url"))?;
    let http = uri.scheme() == Some(&Scheme::HTTP) || uri.scheme() == Some(&Scheme::HTTPS);
    let authority = uri.authority().filter(|_| http).ok_or_else(|| wrong("write an absolute http or https url"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("no user or password belongs in it"));
    }
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let good_host = match address {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')),
    };
    let port = authority.as_str().strip_prefix(host).unwrap_or_default();
    let good_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse().is_ok_and(|port: u16| port > 0));
    if !good_host || !good_port {
        return Err(wrong("its host or port cannot be read"));
    }
    Ok(uri)
}

/// Scheme, host and port: what two addresses must share for a secret of one to be safe with the other.
#[derive(Debug, PartialEq, Eq)]
pub struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    pub fn of(uri: &Uri) -> Option<Self> {
        let https = uri.scheme() == Some(&Scheme::HTTPS);
        let host = uri.host()?.to_ascii_lowercase();
        Some(Self { https, host, port: uri.port_u16().unwrap_or(if https { 443 } else { 80 }) })
    }

    /// What is said to it can be overheard: plain http that leaves this machine.
    pub fn is_exposed(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        let loopback = bare == "localhost"
            || bare.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
            || bare.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
        !self.https && !loopback
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(template: &str) -> Option<String> {
        let variables = |name: &str| (name == "BASE").then(|| "https://{target}.example/".to_owned());
        match expand(template, "brain", &variables) {
            Ok(Expanded::Full(text)) => Some(text),
            _ => None,
        }
    }

    #[test]
    fn templates_are_filled_in_once() {
        assert_eq!(full("http://h/t/{target}").as_deref(), Some("http://h/t/brain"));
        assert_eq!(full("${BASE}/v1/{target}").as_deref(), Some("https://{target}.example/v1/brain"));
        assert_eq!(full("${BASE}v1").as_deref(), Some("https://{target}.example/v1"));
        for bad in ["http://h/{name}", "http://h/{target", "${}/x", "${A-B}/x", "https://h/${INTERNAL_ELIZA_KEY}", "${UNSET}"] {
            assert_eq!(full(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_name_is_never_repeated() {
        for good in ["BASE", "_A", "PAYMENTS_KEY_2"] {
            assert_eq!(variable_name(good), Ok(good));
        }
        for bad in ["sk_live_abc123", "sk-live-abc123", "Base", "2FAST", "", "A B", "\u{c9}"] {
            let problem = variable_name(bad).unwrap_err();
            assert!(bad.is_empty() || !problem.contains(bad), "{problem}");
        }
    }

    #[test]
    fn addresses_are_read_strictly() {
        for good in ["http://h", "https://h.example:8443/a/b", "http://127.0.0.1:18080/t/brain", "http://[::1]:80/x", "http://my_host/"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        let bad = [
            "",
            "h",
            "/path",
            "ftp://h",
            "//h/x",
            "http://",
            "http://:80",
            "http://u:p@h",
            "http://h:0",
            "http://h:99999",
            "http://h:",
            "http://h:x",
            "http://h/x?y=1",
            "http://h/#f",
            "http://h h",
            "http://[::1",
            "http://[zz]/",
            "http://h%2fx/",
            "http://trusted@evil.example/",
        ];
        for text in bad {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn origins_are_compared_whole() {
        let origin = |text: &str| Origin::of(&parse(text).unwrap()).unwrap();
        assert_eq!(origin("https://H.example/a"), origin("https://h.example:443/b"));
        for other in ["http://h.example", "https://h.example:444", "https://h.example.evil", "https://x.h.example", "https://h.example."] {
            assert_ne!(origin("https://h.example"), origin(other), "{other}");
        }
        for (text, exposed) in [
            ("http://localhost:1", false),
            ("http://127.8.9.1", false),
            ("http://[::1]", false),
            ("https://h", false),
            ("http://h", true),
            ("http://10.0.0.1", true),
            ("http://localhost.evil.example", true),
            ("http://127.0.0.1.evil.example", true),
        ] {
            assert_eq!(origin(text).is_exposed(), exposed, "{text}");
        }
    }
}
