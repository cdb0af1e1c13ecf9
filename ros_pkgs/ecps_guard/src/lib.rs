//! Whether a request to a node may be acted upon, by the token in its `Caller`.
//!
//! | module | what it holds |
//! |---|---|
//! | [`door`] | the one question, as a node asks it |
//! | [`known`] | the last revocation list, across restarts |
//! | [`message`] | the authority's bulletins and their messages |
//! | [`record`] | what was decided, in a journal of its own |
//!
//! A node declares the parameters, opens its door and asks it:
//!
//! ```no_run
//! # use ecps_guard::Door;
//! # use ecps_ros::r2r::ecps_msgs::msg::Caller;
//! # fn act(node: &mut ecps_ros::Node<()>, caller: &Caller) -> Result<(), Box<dyn std::error::Error>> {
//! let door = Door::open(node)?;
//! door.admit(caller, &["move:robot"])?;
//! # Ok(())
//! # }
//! ```

pub mod door;
pub mod known;
pub mod message;
pub mod record;

pub use door::{Door, Refused, TrustLevel, declare};
