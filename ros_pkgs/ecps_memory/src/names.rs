//! Labels and frames as small numbers, so that a filter compares numbers and each text is held once.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Counted: a text is forgotten with its last user, so that labels that come and go do not pile up.
#[derive(Debug, Default)]
pub(crate) struct Names {
    numbers: BTreeMap<Arc<str>, u32>,
    entries: Vec<Option<(Arc<str>, usize)>>,
    free: Vec<u32>,
}

impl Names {
    /// The text's number, with one more user.
    pub(crate) fn acquire(&mut self, text: &str) -> u32 {
        if let Some(number) = self.find(text) {
            if let Some(Some((_, users))) = self.entries.get_mut(number as usize) {
                *users += 1;
            }
            return number;
        }
        let text: Arc<str> = text.into();
        let entry = Some((text.clone(), 1));
        let number = match self.free.pop() {
            Some(number) => {
                if let Some(slot) = self.entries.get_mut(number as usize) {
                    *slot = entry;
                }
                number
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        self.numbers.insert(text, number);
        number
    }

    /// The text's number, if it has users.
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        self.numbers.get(text).copied()
    }

    /// One user less.
    pub(crate) fn release(&mut self, number: u32) {
        let Some(slot) = self.entries.get_mut(number as usize) else { return };
        match slot {
            Some((_, users)) if *users > 1 => *users -= 1,
            Some((text, _)) => {
                self.numbers.remove(text);
                *slot = None;
                self.free.push(number);
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_its_number_until_its_last_user_goes() {
        let mut names = Names::default();
        let cup = names.acquire("cup");
        assert_eq!(names.acquire("cup"), cup);
        let door = names.acquire("door");
        assert_ne!(cup, door);
        names.release(cup);
        assert_eq!(names.find("cup"), Some(cup));
        names.release(cup);
        assert_eq!(names.find("cup"), None);
        assert_eq!(names.acquire("lamp"), cup, "the number is used again");
        assert_eq!(names.find("door"), Some(door));
    }
}
