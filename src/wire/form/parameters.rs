//! Goes over the parameters of a header (`; name=value; name="value"`, RFC 9110 5.6.6), and stops at the first that readers
//! end in different places.
//!
//! Must not know which parameters there are.

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameter<'a> {
    /// A token.
    pub name: &'a [u8],
    /// Without its quotes; backslashes in it stand as they came.
    pub value: &'a [u8],
}

/// The parameters of a header, from the first semicolon on. After a fault there are no more.
pub(super) struct Parameters<'a> {
    rest: &'a [u8],
}

impl<'a> Parameters<'a> {
    /// `rest` is what follows the header's first word.
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Parameters { rest }
    }

    fn read(&mut self) -> Result<Option<Parameter<'a>>, &'static str> {
        loop {
            self.skip_blanks();
            match self.rest.split_first() {
                None => return Ok(None),
                Some((b';', rest)) => self.rest = rest,
                Some(_) => return Err("a parameter does not begin with a semicolon"),
            }
            self.skip_blanks();
            // RFC 9110 lets parameters be empty.
            if !matches!(self.rest.first(), None | Some(b';')) {
                break;
            }
        }
        let name = self.token();
        let Some((b'=', rest)) = self.rest.split_first() else {
            return Err("a parameter is not of the form name=value");
        };
        if name.is_empty() {
            return Err("a parameter has no name");
        }
        self.rest = rest;
        let value = match self.rest.split_first() {
            Some((b'"', rest)) => {
                self.rest = rest;
                self.quoted()?
            }
            _ => self.token(),
        };
        Ok(Some(Parameter { name, value }))
    }

    fn skip_blanks(&mut self) {
        let end = self.rest.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
    }

    fn token(&mut self) -> &'a [u8] {
        let end = self.rest.iter().position(|&byte| !is_token(byte)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        token
    }

    /// To the closing quote. Some readers take a backslash for an escape and some for itself: where one stands before a
    /// quote they end in different places.
    fn quoted(&mut self) -> Result<&'a [u8], &'static str> {
        let end = memchr::memchr(b'"', self.rest).ok_or("a quoted value has no end")?;
        let (value, rest) = self.rest.split_at(end);
        if value.ends_with(b"\\") {
            return Err("a quote follows a backslash, which readers understand differently; write %22 for it");
        }
        if value.iter().any(|byte| byte.is_ascii_control()) {
            return Err("a quoted value has a control character");
        }
        self.rest = &rest[1..];
        Ok(value)
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<Parameter<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read().transpose();
        if matches!(read, Some(Err(_))) {
            self.rest = &[];
        }
        read
    }
}

/// A character of a token (RFC 9110 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
