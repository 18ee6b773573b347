//! What takes back the steps of a verb that failed half-way, the last step first.

/// Steps back. Dropped without [`Undo::forget`], it takes them all.
#[derive(Default)]
pub(crate) struct Undo(Vec<Box<dyn FnOnce() + Send>>);

impl Undo {
    /// How to take back what is done next, or has just been done.
    pub fn push(&mut self, step: impl FnOnce() + Send + 'static) {
        self.0.push(Box::new(step));
    }

    /// It has all worked.
    pub fn forget(mut self) {
        self.0.clear();
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        while let Some(step) = self.0.pop() {
            step();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn the_last_step_is_taken_back_first() {
        let log = Arc::new(Mutex::new(String::new()));
        let step = |name: char| {
            let log = log.clone();
            move || log.lock().unwrap().push(name)
        };
        let mut undo = Undo::default();
        undo.push(step('a'));
        undo.push(step('b'));
        drop(undo);
        let mut kept = Undo::default();
        kept.push(step('c'));
        kept.forget();
        assert_eq!(*log.lock().unwrap(), "ba");
    }
}
