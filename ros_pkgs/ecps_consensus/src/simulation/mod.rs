//! A group in a simulated world: seeded schedules of crashes, cuts and bad weather, and what must hold through all of them.

mod adversity;
mod clients;
mod disk;
mod executor;
mod group;
mod linearizable;
mod network;
mod outages;
mod registers;
mod runtime;
mod schedule;
mod sessions;
