//! The bytes inside an enrolment line, version 2, big-endian.
//!
//! ```text
//! version u8 = 2 | server 32 | client check 8 | psk 32 | flags u8 (bit 0 ack, 1 hop, 2 kem)
//! name: len u8, bytes | hosts: count u8, each len u8, bytes
//! ports: count u8, each u16
//!        or, with flag hop: key 32 | lo u16 | hi u16 | stages u8
//!                           | excluded: count u8, each lo u16, hi u16
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

const LINE_VERSION: u8 = 2;
const FLAG_ACK: u8 = 1;
const FLAG_HOP: u8 = 2;
const FLAG_KEM: u8 = 4;
/// Capacity of the buffer, more than fits in a line: a buffer that grows would leave an unwiped
/// copy of the psk behind.
const LINE_CAPACITY: usize = 16 * 1024;

const BAD_NAME: HostError = HostError::Content(
    "the client's name has characters that no name may \
    have",
);
const BAD_HOST: HostError = HostError::Content("a host is neither a name nor an address");
const BAD_SERVICE: HostError =
    HostError::Content("a service's name, protocol or port is not possible");
const BAD_PORTS: HostError = HostError::Content("a sequence has 1 to 8 ports, none of them 0");
const BAD_HOP: HostError = HostError::Content("the port range of the sequence is not possible");
const BAD_KEM: HostError = HostError::Content("an ML-KEM key needs answers, and two stages");
const TOO_MANY: HostError = HostError::Content("too many hosts, services or excluded ports");
const CUT_OFF: HostError = HostError::Content("it ends too early");
const TRAILING_BYTES: HostError = HostError::Content("something stands after its end");

impl HostLine {
    /// Returns the line, `SPA-HOST-1…`.
    ///
    /// # Errors
    /// When a part breaks a limit, or the whole is too long.
    pub fn to_text(&self) -> Result<SecretText, HostError> {
        let bytes = encode_line(self)?;
        let chars = text::text_chars(Kind::Host, bytes.len());
        if chars > text::MAX_CHARS {
            Err(HostError::TooLong(chars))
        } else {
            Ok(text::encode_text(Kind::Host, &bytes))
        }
    }

    /// Reads a line; white space around it is ignored. Every value that comes out of it is within
    /// the limits.
    ///
    /// # Errors
    /// [`HostError`].
    pub fn from_text(text: &str) -> Result<Self, HostError> {
        decode_line(&text::decode_text(Kind::Host, text)?)
    }
}

/// Encodes a line in its binary form.
pub(crate) fn encode_line(line: &HostLine) -> Result<Zeroizing<Vec<u8>>, HostError> {
    check_limits(line)?;
    let mut out = Zeroizing::new(Vec::with_capacity(LINE_CAPACITY));
    out.push(LINE_VERSION);
    out.extend_from_slice(&line.server.0);
    out.extend_from_slice(&line.client_check);
    out.extend_from_slice(line.psk.to_bytes().as_slice());
    let hop = matches!(line.sequence, Sequence::Hop { .. });
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    out.push(bit(line.ack, FLAG_ACK) | bit(hop, FLAG_HOP) | bit(line.kem, FLAG_KEM));
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
fn check_limits(line: &HostLine) -> Result<(), HostError> {
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
        _ if line.kem && !line.can_carry_kem() => Err(BAD_KEM),
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

/// Decodes the binary form. Every value that comes out is within the limits.
pub(crate) fn decode_line(bytes: &[u8]) -> Result<HostLine, HostError> {
    let mut input = LineReader(bytes);
    let version = input.take_byte()?;
    if version < LINE_VERSION {
        return Err(HostError::Older);
    }
    if version != LINE_VERSION {
        return Err(HostError::Version(version));
    }
    let server = ServerPublic(input.take_array()?);
    let client_check = input.take_array()?;
    let psk = Psk::from_bytes(*Zeroizing::new(input.take_array()?));
    let flags = input.take_byte()?;
    if flags & !(FLAG_ACK | FLAG_HOP | FLAG_KEM) != 0 {
        return Err(HostError::Content("it holds flags that this version does not know"));
    }
    let name = input.take_text()?;
    let hosts = (0..input.take_byte()?).map(|_| input.take_text()).collect::<Result<_, _>>()?;
    let sequence = if flags & FLAG_HOP == 0 {
        Sequence::Ports(
            (0..input.take_byte()?).map(|_| input.take_u16()).collect::<Result<_, _>>()?,
        )
    } else {
        input.take_hop()?
    };
    let services =
        (0..input.take_byte()?).map(|_| input.take_service()).collect::<Result<_, _>>()?;
    if !input.0.is_empty() {
        return Err(TRAILING_BYTES);
    }
    let line = HostLine {
        server,
        client_check,
        psk,
        name,
        hosts,
        sequence,
        ack: flags & FLAG_ACK != 0,
        kem: flags & FLAG_KEM != 0,
        services,
    };
    check_limits(&line)?;
    Ok(line)
}

struct LineReader<'a>(&'a [u8]);

impl LineReader<'_> {
    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], HostError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(CUT_OFF)?;
        self.0 = rest;
        Ok(*head)
    }

    fn take_byte(&mut self) -> Result<u8, HostError> {
        self.take_array().map(|[byte]| byte)
    }

    fn take_u16(&mut self) -> Result<u16, HostError> {
        self.take_array().map(u16::from_be_bytes)
    }

    fn take_text(&mut self) -> Result<String, HostError> {
        let len = usize::from(self.take_byte()?);
        let (head, rest) = self.0.split_at_checked(len).ok_or(CUT_OFF)?;
        self.0 = rest;
        let text =
            std::str::from_utf8(head).map_err(|_| HostError::Content("a name is not text"))?;
        Ok(text.to_owned())
    }

    fn take_hop(&mut self) -> Result<Sequence, HostError> {
        let key = HopKey::from_bytes(*Zeroizing::new(self.take_array()?));
        let (lo, hi, stages) = (self.take_u16()?, self.take_u16()?, self.take_byte()?);
        let count = self.take_byte()?;
        if usize::from(count) > MAX_EXCLUDED {
            return Err(TOO_MANY);
        }
        let exclude = (0..count)
            .map(|_| Ok((self.take_u16()?, self.take_u16()?)))
            .collect::<Result<_, HostError>>()?;
        let plan = HopPlan::new(lo, hi, stages, exclude).map_err(|_| BAD_HOP)?;
        Ok(Sequence::Hop { key, plan })
    }

    fn take_service(&mut self) -> Result<Service, HostError> {
        let name = self.take_text()?;
        let proto = match self.take_byte()? {
            6 => ServiceProto::Tcp,
            17 => ServiceProto::Udp,
            0 => ServiceProto::All,
            _ => return Err(BAD_SERVICE),
        };
        Ok(Service { name, proto, port: self.take_u16()? })
    }
}
