//! The text forms of `docs/formats.md`, written from that page alone: Bech32m and byte layouts.

use std::fmt::Write;

use spa_proto::{ClientSecret, HopKey, InvitationSecret, ServerSecret};

use super::touch::Token;
use super::{PORTS, counted};

const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// BIP 350's checksum constant.
const BECH32M: u32 = 0x2bc8_30a3;

/// A locked key with salt and all: Argon2id is not made here. Its secret is the seed of the worked
/// example, its passphrase `correct horse battery staple`, its cost 8 MiB, one pass, one lane.
pub const LOCKED: &str = concat!(
    "SPA-LOCKED-KEY-1QYQSQQPQQQQSZYCV3V4A5CEXNAHM5PKH49HPDCA3ARQWV242PU7HP64U8Q3LAVA0",
    "2CSQ0K26X5Z7MUHADCYUNAY4NL0Z8EKFG7553HZP0H5DF76EMWPPCVC86QNT63UFF276LZF38AZHQUGW",
    "NS3DMKRKZF8RKUVD349MG8RGPRD0EAXCQ37TGN243Z05QXUT65LZLY7TRF5U334XDPCSYZHFH5N9K858",
);

fn polymod(values: &[u8]) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    values.iter().fold(1, |sum, value| {
        let top = sum >> 25;
        let next = (sum & 0x01ff_ffff) << 5 ^ u32::from(*value);
        GENERATOR
            .iter()
            .enumerate()
            .filter(|(bit, _)| top >> bit & 1 == 1)
            .fold(next, |sum, (_, word)| sum ^ word)
    })
}

/// The prefix as BIP 173 expands it.
fn expanded(prefix: &str) -> Vec<u8> {
    let lower = prefix.to_ascii_lowercase();
    let (high, low) = (lower.bytes().map(|c| c >> 5), lower.bytes().map(|c| c & 31));
    high.chain([0]).chain(low).collect()
}

/// `prefix` is all before the separator `1`; in capitals for a secret.
pub fn bech32m(prefix: &str, bytes: &[u8]) -> String {
    let bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let bits: Vec<u8> = bits.collect();
    let group = |bits: &[u8]| (0..5).fold(0, |sum, at| sum << 1 | bits.get(at).unwrap_or(&0));
    let mut data: Vec<u8> = bits.chunks(5).map(group).collect();
    let sum = polymod(&[expanded(prefix), data.clone(), vec![0; 6]].concat()) ^ BECH32M;
    data.extend((0..6).map(|at| (sum >> (25 - 5 * at) & 31) as u8));
    let text: String = data.iter().map(|group| char::from(ALPHABET[usize::from(*group)])).collect();
    let secret = prefix.bytes().any(|c| c.is_ascii_uppercase());
    format!("{prefix}1{}", if secret { text.to_ascii_uppercase() } else { text })
}

/// The bytes in a text, when its checksum is right and its unused last bits are zero.
pub fn unbech32m(text: &str) -> Option<(String, Vec<u8>)> {
    let (prefix, data) = text.rsplit_once('1')?;
    let lower = data.to_ascii_lowercase();
    let find = |c: u8| ALPHABET.iter().position(|letter| *letter == c).map(|at| at as u8);
    let groups: Vec<u8> = lower.bytes().map(find).collect::<Option<_>>()?;
    if polymod(&[expanded(prefix), groups.clone()].concat()) != BECH32M {
        return None;
    }
    let data = groups.get(..groups.len().checked_sub(6)?)?;
    let bits: Vec<u8> =
        data.iter().flat_map(|group| (0..5).rev().map(move |bit| group >> bit & 1)).collect();
    let (whole, rest) = bits.as_chunks::<8>();
    let bytes = whole.iter().map(|bits| bits.iter().fold(0, |sum, bit| sum << 1 | bit));
    let bytes: Vec<u8> = bytes.collect();
    (rest.len() < 5 && rest.iter().all(|bit| *bit == 0)).then(|| (prefix.to_owned(), bytes))
}

