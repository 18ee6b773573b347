//! nf_tables over nfnetlink (linux/netfilter/nf_tables.h): what one transaction of ours needs, no more.

use super::message::{CREATE, EXCL, attribute, attributes};
use super::{Attributes, Batch, Failure, Socket};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEWTABLE: u16 = 0;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const NEWRULE: u16 = 6;
const NEWSET: u16 = 9;
const NEWSETELEM: u16 = 12;
const DELSETELEM: u16 = 14;
const APPEND: u16 = super::message::APPEND;

/// The multicast group of nf_tables changes, as a mask (`NFNLGRP_NFTABLES` is the seventh).
pub const GROUP: u32 = 1 << 6;

const NFPROTO_IPV4: u8 = 2;
const SET_MAP: u32 = 0x8;

/// The kernel's hooks of the IPv4 family.
#[derive(Debug, Clone, Copy)]
pub enum Hook {
    /// Before routing.
    Prerouting = 0,
    /// Between two interfaces.
    Forward = 2,
    /// Made here.
    Output = 3,
    /// After routing.
    Postrouting = 4,
}

/// Where a value stands while a rule is evaluated: 32-bit registers, neighbours form a concatenation.
#[derive(Debug, Clone, Copy)]
pub struct Register(pub u32);

impl Register {
    /// The first register.
    pub const A: Register = Register(8);
    /// The second, right behind it.
    pub const B: Register = Register(9);
    /// The third.
    pub const C: Register = Register(10);
}

/// What a rule ends with.
#[derive(Debug, Clone, Copy)]
pub enum Verdict<'a> {
    /// Not here.
    Drop,
    /// No further rule of this chain.
    Accept,
    /// To another chain and back.
    Jump(&'a str),
}

/// `nft`'s numbers of data types, six bits each in a concatenation; they only tell `nft list` how to print.
pub mod datatype {
    /// An IPv4 address.
    pub const ADDRESS: u32 = 7;
    /// An IP protocol.
    pub const PROTOCOL: u32 = 12;
    /// A port.
    pub const SERVICE: u32 = 13;
}

fn header(resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [NFPROTO_IPV4, 0, high, low]
}

/// One transaction on one table: all of it happens, or nothing.
pub struct Transaction<'a> {
    table: &'a str,
    batch: Batch,
}

