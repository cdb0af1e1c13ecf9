//! Embeddings: vectors of fixed length by which a place or a view is found again, compared by cosine similarity. Each is
//! finite, of length one, and free of what all inputs have in common, so that unlike inputs are nearly at right angles.

use ecps_core::check::CheckError;
use thiserror::Error;

use crate::scan_match::PointsError;

pub mod image;
pub mod scan;

/// Why there is no embedding.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum EmbedError {
    /// Nothing to tell the input from any other.
    #[error("{0}, so that there is nothing to tell it by")]
    Featureless(&'static str),
    /// An image in an encoding that is not looked at.
    #[error("the image's encoding is '{0}', and rgb8, bgr8 or mono8 is needed")]
    Encoding(String),
    /// An image without pixels, or with too many.
    #[error(transparent)]
    Pixels(CheckError),
    /// An image whose sizes contradict each other.
    #[error("an image of {width} by {height} pixels in rows of {step} bytes has {bytes} bytes of data")]
    ImageSize {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// Bytes of a row.
        step: u32,
        /// Bytes of data.
        bytes: usize,
    },
    /// A scan whose angles are unusable or that has too few returns.
    #[error(transparent)]
    Scan(#[from] PointsError),
}

/// Brings a vector to length one.
fn normalised(values: &[f32], what: &'static str) -> Result<Vec<f32>, EmbedError> {
    let norm = length(values);
    if !norm.is_finite() || norm < 1e-6 {
        return Err(EmbedError::Featureless(what));
    }
    Ok(values.iter().map(|value| value / norm).collect())
}

fn length(values: &[f32]) -> f32 {
    values.iter().map(|value| value * value).sum::<f32>().sqrt()
}
