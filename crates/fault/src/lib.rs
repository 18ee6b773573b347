//! What is wrong with the engine's state, named; and whether it is mended on the way.
//!
//! Every room surveys what is its own, at a start and for `dhow system check`, with the same code: it hands what it finds
//! to a [`Survey`], together with how it can be mended. The survey knows whether that is wanted.
//!
//! It must never know any room.

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, the directory, or in the kernel the name of the thing.
    pub path: PathBuf,
    /// What is wrong with it.
    pub cause: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was tried: only looked.
    Left,
    /// Nothing can be done about it here, for this reason.
    Stays(String),
    /// What was done about it.
    Mended(String),
    /// Mending it failed.
    Failed(String),
}

/// Collects faults.
#[derive(Debug)]
pub struct Survey {
    mends: bool,
    /// Nothing else is told.
    only: Option<Vec<Fault>>,
    faults: Vec<Fault>,
}

impl Survey {
    /// Looks and changes nothing.
    pub fn looking() -> Survey {
        Survey { mends: false, only: None, faults: Vec::new() }
    }

    /// Mends what can be mended without losing what is a user's.
    pub fn mending() -> Survey {
        Survey { mends: true, only: None, faults: Vec::new() }
    }

    /// Looks once more for what an earlier survey found: where work goes on, what is found once may just be happening.
    pub fn again(earlier: Vec<Fault>, mends: bool) -> Survey {
        Survey { mends, only: Some(earlier), faults: Vec::new() }
    }

    /// Whether faults are mended.
    pub fn mends(&self) -> bool {
        self.mends
    }

    /// Something is wrong, and `mend` does what its answer says.
    pub fn fault<E: Display>(
        &mut self,
        path: &Path,
        cause: impl Into<String>,
        mend: impl FnOnce() -> Result<String, E>,
    ) {
        let cause = cause.into();
        if self.knows(path, &cause) {
            return;
        }
        let outcome = match self.mends.then(mend) {
            None => Outcome::Left,
            Some(Ok(done)) => Outcome::Mended(done),
            Some(Err(error)) => Outcome::Failed(error.to_string()),
        };
        self.faults.push(Fault { path: path.to_owned(), cause, outcome });
    }

    /// Something is wrong that cannot be mended here; `why` says what a user can do.
    pub fn stays(&mut self, path: &Path, cause: impl Into<String>, why: impl Into<String>) {
        let cause = cause.into();
        if !self.knows(path, &cause) {
            self.faults.push(Fault { path: path.to_owned(), cause, outcome: Outcome::Stays(why.into()) });
        }
    }

    /// What was found at the opening of a room is not told twice.
    fn knows(&self, path: &Path, cause: &str) -> bool {
        let is = |f: &Fault| f.path == path && f.cause == cause;
        self.faults.iter().any(is) || self.only.as_ref().is_some_and(|only| !only.iter().any(is))
    }

    /// Everything that was found so far.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Everything that was found.
    pub fn into_faults(self) -> Vec<Fault> {
        self.faults
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.cause)?;
        match &self.outcome {
            Outcome::Left => Ok(()),
            Outcome::Stays(text) => write!(f, " ({text})"),
            Outcome::Mended(text) => write!(f, "; {text}"),
            Outcome::Failed(text) => write!(f, "; not mended: {text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mending_survey_mends() {
        let path = Path::new("/x");
        let mut look = Survey::looking();
        look.fault::<String>(path, "bad", || panic!("only looked"));
        let mut mend = Survey::mending();
        mend.fault::<String>(path, "bad", || Ok("removed".into()));
        mend.fault::<String>(path, "bad", || panic!("twice"));
        mend.fault(path, "worse", || Err("no".to_owned()));
        mend.stays(path, "lost", "pull it again");
        let mut again = Survey::again(look.faults().to_vec(), false);
        again.fault::<String>(path, "new", || Ok("removed".into()));
        assert_eq!(again.faults(), []);
        let said = |s: Survey| s.into_faults().iter().map(Fault::to_string).collect::<Vec<_>>();
        assert_eq!(said(look), ["/x: bad"]);
        assert_eq!(said(mend), ["/x: bad; removed", "/x: worse; not mended: no", "/x: lost (pull it again)"]);
    }
}
