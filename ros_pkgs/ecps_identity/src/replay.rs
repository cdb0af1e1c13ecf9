//! Requests seen before: per token a window over the numbers of its requests, as in IPsec (RFC 4303, section 3.4.3).

use std::collections::HashMap;

use thiserror::Error;

/// How far a request may fall behind the newest of its token.
pub const WINDOW: u64 = 128;
/// Most tokens that are in use at once.
pub const TOKENS: usize = 4096;

/// A request must not be acted upon.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// It has no number.
    #[error("a request under a token needs a sequence number, and this has 0")]
    Unnumbered,
    /// It came before.
    #[error("request {0} under this token was seen before")]
    Seen(u64),
    /// It may have come before.
    #[error("request {0} is {WINDOW} or more behind the newest under this token")]
    TooOld(u64),
    /// More tokens than are remembered; forgetting one would let it be replayed.
    #[error("{TOKENS} tokens are in use, and no more are taken before one expires")]
    Full,
}

struct Seen {
    expires: u64,
    newest: u64,
    /// Bit n: `newest − n` was seen.
    bits: u128,
}

/// What was seen of the tokens that have not expired. At most [`TOKENS`] × about 150 bytes.
#[derive(Default)]
pub struct ReplayWindow(HashMap<String, Seen>);

impl ReplayWindow {
    /// Takes in request `sequence` under the token `id` that ends at second `expires`, unless it came before.
    pub fn admit(&mut self, id: &str, sequence: u64, expires: u64, now: u64) -> Result<(), ReplayError> {
        if sequence == 0 {
            return Err(ReplayError::Unnumbered);
        }
        let Some(seen) = self.0.get_mut(id) else {
            if self.0.len() >= TOKENS {
                self.0.retain(|_, seen| seen.expires > now);
            }
            if self.0.len() >= TOKENS {
                return Err(ReplayError::Full);
            }
            self.0.insert(id.to_owned(), Seen { expires, newest: sequence, bits: 1 });
            return Ok(());
        };
        seen.expires = seen.expires.max(expires);
        if sequence > seen.newest {
            let ahead = u32::try_from(sequence - seen.newest).unwrap_or(u32::MAX);
            seen.bits = seen.bits.checked_shl(ahead).unwrap_or(0) | 1;
            seen.newest = sequence;
            return Ok(());
        }
        let behind = seen.newest - sequence;
        if behind >= WINDOW {
            return Err(ReplayError::TooOld(sequence));
        }
        let bit = 1_u128 << behind;
        if seen.bits & bit != 0 {
            return Err(ReplayError::Seen(sequence));
        }
        seen.bits |= bit;
        Ok(())
    }

    /// Tokens that are remembered.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_passes_once_in_any_order_within_the_window() {
        let mut window = ReplayWindow::default();
        for sequence in [5, 3, 4, 200, 199, 73] {
            assert_eq!(window.admit("a", sequence, 10, 0), Ok(()), "{sequence}");
            assert_eq!(window.admit("a", sequence, 10, 0), Err(ReplayError::Seen(sequence)));
        }
        assert_eq!(window.admit("a", 72, 10, 0), Err(ReplayError::TooOld(72)));
        assert_eq!(window.admit("a", u64::MAX, 10, 0), Ok(()));
        assert_eq!(window.admit("a", 200, 10, 0), Err(ReplayError::TooOld(200)));
        assert_eq!(window.admit("a", 0, 10, 0), Err(ReplayError::Unnumbered));
    }

    #[test]
    fn a_full_window_refuses_and_never_forgets_a_living_token() {
        let mut window = ReplayWindow::default();
        for token in 0..TOKENS {
            window.admit(&token.to_string(), 1, if token == 7 { 10 } else { 100 }, 0).unwrap();
        }
        assert_eq!(window.admit("one more", 1, 100, 9), Err(ReplayError::Full));
        assert_eq!(window.admit("0", 1, 100, 9), Err(ReplayError::Seen(1)));
        assert_eq!(window.admit("one more", 1, 100, 10), Ok(()), "token 7 has expired");
        assert_eq!(window.len(), TOKENS);
    }
}
