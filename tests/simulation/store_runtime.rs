//! The runtime of the state store. Each call of the store ends before the simulation goes on. Therefore a seed
//! always gives the same order of events, whatever the database's own threads do.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
};

use tokio::runtime::{self, Handle, Runtime};
use vaiven::internals::store::SharedStore;

/// The Tokio runtime that owns the database connections. It runs only while somebody waits for a store method.
pub struct StoreRuntime {
    runtime: Runtime,
    quiet: Arc<Quiet>,
}

/// Notifies when only the permanent tasks that an open store keeps are left on the runtime.
#[derive(Default)]
struct Quiet {
    waiting: Mutex<Option<Waker>>,
    /// How many permanent tasks an open store has.
    permanent_tasks: AtomicUsize,
}

impl Quiet {
    fn is_reached(&self) -> bool {
        Handle::current().metrics().num_alive_tasks() <= self.permanent_tasks.load(Ordering::Relaxed)
    }

    async fn reached(&self) {
        poll_fn(|context| {
            if self.is_reached() {
                return Poll::Ready(());
            }
            *self.waiting.lock().unwrap() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl StoreRuntime {
    /// Creates the runtime. Set `sockets` only if the database is reached through one: without them, waiting takes half
    /// the system calls.
    pub fn new(sockets: bool) -> Self {
        let quiet = Arc::new(Quiet::default());
        let seen = quiet.clone();
        let mut builder = runtime::Builder::new_current_thread();
        if sockets {
            builder.enable_io();
        }
        let runtime = builder
            .enable_time()
            .on_thread_park(move || {
                if seen.is_reached()
                    && let Some(waker) = seen.waiting.lock().unwrap().take()
                {
                    waker.wake();
                }
            })
            .build()
            .unwrap();
        Self { runtime, quiet }
    }

    /// Opens the store at `url`.
    pub fn open(&self, url: &str) -> SharedStore {
        let store = self.runtime.block_on(vaiven::internals::store::open(url)).unwrap();
        if self.quiet.permanent_tasks.load(Ordering::Relaxed) == 0 {
            self.quiet.permanent_tasks.store(self.runtime.metrics().num_alive_tasks(), Ordering::Relaxed);
        }
        store
    }

    /// Runs a future that is not a store method.
    pub fn wait_for<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Runs a store method to its end.
    pub fn run_method<T>(&self, method: impl Future<Output = T>) -> T {
        self.runtime.block_on(async {
            // A connection returns to its pool in a task of its own. Before it has returned, the pool would open
            // another one.
            self.quiet.reached().await;
            let done = method.await;
            // Let that task begin now; it ends while the engine goes on.
            tokio::task::yield_now().await;
            done
        })
    }
}
