//! Tells whether r2r generates the messages of Nav2: they are in the ROS 2 that is sourced, and in its filter.

use std::path::Path;

fn main() {
    println!("cargo:rustc-check-cfg=cfg(nav2)");
    println!("cargo:rerun-if-env-changed=AMENT_PREFIX_PATH");
    println!("cargo:rerun-if-env-changed=IDL_PACKAGE_FILTER");
    let variable = |name| std::env::var(name).unwrap_or_default();
    let filter = variable("IDL_PACKAGE_FILTER");
    let wanted = filter.is_empty() || filter.split(';').any(|package| package == "nav2_msgs");
    let definition = "share/nav2_msgs/action/NavigateToPose.action";
    if wanted && variable("AMENT_PREFIX_PATH").split(':').any(|prefix| Path::new(prefix).join(definition).exists()) {
        println!("cargo:rustc-cfg=nav2");
    }
}
