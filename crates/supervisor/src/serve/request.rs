//! What clients ask for.

use super::client::Role;
use super::process::{Held, MAIN};
use super::server::{Server, add};
use super::stdio::{Ends, Wanted, pipes, terminal};
use super::{Stdio, failure, refusal};
use crate::protocol::{Exec, Failure, MAX_MESSAGE, Reply, Request};
use rustix::termios::{Winsize, tcsetwinsize};
use std::os::fd::AsFd;

impl Server<'_> {
    /// Collects a request; answers it when it is whole. What follows it in `data` is already stdin.
    pub(super) fn read_request(&mut self, place: usize, data: &[u8]) {
        let Some(client) = &mut self.clients[place] else { return };
        let Some(newline) = memchr::memchr(b'\n', data) else {
            client.inbox.extend_from_slice(data);
            if client.inbox.len() > MAX_MESSAGE {
                client.give_up();
            }
            return;
        };
        let mut line = std::mem::take(&mut client.inbox);
        line.extend_from_slice(&data[..newline]);
        client.role = Role::Answered;
        let reply = match serde_json::from_slice(&line) {
            Ok(request) => {
                drop(line);
                self.answer(place, request)
            }
            Err(error) => Some(Reply::Failed(refusal("request", &format!("not a request: {error}")))),
        };
        if let (Some(reply), Some(client)) = (reply, &mut self.clients[place]) {
            let mut line = serde_json::to_vec(&reply).unwrap_or_default();
            line.push(b'\n');
            client.say(&line);
            if client.role == Role::Answered {
                client.end();
            }
        }
        let rest = &data[newline + 1..];
        let role = self.clients[place].as_ref().map(|c| c.role);
        match role {
            Some(Role::Attach { stdin: true, .. }) => self.feed(MAIN, rest),
            Some(Role::Exec(process)) => self.feed(process, rest),
            _ => {}
        }
    }

    /// Does what is asked; `None` when there is nothing to say.
    fn answer(&mut self, place: usize, request: Request) -> Option<Reply> {
        let done = |result: Result<(), Failure>| Some(result.map_or_else(Reply::Failed, |()| Reply::Ok));
        if self.exiting.is_some() || self.held[MAIN].as_ref().is_none_or(|h| h.ended.is_some()) {
            if request == Request::Watch {
                self.become_role(place, Role::Watch);
                return None;
            }
            return Some(Reply::Failed(refusal("request", "the container has ended")));
        }
        match request {
            Request::Attach { stdin, stdout, stderr } => {
                self.become_role(place, Role::Attach { stdin, stdout, stderr });
                Some(Reply::Ok)
            }
            Request::Watch => {
                self.become_role(place, Role::Watch);
                None
            }
            Request::Exec(exec) => Some(self.exec(place, *exec).unwrap_or_else(Reply::Failed)),
            Request::Resize { exec, height, width } => done(self.resize(exec.as_deref(), height, width)),
            Request::Signal { exec, signal } => done(self.signal(exec.as_deref(), signal)),
            Request::SignalAll { signal } => done(self.runtime.signal_all(signal)),
            Request::Pause => done(self.runtime.pause()),
            Request::Resume => done(self.runtime.resume()),
            Request::Processes => Some(self.runtime.processes().map_or_else(Reply::Failed, Reply::Pids)),
            Request::Update(resources) => done(self.runtime.update(&resources)),
        }
    }

    fn become_role(&mut self, place: usize, role: Role) {
        if let Some(client) = &mut self.clients[place] {
            client.role = role;
        }
    }

    /// Starts an exec whose streams are this client's.
    fn exec(&mut self, place: usize, mut exec: Exec) -> Result<Reply, Failure> {
        if self.held.iter().flatten().any(|h| h.id == exec.id && h.ended.is_none()) {
            return Err(refusal("exec", &format!("exec {} already runs", exec.id)));
        }
        if exec.process.oom_score_adj.is_none() {
            exec.process.oom_score_adj = self.oom_score_adj;
        }
        let is_terminal = exec.process.terminal;
        let (stdio, ends) = if is_terminal {
            (Stdio::default(), None)
        } else {
            let wanted = Wanted { stdin: exec.stdin, output: exec.output };
            let (stdio, ends) = pipes(wanted, &exec.process.user).map_err(|e| failure("exec: pipes", e))?;
            (stdio, Some(ends))
        };
        let mut process = self.runtime.exec(&exec, stdio)?;
        sys::step::reached(sys::step::Step::SuperviseExec);
        let pid = process.pid;
        let ends = match (ends, process.terminal.take()) {
            (Some(ends), _) => ends,
            (None, Some(master)) => terminal(master, exec.stdin).map_err(|e| failure("exec: terminal", e))?,
            (None, None) => Ends::default(),
        };
        let mut held = Held::new(std::mem::take(&mut exec.id), process, ends, is_terminal);
        held.client = Some(place);
        held.with_client = exec.with_client;
        let exec_place = add(&mut self.held, held);
        self.become_role(place, Role::Exec(exec_place));
        Ok(Reply::Pid(pid))
    }

    fn find(&self, exec: Option<&str>) -> Result<&Held, Failure> {
        let found = match exec {
            None => self.held[MAIN].as_ref(),
            Some(id) => self.held.iter().skip(1).flatten().find(|h| h.id == id && h.ended.is_none()),
        };
        found.ok_or_else(|| refusal("exec", &format!("No such exec instance: {}", exec.unwrap_or_default())))
    }

    fn resize(&self, exec: Option<&str>, height: u16, width: u16) -> Result<(), Failure> {
        let held = self.find(exec)?;
        let master = held.outs[0].as_ref().filter(|_| held.is_terminal);
        let master = master.ok_or_else(|| refusal("resize", "the process has no terminal"))?;
        let size = Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(master, size).map_err(|e| failure("resize", e.into()))
    }

    fn signal(&self, exec: Option<&str>, signal: i32) -> Result<(), Failure> {
        let held = self.find(exec)?;
        if held.with_client && signal == rustix::process::Signal::KILL.as_raw() {
            held.kill();
            return Ok(());
        }
        sys::process::pidfd_send_signal(held.process.pidfd.as_fd(), signal).map_err(|e| failure("signal", e.into()))
    }
}
