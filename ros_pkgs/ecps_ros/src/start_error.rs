//! Why a node does not start.

use thiserror::Error;

use crate::args::ArgsError;
use crate::parameter::ParameterError;

/// Why a node does not start. One line.
#[derive(Debug, Error)]
pub enum StartError {
    /// The arguments cannot be read.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// A parameter is refused.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// ROS refused something.
    #[error("{what}: {reason}")]
    Ros {
        /// What was asked of it.
        what: String,
        /// What it said.
        reason: String,
    },
    /// The layer's own part failed.
    #[error("{0}")]
    Layer(String),
}

impl StartError {
    /// An error of the layer's own, in one line.
    pub fn layer(error: impl std::fmt::Display) -> StartError {
        StartError::Layer(error.to_string())
    }

    pub(crate) fn ros(what: impl FnOnce() -> String) -> impl FnOnce(r2r::Error) -> StartError {
        move |error| StartError::Ros { what: what(), reason: error.to_string() }
    }
}
