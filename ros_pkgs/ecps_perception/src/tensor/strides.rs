//! Strided elements made compact.

use super::{DType, TensorError, byte_size};

/// Copies strided elements into row-major order.
pub(super) fn compact(
    dtype: DType,
    shape: &[u32],
    strides: &[i64],
    byte_offset: u64,
    data: &[u8],
) -> Result<Vec<u8>, TensorError> {
    let size = byte_size(dtype, shape)?;
    let element = dtype.bytes();
    let out_of_data = || TensorError::OutOfData { strides: strides.to_vec(), offset: byte_offset, length: data.len() };
    let offset = i64::try_from(byte_offset).map_err(|_| out_of_data())?;
    let strides = if strides.is_empty() { row_major(shape) } else { strides.to_vec() };
    if strides.len() != shape.len() {
        return Err(TensorError::StrideCount { strides: strides.len(), dimensions: shape.len() });
    }
    if size == 0 {
        return Ok(Vec::new());
    }
    // The lowest and the highest byte that will be read; if both are inside, all are.
    let (mut lowest, mut highest) = (offset, offset);
    for (&extent, &stride) in shape.iter().zip(&strides) {
        let reach = stride
            .checked_mul(element as i64)
            .and_then(|s| s.checked_mul(i64::from(extent) - 1))
            .ok_or_else(out_of_data)?;
        lowest = lowest.checked_add(reach.min(0)).ok_or_else(out_of_data)?;
        highest = highest.checked_add(reach.max(0)).ok_or_else(out_of_data)?;
    }
    let end = highest.checked_add(element as i64).ok_or_else(out_of_data)?;
    if lowest < 0 || usize::try_from(end).map_or(true, |end| end > data.len()) {
        return Err(out_of_data());
    }
    let mut compact = Vec::with_capacity(size);
    let mut index = vec![0_u32; shape.len()];
    let mut at = offset;
    loop {
        let start = usize::try_from(at).map_err(|_| out_of_data())?;
        compact.extend_from_slice(data.get(start..start + element).ok_or_else(out_of_data)?);
        // Count up like an odometer, innermost dimension first.
        let mut rolled_over = true;
        for ((position, &extent), &stride) in index.iter_mut().zip(shape).zip(&strides).rev() {
            let step = stride * element as i64;
            if *position + 1 < extent {
                *position += 1;
                at += step;
                rolled_over = false;
                break;
            }
            at -= step * i64::from(*position);
            *position = 0;
        }
        if rolled_over {
            return Ok(compact);
        }
    }
}

/// Strides of a compact tensor, in elements.
fn row_major(shape: &[u32]) -> Vec<i64> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut step = 1_i64;
    for &extent in shape.iter().rev() {
        strides.push(step);
        step = step.saturating_mul(i64::from(extent));
    }
    strides.reverse();
    strides
}

#[cfg(test)]
mod tests {
    use super::super::*;

    #[test]
    fn strides_and_offset_are_honoured() {
        let data = (0..12).collect::<Vec<u8>>();
        let view = |shape: &[i64], strides: &[i64], offset| {
            Tensor::from_strided("t", DType::U8, shape, strides, offset, data.clone()).map(Tensor::into_data)
        };
        assert_eq!(view(&[3, 2], &[1, 3], 0).unwrap(), [0, 3, 1, 4, 2, 5], "transposed");
        assert_eq!(view(&[4], &[-2], 11).unwrap(), [11, 9, 7, 5], "backwards");
        assert_eq!(view(&[3], &[0], 4).unwrap(), [4, 4, 4], "broadcast");
        assert_eq!(view(&[2, 2], &[], 8).unwrap(), [8, 9, 10, 11], "compact after an offset");
        let words = Tensor::from_strided("t", DType::U16, &[2, 2], &[3, 1], 2, data.clone()).unwrap();
        assert_eq!(words.data(), [2, 3, 4, 5, 8, 9, 10, 11]);
    }

    #[test]
    fn strides_that_lead_out_of_the_data_are_refused() {
        let view = |shape: &[i64], strides: &[i64], offset| {
            Tensor::from_strided("t", DType::U32, shape, strides, offset, vec![0; 16]).unwrap_err()
        };
        assert!(matches!(view(&[4], &[1], 4), TensorError::OutOfData { .. }));
        assert!(matches!(view(&[2], &[-1], 0), TensorError::OutOfData { .. }));
        assert!(matches!(view(&[2], &[i64::MIN], 0), TensorError::OutOfData { .. }));
        assert!(matches!(view(&[2], &[1], u64::MAX), TensorError::OutOfData { .. }));
        assert!(matches!(view(&[3, 3], &[i64::MAX / 8, i64::MAX / 8], 0), TensorError::OutOfData { .. }));
        assert!(matches!(view(&[2, 2], &[1], 0), TensorError::StrideCount { .. }));
        assert!(matches!(view(&[1 << 30], &[0], 0), TensorError::TooLarge { .. }));
    }
}
