//! Kinds of element, by their names on the wire and by DLPack's codes.

use super::TensorError;

/// Kind of element. Bytes are little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names say it all
pub enum DType {
    F16,
    F32,
    F64,
    Bf16,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Bool,
}

/// DLPack's codes, as in `ecps_msgs/Tensor`.
const CODES: [(DType, &str, u8, u8); 13] = [
    (DType::F16, "f16", 2, 16),
    (DType::F32, "f32", 2, 32),
    (DType::F64, "f64", 2, 64),
    (DType::Bf16, "bf16", 4, 16),
    (DType::I8, "i8", 0, 8),
    (DType::I16, "i16", 0, 16),
    (DType::I32, "i32", 0, 32),
    (DType::I64, "i64", 0, 64),
    (DType::U8, "u8", 1, 8),
    (DType::U16, "u16", 1, 16),
    (DType::U32, "u32", 1, 32),
    (DType::U64, "u64", 1, 64),
    (DType::Bool, "bool", 6, 8),
];

impl DType {
    /// Every kind of element.
    pub const ALL: [DType; 13] = [
        DType::F16,
        DType::F32,
        DType::F64,
        DType::Bf16,
        DType::I8,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::U8,
        DType::U16,
        DType::U32,
        DType::U64,
        DType::Bool,
    ];

    /// From `dtype_code`, `dtype_bits` and `dtype_lanes` of `ecps_msgs/Tensor`.
    ///
    /// # Errors
    /// [`TensorError::UnknownDType`] for what is not in the message's table, and for more than one lane.
    pub fn from_dlpack(code: u8, bits: u8, lanes: u16) -> Result<DType, TensorError> {
        CODES
            .iter()
            .find(|(_, _, c, b)| (*c, *b, 1) == (code, bits, lanes))
            .map(|row| row.0)
            .ok_or_else(|| TensorError::UnknownDType(format!("code {code}, {bits} bits, {lanes} lanes")))
    }

    /// `dtype_code`, `dtype_bits` and `dtype_lanes` of `ecps_msgs/Tensor`.
    pub fn to_dlpack(self) -> (u8, u8, u16) {
        CODES.iter().find(|row| row.0 == self).map_or((0, 0, 0), |row| (row.2, row.3, 1))
    }

    /// From the name on the wire: "f32", "u8", "bool" and so on.
    ///
    /// # Errors
    /// [`TensorError::UnknownDType`].
    pub fn from_name(name: &str) -> Result<DType, TensorError> {
        CODES
            .iter()
            .find(|row| row.1 == name)
            .map(|row| row.0)
            .ok_or_else(|| TensorError::UnknownDType(format!("'{}'", name.chars().take(32).collect::<String>())))
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        CODES.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }

    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        usize::from(self.to_dlpack().1 / 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_type_keeps_its_codes_and_its_name() {
        for dtype in DType::ALL {
            let (code, bits, lanes) = dtype.to_dlpack();
            assert_eq!(DType::from_dlpack(code, bits, lanes), Ok(dtype));
            assert_eq!(DType::from_name(dtype.name()), Ok(dtype));
            assert_eq!(dtype.bytes() * 8, usize::from(bits));
        }
        assert!(DType::from_dlpack(2, 32, 4).unwrap_err().to_string().contains("4 lanes"));
        assert!(DType::from_dlpack(3, 64, 1).is_err());
        assert!(DType::from_name("float32").is_err());
    }
}
