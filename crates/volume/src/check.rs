//! Whether every volume is whole.

use crate::volumes::{DATA, Volumes};
use crate::{Error, Result};
use fault::Survey;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A volume that is being made or removed is not touched for longer than this.
const STALE: Duration = Duration::from_secs(60);

impl Volumes {
    /// Looks at every volume's record and directory. `used` names the volumes that containers have, and one of those
    /// containers each. `busy`: an engine works here.
    ///
    /// # Errors
    /// When the room's directory cannot be listed.
    pub fn check(
        &self,
        survey: &mut Survey,
        used: impl FnOnce() -> BTreeMap<String, String>,
        busy: bool,
    ) -> Result<()> {
        self.sweep(survey, if busy { STALE } else { Duration::ZERO })?;
        let names = self.names()?;
        let used = used();
        for name in &names {
            let directory = self.root().join(name);
            match self.record(name) {
                Ok(_) => {}
                Err(_) if !directory.is_dir() => continue,
                Err(why) => {
                    let cause = format!("the record of this volume is unreadable: {why}");
                    survey.fault(&directory, cause, || self.record_anew(name));
                }
            }
            let data = directory.join(DATA);
            if !data.is_dir() && directory.is_dir() {
                survey.fault(&data, "the directory of this volume is missing", || {
                    std::fs::create_dir(&data).map_err(Error::io("create", &data))?;
                    Ok::<_, Error>("made, empty".to_owned())
                });
            }
        }
        let there: BTreeSet<String> = self.names()?.into_iter().collect();
        for (name, by) in used.iter().filter(|(name, _)| !there.contains(*name)) {
            let cause = format!("volume {name} of container {by} is missing");
            let why = format!("make it anew, empty: volume create {name}");
            survey.stays(&self.root().join(name), cause, why);
        }
        Ok(())
    }
}
