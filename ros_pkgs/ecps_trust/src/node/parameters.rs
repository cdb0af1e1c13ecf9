//! The node's parameters, and what they say.

use std::path::PathBuf;
use std::time::Duration;

use ecps_ros::{ParameterError, Parameters, Spec, StartError};

use crate::provider::Provider;
use crate::provisioning::{KEY_FILE, PASSPHRASE_FILE};

pub(super) fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
    for spec in [
        Spec::string(
            "folder",
            "",
            "What is this device's own, mode 0700: device.key, passphrase, device.pem; empty: $HOME/.ros/ecps/trust.",
        ),
        Spec::string("provider", "none", "Where the device's key is; no other place is tried. none: there is no key.")
            .choices(&["none", "software", "tpm", "pkcs11"]),
        Spec::string("tcti", "device:/dev/tpmrm0", "How to reach the TPM."),
        Spec::string("pkcs11_module", "", "Library of the security module's maker."),
        Spec::string("pkcs11_token", "", "Label of the token in it."),
        Spec::string("pkcs11_pin", "", "File of mode 0600 with its PIN."),
        Spec::string(
            "authority",
            "",
            "Folder of the fleet's authority, as `ecps trust provision` makes it; empty: this is a device like others.",
        ),
        Spec::string(
            "authority_node",
            "",
            "Name of the agent that is the authority, to ask for certificates and tokens; empty: none are asked for.",
        ),
        Spec::strings("peers", &[], "Names of other robots' agents, whose devices are attested."),
        Spec::double("attest_period", 30.0, "Time from one attestation of a peer to the next.")
            .unit("s")
            .range(0.5, 150.0),
        Spec::strings(
            "tokens",
            &[],
            "Tokens for this robot's nodes, each with <name>.audience and <name>.caller: kept in <folder>/tokens/<name>.",
        ),
    ] {
        parameters.declare(spec)?;
    }
    for name in parameters.strings("tokens")? {
        parameters.declare(Spec::string(format!("{name}.audience"), "", "Name of the node that accepts the token."))?;
        let text = "What the bearer calls itself behind the device's id, as in <device>/<caller>; empty: the id alone.";
        parameters.declare(Spec::string(format!("{name}.caller"), "", text))?;
    }
    ecps_guard::declare(parameters)
}

/// A token for a node of this robot.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) audience: String,
    pub(super) caller: String,
}

/// What the parameters come to.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) folder: PathBuf,
    pub(super) provider: Option<Provider>,
    pub(super) authority: Option<PathBuf>,
    pub(super) authority_node: String,
    pub(super) peers: Vec<String>,
    pub(super) period: Duration,
    pub(super) tokens: Vec<Wanted>,
}

pub(super) fn settings(parameters: &Parameters) -> Result<Settings, StartError> {
    let folder = match parameters.string("folder")? {
        none if none.is_empty() => {
            let home = std::env::var("HOME")
                .map_err(|_| StartError::layer("parameter 'folder' is empty, and HOME is not set: name a folder"))?;
            PathBuf::from(home).join(".ros/ecps/trust")
        }
        given => PathBuf::from(given),
    };
    let provider = match parameters.string("provider")?.as_str() {
        "software" => Some(Provider::Software { key: folder.join(KEY_FILE), passphrase: folder.join(PASSPHRASE_FILE) }),
        "tpm" => Some(Provider::Tpm { tcti: parameters.string("tcti")? }),
        "pkcs11" => Some(Provider::Pkcs11 {
            module: parameters.string("pkcs11_module")?.into(),
            token: parameters.string("pkcs11_token")?,
            pin: parameters.string("pkcs11_pin")?.into(),
        }),
        _ => None,
    };
    let wanted = |name: String| {
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            return Err(StartError::layer(format!("parameter 'tokens': '{name}' is no name of a file")));
        }
        let own = |what: &str| parameters.string(&format!("{name}.{what}"));
        let (audience, caller) = (own("audience")?, own("caller")?);
        Ok(Wanted { name, audience, caller })
    };
    let authority = parameters.string("authority")?;
    Ok(Settings {
        folder,
        provider,
        authority: (!authority.is_empty()).then(|| authority.into()),
        authority_node: parameters.string("authority_node")?,
        peers: parameters.strings("peers")?,
        period: parameters.seconds("attest_period")?,
        tokens: parameters.strings("tokens")?.into_iter().map(wanted).collect::<Result<_, StartError>>()?,
    })
}
