//! Certificates and lists as text (RFC 7468).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use x509_parser::pem::Pem;

/// One block, as in `CERTIFICATE`.
pub fn block(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = BASE64.encode(der);
    while !rest.is_empty() {
        let next = rest.split_off(rest.len().min(64));
        text.push_str(&rest);
        text.push('\n');
        rest = next;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// The first certificate.
pub fn first(text: &[u8]) -> Option<Vec<u8>> {
    let certificates = Pem::iter_from_buffer(text).map_while(Result::ok);
    certificates.into_iter().find(|block| block.label == "CERTIFICATE").map(|block| block.contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for size in [1, 47, 48, 49, 500] {
            let der: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            let text = block("X509 CRL", b"a list") + &block("CERTIFICATE", &der);
            assert_eq!(first(text.as_bytes()), Some(der));
        }
        assert_eq!(first(b"-----BEGIN CERTIFICATE-----\nAA"), None);
    }
}
