//! Secrets: what Debug prints, and that the signature is one that OpenSSH itself accepts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use spa_proto::{
    Body, ClientSecret, Context, HopKey, Op, Psk, Request, ServerSecret, Session, SessionId,
    SessionParts, Signature, Signer, Touch, danger,
};
use support::touch::Token;
use support::vectors::bodies::{V4, V6};
use support::{PORTS, TS, World, counted, epoch, hex};

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
    fn sign(&self, blob: &[u8]) -> Result<Signature, spa_proto::SignError> {
        let signature = self.inner.sign(blob)?;
        self.seen.borrow_mut().push((blob.to_vec(), signature.bytes));
        Ok(signature)
    }
}

struct Refusing;
impl Signer for Refusing {
    fn sign(&self, _: &[u8]) -> Result<Signature, spa_proto::SignError> {
        Err(spa_proto::SignError("no agent".into()))
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
    Session::new(&SessionParts { signer: &watched, ..world.parts() }, &world.request(), TS)
        .unwrap();
    assert_eq!(watched.seen.borrow().len(), 1);
    assert_eq!(watched.seen.borrow()[0].0.len(), 66);
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let chunk = |chunk: &[u8]| {
        let word =
            (0..3).fold(0u32, |word, i| word << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
        let digit = |i: usize| ALPHABET[(word >> (18 - 6 * i)) as usize & 63] as char;
        (0..4).map(|i| if i <= chunk.len() { digit(i) } else { '=' }).collect::<String>()
    };
    bytes.chunks(3).map(chunk).collect()
}

/// Verifies with OpenSSH; the folder is the test's own.
fn openssh_says(
    name: &str,
    public: &[u8; 32],
    (signature, touch): (&[u8; 64], Option<Touch>),
    namespace: &str,
    message: &[u8],
) -> bool {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("sshsig-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (kind, application, behind) = match touch {
        None => ("ssh-ed25519", vec![], vec![]),
        Some(touch) => {
            let said = [&[touch.flags][..], &touch.counter.to_be_bytes()].concat();
            ("sk-ssh-ed25519@openssh.com", string(b"ssh:"), said)
        }
    };
    let key = [string(kind.as_bytes()), string(public), application].concat();
    let blob = [
        b"SSHSIG".to_vec(),
        1u32.to_be_bytes().to_vec(),
        string(&key),
        string(namespace.as_bytes()),
        string(b""),
        string(b"sha256"),
        string(&[string(kind.as_bytes()), string(signature), behind].concat()),
    ]
    .concat();
    let lines: String = base64(&blob)
        .as_bytes()
        .chunks(70)
        .map(|line| format!("{}\n", String::from_utf8_lossy(line)))
        .collect();
    let armour = format!("-----BEGIN SSH SIGNATURE-----\n{lines}-----END SSH SIGNATURE-----\n");
    fs::write(folder.join("sig"), armour).unwrap();
    fs::write(folder.join("allowed"), format!("client {kind} {}\n", base64(&key))).unwrap();
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
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.success(), text.contains("Good \"spa-v2"), "{text}");
    output.status.success()
}

/// The body of a session's first packet, and H(E).
fn read(world: &World, session: &Session) -> (Body, Vec<u8>) {
    let (port, packet) = &session.packets()[0];
    let seen = world.see(epoch(), &PORTS, packet, *port).map(|seen| seen.sealed.body);
    let big_e = world.pair.ephemeral(packet).unwrap();
    let eh = ring::digest::digest(&ring::digest::SHA256, &big_e).as_ref().to_vec();
    (seen.map_err(|step| format!("{step:?}")).unwrap(), eh)
}

/// Each byte of each field: none can be changed.
fn flipped(message: &[u8], at: usize) -> Vec<u8> {
    let mut other = message.to_vec();
    other[at] ^= 1;
    other
}

#[test]
fn openssh_verifies_the_signature() {
    let world = World::fresh();
    for (name, bind, ext) in [
        ("unbound", None, vec![]),
        ("v4", Some("203.0.113.7"), V4.to_vec()),
        ("v6", Some("2001:db8::7"), V6.to_vec()),
    ] {
        let watched = Watched { inner: &world.client, seen: RefCell::default() };
        let bind_src = bind.map(|text| text.parse().unwrap());
        let request = Request { bind_src, ..world.request() };
        let session =
            Session::new(&SessionParts { signer: &watched, ..world.parts() }, &request, TS)
                .unwrap();
        let (body, eh) = read(&world, &session);
        let message = [&world.context.0[..], &eh, &body.encode(), &ext].concat();
        let (_, signature) = watched.seen.borrow()[0];
        let says = |signature, namespace, message: &[u8]| {
            openssh_says(name, &world.client_public.sign, (signature, None), namespace, message)
        };
        assert!(says(&signature, "spa-v2", &message), "{name}: {}", hex(&message));
        assert!(!says(&signature, "spa-v1", &message), "{name}: another namespace");
        for at in [0, 32, 64, message.len() - 1] {
            let other = flipped(&message, at);
            assert!(!says(&signature, "spa-v2", &other), "{name}: byte {at} of the message");
        }
        let mut other = signature;
        other[5] ^= 1;
        assert!(!says(&other, "spa-v2", &message), "{name}: another signature");
    }
}

/// A security key's signature is OpenSSH's, with its touch and no other.
#[test]
fn openssh_verifies_touches() {
    let token = Token::new(counted(0xd0));
    let world = World::fresh().with_token(&token);
    let parts = SessionParts { signer: &token, ..world.parts() };
    let address = "2001:db8::7".parse().unwrap();
    let request = Request { for_addr: Some(address), ..world.request() };
    let session = Session::new(&parts, &request, TS).unwrap();
    let packet = &session.packets()[0].1;
    let seen = world.see(epoch(), &PORTS, packet, PORTS[0]).map(|seen| seen.sealed);
    let sealed = seen.map_err(|step| format!("{step:?}")).unwrap();
    assert_eq!((sealed.body.for_addr, sealed.touch()), (Some(address), Touch::new(1, 7)));
    let (body, eh) = read(&world, &session);
    let head = body.encode();
    let message = [&world.context.0[..], &eh, &head, &V6].concat();
    let big_e = world.pair.ephemeral(packet).unwrap();
    let blob = danger::signed_data(&world.context, &big_e, &head, &V6);
    let again = Token::new(counted(0xd0)).sign(&blob).unwrap();
    let says = |touch, message: &[u8]| {
        openssh_says("touch", &world.client_public.sign, (&again.bytes, touch), "spa-v2", message)
    };
    assert!(says(again.touch, &message));
    assert!(!says(Touch::new(5, 7), &message), "other flags");
    assert!(!says(Touch::new(1, 8), &message), "another counter");
    assert!(!says(again.touch, &message[..80]), "without the address");
}

/// The proof of new keys is OpenSSH's, under its own namespace only.
#[test]
fn openssh_verifies_proofs() {
    let world = World::fresh();
    let disk = ClientSecret::from_bytes(counted(0xb0));
    let watched = Watched { inner: &disk, seen: RefCell::default() };
    let new = world.successors(disk.public(), &disk, &watched);
    for (bind_src, src16) in [(None, [0; 16]), (Some("2001:db8::7".parse().unwrap()), V6)] {
        let op = Op::Rekey(new.public);
        let request = Request { op, service: 0, ttl_s: 0, bind_src, ..world.request() };
        let session = Session::with_new_keys(&world.parts(), &request, &new, TS).unwrap();
        let (body, eh) = read(&world, &session);
        let new_context = Context::new(&world.server_public, &new.public);
        let traced = danger::trace_new_keys(&world.parts(), &new, [0; 32]).unwrap();
        let value = |name: &str| traced.iter().find(|(key, _)| *key == name).unwrap().1.clone();
        let psk = world.psk.to_bytes();
        let salt = ring::hkdf::Salt::new(ring::hkdf::HKDF_SHA256, psk.as_slice());
        let mut p = [0; 32];
        let info = [b"SPA/2 new proof", &new_context.0[..], &eh];
        let prk = salt.extract(&value("ss'"));
        prk.expand(&info, ring::hkdf::HKDF_SHA256).unwrap().fill(&mut p).unwrap();
        let message = [
            &new_context.0[..],
            &world.context.0,
            &eh,
            &body.encode(),
            &p,
            &value("r"),
            &[0; 32],
            &src16,
        ]
        .concat();
        let (_, proof) = *watched.seen.borrow().last().unwrap();
        let says = |namespace, message: &[u8]| {
            openssh_says("proof", &new.public.sign, (&proof, None), namespace, message)
        };
        assert!(says("spa-v2-new", &message));
        assert!(!says("spa-v2", &message));
        for at in [0, 32, 64, 96, 112, 144, 176, 208, 223] {
            let other = flipped(&message, at);
            assert!(!says("spa-v2-new", &other), "byte {at} of the message");
        }
    }
}
