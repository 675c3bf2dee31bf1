//! The bytes inside an enrolment line, version 1, big-endian.
//!
//! ```text
//! version u8 = 1 | server 32 | client check 8 | psk 32 | flags u8 (bit 0 ack, bit 1 hop)
//! name: len u8, bytes | hosts: count u8, each len u8, bytes
//! ports: count u8, each u16     or, with flag hop: key 32 | lo u16 | hi u16 | stages u8 | excluded: count u8, each lo u16, hi u16
//! services: count u8, each len u8, name bytes, proto u8 (6 tcp, 17 udp, 0 all), port u16
//! ```
//! Unknown flags, trailing bytes and values outside the limits are refused, so a line has one
//! encoding.

use spa_proto::{HopKey, HopPlan, MAX_STAGES, Psk, ServerPublic};
use zeroize::Zeroizing;

use crate::enrolment::host_line::{
    HostError, HostLine, MAX_EXCLUDED, MAX_HOSTS, MAX_SERVICES, Sequence, Service, ServiceProto,
    host_is_plain, name_is_plain,
};
use crate::text::{self, Kind, SecretText};

const VERSION: u8 = 1;
const FLAG_ACK: u8 = 1;
const FLAG_HOP: u8 = 2;
/// Capacity of the buffer, more than fits in a line: a buffer that grows would leave an unwiped
/// copy of the psk behind.
const ROOM: usize = 16 * 1024;

const BAD_NAME: HostError = HostError::Content("the client's name is not plain");
const BAD_HOST: HostError = HostError::Content("a host is neither a name nor an address");
const BAD_SERVICE: HostError =
    HostError::Content("a service's name, protocol or port is not possible");
const BAD_PORTS: HostError = HostError::Content("a sequence has 1 to 8 ports, none of them 0");
const BAD_HOP: HostError = HostError::Content("the port range of the sequence is not possible");
const TOO_MANY: HostError = HostError::Content("too many hosts, services or excluded ports");
const CUT: HostError = HostError::Content("it ends too early");
const TRAILING: HostError = HostError::Content("something stands after its end");

impl HostLine {
    /// Returns the line, `SPA-HOST-1…`.
    ///
    /// # Errors
    /// When a part breaks a limit, or the whole is too long.
    pub fn to_text(&self) -> Result<SecretText, HostError> {
        let bytes = encode(self)?;
        let chars = text::text_chars(Kind::Host, bytes.len());
        if chars > text::MAX_CHARS {
            Err(HostError::TooLong(chars))
        } else {
            Ok(text::encode(Kind::Host, &bytes))
        }
    }

    /// Reads a line; white space around it is ignored. Every value that comes out of it is within
    /// the limits.
    ///
    /// # Errors
    /// [`HostError`].
    pub fn from_text(text: &str) -> Result<Self, HostError> {
        decode(&text::decode(Kind::Host, text)?)
    }
}

pub(crate) fn encode(line: &HostLine) -> Result<Zeroizing<Vec<u8>>, HostError> {
    check(line)?;
    let mut out = Zeroizing::new(Vec::with_capacity(ROOM));
    out.push(VERSION);
    out.extend_from_slice(&line.server.0);
    out.extend_from_slice(&line.client_check);
    out.extend_from_slice(line.psk.to_bytes().as_slice());
    let hop = matches!(line.sequence, Sequence::Hop { .. });
    out.push(if line.ack { FLAG_ACK } else { 0 } | if hop { FLAG_HOP } else { 0 });
    put_text(&mut out, &line.name)?;
    put_count(&mut out, line.hosts.len())?;
    line.hosts.iter().try_for_each(|host| put_text(&mut out, host))?;
    match &line.sequence {
        Sequence::Ports(ports) => {
            put_count(&mut out, ports.len())?;
            out.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
        }
        Sequence::Hop { key, plan } => {
            let (lo, hi) = plan.range();
            out.extend_from_slice(key.to_bytes().as_slice());
            out.extend(lo.to_be_bytes().into_iter().chain(hi.to_be_bytes()));
            out.push(plan.stages());
            put_count(&mut out, plan.excluded().len())?;
            for (first, last) in plan.excluded() {
                out.extend(first.to_be_bytes().into_iter().chain(last.to_be_bytes()));
            }
        }
    }
    put_count(&mut out, line.services.len())?;
    for service in &line.services {
        put_text(&mut out, &service.name)?;
        out.push(match service.proto {
            ServiceProto::Tcp => 6,
            ServiceProto::Udp => 17,
            ServiceProto::All => 0,
        });
        out.extend(service.port.to_be_bytes());
    }
    Ok(out)
}

