//! What runs the members: tokio and threads in earnest, one seeded queue in simulation.

use std::io;
use std::sync::{Arc, mpsc};

use openraft::{AsyncRuntime, TokioRuntime};

/// Work for the disk or the database.
pub type Job = Box<dyn FnOnce() + Send>;

/// Does jobs one after another, apart from the executor.
#[derive(Clone)]
pub struct Worker(pub(crate) Arc<dyn Fn(Job) + Send + Sync>);

/// An executor, its clock, its randomness, and its workers.
pub trait Runtime: AsyncRuntime {
    /// Starts a worker, which ends once all its handles are dropped and its jobs are done.
    ///
    /// # Errors
    /// Where the system gives no thread.
    fn worker(name: &str) -> io::Result<Worker>;
}

impl Worker {
    /// Puts a job behind those that wait. It is dropped where the worker is gone.
    pub(crate) fn submit(&self, job: impl FnOnce() + Send + 'static) {
        (self.0)(Box::new(job));
    }
}

impl Runtime for TokioRuntime {
    fn worker(name: &str) -> io::Result<Worker> {
        let (sender, jobs) = mpsc::channel::<Job>();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || jobs.iter().for_each(|job| job()))?;
        Ok(Worker(Arc::new(move |job| {
            // Without the thread there is nobody to do it; who waits sees that its answer was dropped.
            let _ = sender.send(job);
        })))
    }
}
