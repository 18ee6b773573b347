//! `update`: other limits and another restart policy for a container that is there.

use crate::containers::Containers;
use crate::error::{Error, Result, conflict};
use crate::state::Phase;
use crate::{check, record, spec};
use api::container::{Resources, UpdateContainer, Updated};
use supervisor::protocol::Request;

impl Containers {
    /// Changes what the request names; of a container that runs at once.
    ///
    /// # Errors
    /// For limits that make no sense, alone or with those that stay.
    pub fn update(&self, name: &str, mut request: UpdateContainer) -> Result<Updated> {
        let shared = &self.shared;
        let warnings = check::update(&mut request.resources, &request.restart_policy, &shared.host)?;
        refuse_fixed(&request.resources)?;
        let c = shared.find(name)?;
        let _turn = c.turn_in_time()?;
        let wrong = |e: Error| e.context(&format!("Cannot update container {}", c.id));
        if c.peek(|s| s.removing || s.removed || s.phase == Phase::Dead) {
            return Err(wrong(conflict!("container is marked for removal and cannot be \"update\"")));
        }
        let old = c.record();
        let mut new = (*old).clone();
        let host = &mut new.host_config;
        merge(&mut host.resources, &request.resources).map_err(wrong)?;
        if !request.restart_policy.name.is_empty() {
            if host.auto_remove && request.restart_policy.name != "no" {
                return Err(wrong(Error::Invalid(
                    "Restart policy cannot be updated because AutoRemove is enabled for the container".into(),
                )));
            }
            host.restart_policy = request.restart_policy;
        }
        record::write_config(&c.dir, &new)?;
        if c.peek(|s| s.phase == Phase::Running) {
            let limits = spec::updated_resources(&new.host_config.resources)?;
            if let Err(e) = c.ask(&Request::Update(Box::new(limits))) {
                record::write_config(&c.dir, &old)?;
                return Err(wrong(e));
            }
        }
        c.set_record(new);
        shared.sync_later(&c);
        shared.tell(&c, "update", &[]);
        Ok(Updated { warnings: warnings.into() })
    }
}

/// What cannot be changed any more is refused, not ignored.
fn refuse_fixed(r: &Resources) -> Result<()> {
    let fixed = [
        ("CgroupParent", !r.cgroup_parent.is_empty()),
        ("BlkioWeightDevice", !r.blkio_weight_device.is_empty()),
        ("BlkioDeviceReadBps", !r.blkio_device_read_bps.is_empty()),
        ("BlkioDeviceWriteBps", !r.blkio_device_write_bps.is_empty()),
        ("BlkioDeviceReadIOps", !r.blkio_device_read_iops.is_empty()),
        ("BlkioDeviceWriteIOps", !r.blkio_device_write_iops.is_empty()),
        ("Devices", !r.devices.is_empty()),
        ("DeviceCgroupRules", !r.device_cgroup_rules.is_empty()),
        ("DeviceRequests", !r.device_requests.is_empty()),
        ("Ulimits", !r.ulimits.is_empty()),
    ];
    match fixed.iter().find(|(_, asked)| *asked) {
        Some((name, _)) => Err(Error::Unsupported(format!("{name} of a container cannot be updated by this engine"))),
        None => Ok(()),
    }
}

/// Zero leaves a limit as it is.
fn merge(old: &mut Resources, new: &Resources) -> Result<()> {
    let invalid = |text: &str| Error::Invalid(text.into());
    if new.nano_cpus > 0 && (old.cpu_period > 0 && new.cpu_period == 0 || old.cpu_quota > 0 && new.cpu_quota == 0) {
        return Err(Error::Conflict(
            "Conflicting options: Nano CPUs cannot be updated as CPU Period/Quota has already been set".into(),
        ));
    }
    if (new.cpu_period > 0 || new.cpu_quota > 0) && old.nano_cpus > 0 {
        return Err(Error::Conflict(
            "Conflicting options: CPU Period/Quota cannot be updated as NanoCPUs has already been set".into(),
        ));
    }
    if new.memory != 0 {
        if new.memory > old.memory_swap && old.memory_swap > 0 && new.memory_swap == 0 {
            return Err(Error::Conflict(
                "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
                    .into(),
            ));
        }
        old.memory = new.memory;
    }
    if new.memory_swap > 0 && old.memory == 0 {
        return Err(invalid("You should always set the Memory limit when using Memoryswap limit, see usage"));
    }
    let put = |old: &mut i64, new: i64| {
        if new != 0 {
            *old = new;
        }
    };
    put(&mut old.memory_swap, new.memory_swap);
    put(&mut old.memory_reservation, new.memory_reservation);
    put(&mut old.cpu_shares, new.cpu_shares);
    put(&mut old.nano_cpus, new.nano_cpus);
    put(&mut old.cpu_period, new.cpu_period);
    put(&mut old.cpu_quota, new.cpu_quota);
    put(&mut old.cpu_realtime_period, new.cpu_realtime_period);
    put(&mut old.cpu_realtime_runtime, new.cpu_realtime_runtime);
    if new.blkio_weight != 0 {
        old.blkio_weight = new.blkio_weight;
    }
    for (old, new) in [(&mut old.cpuset_cpus, &new.cpuset_cpus), (&mut old.cpuset_mems, &new.cpuset_mems)] {
        if !new.is_empty() {
            old.clone_from(new);
        }
    }
    old.pids_limit = new.pids_limit.or(old.pids_limit);
    old.memory_swappiness = new.memory_swappiness.or(old.memory_swappiness);
    old.oom_kill_disable = new.oom_kill_disable.or(old.oom_kill_disable);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_zero_stays() {
        let mut old = Resources { memory: 64 << 20, memory_swap: 128 << 20, cpu_shares: 5, ..Resources::default() };
        merge(&mut old, &Resources { cpu_shares: 7, pids_limit: Some(9), ..Resources::default() }).unwrap();
        assert_eq!((old.memory, old.cpu_shares, old.pids_limit), (64 << 20, 7, Some(9)));
        let e = merge(&mut old, &Resources { memory: 256 << 20, ..Resources::default() }).unwrap_err();
        assert_eq!(
            e.to_string(),
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        );
    }

    #[test]
    fn what_cannot_change_is_refused() {
        let r = Resources { cgroup_parent: "/x".into(), ..Resources::default() };
        assert_eq!(
            refuse_fixed(&r).unwrap_err().to_string(),
            "CgroupParent of a container cannot be updated by this engine"
        );
    }
}
