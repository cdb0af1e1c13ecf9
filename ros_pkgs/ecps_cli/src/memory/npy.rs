//! NumPy's .npy, version 1.0: a matrix of f4, f8 or f2 in C order, a vector a row.

const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";

pub(super) fn write(rows: &[Vec<f32>]) -> Result<Vec<u8>, String> {
    let width = rows.first().map_or(0, Vec::len);
    if let Some(other) = rows.iter().find(|row| row.len() != width) {
        return Err(format!(
            "the vectors have {width} and {} elements; choose a namespace's model of one dimension",
            other.len()
        ));
    }
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {width}), }}", rows.len());
    // The data begins at a multiple of 64.
    let rest = (MAGIC.len() + 2 + header.len() + 1) % 64;
    header.extend(std::iter::repeat_n(' ', (64 - rest) % 64));
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    rows.iter().flatten().for_each(|v| bytes.extend(v.to_le_bytes()));
    Ok(bytes)
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Vec<f32>>, String> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("it is no .npy file of version 1.0")?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or("it ends in its header")?;
    let (header, data) = rest.split_at_checked(u16::from_le_bytes(*length).into()).ok_or("it ends in its header")?;
    let header = String::from_utf8_lossy(header);
    let field = |name: &str| header.split_once(&format!("'{name}':")).map(|(_, value)| value.trim_start());
    if !field("fortran_order").is_some_and(|value| value.starts_with("False")) {
        return Err("its order is Fortran's, and C's is needed".into());
    }
    let descr = field("descr").and_then(|value| value.split('\'').nth(1)).unwrap_or("missing");
    let size = match descr {
        "<f2" => 2,
        "<f4" => 4,
        "<f8" => 8,
        other => return Err(format!("its elements are '{other}', and <f2, <f4 or <f8 are needed")),
    };
    let shape = field("shape").and_then(|value| value.trim_start_matches('(').split(')').next()).unwrap_or_default();
    let extents: Result<Vec<usize>, _> =
        shape.split(',').map(str::trim).filter(|extent| !extent.is_empty()).map(str::parse).collect();
    let [rows, width] = *extents.map_err(|e| format!("its shape is ({shape}): {e}"))? else {
        return Err(format!("its shape is ({shape}), and two extents are needed"));
    };
    if width == 0 || rows.checked_mul(width).and_then(|n| n.checked_mul(size)) != Some(data.len()) {
        return Err(format!("its shape is ({shape}), and it holds {} bytes of {size}-byte elements", data.len()));
    }
    let number = |bytes: &[u8]| match bytes {
        [a, b] => half(u16::from_le_bytes([*a, *b])),
        [a, b, c, d] => f32::from_le_bytes([*a, *b, *c, *d]),
        more => more.try_into().map_or(f32::NAN, |bytes| f64::from_le_bytes(bytes) as f32),
    };
    Ok(data.chunks_exact(size * width).map(|row| row.chunks_exact(size).map(number).collect()).collect())
}

/// IEEE 754 half precision.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2.0_f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2.0_f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_survives_and_what_does_not_add_up_is_refused() {
        let rows = vec![vec![1.0, -2.5], vec![0.0, 1e-7], vec![3.0, 4.0]];
        let bytes = write(&rows).unwrap();
        assert_eq!((read(&bytes), bytes.len() % 64), (Ok(rows), 24));
        assert!(read(&bytes[..bytes.len() - 1]).unwrap_err().contains("(3, 2)"));
        assert!(read(b"PNG").is_err() && write(&[vec![1.0], vec![1.0, 2.0]]).is_err());
        assert_eq!([0x3c00, 0xc000, 0x0001, 0x7c00].map(half), [1.0, -2.0, 5.960_464_5e-8, f32::INFINITY]);
    }
}
