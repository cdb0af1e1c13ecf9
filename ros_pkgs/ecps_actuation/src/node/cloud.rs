//! Cloud operations over HTTPS.
//!
//! `POST <endpoint>/<api>/<method>` with the JSON payload; a status of 2xx is success, and what it answers is the action's
//! answer. No redirect is followed, since a token would go along to whom it was not given.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use ecps_ros::StartError;
use reqwest::blocking::Client;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Certificate, Url, redirect};

use crate::action::ErrorCode;
use crate::errand::{ANSWER_BYTES, CloudCall, ErrandFailure};

/// Longest bearer token, bytes.
const TOKEN_BYTES: u64 = 8192;
/// Largest file of certificates, bytes; that of the public web has 200 KB.
const CA_BYTES: u64 = 1 << 20;

/// A configured endpoint.
#[derive(Debug, Clone)]
pub(super) struct Cloud {
    client: Client,
    endpoint: Url,
    token_file: Option<PathBuf>,
}

impl Cloud {
    /// `endpoint` is an HTTPS address, or an HTTP one of this machine. Whose certificates it may show is in `ca_file`;
    /// empty: those that the public web trusts.
    pub(super) fn new(endpoint: &str, ca_file: &str, token_file: &str, timeout: Duration) -> Result<Cloud, StartError> {
        let wrong = |why: &str| StartError::layer(format!("parameter 'cloud_endpoint': {endpoint}: {why}"));
        let mut url = Url::parse(endpoint).map_err(|e| wrong(&e.to_string()))?;
        let loopback = match url.host() {
            Some(url_host) => {
                let host = url_host.to_string();
                let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
                ip.is_ok_and(|ip| ip.is_loopback())
            }
            None => return Err(wrong("it names no host")),
        };
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            _ => return Err(wrong("it must be https, or http to a loopback address such as 127.0.0.1")),
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it may have no user, query or fragment"));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let mut client = Client::builder()
            .timeout(timeout)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent("ecps-eap/0.1")
            .tls_built_in_root_certs(ca_file.is_empty());
        for authority in authorities(ca_file)? {
            client = client.add_root_certificate(authority);
        }
        let client = client.build().map_err(StartError::layer)?;
        let token_file = (!token_file.is_empty()).then(|| PathBuf::from(token_file));
        let cloud = Cloud { client, endpoint: url, token_file };
        if cloud.token_file.is_some() {
            cloud.token().map_err(|why| StartError::layer(format!("parameter 'cloud_token_file': {why}")))?;
        }
        Ok(cloud)
    }

    /// Calls, and waits for the answer.
    pub(super) fn call(&self, call: &CloudCall) -> Result<Vec<u8>, ErrandFailure> {
        let failed = |message: String| ErrandFailure { code: ErrorCode::Failed, message };
        let (api, method) = (&call.api, &call.method);
        let url = self.endpoint.join(&format!("{api}/{method}")).map_err(|e| failed(e.to_string()))?;
        let body = if call.payload.is_empty() { b"{}".to_vec() } else { call.payload.clone() };
        let mut request = self.client.post(url).header(CONTENT_TYPE, "application/json").body(body);
        if call.authorized {
            let token = self.token().map_err(|why| ErrandFailure {
                code: ErrorCode::Unsupported,
                message: format!("cloud.requires_oauth2 is set: {why}"),
            })?;
            request = request.bearer_auth(token);
        }
        let response = request.send().map_err(|e| failed(format!("{api}/{method}: {}", without_secrets(&e))))?;
        let status = response.status();
        let mut answer = Vec::new();
        // One more than may be, so that too much is seen and no more than that is read.
        let read = response.take(ANSWER_BYTES as u64 + 1).read_to_end(&mut answer);
        read.map_err(|e| failed(format!("{api}/{method}: the answer broke off: {e}")))?;
        if answer.len() > ANSWER_BYTES {
            return Err(failed(format!(
                "{api}/{method}: the answer has more than the {ANSWER_BYTES} bytes it may have"
            )));
        }
        if !status.is_success() {
            let said: String = String::from_utf8_lossy(&answer).chars().take(200).collect();
            return Err(failed(format!("{api}/{method} answered {status}: {said}")));
        }
        Ok(answer)
    }

    /// Read anew for each call, so that a token can be renewed.
    fn token(&self) -> Result<String, String> {
        let path = self.token_file.as_ref().ok_or("no bearer token is configured (parameter 'cloud_token_file')")?;
        let shown = path.display();
        let file = std::fs::File::open(path).map_err(|e| format!("{shown}: {e}"))?;
        let mode = file.metadata().map_err(|e| format!("{shown}: {e}"))?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(format!("{shown} has mode {mode:o}, and others may read it: make it 600"));
        }
        let mut token = String::new();
        file.take(TOKEN_BYTES + 1).read_to_string(&mut token).map_err(|e| format!("{shown}: {e}"))?;
        let token = token.trim();
        if token.is_empty() || token.len() as u64 > TOKEN_BYTES || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("{shown} holds no token of 1 to {TOKEN_BYTES} printable characters"));
        }
        Ok(token.to_owned())
    }
}

