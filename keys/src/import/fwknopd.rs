//! fwknopd.conf.

use super::draft::{Draft, check_interface};
use super::lines::{self, Item, Line};
use super::ports;
use super::report::{ImportError, PeerFile, Remarks};

/// Fate of a directive of fwknopd.conf.
enum Fate {
    /// Read below.
    Read,
    /// Nothing is lost; the reason.
    Needless(&'static str),
    /// A switch that is lost when it is `Y`; the reason.
    Switch(&'static str),
    /// A switch that is lost when it is `N`; the reason.
    OffSwitch(&'static str),
    /// Lost; the reason.
    Lost(&'static str),
}

const OWN_TABLE: &str = "our rules stand in a table of their own in nftables, and nothing is \
    flushed or ordered by hand";
const OWN_CHAINS: &str = "no chains to name: our rules stand in a table of their own in nftables; \
    look at `spa-server firewall show`";
const ROUTED_SERVICES: &str =
    "services behind this host have hook = \"forward\" here; write such a [[service]] by hand";
const NO_COMMANDS: &str = "no commands are run in the place of a knock; a hook runs a program when \
    a grant begins or ends, see on-open and on-close in [[service]]";
const NO_GNUPG: &str = "no GnuPG here: every client has a key of its own, made with `spa keygen`";

/// Returns the fate of a directive; `None`: not a directive of fwknopd.conf.
fn find_fate(name: &str) -> Option<Fate> {
    Some(match name {
        "PCAP_INTF" | "NFQ_INTERFACE" | "PCAP_FILTER" | "UDPSERV_PORT" | "NFQ_PORT"
        | "ENABLE_UDP_SERVER" | "MAX_SPA_PACKET_AGE" => Fate::Read,
        "ENABLE_PCAP_PROMISC" => Fate::Switch("packets for other hosts are never looked at"),
        "ENABLE_NFQ_CAPTURE" => {
            Fate::Switch("no netfilter queue; the packet ring sees knocks before every firewall")
        }
        "ENABLE_SPA_PACKET_AGING" => {
            Fate::OffSwitch("the age of a knock is always checked, see window-past in [server]")
        }
        "ENABLE_DIGEST_PERSISTENCE" => {
            Fate::OffSwitch("replays are always refused, over restarts and crashes too")
        }
        "ENABLE_SPA_OVER_HTTP" | "ENABLE_X_FORWARDED_FOR" => {
            Fate::Switch("knocks are UDP packets only")
        }
        "ENABLE_TCP_SERVER" => {
            Fate::Switch("no TCP server: knocks are UDP packets only, and no port is open for them")
        }
        "TCPSERV_PORT" => {
            Fate::Needless("it matters to the TCP server only, which is not needed here")
        }
        "ENABLE_IPT_FORWARDING" | "ENABLE_FIREWD_FORWARDING" | "ENABLE_NAT_DNS" => {
            Fate::Switch(ROUTED_SERVICES)
        }
        "ENABLE_IPT_LOCAL_NAT" | "ENABLE_FIREWD_LOCAL_NAT" => Fate::Switch(
            "a client cannot ask for another port in front of a service; the service's own port \
             opens",
        ),
        "ENABLE_IPT_SNAT" | "ENABLE_FIREWD_SNAT" => {
            Fate::Switch("no source NAT; write that rule into your own firewall")
        }
        "SNAT_TRANSLATE_IP" => Fate::Lost("no source NAT; write that rule into your own firewall"),
        "ENABLE_IPT_OUTPUT" | "ENABLE_FIREWD_OUTPUT" => Fate::Switch(
            "outgoing packets are left alone; a firewall that drops answers needs a rule for \
             established flows",
        ),
        "ENABLE_DESTINATION_RULE" => Fate::Switch("a grant is for all addresses of this host"),
        "ENABLE_RULE_PREPEND"
        | "FLUSH_IPT_AT_INIT"
        | "FLUSH_IPT_AT_EXIT"
        | "FLUSH_FIREWD_AT_INIT"
        | "FLUSH_FIREWD_AT_EXIT"
        | "ENABLE_IPT_COMMENT_CHECK"
        | "ENABLE_FIREWD_COMMENT_CHECK"
        | "RULES_CHECK_THRESHOLD" => Fate::Needless(OWN_TABLE),
        "IPT_INPUT_ACCESS"
        | "IPT_OUTPUT_ACCESS"
        | "IPT_FORWARD_ACCESS"
        | "IPT_DNAT_ACCESS"
        | "IPT_SNAT_ACCESS"
        | "IPT_MASQUERADE_ACCESS"
        | "FIREWD_INPUT_ACCESS"
        | "FIREWD_OUTPUT_ACCESS"
        | "FIREWD_FORWARD_ACCESS"
        | "FIREWD_DNAT_ACCESS"
        | "FIREWD_SNAT_ACCESS"
        | "FIREWD_MASQUERADE_ACCESS" => Fate::Lost(OWN_CHAINS),
        "ENABLE_EXTERNAL_CMDS" | "ENABLE_EXT_CMD_PREFIX" => Fate::Switch(NO_COMMANDS),
        "EXTERNAL_CMD_OPEN" | "EXTERNAL_CMD_CLOSE" | "EXTERNAL_CMD_ALARM" | "EXT_CMD_PREFIX"
        | "SUDO_EXE" | "CMD_EXEC_TIMEOUT" => Fate::Lost(NO_COMMANDS),
        "GPG_HOME_DIR" | "GPG_EXE" => Fate::Lost(NO_GNUPG),
        "ENABLE_PCAP_ANY_DIRECTION" => Fate::Switch("only packets to this host are knocks"),
        "EXIT_AT_INTF_DOWN" => {
            Fate::Needless("an interface may go and come back while the server runs")
        }
        "VERBOSE" => Fate::Needless("see level in [log]"),
        "SYSLOG_IDENTITY" | "SYSLOG_FACILITY" => {
            Fate::Lost("the log goes to standard error or the journal, see [log]")
        }
        "LOCALE" => Fate::Needless("messages are in English"),
        "PCAP_DISPATCH_COUNT"
        | "PCAP_LOOP_SLEEP"
        | "MAX_SNIFF_BYTES"
        | "UDPSERV_SELECT_TIMEOUT"
        | "NFQ_LOOP_SLEEP" => {
            Fate::Needless("nothing to tune: the capture waits for packets by itself")
        }
        "NFQ_TABLE" | "NFQ_CHAIN" | "NFQ_QUEUE_NUMBER" => {
            Fate::Needless("no netfilter queue is needed")
        }
        "PCAP_FILE" => Fate::Lost("knocks are not read from files"),
        "ACCESS_FILE" | "ACCESS_FOLDER" => {
            Fate::Lost("other files are not followed: name them as arguments too")
        }
        "FWKNOP_RUN_DIR" | "FWKNOP_CONF_DIR" | "FWKNOP_PID_FILE" | "DIGEST_FILE"
        | "DIGEST_DB_FILE" | "CONFIG_FILE" => {
            Fate::Needless("our own folders are named in [server]")
        }
        "FIREWALL_EXE" => Fate::Needless("no program is called: the kernel is asked directly"),
        _ => return None,
    })
}

/// Tells whether fwknopd.conf has such a directive.
pub(super) fn is_directive(name: &str) -> bool {
    find_fate(name).is_some()
}

/// Reads fwknopd.conf into the draft.
pub(super) fn read_file(
    input: &PeerFile,
    draft: &mut Draft,
    remarks: &mut Remarks,
) -> Result<(), ImportError> {
    draft.touched = true;
    for item in lines::parse_fwknop(input, false, remarks)? {
        let Item::Line(line) = item else { continue };
        match find_fate(&line.name) {
            Some(Fate::Read) => read_directive(&line, draft, remarks)?,
            Some(Fate::Switch(_)) if !line.is_yes() => {
                remarks.note(&line.place, format!("{}: off, as here", line.name));
            }
            Some(Fate::OffSwitch(reason)) if line.is_yes() => {
                remarks.note(&line.place, format!("{}: {reason}", line.name));
            }
            Some(Fate::Needless(reason)) => {
                remarks.note(&line.place, format!("{}: {reason}", line.name))
            }
            Some(Fate::Switch(reason) | Fate::Lost(reason @ NO_COMMANDS)) => {
                remarks.lose(&line.place, format!("{}: {reason}", line.name));
            }
            Some(Fate::OffSwitch(reason) | Fate::Lost(reason)) => {
                remarks.warn(&line.place, format!("{}: {reason}", line.name));
            }
            None => remarks.lose(&line.place, format!("{}: not known, left out", line.name)),
        }
    }
    Ok(())
}

fn read_directive(
    line: &Line<'_>,
    draft: &mut Draft,
    remarks: &mut Remarks,
) -> Result<(), ImportError> {
    match line.name.as_str() {
        "PCAP_INTF" | "NFQ_INTERFACE" => match check_interface(line.value) {
            Some("any") => {
                remarks.note(&line.place, "PCAP_INTF: all interfaces, as is the default here")
            }
            Some(name) => {
                if !draft.interfaces.iter().any(|own| own == name) {
                    draft.interfaces.push(name.to_owned());
                }
            }
            None => return Err(line.make_error("the value is not the name of an interface")),
        },
        "MAX_SPA_PACKET_AGE" => {
            let (seconds, most) = (line.parse_number()?, 300);
            draft.window_past = Some(seconds.clamp(1, most));
            if seconds > most || seconds == 0 {
                remarks.warn(
                    &line.place,
                    "MAX_SPA_PACKET_AGE: 1 to 300 seconds here; the nearest is taken",
                );
            }
        }
        "UDPSERV_PORT" | "NFQ_PORT" => {
            draft.ports = vec![
                ports::parse_port(line.value)
                    .ok_or_else(|| line.make_error("the value is not a port"))?,
            ];
        }
        "ENABLE_UDP_SERVER" if line.is_yes() => draft.capture = Some("udp"),
        "ENABLE_UDP_SERVER" => remarks.note(&line.place, "ENABLE_UDP_SERVER: off, as here"),
        _ => read_pcap_filter(line, draft, remarks),
    }
    Ok(())
}

/// Reads a pcap filter: a single UDP port, or a range of them, and nothing else can be taken over.
fn read_pcap_filter(line: &Line<'_>, draft: &mut Draft, remarks: &mut Remarks) {
    let words: Vec<&str> = line.value.split_whitespace().filter(|word| *word != "dst").collect();
    match words.as_slice() {
        ["udp", "port", port] if ports::parse_port(port).is_some() => {
            draft.ports = ports::parse_port(port).into_iter().collect()
        }
        ["udp", "portrange", range] => match ports::Ports::parse_range(true, range, '-') {
            Some(range) => {
                draft.hop = Some((range.first, range.last));
                remarks.note(
                    &line.place,
                    "PCAP_FILTER: instead of taking knocks at any port of \
                    the range, the port hops within it, known to enrolled clients only",
                );
            }
            None => remarks.lose(
                &line.place,
                "PCAP_FILTER: the range cannot be read; the usual \
                port is taken",
            ),
        },
        _ => remarks.lose(
            &line.place,
            "PCAP_FILTER: only `udp port N` and `udp dst portrange A-B` have an equivalent; look \
            at [sequence] and [capture]",
        ),
    }
}
