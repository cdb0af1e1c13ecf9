//! NumPy's `.npy` files, versions 1 to 3, to tensors and back.
//!
//! Big-endian files, and those whose elements are no numbers, are refused by name. Files in Fortran order are read; what
//! is written is in C order. NumPy has no brain floats: bf16 is written as `<u2`.

use ecps_core::limits;
use thiserror::Error;

use crate::tensor::{DType, Tensor, TensorError};

const MAGIC: &[u8] = b"\x93NUMPY";
/// Longest header that is read, bytes.
const HEADER_BYTES: usize = 64 << 10;

/// Types with their names in NumPy.
const NAMES: [(&str, DType); 16] = [
    ("<f2", DType::F16),
    ("<f4", DType::F32),
    ("<f8", DType::F64),
    ("|i1", DType::I8),
    ("<i2", DType::I16),
    ("<i4", DType::I32),
    ("<i8", DType::I64),
    ("|u1", DType::U8),
    ("<u2", DType::U16),
    ("<u4", DType::U32),
    ("<u8", DType::U64),
    ("|b1", DType::Bool),
    ("<i1", DType::I8),
    ("<u1", DType::U8),
    ("<b1", DType::Bool),
    ("?", DType::Bool),
];

/// Why a file is no tensor.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum NpyError {
    /// Not such a file, or cut short.
    #[error("the file is not NumPy's: {0}")]
    Format(&'static str),
    /// Elements that are no numbers, or big-endian.
    #[error("the elements are '{0}'; known are {known}", known = NAMES.map(|(name, _)| name).get(..12).unwrap_or_default().join(" "))]
    Elements(String),
    /// Sizes that do not fit.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Reads a file's bytes as the tensor called `name`.
///
/// # Errors
/// [`NpyError`].
pub fn read(bytes: &[u8], name: &str) -> Result<Tensor, NpyError> {
    let cut = NpyError::Format("it is cut short");
    let rest = bytes.strip_prefix(MAGIC).ok_or(NpyError::Format("its first bytes are others"))?;
    let (version, rest) = rest.split_first_chunk::<2>().ok_or(cut.clone())?;
    let (length, rest) = match version {
        [1, _] => rest.split_first_chunk::<2>().map(|(n, rest)| (usize::from(u16::from_le_bytes(*n)), rest)),
        [2 | 3, _] => rest.split_first_chunk::<4>().map(|(n, rest)| (u32::from_le_bytes(*n) as usize, rest)),
        _ => return Err(NpyError::Format("its version is not 1, 2 or 3")),
    }
    .ok_or(cut.clone())?;
    if length > HEADER_BYTES {
        return Err(NpyError::Format("its header is longer than 64 KiB"));
    }
    let (header, data) = rest.split_at_checked(length).ok_or(cut)?;
    let header = std::str::from_utf8(header).map_err(|_| NpyError::Format("its header is no text"))?;
    let value = |key: &str| {
        let (_, after) = header.split_once(&format!("'{key}'"))?;
        Some(after.trim_start().strip_prefix(':')?.trim_start())
    };
    let elements = value("descr").ok_or(NpyError::Format("its header has no 'descr'"))?;
    let elements = elements.strip_prefix('\'').and_then(|text| text.split('\'').next()).unwrap_or(elements);
    let dtype = NAMES.iter().find(|(known, _)| *known == elements).map(|(_, dtype)| *dtype);
    let dtype = dtype.ok_or_else(|| NpyError::Elements(elements.chars().take(64).collect()))?;
    let shape = value("shape").and_then(|text| text.strip_prefix('(')?.split(')').next());
    let shape = shape.ok_or(NpyError::Format("its header has no 'shape'"))?;
    let extents = shape.split(',').map(str::trim).filter(|text| !text.is_empty());
    let shape = extents.map(str::parse).collect::<Result<Vec<i64>, _>>();
    let shape = shape.map_err(|_| NpyError::Format("its shape is not made of numbers"))?;
    if shape.len() > limits::TENSOR_DIMENSIONS {
        return Err(TensorError::TooManyDimensions { found: shape.len(), limit: limits::TENSOR_DIMENSIONS }.into());
    }
    let strides: Vec<i64> = match value("fortran_order").map(|text| text.starts_with("True")) {
        Some(true) => shape
            .iter()
            .scan(1_i64, |step, &extent| {
                let stride = *step;
                *step = step.saturating_mul(extent);
                Some(stride)
            })
            .collect(),
        Some(false) => Vec::new(),
        None => return Err(NpyError::Format("its header has no 'fortran_order'")),
    };
    Ok(Tensor::from_strided(name, dtype, &shape, &strides, 0, data.to_vec())?)
}

/// The file's bytes of a tensor.
pub fn write(tensor: &Tensor) -> Vec<u8> {
    let dtype = if tensor.dtype() == DType::Bf16 { DType::U16 } else { tensor.dtype() };
    let name = NAMES.iter().find(|(_, known)| *known == dtype).map_or("|u1", |(name, _)| name);
    let extents: String = tensor.shape().iter().map(|extent| format!("{extent}, ")).collect();
    let text = format!("{{'descr': '{name}', 'fortran_order': False, 'shape': ({}), }}", extents.trim_end());
    // Data begin at a multiple of 64 bytes, after a newline.
    let length = (MAGIC.len() + 4 + text.len() + 1).next_multiple_of(64) - MAGIC.len() - 4;
    let mut bytes = [MAGIC, &[1, 0], &(length as u16).to_le_bytes()].concat();
    bytes.extend_from_slice(format!("{text:<width$}\n", width = length - 1).as_bytes());
    bytes.extend_from_slice(tensor.data());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_for_every_type_and_shape() {
        for dtype in DType::ALL.into_iter().filter(|dtype| *dtype != DType::Bf16) {
            for shape in [vec![], vec![5], vec![2, 3], vec![0, 7], vec![1; 16]] {
                let count: u32 = shape.iter().product();
                let data = (0..count as usize * dtype.bytes()).map(|i| (i % 2) as u8).collect();
                let tensor = Tensor::new("t", dtype, shape, data).unwrap();
                let bytes = write(&tensor);
                assert_eq!((bytes.len() - tensor.data().len()) % 64, 0);
                assert_eq!(read(&bytes, "t").unwrap(), tensor);
                (0..bytes.len()).for_each(|length| drop(read(&bytes[..length], "t")));
            }
        }
    }

    #[test]
    fn fortran_order_is_turned_and_what_is_not_known_is_named() {
        let file = |header: &str, data: &[u8]| {
            let header = format!("{header:<117}\n");
            [MAGIC, &[1, 0, 118, 0], header.as_bytes(), data].concat()
        };
        let fortran = file("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }", &[1, 4, 2, 5, 3, 6]);
        assert_eq!(read(&fortran, "t").unwrap().data(), [1, 2, 3, 4, 5, 6]);
        let big = file("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", &[0; 4]);
        assert!(read(&big, "t").unwrap_err().to_string().contains("'>f4'"));
        let short = file("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", &[0; 8]);
        assert!(matches!(
            read(&short, "t"),
            Err(NpyError::Tensor(TensorError::WrongLength { found: 8, expected: 12 }))
        ));
        let huge = file("{'descr': '<f8', 'fortran_order': False, 'shape': (99999, 99999), }", &[]);
        assert!(matches!(read(&huge, "t"), Err(NpyError::Tensor(TensorError::TooLarge { .. }))));
        assert!(read(b"PK\x03\x04", "t").is_err());
    }
}
