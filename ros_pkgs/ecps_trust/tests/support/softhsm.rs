//! A software security module that a test sets up itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ecps_trust::provider::Provider;
use tempfile::TempDir;

/// Where distributions put it.
const MODULES: [&str; 3] =
    ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/lib/pkcs11/libsofthsm2.so"];
const HOME: &str = "ECPS_TEST_SOFTHSM";
const CONFIGURATION: &str = "SOFTHSM2_CONF";

/// SoftHSM with an empty token `robot`. It learns from the environment where its tokens are, once per process, so a test
/// with it runs in a process of its own.
pub(crate) struct SoftHsm {
    home: PathBuf,
}

impl SoftHsm {
    /// In the process that the test runs in at first, runs it again in one of its own, and gives nothing; gives the module
    /// there. `test` is the name of the calling test.
    pub(crate) fn start(test: &str) -> Option<SoftHsm> {
        if let Some(home) = std::env::var_os(HOME) {
            return Some(SoftHsm { home: home.into() });
        }
        if module().is_none() {
            super::skipped(test, "softhsm2");
            return None;
        }
        let home = TempDir::new().unwrap();
        std::fs::create_dir(home.path().join("tokens")).unwrap();
        let configuration = home.path().join("softhsm2.conf");
        let tokens = home.path().join("tokens");
        std::fs::write(&configuration, format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display()))
            .unwrap();
        let hsm = SoftHsm { home: home.path().to_owned() };
        hsm.add_token("robot");
        hsm.write_pin("123456");
        let ran = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .envs([(HOME, home.path()), (CONFIGURATION, &configuration)])
            .output()
            .unwrap();
        passed(test, &ran);
        None
    }

    pub(crate) fn provider(&self) -> Provider {
        Provider::Pkcs11 { module: module().unwrap(), token: "robot".into(), pin: self.pin() }
    }

    pub(crate) fn pin(&self) -> PathBuf {
        self.home.join("secrets/pin")
    }

    pub(crate) fn write_pin(&self, pin: &str) {
        let _ = std::fs::remove_file(self.pin());
        ecps_trust::secret_file::write_new(&self.pin(), pin.as_bytes()).unwrap();
    }

    /// One more token of this label, with the PIN 123456.
    pub(crate) fn add_token(&self, label: &str) {
        self.utility(&["--init-token", "--free", "--label", label, "--pin", "123456", "--so-pin", "654321"]);
    }

    /// Pulls the tokens out. SoftHSM does not see them again in this process.
    pub(crate) fn pull_out(&self) {
        std::fs::rename(self.home.join("tokens"), self.home.join("elsewhere")).unwrap();
    }

    fn utility(&self, arguments: &[&str]) {
        let ran = Command::new("softhsm2-util")
            .args(arguments)
            .env(CONFIGURATION, self.home.join("softhsm2.conf"))
            .output()
            .unwrap();
        assert!(ran.status.success(), "{}", text(&ran));
    }
}

fn module() -> Option<PathBuf> {
    MODULES.iter().find(|path| Path::new(path).exists()).map(PathBuf::from)
}

fn passed(test: &str, ran: &Output) {
    assert!(ran.status.success() && text(ran).contains("1 passed"), "{test}, in its own process:\n{}", text(ran));
}

fn text(ran: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr))
}
