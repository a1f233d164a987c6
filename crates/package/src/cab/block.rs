//! MSZIP blocks: up to 32 KB each, deflated; a block may refer to the 32 KB of its file before it.

use flate2::{Compress, Compression, FlushCompress, Status};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

use super::format::{BLOCK, BLOCK_SIGNATURE, MAX_PACKED_BLOCK, block_checksum};

/// Deflate level of packages: 9 is the smallest that is still fast.
const LEVEL: u32 = 9;
/// An empty last deflate block, which closes a stream that was flushed.
const CLOSING: [u8; 2] = [3, 0];

/// Packs the blocks of one file, one after another.
///
/// With zlib's algorithm: it never writes a code for a single distance, which `cabextract` refuses as incomplete.
pub(super) struct Packer(Compress);

impl Packer {
    pub(super) fn new() -> Self {
        Self(Compress::new(Compression::new(LEVEL), false))
    }

    /// The packed form of the next block. Its checksum is never zero, because readers take zero for "unchecked".
    pub(super) fn pack(&mut self, data: &[u8]) -> Vec<u8> {
        let deflated = self.deflate(data).unwrap_or_else(|| stored(data));
        let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
        if block_checksum(&deflated, length) == 0 { stored(data) } else { deflated }
    }

    fn deflate(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        let mut packed = Vec::with_capacity(BLOCK * 2);
        packed.extend(BLOCK_SIGNATURE);
        let before = self.0.total_in();
        let status = self.0.compress_vec(data, &mut packed, FlushCompress::Sync).ok()?;
        let is_whole = status == Status::Ok && self.0.total_in() - before == data.len() as u64;
        packed.extend(CLOSING);
        (is_whole && packed.len() <= data.len() + 7).then_some(packed)
    }
}

/// One stored deflate block.
fn stored(data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    let mut packed = Vec::with_capacity(MAX_PACKED_BLOCK);
    packed.extend(BLOCK_SIGNATURE);
    packed.push(1);
    packed.extend(length.to_le_bytes());
    packed.extend((!length).to_le_bytes());
    packed.extend(data);
    packed
}

/// Unpacks the blocks of one file, one after another.
pub(super) struct Unpacker {
    decompressor: Box<DecompressorOxide>,
    /// The block before, then room for this one.
    window: Vec<u8>,
    /// How much of the block before there is.
    history: usize,
}

impl Unpacker {
    pub(super) fn new() -> Self {
        Self { decompressor: Box::default(), window: vec![0; BLOCK * 2], history: 0 }
    }

    /// Forgets the file before.
    pub(super) fn next_file(&mut self) {
        self.history = 0;
    }

    /// The `length` bytes that this block unpacks to; `None` unless it is exactly one whole deflate stream of them.
    pub(super) fn unpack(&mut self, packed: &[u8], length: usize) -> Option<&[u8]> {
        let deflated = packed.strip_prefix(&BLOCK_SIGNATURE)?;
        let start = self.history;
        let end = start.checked_add(length)?;
        let room = self.window.get_mut(..end)?;
        self.decompressor.init();
        let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, read, written) = decompress(&mut self.decompressor, deflated, room, start, flags);
        if status != TINFLStatus::Done || read != deflated.len() || written != length {
            return None;
        }
        // A full block is the window of the next one; only the last block of a file is shorter.
        self.window.copy_within(start..end, 0);
        self.history = length;
        self.window.get(..length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Repeats with a period just below the window, so that blocks refer to the one before.
    fn periodic(length: usize) -> Vec<u8> {
        let mut state = 7_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(BLOCK - 300)
        .collect();
        noise.iter().copied().cycle().take(length).collect()
    }

    #[test]
    fn blocks_come_back_and_use_the_window_before_them() {
        let data = periodic(BLOCK * 3 + 17);
        let (mut packer, mut unpacker) = (Packer::new(), Unpacker::new());
        let mut sizes = Vec::new();
        for block in data.chunks(BLOCK) {
            let packed = packer.pack(block);
            assert!(packed.len() <= MAX_PACKED_BLOCK);
            sizes.push(packed.len());
            assert_eq!(unpacker.unpack(&packed, block.len()).unwrap(), block);
        }
        assert!(sizes[0] > 30_000, "noise does not shrink: {sizes:?}");
        assert!(sizes[1] < 2_000, "a repeat shrinks: {sizes:?}");
        let alone = packer.pack(&data[..BLOCK]);
        unpacker.next_file();
        assert!(unpacker.unpack(&alone, BLOCK).is_none(), "no window, no reference into it");
    }

    #[test]
    fn a_block_is_one_whole_stream_of_the_length_it_says() {
        let mut unpacker = Unpacker::new();
        let packed = Packer::new().pack(b"hello hello hello");
        for (bytes, length) in [
            (packed[1..].to_vec(), 17),
            (packed[..packed.len() - 2].to_vec(), 17),
            ([packed.as_slice(), b"x"].concat(), 17),
            (packed.clone(), 16),
            (packed.clone(), 18),
            (packed.clone(), usize::MAX),
            (stored(b"hello")[..8].to_vec(), 5),
            (Vec::new(), 0),
        ] {
            assert!(unpacker.unpack(&bytes, length).is_none());
        }
        assert_eq!(unpacker.unpack(&packed, 17).unwrap(), b"hello hello hello");
    }
}
