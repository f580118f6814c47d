//! Cookies that a browser sends.

use hyper::{HeaderMap, header::COOKIE};

/// The values of the cookies with this name, in the order in which they come. There may be several: a browser sends
/// those of a parent domain as well.
pub(crate) fn values<'h>(headers: &'h HeaderMap, name: &'h str) -> impl Iterator<Item = &'h str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(';'))
        .filter_map(move |pair| {
            let (found, value) = pair.split_once('=')?;
            (found.trim_matches([' ', '\t']) == name).then(|| value.trim_matches([' ', '\t', '"']))
        })
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn several_headers_and_values() {
        let mut headers = HeaderMap::new();
        for text in ["a=1; pass=x; pass = \"y\"", "pass=; pass", "apass=3;pass=z=="] {
            headers.append(COOKIE, HeaderValue::from_static(text));
        }
        assert_eq!(values(&headers, "pass").collect::<Vec<_>>(), ["x", "y", "", "z=="]);
        assert_eq!(values(&headers, "none").count(), 0);
    }
}
