//! Secrets: what Debug prints, and that the signature is one that OpenSSH itself accepts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use spa_proto::{
    Body, ClientSecret, HopKey, Psk, Request, ServerSecret, Session, SessionId, SessionParts, Signature,
    Signer,
};
use support::{PORTS, TS, World, counted, epoch, hex, localhost};

#[test]
fn debug_of_secrets_prints_nothing_of_them() {
    let bytes = counted(0xa1);
    let texts = [
        format!("{:?}", Psk::from_bytes(bytes)),
        format!("{:#?}", ClientSecret::from_bytes(bytes)),
        format!("{:#?}", ServerSecret::from_bytes(bytes)),
        format!("{:?}", HopKey::from_bytes(bytes)),
    ];
    for text in texts {
        assert!(text.ends_with("(…)") && text.len() < 20, "{text}");
        assert!(!text.contains("a1") && !text.contains("161"), "{text}");
    }
    let id = SessionId([0xab; 16]);
    assert_eq!(format!("{id:?}"), "abababab", "ids are for logs: short");
}

/// An agent: signs, and tells what it signed.
struct Watched<'a> {
    inner: &'a ClientSecret,
    seen: RefCell<Vec<(Vec<u8>, [u8; 64])>>,
}

impl Signer for Watched<'_> {
    fn sign(&self, blob: &[u8]) -> Result<Signature, String> {
        let signature = self.inner.sign(blob)?;
        self.seen.borrow_mut().push((blob.to_vec(), signature.bytes));
        Ok(signature)
    }
}

struct Refusing;
impl Signer for Refusing {
    fn sign(&self, _: &[u8]) -> Result<Signature, String> {
        Err("no agent".into())
    }
}

#[test]
fn a_refusing_signer_makes_no_session() {
    let world = World::fresh();
    let parts = SessionParts { signer: &Refusing, ..world.parts() };
    let error = Session::new(&parts, &world.request(), TS).err().unwrap();
    assert_eq!(error.to_string(), "no signature: no agent");
}

#[test]
fn one_signature_a_session() {
    let world = World::fresh();
    let watched = Watched { inner: &world.client, seen: RefCell::default() };
    Session::new(&SessionParts { signer: &watched, ..world.parts() }, &world.request(), TS).unwrap();
    assert_eq!(watched.seen.borrow().len(), 1);
    assert_eq!(watched.seen.borrow()[0].0.len(), 66);
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let chunk = |chunk: &[u8]| {
        let word = (0..3).fold(0u32, |word, i| word << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
        let digit = |i: usize| ALPHABET[(word >> (18 - 6 * i)) as usize & 63] as char;
        (0..4).map(|i| if i <= chunk.len() { digit(i) } else { '=' }).collect::<String>()
    };
    bytes.chunks(3).map(chunk).collect()
}

/// Verifies with OpenSSH; the folder is the test's own.
fn openssh_says(
    name: &str,
    public: &[u8; 32],
    signature: &[u8; 64],
    namespace: &str,
    message: &[u8],
) -> bool {
    let folder =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("sshsig-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let key = [string(b"ssh-ed25519"), string(public)].concat();
    let blob = [
        b"SSHSIG".to_vec(),
        1u32.to_be_bytes().to_vec(),
        string(&key),
        string(namespace.as_bytes()),
        string(b""),
        string(b"sha256"),
        string(&[string(b"ssh-ed25519"), string(signature)].concat()),
    ]
    .concat();
    let lines: String = base64(&blob)
        .as_bytes()
        .chunks(70)
        .map(|line| format!("{}\n", String::from_utf8_lossy(line)))
        .collect();
    let armour = format!("-----BEGIN SSH SIGNATURE-----\n{lines}-----END SSH SIGNATURE-----\n");
    fs::write(folder.join("sig"), armour).unwrap();
    fs::write(folder.join("allowed"), format!("client ssh-ed25519 {}\n", base64(&key))).unwrap();
    let mut child = Command::new("ssh-keygen")
        .args(["-Y", "verify", "-I", "client", "-n", namespace, "-f"])
        .arg(folder.join("allowed"))
        .arg("-s")
        .arg(folder.join("sig"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ssh-keygen (package openssh-client) is needed");
    child.stdin.take().unwrap().write_all(message).unwrap();
    let output = child.wait_with_output().unwrap();
    fs::remove_dir_all(folder).unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.success(), text.contains("Good \"spa-v1\" signature"), "{text}");
    output.status.success()
}

#[test]
fn openssh_verifies_the_signature() {
    let world = World::fresh();
    for (name, bind, src16) in [
        ("unbound", None, [0; 16]),
        ("v4", Some("192.0.2.7"), "::ffff:192.0.2.7".parse::<std::net::Ipv6Addr>().unwrap().octets()),
        ("v6", Some("2001:db8::7"), "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets()),
    ] {
        let watched = Watched { inner: &world.client, seen: RefCell::default() };
        let bind_src = bind.map(|text| text.parse().unwrap());
        let request = Request { bind_src, ..world.request() };
        let session =
            Session::new(&SessionParts { signer: &watched, ..world.parts() }, &request, TS).unwrap();
        let packet = &session.packets()[0].1;
        let big_e = world.gate.ephemeral(packet).unwrap();
        let eh = ring::digest::digest(&ring::digest::SHA256, &big_e);
        let seen = world.see(epoch(), &PORTS, packet, PORTS[0], bind_src.unwrap_or(localhost()));
        let body: Body = seen.map(|seen| seen.sealed.body).map_err(|step| format!("{step:?}")).unwrap();
        let message = [&world.context.0[..], eh.as_ref(), &body.encode(), &src16].concat();
        let (_, signature) = watched.seen.borrow()[0];
        let says = |signature, namespace, message: &[u8]| {
            openssh_says(name, &world.client_public.sign, signature, namespace, message)
        };
        assert!(says(&signature, "spa-v1", &message), "{name}: {}", hex(&message));
        assert!(!says(&signature, "spa-v2", &message), "{name}: another namespace");
        for at in [0, 32, 64, 95] {
            let mut other = message.clone();
            other[at] ^= 1;
            assert!(!says(&signature, "spa-v1", &other), "{name}: byte {at} of the message");
        }
        let mut other = signature;
        other[5] ^= 1;
        assert!(!says(&other, "spa-v1", &message), "{name}: another signature");
    }
}
