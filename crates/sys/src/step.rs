//! Named steps at which a test can have the process die, to see what becomes of what it has begun.
//!
//! In a build with debug assertions `DHOW_DIE_AT=start.spawned` kills the process (SIGKILL, to itself) when it comes to
//! that step. In any other build there is nothing of it. Between two steps lies one change to disk or kernel, so that the
//! list covers before and after each of them; a test walks all of it.

/// The variable.
pub const VARIABLE: &str = "DHOW_DIE_AT";

macro_rules! steps {
    ($($step:ident $name:literal $about:literal,)*) => {
        /// A step. `start.spawned` is one of the verb `start`; those of `supervise` are a supervisor's.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Step {
            $(#[doc = $about] $step,)*
        }

        impl Step {
            /// All of them.
            pub const ALL: &[Step] = &[$(Step::$step,)*];

            /// `verb.step`
            pub const fn name(self) -> &'static str {
                match self { $(Step::$step => $name,)* }
            }
        }
    };
}

steps! {
    CreateBegun "create.begun" "Nothing is done yet.",
    CreateNamed "create.named" "The name is taken.",
    CreateDirectory "create.directory" "Its directory is there.",
    CreateUpper "create.upper" "Its writable layer has directories and no record.",
    CreateLayer "create.layer" "Its writable layer is there.",
    CreateVolume "create.volume" "A volume of it is there.",
    CreateFilled "create.filled" "The volume has what the image has there.",
    CreateRecord "create.record" "Its record is there.",
    CreateKnown "create.known" "It can be found.",
    StartBegun "start.begun" "Nothing is done yet.",
    StartLease "start.lease" "Its lease is written.",
    StartDevice "start.device" "Its device is connected.",
    StartNetwork "start.network" "It has its place on the network, with ports.",
    StartMounts "start.mounts" "What it mounts is there, shared memory included.",
    StartMessage "start.message" "All is ready for its supervisor.",
    StartSpawned "start.spawned" "It runs, and only its supervisor has noted it.",
    StartNoted "start.noted" "It runs, and its state is not saved.",
    StartSaved "start.saved" "Its state is saved.",
    StartFollowed "start.followed" "Its end will be noticed.",
    ExecBegun "exec.begun" "Nothing is done yet.",
    ExecConnected "exec.connected" "The supervisor listens.",
    ExecRunning "exec.running" "The exec runs.",
    AttachBegun "attach.begun" "Nothing is done yet.",
    AttachConnected "attach.connected" "The supervisor sends to us.",
    StopBegun "stop.begun" "Nothing is done yet.",
    StopSignalled "stop.signalled" "The signal is sent.",
    StopEnded "stop.ended" "It has ended, and all of that is noted.",
    EndNoticed "end.noticed" "Its supervisor is gone.",
    EndReturned "end.returned" "Address, ports and shared memory are given back.",
    EndNoted "end.noted" "The end is not saved.",
    EndSaved "end.saved" "The end is saved.",
    RemoveBegun "remove.begun" "Nothing is done yet.",
    RemoveRecord "remove.record" "Its record is gone.",
    RemoveLayer "remove.layer" "Its writable layer is gone.",
    RemoveDirectory "remove.directory" "Its directory is gone.",
    RemoveForgotten "remove.forgotten" "It cannot be found any more.",
    RemoveVolumes "remove.volumes" "Its anonymous volumes are gone.",
    PullBegun "pull.begun" "Nothing is done yet.",
    PullBlob "pull.blob" "A blob is whole.",
    PullLayer "pull.layer" "A layer can be used and is not durable.",
    PullBrought "pull.brought" "All of the image is there.",
    PullNamed "pull.named" "The image can be found.",
    PullSynced "pull.synced" "Blobs and layers are on the disk without their names.",
    PullBlobs "pull.blobs" "Blobs have their names.",
    PullLayers "pull.layers" "Layers have their records.",
    PullDurable "pull.durable" "Both are durable.",
    PullRecord "pull.record" "The image's record is on the disk.",
    PullNames "pull.names" "And its names.",
    SuperviseLaunch "supervise.launch" "The supervisor has its launch.",
    SuperviseDirectory "supervise.directory" "The run directory is there.",
    SuperviseSocket "supervise.socket" "The socket is there.",
    SuperviseCreated "supervise.created" "The container's process waits for its start.",
    SuperviseRecord "supervise.record" "The record of the start is written.",
    SuperviseRunning "supervise.running" "The command runs.",
    SuperviseAnswered "supervise.answered" "The daemon knows.",
    SuperviseExec "supervise.exec" "An exec runs.",
    SuperviseEnded "supervise.ended" "The first process has ended.",
    SuperviseLogged "supervise.logged" "All that was said is in the log.",
    SuperviseExit "supervise.exit" "The record of the end is written.",
    SuperviseReturned "supervise.returned" "The cgroup is given back.",
    SuperviseCleared "supervise.cleared" "The run directory is gone.",
}

/// The process has come to this step.
#[cfg(debug_assertions)]
pub fn reached(step: Step) {
    static DEADLY: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    if DEADLY.get_or_init(|| std::env::var(VARIABLE).ok()).as_deref() == Some(step.name()) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// The process has come to this step.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn reached(_: Step) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unlike() {
        let names: std::collections::HashSet<_> = Step::ALL.iter().map(|s| s.name()).collect();
        assert_eq!(names.len(), Step::ALL.len());
    }
}