/// Checks what both directions demand.
fn check(line: &HostLine) -> Result<(), HostError> {
    let excluded = match &line.sequence {
        Sequence::Ports(ports) if ports.is_empty() || ports.len() > usize::from(MAX_STAGES) => {
            return Err(BAD_PORTS);
        }
        Sequence::Ports(ports) if ports.contains(&0) => return Err(BAD_PORTS),
        Sequence::Ports(_) => 0,
        Sequence::Hop { plan, .. } => plan.excluded().len(),
    };
    let service_is_possible = |service: &Service| {
        (service.proto == ServiceProto::All) == (service.port == 0) && name_is_plain(&service.name)
    };
    match line {
        _ if line.hosts.len() > MAX_HOSTS => Err(TOO_MANY),
        _ if line.services.len() > MAX_SERVICES || excluded > MAX_EXCLUDED => Err(TOO_MANY),
        _ if !name_is_plain(&line.name) => Err(BAD_NAME),
        _ if !line.hosts.iter().all(|host| host_is_plain(host)) => Err(BAD_HOST),
        _ if !line.services.iter().all(service_is_possible) => Err(BAD_SERVICE),
        _ => Ok(()),
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) -> Result<(), HostError> {
    out.push(u8::try_from(count).map_err(|_| TOO_MANY)?);
    Ok(())
}

fn put_text(out: &mut Vec<u8>, text: &str) -> Result<(), HostError> {
    put_count(out, text.len())?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

pub(crate) fn decode(bytes: &[u8]) -> Result<HostLine, HostError> {
    let mut input = Input(bytes);
    let version = input.byte()?;
    if version != VERSION {
        return Err(HostError::Version(version));
    }
    let server = ServerPublic(input.array()?);
    let client_check = input.array()?;
    let psk = Psk::from_bytes(*Zeroizing::new(input.array()?));
    let flags = input.byte()?;
    if flags & !(FLAG_ACK | FLAG_HOP) != 0 {
        return Err(HostError::Content("it holds flags that this version does not know"));
    }
    let name = input.text()?;
    let hosts = (0..input.byte()?).map(|_| input.text()).collect::<Result<_, _>>()?;
    let sequence = if flags & FLAG_HOP == 0 {
        Sequence::Ports((0..input.byte()?).map(|_| input.u16()).collect::<Result<_, _>>()?)
    } else {
        input.hop()?
    };
    let services = (0..input.byte()?).map(|_| input.service()).collect::<Result<_, _>>()?;
    if !input.0.is_empty() {
        return Err(TRAILING);
    }
    let line = HostLine {
        server,
        client_check,
        psk,
        name,
        hosts,
        sequence,
        ack: flags & FLAG_ACK != 0,
        services,
    };
    check(&line)?;
    Ok(line)
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], HostError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(CUT)?;
        self.0 = rest;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, HostError> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, HostError> {
        self.array().map(u16::from_be_bytes)
    }

    fn text(&mut self) -> Result<String, HostError> {
        let len = usize::from(self.byte()?);
        let (head, rest) = self.0.split_at_checked(len).ok_or(CUT)?;
        self.0 = rest;
        let text =
            std::str::from_utf8(head).map_err(|_| HostError::Content("a name is not text"))?;
        Ok(text.to_owned())
    }

    fn hop(&mut self) -> Result<Sequence, HostError> {
        let key = HopKey::from_bytes(*Zeroizing::new(self.array()?));
        let (lo, hi, stages) = (self.u16()?, self.u16()?, self.byte()?);
        let count = self.byte()?;
        if usize::from(count) > MAX_EXCLUDED {
            return Err(TOO_MANY);
        }
        let exclude =
            (0..count).map(|_| Ok((self.u16()?, self.u16()?))).collect::<Result<_, HostError>>()?;
        let plan = HopPlan::new(lo, hi, stages, exclude).map_err(|_| BAD_HOP)?;
        Ok(Sequence::Hop { key, plan })
    }

    fn service(&mut self) -> Result<Service, HostError> {
        let name = self.text()?;
        let proto = match self.byte()? {
            6 => ServiceProto::Tcp,
            17 => ServiceProto::Udp,
            0 => ServiceProto::All,
            _ => return Err(BAD_SERVICE),
        };
        Ok(Service { name, proto, port: self.u16()? })
    }
}