impl<'a> Transaction<'a> {
    /// An empty transaction.
    pub fn new(table: &'a str) -> Transaction<'a> {
        let mut batch = Batch::new();
        let mut begin = header(SUBSYSTEM);
        begin[0] = 0;
        batch.message("begin a firewall transaction", BATCH_BEGIN, 0, &begin, |_| ());
        Transaction { table, batch }
    }

    fn add(&mut self, doing: &'static str, kind: u16, flags: u16, body: impl FnOnce(&mut Attributes, &str)) {
        let table = self.table;
        self.batch.message(doing, SUBSYSTEM << 8 | kind, flags, &header(0), |a| body(a, table));
    }

    /// The table, if it is not there.
    pub fn add_table(&mut self) {
        self.add("add the firewall table", NEWTABLE, CREATE, |a, table| {
            a.text(1, table);
            a.be32(2, 0);
        });
    }

    /// The table goes, with all that is in it.
    pub fn remove_table(&mut self) {
        self.add("remove the firewall table", DELTABLE, 0, |a, table| a.text(1, table));
    }

    /// A chain that only a jump reaches.
    pub fn add_chain(&mut self, name: &str) {
        self.add("add a firewall chain", NEWCHAIN, CREATE, |a, table| {
            a.text(1, table);
            a.text(3, name);
        });
    }

    /// A chain at a hook, policy accept.
    pub fn add_base_chain(&mut self, name: &str, kind: &str, hook: Hook, priority: i32) {
        self.add("add a firewall chain", NEWCHAIN, CREATE, |a, table| {
            a.text(1, table);
            a.text(3, name);
            a.text(7, kind);
            a.nest(4, |a| {
                a.be32(1, hook as u32);
                a.put(2, &priority.to_be_bytes());
            });
            a.be32(5, 1);
        });
    }

    /// A map: every key and every value is a concatenation of these data types, four bytes each.
    pub fn add_map(&mut self, name: &str, id: u32, keys: &[u32], values: &[u32]) {
        let concatenation = |types: &[u32]| types.iter().fold(0, |all, one| all << 6 | one);
        self.add("add a firewall map", NEWSET, CREATE, |a, table| {
            a.text(1, table);
            a.text(2, name);
            a.be32(3, SET_MAP);
            a.be32(4, concatenation(keys));
            a.be32(5, keys.len() as u32 * 4);
            a.be32(6, concatenation(values));
            a.be32(7, values.len() as u32 * 4);
            a.be32(10, id);
        });
    }

    /// Elements of a map. They go in messages of a few hundred, because a list of elements ends at 64 KiB.
    pub fn add_elements(&mut self, map: &str, elements: &[(Vec<u8>, Vec<u8>)]) {
        for part in elements.chunks(400) {
            self.add("add elements to a firewall map", NEWSETELEM, CREATE | EXCL, |a, table| {
                a.text(1, table);
                a.text(2, map);
                a.nest(3, |a| {
                    for (key, value) in part {
                        a.nest(1, |a| {
                            a.nest(1, |a| a.put(1, key));
                            a.nest(2, |a| a.put(1, value));
                        });
                    }
                });
            });
        }
    }

    /// Takes elements out of a map.
    pub fn remove_elements(&mut self, map: &str, keys: &[Vec<u8>]) {
        for part in keys.chunks(400) {
            self.add("remove elements from a firewall map", DELSETELEM, 0, |a, table| {
                a.text(1, table);
                a.text(2, map);
                a.nest(3, |a| part.iter().for_each(|key| a.nest(1, |a| a.nest(1, |a| a.put(1, key)))));
            });
        }
    }

    /// A rule at the end of a chain.
    pub fn add_rule(&mut self, chain: &str, body: impl FnOnce(&mut Rule)) {
        self.add("add a firewall rule", NEWRULE, CREATE | APPEND, |a, table| {
            a.text(1, table);
            a.text(2, chain);
            a.nest(4, |a| body(&mut Rule { list: a }));
        });
    }

    /// Hands the transaction to the kernel.
    pub fn commit(mut self, socket: &mut Socket) -> Result<(), Failure> {
        self.batch.acknowledge_last();
        let last = self.batch.len();
        let mut end = header(SUBSYSTEM);
        end[0] = 0;
        self.batch.message("end a firewall transaction", BATCH_END, 0, &end, |_| ());
        socket.apply_as_is(&self.batch, last, 1)
    }
}

/// An element of a map: its key and its value.
pub type Element = (Vec<u8>, Vec<u8>);

/// The elements of a map; nothing when there is no such table.
pub fn elements(socket: &mut Socket, table: &str, map: &str) -> Result<Option<Vec<Element>>, Failure> {
    const GETSETELEM: u16 = 13;
    let mut found = Vec::new();
    let value = |element: &[u8], kind| attribute(attribute(element, kind)?, 1).map(<[u8]>::to_vec);
    let each = |_, payload: &[u8]| {
        let list = payload.get(4..).and_then(|rest| attribute(rest, 3)).unwrap_or_default();
        found.extend(attributes(list).filter_map(|(_, element)| Some((value(element, 1)?, value(element, 2)?))));
    };
    let body = |a: &mut Attributes| {
        a.text(1, table);
        a.text(2, map);
    };
    match socket.ask("list a firewall map", SUBSYSTEM << 8 | GETSETELEM, true, &header(0), body, each) {
        Ok(()) => Ok(Some(found)),
        Err(failure) if failure.errno == rustix::io::Errno::NOENT => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The expressions of one rule, in the order in which the kernel evaluates them.
pub struct Rule<'a, 'b> {
    list: &'a mut Attributes<'b>,
}

impl Rule<'_, '_> {
    fn expression(&mut self, name: &str, body: impl FnOnce(&mut Attributes)) -> &mut Self {
        self.list.nest(1, |a| {
            a.text(1, name);
            a.nest(2, body);
        });
        self
    }

    /// Loads an IPv4 header field or, with `transport`, one of the header behind it.
    pub fn load(&mut self, transport: bool, offset: u32, length: u32, to: Register) -> &mut Self {
        self.expression("payload", |a| {
            a.be32(1, to.0);
            a.be32(2, if transport { 2 } else { 1 });
            a.be32(3, offset);
            a.be32(4, length);
        })
    }

    /// Loads the source address.
    pub fn source(&mut self, to: Register) -> &mut Self {
        self.load(false, 12, 4, to)
    }

    /// Loads the destination address.
    pub fn destination(&mut self, to: Register) -> &mut Self {
        self.load(false, 16, 4, to)
    }

    /// Loads the destination port.
    pub fn port(&mut self, to: Register) -> &mut Self {
        self.load(true, 2, 2, to)
    }

    fn meta(&mut self, key: u32, to: Register) -> &mut Self {
        self.expression("meta", |a| {
            a.be32(1, to.0);
            a.be32(2, key);
        })
    }

    /// Loads the protocol above IP.
    pub fn protocol(&mut self, to: Register) -> &mut Self {
        self.meta(16, to)
    }

    fn compare(&mut self, register: Register, equal: bool, value: &[u8]) -> &mut Self {
        self.expression("cmp", |a| {
            a.be32(1, register.0);
            a.be32(2, u32::from(!equal));
            a.nest(3, |a| a.put(1, value));
        })
    }

    fn interface(&mut self, key: u32, equal: bool, name: &str) -> &mut Self {
        let mut padded = [0; 16];
        for (to, from) in padded.iter_mut().zip(name.bytes().take(15)) {
            *to = from;
        }
        self.meta(key, Register::A).compare(Register::A, equal, &padded)
    }

    /// The packet came by this interface (or did not).
    pub fn came_by(&mut self, equal: bool, name: &str) -> &mut Self {
        self.interface(6, equal, name)
    }

    /// The packet leaves by this interface (or does not).
    pub fn leaves_by(&mut self, equal: bool, name: &str) -> &mut Self {
        self.interface(7, equal, name)
    }

    /// The address in the register lies in this network (or does not).
    pub fn within(&mut self, register: Register, equal: bool, network: crate::subnet::Subnet) -> &mut Self {
        self.masked(register, &network.mask().to_be_bytes()).compare(register, equal, &network.network.octets())
    }

    fn masked(&mut self, register: Register, mask: &[u8]) -> &mut Self {
        self.expression("bitwise", |a| {
            a.be32(1, register.0);
            a.be32(2, register.0);
            a.be32(3, mask.len() as u32);
            a.nest(4, |a| a.put(1, mask));
            a.nest(5, |a| a.put(1, &vec![0; mask.len()]));
        })
    }

    fn any_bit(&mut self, key: u32, bits: u32) -> &mut Self {
        self.expression("ct", |a| {
            a.be32(1, Register::A.0);
            a.be32(2, key);
        })
        .masked(Register::A, &bits.to_ne_bytes())
        .compare(Register::A, false, &[0; 4])
    }

    /// The packet belongs to a connection that was let through before, or is an error message about one.
    pub fn established_or_related(&mut self) -> &mut Self {
        self.any_bit(0, 2 | 4)
    }

    /// The connection's destination was translated: it was made to a published port.
    pub fn translated(&mut self) -> &mut Self {
        self.any_bit(2, 1 << 5)
    }

    /// The destination is an address of this host.
    pub fn for_this_host(&mut self) -> &mut Self {
        const RTN_LOCAL: u32 = 2;
        self.expression("fib", |a| {
            a.be32(1, Register::A.0);
            a.be32(2, 3);
            a.be32(3, 2);
        })
        .compare(Register::A, true, &RTN_LOCAL.to_ne_bytes())
    }

    /// Looks the concatenation that begins at `from` up in a map and puts the value at `to`; no element ends the rule.
    pub fn lookup(&mut self, map: &str, id: u32, from: Register, to: Register) -> &mut Self {
        self.expression("lookup", |a| {
            a.text(1, map);
            a.be32(4, id);
            a.be32(2, from.0);
            a.be32(3, to.0);
        })
    }

    /// Sends the connection to the address and the port in these registers.
    pub fn redirect(&mut self, address: Register, port: Register) -> &mut Self {
        self.expression("nat", |a| {
            a.be32(1, 1);
            a.be32(2, u32::from(NFPROTO_IPV4));
            a.be32(3, address.0);
            a.be32(5, port.0);
        })
    }

    /// Gives the connection the address of the interface it leaves by.
    pub fn masquerade(&mut self) -> &mut Self {
        self.expression("masq", |_| ())
    }

    /// Ends the rule.
    pub fn verdict(&mut self, verdict: Verdict) {
        const JUMP: i32 = -3;
        self.expression("immediate", |a| {
            a.be32(1, 0);
            a.nest(2, |a| {
                a.nest(2, |a| match verdict {
                    Verdict::Drop => a.be32(1, 0),
                    Verdict::Accept => a.be32(1, 1),
                    Verdict::Jump(chain) => {
                        a.put(1, &JUMP.to_be_bytes());
                        a.text(2, chain);
                    }
                });
            });
        });
    }
}

/// Which table a change was made in, read from a notification; nothing when the message is of another kind.
pub fn changed_table(kind: u16, payload: &[u8]) -> Option<&str> {
    if kind >> 8 != SUBSYSTEM || payload.first() != Some(&NFPROTO_IPV4) {
        return None;
    }
    // The table's name is the first attribute of every object but the generation.
    const NEWGEN: u16 = 15;
    if kind & 0xff == NEWGEN {
        return None;
    }
    super::message::attribute(payload.get(4..)?, 1).and_then(super::message::text)
}
