//! A window on an input, so that records are read where they lie, and no length is trusted before its bytes are there.

use std::io::{self, Read, Seek, SeekFrom};

/// How much is read at once, bytes.
const CHUNK: usize = 256 << 10;

/// The next bytes of an input.
#[derive(Debug)]
pub(crate) struct Window<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
}

impl<R: Read> Window<R> {
    pub(crate) fn new(input: R) -> Window<R> {
        Window { input, buffer: Vec::new(), start: 0, end: 0, ended: false }
    }

    /// The bytes at hand.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// The next `size` bytes, or what is left where the input ends before.
    pub(crate) fn fill(&mut self, size: usize) -> io::Result<&[u8]> {
        if self.end - self.start < size && !self.ended {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            while self.end < size && !self.ended {
                // Grows with what is there, not with what is claimed.
                let room = self.end.max(CHUNK / 2) * 2;
                if self.buffer.len() < room {
                    self.buffer.resize(room, 0);
                }
                match self.input.read(self.buffer.get_mut(self.end..).unwrap_or_default()) {
                    Ok(0) => self.ended = true,
                    Ok(read) => self.end += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(self.buffer.get(self.start..self.end.min(self.start.saturating_add(size))).unwrap_or_default())
    }

    /// Leaves the next `size` bytes behind.
    pub(crate) fn pass(&mut self, size: usize) {
        self.start = self.end.min(self.start.saturating_add(size));
    }

    /// Goes to `offset` of the input.
    pub(crate) fn seek(&mut self, offset: u64) -> io::Result<()>
    where
        R: Seek,
    {
        self.input.seek(SeekFrom::Start(offset))?;
        (self.start, self.end, self.ended) = (0, 0, false);
        Ok(())
    }

    /// Whether nothing but zeros is left, as where a file grew and its bytes did not reach the disk before the power
    /// failed. Leaves everything behind.
    pub(crate) fn only_zeros(&mut self) -> io::Result<bool> {
        loop {
            if self.bytes().iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            self.start = self.end;
            if self.fill(1)?.is_empty() {
                return Ok(true);
            }
        }
    }
}

/// Reads until `buffer` is full or the input ends; bytes read.
pub(crate) fn fill_up(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    loop {
        match input.read(buffer.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => return Ok(filled),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_claimed_is_not_allocated_and_what_is_there_is_read() {
        let bytes: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
        let mut window = Window::new(bytes.as_slice());
        assert_eq!(window.fill(10).unwrap(), &bytes[..10]);
        window.pass(7);
        assert_eq!(window.fill(600_000).unwrap(), &bytes[7..600_007]);
        window.pass(600_000);
        assert_eq!(window.fill(usize::MAX / 4).unwrap(), &bytes[600_007..]);
        let mut window = Window::new([0, 0, 0, 5].as_slice());
        assert_eq!(window.fill(4_000_000_000).unwrap(), [0, 0, 0, 5]);
        assert!(window.buffer.len() <= 1 << 20);
        assert!(!window.only_zeros().unwrap());
    }
}
