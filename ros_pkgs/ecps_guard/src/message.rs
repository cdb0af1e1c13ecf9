//! The authority's bulletins and their messages.

use ecps_identity::bulletin::{Revocations, SigningKeys};
use ecps_ros::qos;
use ecps_ros::r2r::QosProfile;
use ecps_ros::r2r::ecps_msgs::msg;

/// Agents whose latest bulletin waits to be heard.
const AGENTS: usize = 256;

/// The last bulletin of each agent.
pub fn heard() -> QosProfile {
    QosProfile { depth: AGENTS, ..qos::latched() }
}

/// Signing keys as they came.
pub fn keys_from_ros(message: msg::SigningKeys) -> SigningKeys {
    SigningKeys {
        number: message.number,
        stamp: ecps_ros::stamp(&message.stamp),
        keys: message.keys,
        signature: message.signature,
    }
}

/// Signing keys as they go.
pub fn keys_to_ros(keys: &SigningKeys) -> msg::SigningKeys {
    msg::SigningKeys {
        number: keys.number,
        stamp: ecps_ros::time(keys.stamp),
        keys: keys.keys.clone(),
        signature: keys.signature.clone(),
    }
}

/// Revocations as they came.
pub fn list_from_ros(message: msg::Revocations) -> Revocations {
    Revocations {
        number: message.number,
        stamp: ecps_ros::stamp(&message.stamp),
        crl: message.crl,
        device_ids: message.device_ids,
        key_ids: message.key_ids,
        lockdown: message.lockdown,
        signature: message.signature,
    }
}

/// Revocations as they go.
pub fn list_to_ros(list: &Revocations) -> msg::Revocations {
    msg::Revocations {
        number: list.number,
        stamp: ecps_ros::time(list.stamp),
        crl: list.crl.clone(),
        device_ids: list.device_ids.clone(),
        key_ids: list.key_ids.clone(),
        lockdown: list.lockdown,
        signature: list.signature.clone(),
    }
}
