//! The frame of a message of LDAP: how long it is, and that it is sound before a parser sees it.
//!
//! The parser behind it follows nesting as deep as the other side likes; this never does.

/// Deepest nesting of a sound message. A search result needs six.
const MAX_DEPTH: usize = 16;
/// Bit of a tag that says that there are elements inside.
const CONSTRUCTED: u8 = 0x20;
/// The low bits of a tag that goes on in another byte; LDAP has none.
const LONG_TAG: u8 = 0x1f;
/// Most bytes of a length.
const MAX_LENGTH_BYTES: usize = 4;

/// The head of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Its tag.
    pub(super) tag: u8,
    /// Bytes of the head.
    pub(super) head: usize,
    /// Bytes behind it.
    pub(super) body: usize,
}

/// Bytes that no message of LDAP has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it sent something that is no LDAP")]
pub(super) struct Unsound;

/// The head at the beginning of these bytes; `None`: there are too few of them.
pub(super) fn head(bytes: &[u8]) -> Result<Option<Head>, Unsound> {
    let (Some(&tag), Some(&first)) = (bytes.first(), bytes.get(1)) else { return Ok(None) };
    if tag & LONG_TAG == LONG_TAG {
        return Err(Unsound);
    }
    if first < 0x80 {
        return Ok(Some(Head { tag, head: 2, body: usize::from(first) }));
    }
    let count = usize::from(first & 0x7f);
    if count == 0 || count > MAX_LENGTH_BYTES {
        return Err(Unsound);
    }
    let Some(length) = bytes.get(2..2 + count) else { return Ok(None) };
    let body = length.iter().fold(0usize, |sum, byte| (sum << 8) | usize::from(*byte));
    Ok(Some(Head { tag, head: 2 + count, body }))
}

/// Whether this whole message holds elements within elements, each inside its own bounds and none too deep.
pub(super) fn is_sound(message: &[u8]) -> bool {
    let mut ends = vec![message.len()];
    let mut at = 0;
    while let Some(&end) = ends.last() {
        if at == end {
            ends.pop();
            continue;
        }
        let Some(rest) = message.get(at..end) else { return false };
        let Ok(Some(head)) = head(rest) else { return false };
        if head.body > rest.len().saturating_sub(head.head) {
            return false;
        }
        at += head.head;
        if head.tag & CONSTRUCTED == 0 {
            at += head.body;
        } else if ends.len() > MAX_DEPTH {
            return false;
        } else {
            ends.push(at + head.body);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_in_both_spellings_of_its_length() {
        assert_eq!(head(&[0x30, 0x05]), Ok(Some(Head { tag: 0x30, head: 2, body: 5 })));
        assert_eq!(head(&[0x30, 0x84, 0, 0, 1, 2]), Ok(Some(Head { tag: 0x30, head: 6, body: 258 })));
        assert_eq!([head(&[]), head(&[0x30]), head(&[0x30, 0x82, 1])], [Ok(None); 3]);
        assert_eq!([head(&[0x3f, 0]), head(&[0x30, 0x80]), head(&[0x30, 0x89])], [Err(Unsound); 3]);
    }

    #[test]
    fn a_bind_answer_is_sound() {
        // RFC 4511: message 1, bind response: success, no matched DN, no text.
        let answer = [0x30, 12, 0x02, 1, 1, 0x61, 7, 0x0a, 1, 0, 0x04, 0, 0x04, 0];
        assert!(is_sound(&answer));
        let mut longer_inside_than_outside = answer;
        longer_inside_than_outside[6] = 8;
        assert!(!is_sound(&longer_inside_than_outside));
    }

    #[test]
    fn a_tower_of_elements_is_refused_without_following_it() {
        let tower = |depth: usize| {
            let mut bytes = vec![0x04, 0];
            for _ in 0..depth {
                let length = u32::try_from(bytes.len()).unwrap();
                let mut outer = vec![0x30, 0x84];
                outer.extend(length.to_be_bytes());
                outer.extend(&bytes);
                bytes = outer;
            }
            bytes
        };
        assert!(is_sound(&tower(MAX_DEPTH)));
        assert!(!is_sound(&tower(MAX_DEPTH + 1)));
        assert!(!is_sound(&tower(5_000)));
    }
}
