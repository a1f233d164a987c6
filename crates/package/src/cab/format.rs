//! The numbers of the cabinet format, and the one value that the strict profile allows for each field.

use crate::manifest::Mode;

/// Largest sum of unpacked file sizes, in bytes.
pub const MAX_UNPACKED: u64 = 512 * 1024 * 1024;
/// Largest ratio of unpacked bytes to package bytes.
pub const MAX_RATIO: u64 = 200;

pub(super) const SIGNATURE: [u8; 4] = *b"MSCF";
pub(super) const VERSION: [u8; 2] = [3, 1];
pub(super) const HEADER_LENGTH: u32 = 36;
pub(super) const FOLDER_LENGTH: u32 = 8;
pub(super) const MSZIP: u16 = 1;
pub(super) const BLOCK_SIGNATURE: [u8; 2] = *b"CK";
/// Unpacked bytes of every block but the last of a file.
pub(super) const BLOCK: usize = 32 * 1024;
/// Packed bytes a block may have: signature, one stored deflate block, its header.
pub(super) const MAX_PACKED_BLOCK: usize = BLOCK + 7;
/// 1 January 1980, the first day a cabinet can name.
pub(super) const DATE: u16 = (1 << 5) | 1;
pub(super) const TIME: u16 = 0;
/// Longest name in a cabinet, in bytes.
pub(super) const MAX_NAME: usize = 255;

const ARCHIVE: u16 = 0x20;
const EXECUTE: u16 = 0x40;

/// The attributes of a file with this mode.
pub(super) const fn attributes(mode: Mode) -> u16 {
    match mode {
        Mode::Plain => ARCHIVE,
        Mode::Executable => ARCHIVE | EXECUTE,
    }
}

/// The mode of a file with these attributes, if the profile knows them.
pub(super) const fn mode(attributes: u16) -> Option<Mode> {
    if attributes == ARCHIVE {
        Some(Mode::Plain)
    } else if attributes == ARCHIVE | EXECUTE {
        Some(Mode::Executable)
    } else {
        None
    }
}

/// How many blocks a file of `size` bytes has.
pub(super) const fn blocks(size: u64) -> u64 {
    size.div_ceil(BLOCK as u64)
}

/// The cabinet checksum of `data`, going on from `seed`: little-endian words, XORed; a short last word is big-endian.
pub(super) fn checksum(data: &[u8], seed: u32) -> u32 {
    let (words, rest) = data.as_chunks::<4>();
    let sum = words.iter().fold(seed, |sum, word| sum ^ u32::from_le_bytes(*word));
    sum ^ rest.iter().fold(0, |word, byte| (word << 8) | u32::from(*byte))
}

/// The checksum of a block: over its two lengths and its packed bytes.
pub(super) fn block_checksum(packed: &[u8], unpacked: u16) -> u32 {
    let packed_length = u32::try_from(packed.len()).unwrap_or(u32::MAX) & 0xffff;
    checksum(packed, 0) ^ (packed_length | (u32::from(unpacked) << 16))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example cabinet of the format's specification.
    #[test]
    fn the_checksum_of_the_specification_comes_out() {
        let data = b"#include <stdio.h>\r\n\r\nvoid main(void)\r\n{\r\n    printf(\"Hello, world!\\n\");\r\n}\r\n\
                     #include <stdio.h>\r\n\r\nvoid main(void)\r\n{\r\n    printf(\"Welcome!\\n\");\r\n}\r\n\r\n";
        assert_eq!(data.len(), 0x97);
        assert_eq!(block_checksum(data, 0x97), 0x30a6_5abd);
        assert_eq!(block_checksum(b"Hello, world!\n", 14), 0x7f2e_1a4c);
    }
}
