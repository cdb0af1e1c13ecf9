//! The Merkle tree of RFC 6962 over the records of a journal, kept as the roots of its complete subtrees.

use sha2::{Digest as _, Sha256};

use crate::format::Digest;

/// A tree that grows at its end. Holds at most 64 digests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    size: u64,
    /// Roots of the complete subtrees, the largest first; as many as `size` has ones.
    peaks: Vec<Digest>,
}

fn node(left: &Digest, right: &Digest) -> Digest {
    let mut bytes = [1; 65];
    let (l, r) = bytes.split_at_mut(33);
    if let Some(l) = l.get_mut(1..) {
        l.copy_from_slice(left);
    }
    r.copy_from_slice(right);
    Sha256::digest(bytes).into()
}

impl Tree {
    /// From what [`Tree::peaks`] gave at this size.
    pub(crate) fn from_peaks(size: u64, peaks: Vec<Digest>) -> Tree {
        Tree { size, peaks }
    }

    /// Leaves in the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the complete subtrees, the largest first.
    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// Adds a leaf hash at the end.
    pub fn push(&mut self, leaf: Digest) {
        let mut root = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                root = node(&left, &root);
            }
        }
        self.peaks.push(root);
        self.size += 1;
    }

    /// The tree's head; SHA-256 of nothing for an empty one.
    pub fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return Sha256::digest([]).into() };
        peaks.fold(*last, |right, left| node(left, &right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record_digest;

    /// The definition of RFC 6962, section 2.1, as it stands there.
    fn defined(entries: &[Vec<u8>]) -> Digest {
        match entries {
            [] => Sha256::digest([]).into(),
            [one] => record_digest(one),
            many => {
                let k = (many.len() as u64).div_ceil(2).next_power_of_two() as usize;
                node(&defined(&many[..k]), &defined(&many[k..]))
            }
        }
    }

    #[test]
    fn every_size_has_the_root_that_rfc_6962_defines() {
        let entries: Vec<Vec<u8>> = (0..200u32).map(|n| n.to_le_bytes()[..(n % 5) as usize].to_vec()).collect();
        let mut tree = Tree::default();
        for size in 0..=entries.len() {
            assert_eq!(tree.root(), defined(&entries[..size]), "size {size}");
            assert_eq!(tree.peaks().len() as u32, tree.size().count_ones());
            if let Some(entry) = entries.get(size) {
                tree.push(record_digest(entry));
            }
        }
    }

    /// Test vectors of the Certificate Transparency project's reference implementation.
    #[test]
    fn the_reference_implementations_roots_come_out() {
        let entries: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let mut tree = Tree::default();
        let hex = |digest: Digest| digest.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(tree.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        tree.push(record_digest(entries[0]));
        assert_eq!(hex(tree.root()), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        entries[1..].iter().for_each(|entry| tree.push(record_digest(entry)));
        assert_eq!(hex(tree.root()), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
    }
}
