//! Several robots that act as one and never collide.
//!
//! | module | what it holds |
//! |---|---|
//! | [`assignment`] | who gets what at the least cost |
//! | [`motion`] | formations, behaviours and collision avoidance |

pub mod assignment;
pub mod motion;
