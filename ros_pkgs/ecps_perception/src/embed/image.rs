//! Appearance descriptor of an image: histograms of oriented gradients (Dalal & Triggs, "Histograms of Oriented Gradients
//! for Human Detection", CVPR 2005) on a coarse grid, with the layout of brightness and colour.
//!
//! It is for finding the same view again. It does not change with size, brightness or contrast, hardly with noise and
//! small shifts; it does change with the camera's rotation and place.

use ecps_core::check::in_range;

use super::{EmbedError, length, normalised};
use crate::sensor::Image;

/// Name of this method and version: vectors of other models are not to be compared with these.
pub const MODEL_ID: &str = "ecps/hog-4x4x8-colour/1";
/// Elements of a descriptor: 16 cells of 8 orientations, and brightness and two colour differences of each cell.
pub const DIMENSION: usize = CELLS * CELLS * (ORIENTATIONS + 3);

/// Cells along each side.
const CELLS: usize = 4;
/// Bins of half a turn: a gradient and its opposite count alike.
const ORIENTATIONS: usize = 8;
/// Pixels along each side, after averaging.
const SIDE: usize = 64;
/// Largest image that is looked at, pixels.
const MAX_PIXELS: f64 = 64e6;
/// A contrast below this, of 255, is noise.
const NOISE: f32 = 1.0;
/// Share of the squared length that the colours have.
const COLOUR_SHARE: f32 = 0.3;

/// The descriptor of an image in `rgb8`, `bgr8` or `mono8`: [`DIMENSION`] finite elements, of length one.
///
/// # Errors
/// Another encoding, data that do not match the size, no pixels, no contrast at all.
pub fn describe(image: &Image) -> Result<Vec<f32>, EmbedError> {
    let pixels = average(image)?;
    let grey = pixels.iter().map(|[r, g, b]| 0.299 * r + 0.587 * g + 0.114 * b).collect::<Vec<f32>>();
    let mut gradients = orientations(&grey);
    let mut colours = colours(&pixels, &grey);
    scale(&mut gradients, (1.0 - COLOUR_SHARE).sqrt());
    scale(&mut colours, COLOUR_SHARE.sqrt());
    gradients.extend(colours);
    normalised(&gradients, "the image has no contrast")
}

/// Gives a block of the descriptor its length; a block of zeros stays.
fn scale(values: &mut [f32], to: f32) {
    let norm = length(values);
    if norm > 0.0 {
        values.iter_mut().for_each(|value| *value *= to / norm);
    }
}

/// The image in red, green and blue, averaged over areas to [`SIDE`] by [`SIDE`] pixels, row by row.
fn average(image: &Image) -> Result<Vec<[f32; 3]>, EmbedError> {
    let (channels, order) = match image.encoding.as_str() {
        "rgb8" => (3, [0, 1, 2]),
        "bgr8" => (3, [2, 1, 0]),
        "mono8" => (1, [0, 0, 0]),
        other => return Err(EmbedError::Encoding(other.chars().take(64).collect())),
    };
    let (width, height, step) = (image.width as usize, image.height as usize, image.step as usize);
    let pixels = u64::from(image.width) * u64::from(image.height);
    in_range("width × height", pixels as f64, 1.0, MAX_PIXELS).map_err(EmbedError::Pixels)?;
    let sizes_agree = u64::from(image.step) >= u64::from(image.width) * channels as u64
        && image.data.len() as u64 == u64::from(image.step) * u64::from(image.height);
    if !sizes_agree {
        let (bytes, width, height) = (image.data.len(), image.width, image.height);
        return Err(EmbedError::ImageSize { width, height, step: image.step, bytes });
    }
    // Each pixel goes to one cell, or where the image is smaller than the grid, each cell takes one pixel.
    let mut averaged = Vec::with_capacity(SIDE * SIDE);
    for row in 0..SIDE {
        let rows = span(row, height);
        for column in 0..SIDE {
            let columns = span(column, width);
            let mut sum = [0_u32; 3];
            let mut count = 0_u32;
            for y in rows.clone() {
                let line = image.data.get(y * step + columns.start * channels..y * step + columns.end * channels);
                for pixel in line.unwrap_or_default().chunks_exact(channels) {
                    for (sum, channel) in sum.iter_mut().zip(order) {
                        *sum += u32::from(pixel.get(channel).copied().unwrap_or(0));
                    }
                    count += 1;
                }
            }
            averaged.push(sum.map(|sum| sum as f32 / count.max(1) as f32));
        }
    }
    Ok(averaged)
}

/// Which of `length` pixels an averaged pixel covers: at least one.
fn span(index: usize, length: usize) -> std::ops::Range<usize> {
    let start = index * length / SIDE;
    start..((index + 1) * length / SIDE).max(start + 1)
}

/// For each cell the gradients' strength by orientation, as square roots (which keep one strong edge from drowning the
/// rest) of shares, less their mean.
fn orientations(grey: &[f32]) -> Vec<f32> {
    let at = |x: usize, y: usize| grey.get(y * SIDE + x).copied().unwrap_or(0.0);
    let mut histogram = vec![0.0_f32; CELLS * CELLS * ORIENTATIONS];
    for y in 1..SIDE - 1 {
        for x in 1..SIDE - 1 {
            let (dx, dy) = (at(x + 1, y) - at(x - 1, y), at(x, y + 1) - at(x, y - 1));
            let strength = dx.hypot(dy);
            if strength < NOISE {
                continue;
            }
            // Shared between the two nearest bins, so that a slight turn does not jump.
            let bin = dy.atan2(dx).rem_euclid(std::f32::consts::PI) / std::f32::consts::PI * ORIENTATIONS as f32;
            let (lower, share) = (bin.floor(), bin - bin.floor());
            let cell = (y * CELLS / SIDE) * CELLS + x * CELLS / SIDE;
            for (bin, part) in [(lower as usize, 1.0 - share), (lower as usize + 1, share)] {
                if let Some(value) = histogram.get_mut(cell * ORIENTATIONS + bin % ORIENTATIONS) {
                    *value += strength * part;
                }
            }
        }
    }
    histogram.iter_mut().for_each(|value| *value = value.sqrt());
    let mean = histogram.iter().sum::<f32>() / histogram.len() as f32;
    histogram.iter_mut().for_each(|value| *value -= mean);
    histogram
}

/// For each cell its brightness less that of the image, and two differences of colours that are 0 for grey; in units of
/// the brightness's spread, so that contrast does not matter.
fn colours(pixels: &[[f32; 3]], grey: &[f32]) -> Vec<f32> {
    let mean = grey.iter().sum::<f32>() / grey.len().max(1) as f32;
    let spread = (grey.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / grey.len().max(1) as f32).sqrt();
    let mut sums = vec![0.0_f32; CELLS * CELLS * 3];
    for (index, ([r, g, b], grey)) in pixels.iter().zip(grey).enumerate() {
        let cell = (index / SIDE * CELLS / SIDE) * CELLS + index % SIDE * CELLS / SIDE;
        let values = [grey - mean, r - g, (r + g) / 2.0 - b];
        for (sum, value) in sums.iter_mut().skip(cell * 3).zip(values) {
            *sum += value;
        }
    }
    let count = (SIDE / CELLS * SIDE / CELLS) as f32;
    sums.iter_mut().for_each(|sum| *sum /= count * spread.max(NOISE));
    if sums.iter().all(|sum| sum.abs() < 1e-3) {
        sums.fill(0.0); // rounding is not a colour
    }
    sums
}
