//! ROS 2 XML launch files: the subset that this project's own files use, for machines without `ros2 launch`.
//!
//! | element | attributes | children |
//! |---|---|---|
//! | `launch` | | any of the following |
//! | `arg` | `name default description` | `choice value` |
//! | `let` | `name value` | |
//! | `set_env` | `name value` | |
//! | `push_ros_namespace`, `push-ros-namespace` | `namespace` | |
//! | `group` | `scoped` | any |
//! | `include` | `file` | `arg name value` |
//! | `node` | `pkg exec name namespace output args ros_args` | `param name value`, `param from`, `remap from to` |
//!
//! Every element but `launch` also takes `if` or `unless`. Substitutions: `$(var X)`, `$(env X default)`,
//! `$(find-pkg-share P)`, `$(dirname)`, `$(not B)`, `$(equals A B)`. What is outside the subset is refused by name, with
//! file and line: a file that starts here means the same to `ros2 launch` (after ros2/launch 3.7 and ros2/launch_ros 0.28,
//! whose rules of scope are kept: an include hands on, and leaves behind, all launch configurations; only a scoped group
//! ends them).
//!
//! Where this is stricter than `ros2 launch`: an unknown `name:=value`, a missing parameter file and two nodes of one
//! name are errors.

mod action;
mod evaluate;
mod names;
mod node;
mod packages;
mod parameter;
mod parse;
mod plan;
mod show_args;
mod template;

pub use evaluate::EvaluateError;
pub use names::NameError;
pub use packages::{PackageError, Packages};
pub use parameter::{ParameterFileError, ParameterValueError};
pub use parse::{ParseError, Place};
pub use plan::{Assignment, AssignmentError, Plan, PlanError, Problem, Process, World, plan};
pub use show_args::{DeclaredArgument, declared_arguments};
pub use template::TemplateError;
