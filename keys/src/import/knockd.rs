//! knockd.conf: the sections that open something become services.

use super::command::{Effect, find_effect};
use super::draft::{Draft, DraftService, MAX_TTL_SECONDS, check_interface};
use super::lines::{self, Item, Line};
use super::ports::parse_port;
use super::report::{ImportError, PeerFile, Remarks, SourceLine};

/// Most stages of a sequence.
const MAX_STAGES: usize = spa_proto::MAX_STAGES as usize;
/// Ttl and max-ttl, in seconds, of a service that knockd never closes by itself: the defaults of
/// `[[service]]`.
const STANDING_TTL: u32 = 1800;
const STANDING_MAX_TTL: u32 = 28_800;

/// Section of knockd.conf that opens or closes something.
#[derive(Default)]
struct KnockdSection<'a> {
    name: &'a str,
    place: Option<SourceLine>,
    sequence: Option<(SourceLine, Vec<u16>)>,
    timeout: Option<u32>,
    start: Vec<(SourceLine, &'a str)>,
    stop: Option<SourceLine>,
    cmd_timeout: Option<u32>,
}

/// Reads knockd.conf into the draft.
pub(super) fn read_file(
    input: &PeerFile,
    draft: &mut Draft,
    remarks: &mut Remarks,
) -> Result<(), ImportError> {
    draft.touched = true;
    let mut options = false;
    let mut section: Option<KnockdSection<'_>> = None;
    for item in lines::parse_knockd(input)? {
        match item {
            Item::Section(place, name) => {
                if let Some(before) = section.take() {
                    add_services(before, draft, remarks);
                }
                // knockd compares this name exactly.
                options = name == "options";
                section = (!options).then(|| KnockdSection {
                    name,
                    place: Some(place),
                    ..KnockdSection::default()
                });
            }
            Item::Line(line) if options => read_option(&line, draft, remarks)?,
            Item::Line(line) => {
                if let Some(section) = &mut section {
                    read_directive(&line, section, remarks)?;
                }
            }
        }
    }
    if let Some(last) = section {
        add_services(last, draft, remarks);
    }
    Ok(())
}

fn read_option(
    line: &Line<'_>,
    draft: &mut Draft,
    remarks: &mut Remarks,
) -> Result<(), ImportError> {
    match line.name.as_str() {
        "INTERFACE" => match check_interface(line.value) {
            Some(name) => draft.interfaces = vec![name.to_owned()],
            None => return Err(line.make_error("the value is not the name of an interface")),
        },
        "USESYSLOG" => remarks.note(
            &line.place,
            "UseSyslog: the log goes to standard error and so to the journal, see [log]",
        ),
        "LOGFILE" => remarks.warn(
            &line.place,
            "LogFile: no log file; the log goes to standard error or the journal, see [log]",
        ),
        "PIDFILE" => {
            remarks.note(&line.place, "PidFile: none is needed: systemd knows the process")
        }
        name => remarks.lose(&line.place, format!("{name}: not known, left out")),
    }
    Ok(())
}

fn read_directive<'a>(
    line: &Line<'a>,
    section: &mut KnockdSection<'a>,
    remarks: &mut Remarks,
) -> Result<(), ImportError> {
    match line.name.as_str() {
        "SEQUENCE" => section.sequence = Some((line.place.clone(), parse_sequence(line, remarks)?)),
        "ONE_TIME_SEQUENCES" => remarks.warn(
            &line.place,
            "One_Time_Sequences: not read, and not \
         needed: every knock is good once only; without a Sequence the ports hop",
        ),
        "SEQ_TIMEOUT" | "TIMEOUT" => section.timeout = Some(line.parse_number()?),
        "TCPFLAGS" => remarks.note(
            &line.place,
            "TCPFlags: knocks are UDP packets here, and other \
         packets never spoil a sequence",
        ),
        "TARGET" => remarks.lose(&line.place, "Target: knocks for another host are not looked at"),
        "START_COMMAND" | "COMMAND" | "START_COMMAND_6" | "COMMAND_6" if !line.value.is_empty() => {
            section.start.push((line.place.clone(), line.value));
        }
        "START_COMMAND" | "COMMAND" | "START_COMMAND_6" | "COMMAND_6" => {
            remarks.warn(
                &line.place,
                "an empty command: a knock is for its own family here, and \
                both are open to a client",
            );
        }
        "STOP_COMMAND" | "STOP_COMMAND_6" => {
            section.stop = Some(line.place.clone());
            if find_effect(line.value) != Effect::Closes && !line.value.is_empty() {
                remarks.warn(
                    &line.place,
                    "the command does not simply end what a knock opened; the kernel ends a grant \
                    by itself, and a hook runs a program then: on-close in [[service]]",
                );
            }
        }
        "CMD_TIMEOUT" => section.cmd_timeout = Some(line.parse_number()?),
        name => remarks.lose(&line.place, format!("{name}: not known, left out")),
    }
    Ok(())
}