/// The certificates in a PEM file; none where there is no file.
fn authorities(file: &str) -> Result<Vec<Certificate>, StartError> {
    if file.is_empty() {
        return Ok(Vec::new());
    }
    let wrong = |why: String| StartError::layer(format!("parameter 'cloud_ca_file': {file}: {why}"));
    let mut text = Vec::new();
    let opened = std::fs::File::open(file).map_err(|e| wrong(e.to_string()))?;
    opened.take(CA_BYTES + 1).read_to_end(&mut text).map_err(|e| wrong(e.to_string()))?;
    if text.len() as u64 > CA_BYTES {
        return Err(wrong(format!("it has more than the {CA_BYTES} bytes it may have")));
    }
    match Certificate::from_pem_bundle(&text) {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(wrong("it holds no certificate in PEM".into())),
        Err(e) => Err(wrong(e.to_string())),
    }
}

/// What failed, with its causes and without the address.
fn without_secrets(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "no answer in time".to_owned() } else { "the call failed".to_owned() };
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text.push_str(&format!(": {next}"));
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt as _;

    const TIMEOUT: Duration = Duration::from_secs(5);

    /// A server that answers one request, and what it was asked.
    fn serve(answer: &'static [u8]) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/v1", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut asked, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                asked.push_str(&line);
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            // The client may have gone before the end of an answer that is too long.
            let _ = stream.write_all(answer);
            asked + &String::from_utf8(body).unwrap()
        });
        (address, thread)
    }

    fn call(authorized: bool) -> CloudCall {
        CloudCall { api: "lift".into(), method: "call_to".into(), payload: br#"{"floor":3}"#.to_vec(), authorized }
    }

    #[test]
    fn it_posts_the_payload_and_brings_the_answer_back() {
        let (address, server) = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"eta\": 12}");
        let cloud = Cloud::new(&address, "", "", TIMEOUT).unwrap();
        assert_eq!(cloud.call(&call(false)).unwrap(), b"{\"eta\": 12}");
        let asked = server.join().unwrap();
        assert!(asked.starts_with("POST /v1/lift/call_to HTTP/1.1\r\n"), "{asked}");
        assert!(asked.ends_with(r#"{"floor":3}"#) && !asked.to_lowercase().contains("authorization"), "{asked}");
    }

    #[test]
    fn a_token_goes_along_from_a_private_file_alone_and_is_in_no_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\n").unwrap();
        let path = file.path().to_str().unwrap();
        let (address, server) = serve(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        let cloud = Cloud::new(&address, "", path, TIMEOUT).unwrap();
        let refused = cloud.call(&call(true)).unwrap_err();
        assert!(refused.code == ErrorCode::Failed && refused.message.contains("403"), "{refused:?}");
        assert!(!refused.message.contains("s3cret"));
        assert!(server.join().unwrap().to_lowercase().contains("authorization: bearer s3cret"));

        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(cloud.call(&call(true)).unwrap_err().message.contains("mode 644"));
        assert!(Cloud::new(&address, "", path, TIMEOUT).unwrap_err().to_string().contains("mode 644"));
        let without = Cloud::new(&address, "", "", TIMEOUT).unwrap();
        assert_eq!(without.call(&call(true)).unwrap_err().code, ErrorCode::Unsupported);
    }

    #[test]
    fn an_answer_is_bounded_and_a_redirect_is_not_followed() {
        let long = b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n".iter().copied().chain([b' '; 20_000]);
        let (address, server) = serve(Vec::leak(long.collect()));
        let refused = Cloud::new(&address, "", "", TIMEOUT).unwrap().call(&call(false)).unwrap_err();
        assert!(refused.message.contains("more than the 16384 bytes"), "{refused:?}");
        server.join().unwrap();
        let (address, server) =
            serve(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
        let refused = Cloud::new(&address, "", "", TIMEOUT).unwrap().call(&call(false)).unwrap_err();
        assert!(refused.message.contains("302"), "{refused:?}");
        server.join().unwrap();
        let nobody = Cloud::new("http://127.0.0.1:1", "", "", TIMEOUT).unwrap().call(&call(false)).unwrap_err();
        assert!(nobody.message.contains("the call failed"), "{nobody:?}");
    }

    #[test]
    fn endpoints_that_would_tell_a_secret_are_refused() {
        for bad in ["http://example.com", "ftp://127.0.0.1", "https://u:p@example.com", "https://e.com/?q", "nonsense"]
        {
            let error = Cloud::new(bad, "", "", TIMEOUT).unwrap_err().to_string();
            assert!(error.contains("cloud_endpoint"), "{error}");
        }
        assert!(Cloud::new("https://example.com/api", "", "", TIMEOUT).is_ok());
        assert!(Cloud::new("http://[::1]:8080/", "", "", TIMEOUT).is_ok());
    }

    #[test]
    fn a_file_of_certificates_must_hold_some() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let refusal = |path: &str| Cloud::new("https://example.com", path, "", TIMEOUT).unwrap_err().to_string();
        assert!(refusal(path).contains("holds no certificate"), "{}", refusal(path));
        std::fs::write(path, vec![b'-'; (1 << 20) + 1]).unwrap();
        assert!(refusal(path).contains("more than the 1048576 bytes"), "{}", refusal(path));
        assert!(refusal("/nowhere").contains("cloud_ca_file"), "{}", refusal("/nowhere"));
    }
}
