//! The image's descriptor bears brightness, size, noise and colour order, and tells scenes apart.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use ecps_perception::embed::image::{DIMENSION, describe};
use ecps_perception::sensor::Image;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

type Colour = [f64; 3];

/// A wall of one colour with rectangles on it, drawn from a seed; shown at any size.
fn scene(seed: u64, width: u32, height: u32) -> Image {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut colour = || -> Colour { [0, 1, 2].map(|_| rng.random_range(30.0..220.0)) };
    let wall = colour();
    let colours = (0..8).map(|_| colour()).collect::<Vec<_>>();
    let boxes = colours.into_iter().map(|colour| {
        let (x, y) = (rng.random_range(0.0..0.8), rng.random_range(0.0..0.8));
        (x..x + rng.random_range(0.1..0.5), y..y + rng.random_range(0.1..0.5), colour)
    });
    let boxes = boxes.collect::<Vec<_>>();
    let mut data = Vec::new();
    for row in 0..height {
        for column in 0..width {
            let (x, y) = ((f64::from(column) + 0.5) / f64::from(width), (f64::from(row) + 0.5) / f64::from(height));
            let seen = boxes.iter().rev().find(|(xs, ys, _)| xs.contains(&x) && ys.contains(&y));
            data.extend(seen.map_or(wall, |found| found.2).map(|value| value as u8));
        }
    }
    Image { width, height, encoding: "rgb8".into(), step: width * 3, data, ..Image::default() }
}

fn similarity(a: &Image, b: &Image) -> f32 {
    describe(a).unwrap().iter().zip(describe(b).unwrap()).map(|(a, b)| a * b).sum()
}

#[test]
fn the_same_view_in_other_light_size_and_noise_is_recognised() {
    let mut rng = Pcg64Mcg::seed_from_u64(1);
    for seed in 0..10 {
        let view = scene(seed, 320, 240);
        let mut darker = view.clone();
        darker.data.iter_mut().for_each(|value| *value = (f64::from(*value) * 0.6) as u8 + 20);
        assert!(similarity(&view, &darker) > 0.95, "darker: {}", similarity(&view, &darker));
        let larger = scene(seed, 640, 480);
        assert!(similarity(&view, &larger) > 0.95, "larger: {}", similarity(&view, &larger));
        let mut noisy = view.clone();
        noisy.data.iter_mut().for_each(|value| *value = value.saturating_add_signed(rng.random_range(-8..=8)));
        assert!(similarity(&view, &noisy) > 0.85, "noisy: {}", similarity(&view, &noisy));
    }
}

#[test]
fn other_views_are_not() {
    let views = (0..10).map(|seed| scene(seed, 320, 240)).collect::<Vec<_>>();
    for (i, one) in views.iter().enumerate() {
        for other in &views[i + 1..] {
            assert!(similarity(one, other) < 0.7, "{}", similarity(one, other));
        }
    }
}

#[test]
fn the_order_of_colours_and_padding_of_rows_do_not_matter() {
    let view = scene(3, 100, 70);
    let swapped = view.data.chunks(3).flat_map(|p| [p[2], p[1], p[0]]).collect();
    let bgr = Image { encoding: "bgr8".into(), data: swapped, ..view.clone() };
    assert!(similarity(&view, &bgr) > 0.9999);
    let padded = view.data.chunks(300).flat_map(|row| row.iter().copied().chain([9; 20])).collect();
    let padded = Image { step: 320, data: padded, ..view.clone() };
    assert!(similarity(&view, &padded) > 0.9999);
}

#[test]
fn a_descriptor_is_finite_and_of_length_one_for_any_size() {
    for (width, height) in [(3, 3), (63, 65), (640, 480)] {
        let descriptor = describe(&scene(5, width, height)).unwrap();
        assert_eq!(descriptor.len(), DIMENSION);
        assert!(descriptor.iter().all(|value| value.is_finite()));
        assert!((descriptor.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-4);
    }
}

#[test]
fn what_is_no_view_is_refused_by_name() {
    let view = scene(1, 64, 48);
    let refused = |image: Image| describe(&image).unwrap_err().to_string();
    assert!(refused(Image { encoding: "yuv422".into(), ..view.clone() }).contains("'yuv422'"));
    assert!(refused(Image { step: 190, ..view.clone() }).contains("rows of 190 bytes"));
    assert!(refused(Image { width: 0, ..view.clone() }).contains("width × height is 0"));
    assert!(refused(Image { width: u32::MAX, height: u32::MAX, ..view.clone() }).contains("width × height"));
    let grey = Image { encoding: "mono8".into(), step: 64, data: vec![90; 64 * 48], ..view };
    assert!(refused(grey).contains("no contrast"));
}
