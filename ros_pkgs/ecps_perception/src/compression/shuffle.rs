//! Bytes by their place in the element, and back.

/// Elements whose bytes are reordered at a time; with their planes they stay in the cache.
const BLOCK: usize = 4096;

/// Puts byte 0 of all elements of `width` bytes first, then byte 1, and so on. `out` becomes as long as `data`, whose
/// length is a multiple of `width`.
pub(super) fn shuffle(data: &[u8], width: usize, out: &mut Vec<u8>) {
    // What was there is overwritten: only growth is cleared.
    out.resize(data.len(), 0);
    let count = data.len() / width.max(1);
    if count == 0 {
        return;
    }
    if width == 4 {
        return quarter(data, count, out);
    }
    let mut planes: Vec<_> = out.chunks_mut(count).map(|plane| plane.chunks_mut(BLOCK)).collect();
    for block in data.chunks(BLOCK * width) {
        for (byte, plane) in planes.iter_mut().enumerate() {
            let Some(plane) = plane.next() else { return };
            match width {
                2 => gather(block, plane, |element| (u16::from_le_bytes(element) >> (8 * byte)) as u8),
                8 => gather(block, plane, |element| (u64::from_le_bytes(element) >> (8 * byte)) as u8),
                _ => plane.iter_mut().zip(block.iter().skip(byte).step_by(width)).for_each(|(to, from)| *to = *from),
            }
        }
    }
}

/// Floats, the usual case: all four planes in one pass. Of fixed size, sixteen elements become a few instructions.
fn quarter(data: &[u8], count: usize, out: &mut [u8]) {
    const RUN: usize = 16;
    let (first, rest) = out.split_at_mut(count);
    let (second, rest) = rest.split_at_mut(count);
    let (third, fourth) = rest.split_at_mut(count);
    let mut planes = [first, second, third, fourth].map(|plane| plane.as_chunks_mut::<RUN>());
    let (blocks, tail) = data.as_chunks::<{ 4 * RUN }>();
    let [(a, ..), (b, ..), (c, ..), (d, ..)] = &mut planes;
    for ((block, (a, b)), (c, d)) in
        blocks.iter().zip(a.iter_mut().zip(b.iter_mut())).zip(c.iter_mut().zip(d.iter_mut()))
    {
        gather(block, a, |element| u32::from_le_bytes(element) as u8);
        gather(block, b, |element| (u32::from_le_bytes(element) >> 8) as u8);
        gather(block, c, |element| (u32::from_le_bytes(element) >> 16) as u8);
        gather(block, d, |element| (u32::from_le_bytes(element) >> 24) as u8);
    }
    for (byte, (_, plane)) in planes.iter_mut().enumerate() {
        gather(tail, plane, |element| (u32::from_le_bytes(element) >> (8 * byte)) as u8);
    }
}

/// As shifts of whole elements this becomes a few instructions for sixteen of them.
fn gather<const WIDTH: usize>(block: &[u8], plane: &mut [u8], byte: impl Fn([u8; WIDTH]) -> u8) {
    let elements = block.as_chunks::<WIDTH>().0;
    plane.iter_mut().zip(elements).for_each(|(to, from)| *to = byte(*from));
}

/// Puts a plane's bytes back to place `byte` of each element.
pub(super) fn scatter(plane: &[u8], byte: usize, width: usize, out: &mut [u8]) {
    match width {
        2 => scatter_to::<2>(plane, byte, out),
        4 => scatter_to::<4>(plane, byte, out),
        8 => scatter_to::<8>(plane, byte, out),
        _ => out.iter_mut().skip(byte).step_by(width.max(1)).zip(plane).for_each(|(to, from)| *to = *from),
    }
}

fn scatter_to<const WIDTH: usize>(plane: &[u8], byte: usize, out: &mut [u8]) {
    for (element, from) in out.as_chunks_mut::<WIDTH>().0.iter_mut().zip(plane) {
        if let Some(to) = element.get_mut(byte) {
            *to = *from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffling_and_scattering_undo_each_other() {
        for width in [1, 2, 3, 4, 8, 12, 64] {
            for count in [0, 1, 5, BLOCK - 1, BLOCK, 2 * BLOCK + 7] {
                let data: Vec<u8> = (0..width * count).map(|i| (i * 31 % 251) as u8).collect();
                let mut shuffled = vec![9; 3];
                shuffle(&data, width, &mut shuffled);
                assert_eq!(shuffled.len(), data.len());
                if count > 1 {
                    assert_eq!(shuffled[1], data[width], "{width}");
                    assert_eq!(shuffled[(width - 1) * count], data[width - 1]);
                }
                let mut back = vec![0; data.len()];
                for (byte, plane) in shuffled.chunks(count.max(1)).enumerate() {
                    scatter(plane, byte, width, &mut back);
                }
                assert_eq!(back, data, "{width} × {count}");
            }
        }
    }
}