/// One part of a line: its name, and its bytes.
pub type Part = (&'static str, Vec<u8>);

fn counted_text(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

/// The parts in front of the ports. `flags`: 1 ack, 2 hop.
fn line_head(check: &[u8], secret: [u8; 32], flags: u8) -> Vec<Part> {
    let hosts = ["ssh.example.org", "192.0.2.10"];
    let hosts = hosts.iter().flat_map(|host| counted_text(host));
    vec![
        ("version", vec![2]),
        ("pk_S", ServerSecret::from_bytes(counted(0)).public().0.to_vec()),
        ("check", check.to_vec()),
        (if flags & 8 == 0 { "psk" } else { "I" }, secret.to_vec()),
        ("flags", vec![flags & 7]),
        ("name", counted_text("anna-laptop")),
        ("hosts", [2].into_iter().chain(hosts).collect()),
    ]
}

fn services() -> Part {
    let ssh = [&counted_text("ssh")[..], &[6], &22u16.to_be_bytes()].concat();
    let vpn = [&counted_text("vpn")[..], &[17], &51_820u16.to_be_bytes()].concat();
    ("services", [&[2], &ssh[..], &vpn].concat())
}

fn check_of(public: &spa_proto::ClientPublic) -> Vec<u8> {
    let sum = ring::digest::digest(&ring::digest::SHA256, &public.to_bytes());
    sum.as_ref()[..8].to_vec()
}

/// An enrolment line of the pair of the worked examples, with fixed ports.
pub fn host_line() -> Vec<Part> {
    let check = check_of(&ClientSecret::from_bytes(counted(0x20)).public());
    let mut parts = line_head(&check, counted(0x40), 1);
    let ports = PORTS.iter().flat_map(|port| port.to_be_bytes());
    parts.push(("ports", [3].into_iter().chain(ports).collect()));
    parts.push(services());
    parts
}

/// The same with hopping ports, as an invitation.
pub fn invitation() -> Vec<Part> {
    let secret = InvitationSecret::from_bytes(counted(0x90));
    let mut parts = line_head(&check_of(&secret.client().public()), counted(0x90), 8 | 1 | 2);
    let server = ServerSecret::from_bytes(counted(0));
    parts.push(("k_hop", HopKey::of_server(&server).to_bytes().to_vec()));
    let numbers = [40_000u16, 49_999].iter().flat_map(|port| port.to_be_bytes());
    parts.push(("range", numbers.chain([3]).collect()));
    let excluded = [41_000u16, 41_999, 42_222, 42_222];
    let excluded = excluded.iter().flat_map(|port| port.to_be_bytes());
    parts.push(("excluded", [2].into_iter().chain(excluded).collect()));
    parts.push(services());
    parts
}

/// Joins the parts.
pub fn joined(parts: &[Part]) -> Vec<u8> {
    parts.iter().flat_map(|(_, bytes)| bytes.clone()).collect()
}

/// Text forms of the keys of the worked examples, with what each holds.
pub fn key_texts() -> Vec<(&'static str, String)> {
    let (server, client) =
        (ServerSecret::from_bytes(counted(0)), ClientSecret::from_bytes(counted(0x20)));
    let token = Token::new(counted(0xd0)).public_with(&client);
    let agent = [&[1][..], &token.sign, &counted(0x20)].concat();
    vec![
        ("client", bech32m("spa", &client.public().to_bytes())),
        ("security key", bech32m("spask", &token.to_bytes())),
        ("server", bech32m("spaserver", &server.public().0)),
        ("seed_C", bech32m("SPA-SECRET-KEY-", &counted(0x20))),
        ("sk_S", bech32m("SPA-SERVER-KEY-", &counted(0))),
        ("psk", bech32m("SPA-PSK-", &counted(0x40))),
        ("agent key", bech32m("SPA-AGENT-KEY-", &agent)),
    ]
}

/// `name = text`, 64 characters a line.
fn lines(out: &mut String, name: &str, text: &str) {
    let chars: Vec<char> = text.chars().collect();
    let rows: Vec<String> = chars.chunks(64).map(|row| row.iter().collect()).collect();
    writeln!(out, "{name:<12} = {}", rows.join(&format!("\n{:15}", ""))).unwrap();
}

/// The example of the page with this name.
pub fn example(name: &str) -> Option<String> {
    let mut out = String::new();
    let parts = match name {
        "text-keys" => {
            key_texts().iter().for_each(|(name, text)| lines(&mut out, name, text));
            return Some(out);
        }
        "locked-key" => {
            let (_, bytes) = unbech32m(LOCKED).unwrap();
            let cuts = [("head", 0, 8), ("salt", 8, 24), ("public", 24, 88), ("box", 88, 136)];
            for (name, from, to) in cuts {
                lines(&mut out, name, &super::hex(&bytes[from..to]));
            }
            lines(&mut out, "text", LOCKED);
            return Some(out);
        }
        "host-line" => host_line(),
        "invitation" => invitation(),
        _ => return None,
    };
    for (name, bytes) in &parts {
        lines(&mut out, name, &super::hex(bytes));
    }
    let prefix = if name == "host-line" { "SPA-HOST-" } else { "SPA-INVITATION-" };
    lines(&mut out, "text", &bech32m(prefix, &joined(&parts)));
    Some(out)
}
