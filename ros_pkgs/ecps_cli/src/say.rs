//! Lines for whoever reads them.

/// As `println!`, which panics where the reader has gone away, as `head` does once it has enough: here the rest is not said.
macro_rules! say {
    ($($text:tt)*) => {{
        let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{}\n", format_args!($($text)*)));
    }};
}

pub(crate) use say;
