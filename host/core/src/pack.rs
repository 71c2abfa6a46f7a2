//! A checkpoint is written two or three times in a run's life, and most of it is the names of its own fields: packed it takes a quarter of the
//! room, and of the time to make it durable.

use std::borrow::Cow;

/// First byte of what is packed with [`DICTIONARY`]. JSON begins with another one.
const PACKED: u8 = 1;
/// What checkpoints are made of: two of them, without what differs from run to run. It never changes, for without it nothing that was packed
/// with it can be read; a better one gets another first byte.
const DICTIONARY: &[u8] = include_bytes!("checkpoint.dict");
/// Bytes of the head: [`PACKED`], and how long the JSON is, as four bytes, the lowest first.
const HEAD: usize = 5;
/// No LZ4 block holds more than so many bytes for one of its own (its format has 255 in each further byte of a length).
const RATIO: usize = 255;

/// Why bytes are not what [`pack`] gave.
#[derive(Debug, thiserror::Error)]
#[error("it cannot be unpacked")]
pub struct UnpackError;

/// An LZ4 block (<https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md>) behind a head of five bytes; what is too long for that stays as it is.
pub(crate) fn pack(json: Vec<u8>) -> Vec<u8> {
    let mut packed = vec![];
    if pack_into(&json, &mut packed).is_none() {
        return json;
    }
    packed.shrink_to_fit();
    packed
}

/// The same in a place that is used again; `None` for what is too long.
pub fn pack_into<'a>(json: &[u8], packed: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let len = u32::try_from(json.len()).ok()?;
    let room = HEAD + lz4_flex::block::get_maximum_output_size(json.len());
    // What stands there is overwritten; only new room has to be cleared.
    packed.resize(packed.len().max(room), 0);
    packed[0] = PACKED;
    packed[1..HEAD].copy_from_slice(&len.to_le_bytes());
    let written =
        lz4_flex::block::compress_into_with_dict(json, &mut packed[HEAD..], DICTIONARY).expect("the room is enough for the worst");
    packed.truncate(HEAD + written);
    Some(packed)
}

/// Bytes of JSON in a checkpoint as stores have it, as its head says.
pub fn unpacked_len(bytes: &[u8]) -> usize {
    match bytes {
        [PACKED, a, b, c, d, ..] => u32::from_le_bytes([*a, *b, *c, *d]) as usize,
        _ => bytes.len(),
    }
}

/// What was packed; what is not packed comes back as it is.
///
/// # Errors
/// When it is damaged.
pub fn unpack(bytes: &[u8]) -> Result<Cow<'_, [u8]>, UnpackError> {
    let Some((&PACKED, rest)) = bytes.split_first() else { return Ok(Cow::Borrowed(bytes)) };
    let (len, block) = rest.split_first_chunk::<4>().ok_or(UnpackError)?;
    let len = u32::from_le_bytes(*len) as usize;
    // A damaged length must not cost memory that nothing justifies.
    if len > block.len().saturating_mul(RATIO) {
        return Err(UnpackError);
    }
    let json = lz4_flex::block::decompress_with_dict(block, len, DICTIONARY).map_err(|_| UnpackError)?;
    if json.len() == len { Ok(Cow::Owned(json)) } else { Err(UnpackError) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    #[test]
    fn the_dictionary_never_changes() {
        assert_eq!(Digest::of(DICTIONARY).hex(), "c1c8d90eba9386740ded99d6ec242a83bff7ccac116427047071e4aa23e7631e");
    }

    #[test]
    fn what_is_packed_comes_back_and_what_is_cut_or_longer_does_not() {
        for json in [&b""[..], b"{}", DICTIONARY, &[b'x'; 100_000]] {
            let packed = pack(json.to_vec());
            assert_eq!(unpack(&packed).unwrap(), json);
            assert_eq!((unpacked_len(&packed), unpacked_len(json)), (json.len(), json.len()));
            for cut in (1..packed.len()).rev().take(200) {
                assert!(unpack(&packed[..cut]).is_err(), "{cut}");
            }
            assert!(unpack(&[&packed[..], b"\0"].concat()).is_err());
        }
        assert!(unpack(&[PACKED, 255, 255, 255, 255, 0x1f, b'x', 1, 0, 255, 0]).is_err());
    }
}
