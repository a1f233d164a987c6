//! How an input is spoilt: a few small wounds, of the kinds that parsers fall over.

use crate::kill::Chance;

/// Most wounds of one input.
const WOUNDS: u64 = 8;
/// Longest input, in bytes.
const LONGEST: usize = 256 * 1024;
/// Numbers at which lengths and counts go wrong.
const EDGES: [u64; 12] =
    [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX / 2, u64::MAX];
/// Text at which JSON and names go wrong.
const WORDS: [&[u8]; 10] =
    [b"null", b"-1", b"1e999", b"{}", b"[]", b"\"\\u0000\"", b"../", b"99999999999999999999", b"\xff\xfe", b"[[[[[[[["];

/// One of the seeds, with up to eight wounds.
pub(super) fn mutated(seeds: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut input = pick(seeds, chance).cloned().unwrap_or_default();
    for _ in 0..=chance.below(WOUNDS) {
        wound(&mut input, seeds, chance);
    }
    input.truncate(LONGEST);
    input
}

fn pick<'a, T>(from: &'a [T], chance: &mut Chance) -> Option<&'a T> {
    from.get(place(from.len(), chance))
}

fn place(below: usize, chance: &mut Chance) -> usize {
    usize::try_from(chance.below(below as u64)).unwrap_or(0)
}

/// A stretch of the input, most often a short one.
fn stretch(length: usize, chance: &mut Chance) -> std::ops::Range<usize> {
    let start = place(length + 1, chance);
    let most = if chance.below(8) == 0 { length } else { 16 };
    start..(start + place(most + 1, chance)).min(length)
}

fn wound(input: &mut Vec<u8>, seeds: &[Vec<u8>], chance: &mut Chance) {
    let length = input.len();
    let at = place(length, chance);
    match chance.below(9) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << chance.below(8);
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = u8::try_from(chance.below(256)).unwrap_or(0);
            }
        }
        2 => {
            let edge = pick(&EDGES, chance).copied().unwrap_or(0);
            let width = [1, 2, 4, 8].get(place(4, chance)).copied().unwrap_or(1);
            let bytes = if chance.below(2) == 0 { edge.to_le_bytes() } else { edge.to_be_bytes() };
            input.iter_mut().skip(at).zip(bytes.iter().take(width)).for_each(|(old, new)| *old = *new);
        }
        3 => drop(input.drain(stretch(length, chance))),
        4 => {
            let again = input.get(stretch(length, chance)).unwrap_or_default().to_vec();
            drop(input.splice(at..at, again));
        }
        5 => input.truncate(at),
        6 => {
            let word = pick(&WORDS, chance).copied().unwrap_or_default();
            let end = (at + place(word.len() + 1, chance)).min(length);
            drop(input.splice(at..end, word.iter().copied()));
        }
        7 => {
            let other = pick(seeds, chance).map(Vec::as_slice).unwrap_or_default();
            let part = other.get(stretch(other.len(), chance)).unwrap_or_default().to_vec();
            let old = at..(at + part.len()).min(length);
            drop(input.splice(old, part));
        }
        _ => {
            // A digit becomes another: versions, lengths and dates of JSON.
            let digit = input.iter().skip(at).position(u8::is_ascii_digit).map(|offset| at + offset);
            if let Some(byte) = digit.and_then(|digit| input.get_mut(digit)) {
                *byte = b'0' + u8::try_from(chance.below(10)).unwrap_or(0);
            }
        }
    }
}