/// Reads a sequence, as `7000,8000:udp,9000:tcp`.
fn parse_sequence(line: &Line<'_>, remarks: &mut Remarks) -> Result<Vec<u16>, ImportError> {
    let mut ports = Vec::new();
    let mut tcp = false;
    for word in line.value.split(',') {
        let (number, protocol) = word.split_once(':').unwrap_or((word, "tcp"));
        match protocol.trim().to_ascii_lowercase().as_str() {
            "tcp" => tcp = true,
            "udp" => {}
            _ => return Err(line.make_error("a port's protocol is neither tcp nor udp")),
        }
        let port = parse_port(number).ok_or_else(|| {
            line.make_error(
                "one of the ports is not a \
            port",
            )
        })?;
        if ports.contains(&port) {
            remarks.warn(
                &line.place,
                format!(
                    "Sequence: port {port} is there twice; every stage \
                needs a port of its own: the second is left out"
                ),
            );
        } else {
            ports.push(port);
        }
    }
    if tcp {
        remarks.note(
            &line.place,
            "Sequence: the same ports, but sealed UDP packets go there, which nobody else can make \
             or repeat",
        );
    }
    if ports.len() > MAX_STAGES {
        remarks.warn(
            &line.place,
            format!(
                "Sequence: {MAX_STAGES} stages at most: the rest is left out, and none is needed \
                for safety"
            ),
        );
        ports.truncate(MAX_STAGES);
    }
    Ok(ports)
}

fn add_services(section: KnockdSection<'_>, draft: &mut Draft, remarks: &mut Remarks) {
    let Some(place) = section.place else { return };
    let mut opens = false;
    if section.start.is_empty() {
        remarks.lose(&place, "the section has no command that opens anything: left out");
    }
    for (at, command) in &section.start {
        match find_effect(command) {
            Effect::Opens(what, more) => {
                opens = true;
                for text in more {
                    remarks.lose(at, format!("opens more than before: {text}"));
                }
                let standing = section.stop.is_none();
                let ttl = section
                    .cmd_timeout
                    .filter(|_| !standing)
                    .map(|ttl| ttl.clamp(1, MAX_TTL_SECONDS));
                let service = DraftService {
                    name: section.name.to_owned(),
                    opens: what,
                    ttl: ttl.unwrap_or(STANDING_TTL),
                    max_ttl: ttl.unwrap_or(STANDING_MAX_TTL),
                };
                let before = draft.services.len();
                let _ = draft.add_service(service, at, remarks);
                if standing && draft.services.len() > before {
                    remarks.warn(
                        at,
                        "knockd leaves this open until another knock closes it; here \
                        every grant ends: after 30 minutes, or up to 8 hours when asked for, or \
                        with spa-client close",
                    );
                }
            }
            Effect::Closes => remarks.note(
                at,
                "a section that closes is not needed: grants end by themselves, and spa-client \
                close ends one early",
            ),
            Effect::Unknown(why) => {
                remarks.lose(at, format!("{why}; a hook is proposed at the end of the result"));
                draft.propose_hook(at, command);
            }
        }
    }
    if section.cmd_timeout.is_some() && section.stop.is_none() {
        remarks.warn(&place, "Cmd_Timeout without Stop_Command does nothing in knockd: left out");
    }
    // The sequence belongs to the host here, and the first section that opens something gives it.
    if let (Some((at, ports)), true) = (section.sequence, opens) {
        if draft.ports.is_empty() {
            draft.ports = ports;
        } else if draft.ports != ports {
            remarks.warn(
                &at,
                "Sequence: one sequence for all services here, that of the first section; which \
                service is meant stands in the sealed knock",
            );
        }
        if let Some(seconds) = section.timeout {
            draft.timeout = Some(draft.timeout.unwrap_or(0).max(seconds.clamp(1, 600)));
        }
    } else if section.timeout.is_some() || !opens {
        remarks.note(
            &place,
            "its Sequence and Seq_Timeout are left out: it opens nothing, or has no Sequence",
        );
    }
}
