//! A software TPM that a test starts itself.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ecps_trust::provider::Missing;
use ecps_trust::tpm::Tpm;
use tempfile::TempDir;

/// How long swtpm may take to listen.
const START: Duration = Duration::from_secs(20);

/// swtpm in a process of its own, with its state in a folder.
pub(crate) struct Swtpm {
    state: TempDir,
    port: u16,
    process: Child,
}

impl Swtpm {
    /// Starts one, or says that the test is skipped.
    pub(crate) fn start(test: &str) -> Option<Swtpm> {
        let found = Command::new("swtpm").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if found.is_err() {
            super::skipped(test, "swtpm");
            return None;
        }
        let state = TempDir::new().unwrap();
        // Its control channel must be at the next port; another process may take one in between, so it is tried again.
        for _ in 0..20 {
            let port = free_pair();
            if let Some(process) = launch(&state, port) {
                return Some(Swtpm { state, port, process });
            }
        }
        panic!("swtpm found no two ports")
    }

    pub(crate) fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    pub(crate) fn open(&self, missing: Missing) -> Tpm {
        Tpm::open(&self.tcti(), missing).unwrap()
    }

    /// Takes every slot for objects, as a program does that never flushes its own. Nobody else may be connected.
    pub(crate) fn fill_slots(&self) -> Vec<[u8; 4]> {
        let mut tpm = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let mut slots = Vec::new();
        // TPM2_HashSequenceStart without authorisation, SHA-256: a sequence takes an object's slot.
        while let (0, handle) = command(&mut tpm, &[0, 0, 0x01, 0x86, 0, 0, 0, 0x0b]) {
            slots.push(handle.try_into().unwrap());
        }
        assert!(!slots.is_empty());
        slots
    }

    pub(crate) fn free_slots(&self, slots: &[[u8; 4]]) {
        let mut tpm = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        for slot in slots {
            // TPM2_FlushContext.
            assert_eq!(command(&mut tpm, &[&[0, 0, 0x01, 0x65], slot.as_slice()].concat()).0, 0);
        }
    }

    /// Kills it, as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Puts a new one in its place, when it was killed.
    pub(crate) fn replace(&mut self) {
        self.state = TempDir::new().unwrap();
        self.restart();
    }

    /// Starts it again with the state that it had.
    pub(crate) fn restart(&mut self) {
        let deadline = Instant::now() + START;
        self.process = loop {
            if let Some(process) = launch(&self.state, self.port) {
                break process;
            }
            assert!(Instant::now() < deadline, "swtpm does not start again");
        };
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends a command without sessions; gives the response's code and what follows it.
fn command(tpm: &mut TcpStream, code_and_body: &[u8]) -> (u32, Vec<u8>) {
    let size = u32::try_from(6 + code_and_body.len()).unwrap();
    tpm.write_all(&[&[0x80, 0x01], size.to_be_bytes().as_slice(), code_and_body].concat()).unwrap();
    let mut head = [0; 10];
    tpm.read_exact(&mut head).unwrap();
    let [_, _, size @ .., c0, c1, c2, c3] = head;
    let mut body = vec![0; u32::from_be_bytes(size) as usize - head.len()];
    tpm.read_exact(&mut body).unwrap();
    (u32::from_be_bytes([c0, c1, c2, c3]), body)
}

fn free_pair() -> u16 {
    loop {
        let first = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
}

/// Whether it listens is asked of its control port: it serves one client at its command port.
fn launch(state: &TempDir, port: u16) -> Option<Child> {
    let mut process = Command::new("swtpm")
        .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
        .arg(format!("--tpmstate=dir={}", state.path().display()))
        .arg(format!("--server=type=tcp,port={port},bindaddr=127.0.0.1"))
        .arg(format!("--ctrl=type=tcp,port={},bindaddr=127.0.0.1", port + 1))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + START;
    while process.try_wait().unwrap().is_none() {
        if TcpStream::connect(("127.0.0.1", port + 1)).is_ok() {
            return Some(process);
        }
        assert!(Instant::now() < deadline, "swtpm does not listen");
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}
