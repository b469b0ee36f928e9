//! The address of a call: a target's own, and what the caller puts behind it.

use http::Uri;
use http::uri::PathAndQuery;

use crate::call::leads_out;

/// The path of `base` with `rest` (a path, a query, or both) behind it. `None` where that would lead out of the target: a server in
/// between may resolve dot segments, and then `brain/../admin` would reach another target than the one that was judged.
pub fn path(base: &Uri, rest: &str) -> Option<PathAndQuery> {
    if rest.is_empty() {
        return Some(base.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
    }
    let (rest_path, rest_query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    if leads_out(rest_path) || !(rest_path.is_empty() || rest_path.starts_with('/')) {
        return None;
    }
    let mut text = match rest_path {
        "" => base.path().to_owned(),
        path => format!("{}{path}", base.path().trim_end_matches('/')),
    };
    let queries = [base.query().filter(|query| !query.is_empty()), rest_query].into_iter().flatten();
    for (query, mark) in queries.zip(['?', '&']) {
        text.push(mark);
        text.push_str(query);
    }
    PathAndQuery::try_from(text).ok()
}

/// The same as a whole address.
pub fn join(base: &Uri, rest: &str) -> Option<Uri> {
    if rest.is_empty() {
        return Some(base.clone());
    }
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(path(base, rest)?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_caller_adds_stays_within_the_target() {
        let table = [
            ("http://h/functions/v1/brain", "", Some("http://h/functions/v1/brain")),
            ("http://h/functions/v1/brain", "/", Some("http://h/functions/v1/brain/")),
            ("http://h/functions/v1/brain", "/a/b?x=1&y=..", Some("http://h/functions/v1/brain/a/b?x=1&y=..")),
            ("http://h/functions/v1/brain", "?", Some("http://h/functions/v1/brain?")),
            ("http://h/functions/v1/brain", "?x=1", Some("http://h/functions/v1/brain?x=1")),
            ("http://h/functions/v1/brain/", "/a", Some("http://h/functions/v1/brain/a")),
            ("http://h/brain?v=2", "/a?x=1", Some("http://h/brain/a?v=2&x=1")),
            ("http://h/brain?v=2", "/a", Some("http://h/brain/a?v=2")),
            ("http://h", "/a", Some("http://h/a")),
            ("http://h/brain", "/a..b/...", Some("http://h/brain/a..b/...")),
            ("http://h/brain", "/..", None),
            ("http://h/brain", "/a/../../admin", None),
            ("http://h/brain", "/./a", None),
            ("http://h/brain", "/%2e%2E/admin", None),
            ("http://h/brain", "/..%2fadmin", None),
            ("http://h/brain", "/..;x=1/admin", None),
            ("http://h/brain", "/..%5cadmin", None),
            ("http://h/brain", "evil", None),
            ("http://h/brain", "@evil.example/", None),
        ];
        for (base, rest, expected) in table {
            let joined = join(&base.parse().unwrap(), rest).map(|uri| uri.to_string());
            assert_eq!(joined.as_deref(), expected, "{base} + {rest}");
            let path = path(&base.parse().unwrap(), rest);
            let expected = expected.map(|whole| whole.parse::<Uri>().unwrap().path_and_query().unwrap().clone());
            assert_eq!(path, expected, "{base} + {rest}");
        }
    }
}
