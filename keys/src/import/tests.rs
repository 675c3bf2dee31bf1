//! Lines in, ours and remarks out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use proptest::prelude::*;

use super::*;
use crate::text::SecretText;

fn run(peer: Peer, name: &str, text: &str) -> Result<Imported, ImportError> {
    import(peer, &[PeerFile { name: name.into(), text: SecretText::new(text.to_owned()) }])
}

fn remarks(imported: &Imported) -> Vec<String> {
    imported.remarks.iter().map(ToString::to_string).collect()
}

/// What fwknopd 2.6.10 takes in access.conf, with a value that it takes.
const ACCESS: &str = "DESTINATION 192.0.2.1\nOPEN_PORTS tcp/22\nRESTRICT_PORTS tcp/23\nKEY \
    zzsecret\nKEY_BASE64 enpzZWNyZXQ=\nHMAC_KEY zzsecret\n\
HMAC_KEY_BASE64 enpzZWNyZXQ=\nFW_ACCESS_TIMEOUT 60\nMAX_FW_TIMEOUT 90\nENCRYPTION_MODE legacy\nHMAC_DIGEST_TYPE sha512\nACCESS_EXPIRE 12/31/2027\n\
ACCESS_EXPIRE_EPOCH 1830000000\nENABLE_CMD_EXEC Y\nENABLE_CMD_SUDO_EXEC Y\nCMD_EXEC_USER bob\nCMD_SUDO_EXEC_USER bob\nCMD_EXEC_GROUP bob\n\
CMD_SUDO_EXEC_GROUP bob\nCMD_CYCLE_OPEN /bin/true\nCMD_CYCLE_CLOSE NONE\nCMD_CYCLE_TIMER 10\nREQUIRE_USERNAME bob\nREQUIRE_SOURCE_ADDRESS Y\n\
REQUIRE_SOURCE Y\nFORCE_NAT 10.0.0.2 22\nFORCE_SNAT 10.0.0.1\nFORCE_MASQUERADE Y\nFORWARD_ALL Y\nDISABLE_DNAT Y\nGPG_HOME_DIR /root/.gnupg\nGPG_EXE /usr/bin/gpg\n\
GPG_DECRYPT_ID ABCD\nGPG_DECRYPT_PW zzsecret\nGPG_ALLOW_NO_PW Y\nGPG_REQUIRE_SIG Y\nGPG_DISABLE_SIG N\nGPG_IGNORE_SIG_VERIFY_ERROR N\nGPG_REMOTE_ID ABCD\n\
GPG_FINGERPRINT_ID ABCD\nSUDO_EXE /usr/bin/sudo\n";

/// These become part of the result, and need no remark.
const TAKEN: [&str; 7] = [
    "OPEN_PORTS",
    "FW_ACCESS_TIMEOUT",
    "MAX_FW_TIMEOUT",
    "ACCESS_EXPIRE",
    "ACCESS_EXPIRE_EPOCH",
    "RESTRICT_PORTS",
    "SOURCE",
];

#[test]
fn every_directive_of_access_conf_is_known_and_accounted_for() {
    let imported = run(Peer::Fwknop, "access.conf", &format!("SOURCE ANY\n{ACCESS}")).unwrap();
    let said = remarks(&imported);
    for (line, text) in (2..).zip(ACCESS.lines()) {
        let name = text.split(' ').next().unwrap();
        let about = said.iter().find(|remark| remark.starts_with(&format!("access.conf:{line}: ")));
        assert!(about.is_some() || TAKEN.contains(&name), "{name} is lost without a word");
        assert!(!about.is_some_and(|remark| remark.contains("not known")), "{name}");
    }
    let all = format!("{imported:?}");
    assert!(!all.contains("zzsecret") && !all.contains("enpz"), "a key was copied: {all}");
    let server = imported.server.unwrap();
    let command = "spa-server client add bob PUBLIC --service ssh --ttl 1m --max-ttl 1m30s \
        --expires 2027-12-28T13:20:00Z";
    assert!(server.contains(command), "{server}");
}

#[test]
fn every_directive_of_fwknopd_conf_is_known_and_accounted_for() {
    let text = "PCAP_INTF eth0;\nENABLE_PCAP_PROMISC Y;\nPCAP_FILTER udp port \
        62202;\nENABLE_NFQ_CAPTURE Y;\nNFQ_TABLE mangle;\nENABLE_SPA_PACKET_AGING N;\n\
MAX_SPA_PACKET_AGE 120;\nENABLE_DIGEST_PERSISTENCE N;\nPCAP_DISPATCH_COUNT 0;\nMAX_SNIFF_BYTES 1500;\nGPG_EXE /usr/bin/gpg;\nENABLE_SPA_OVER_HTTP Y;\nENABLE_NAT_DNS Y;\n\
ENABLE_X_FORWARDED_FOR Y;\nENABLE_RULE_PREPEND N;\nENABLE_TCP_SERVER Y;\nTCPSERV_PORT 62201;\nLOCALE C;\nSYSLOG_IDENTITY x;\nPCAP_FILE /x;\nENABLE_EXTERNAL_CMDS Y;\n\
EXTERNAL_CMD_OPEN x;\nENABLE_IPT_FORWARDING Y;\nENABLE_IPT_LOCAL_NAT Y;\nENABLE_IPT_SNAT Y;\nSNAT_TRANSLATE_IP 192.0.2.1;\nIPT_INPUT_ACCESS ACCEPT, filter, INPUT, 1, X, 1;\n\
ENABLE_UDP_SERVER Y;\nUDPSERV_PORT 62203;\nRULES_CHECK_THRESHOLD 20;\nEXIT_AT_INTF_DOWN Y;\nVERBOSE 1;\n";
    let imported = run(Peer::Fwknop, "fwknopd.conf", text).unwrap();
    let said = remarks(&imported);
    let taken =
        ["PCAP_INTF", "PCAP_FILTER", "MAX_SPA_PACKET_AGE", "ENABLE_UDP_SERVER", "UDPSERV_PORT"];
    for (line, text) in (1..).zip(text.lines()) {
        let name = text.split(' ').next().unwrap();
        let about =
            said.iter().find(|remark| remark.starts_with(&format!("fwknopd.conf:{line}: ")));
        assert_eq!(about.is_none(), taken.contains(&name), "{name}: {about:?}");
        assert!(!about.is_some_and(|remark| remark.contains("not known")), "{name}");
    }
    let server = imported.server.unwrap();
    for part in
        ["mode = \"udp\"", "interfaces = [\"eth0\"]", "ports = [62203]", "window-past = \"2m\""]
    {
        assert!(server.contains(part), "{server}");
    }
}

#[test]
fn stanzas_become_clients_and_share_services() {
    let text = "SOURCE: 192.168.10.0/24, 10.0.0.0/255.0.0.0\nOPEN_PORTS tcp/22, \
        udp/51820\nRESTRICT_PORTS udp/51820\nFW_ACCESS_TIMEOUT 3600\n\
                SOURCE 0.0.0.0/0,ANY\nOPEN_PORTS tcp/22\nMAX_FW_TIMEOUT 600\n";
    let imported = run(Peer::Fwknop, "access.conf", text).unwrap();
    let server = imported.server.as_ref().unwrap();
    assert_eq!(server.matches("[[service]]").count(), 1, "{server}");
    assert!(
        server.contains("name = \"ssh\"\nports = [\"tcp/22\"]\nttl = \"5m\"\nmax-ttl = \"10m\"\n"),
        "{server}"
    );
    assert!(server.contains(
        "client-1 PUBLIC --service ssh --from 192.168.10.0/24 --from 10.0.0.0/8 --ttl 5m --max-ttl \
         5m\n"
    ));
    assert!(server.contains("client-2 PUBLIC --service ssh --ttl 30s --max-ttl 10m\n"), "{server}");
    let said = remarks(&imported);
    assert!(said.iter().any(|remark| remark.contains("what both name is left out")), "{said:?}");
    assert!(said.iter().any(|remark| remark.contains("grants the shorter one")), "{said:?}");
}

#[test]
fn hosts_of_fwknoprc_inherit_the_default() {
    let text = "[gate]\nSPA_SERVER 192.0.2.1\nACCESS tcp/22,tcp/8080\nKEY_BASE64 enpzZWNyZXQ= # \
        mine\n[de fault\u{1b}]\nSPA_SERVER h.example\n[default]\nFW_TIMEOUT \
        60\nSERVER_RESOLVE_IPV4 Y\n";
    let imported = run(Peer::Fwknop, "x", text).unwrap();
    let client = imported.client.as_ref().unwrap();
    let gate = "[host.\"gate\"]\naddresses = [\"192.0.2.1\"]\nfamily = \"4\"\n# instead of fwknop \
        -n: spa-client open ssh,tcp-8080@gate --ttl 1m\n";
    assert!(client.contains(gate) && client.contains("[host.\"host-5\"]"), "{client}");
    let said = remarks(&imported).join("\n");
    assert!(
        said.contains("x:5: warning: `de fault\\u{1b}` is not a name for a host")
            && !said.contains('\u{1b}'),
        "{said}"
    );
    assert_eq!(imported.server, None);
    let parsed: toml_edit::DocumentMut = client.parse().unwrap();
    assert_eq!(parsed["host"]["gate"]["family"].as_str(), Some("4"));
}

#[test]
fn sections_of_knockd_become_services() {
    let text = "[options]\n\tUseSyslog\n\tinterface = wan0\n[SMTP in]\n\tsequence = \
        2222:udp,3333:tcp,4444\n\tseq_timeout = 15\n\ttcpflags = syn,ack\n\
                \tstart_command = /usr/sbin/iptables -I INPUT 1 -s %IP% -p tcp -m multiport --dports 25,587 -j ACCEPT\n\tcmd_timeout = 90\n\
                \tstop_command = /usr/sbin/iptables -D INPUT -s %IP% -p tcp -m multiport --dports 25,587 -j ACCEPT\n\
                [wol]\n\tsequence = 5,6\n\ttarget = 192.0.2.9\n\tcommand = etherwake 00:11:22:33:44:55\n\
                [all]\n\tsequence = 2222,3333,4444\n\tcommand = ufw allow from %IP%\n";
    let imported = run(Peer::Knockd, "knockd.conf", text).unwrap();
    let server = imported.server.as_ref().unwrap();
    for part in [
        "interfaces = [\"wan0\"]",
        "[sequence]\nports = [2222, 3333, 4444]\ntimeout = \"15s\"",
        "name = \"smtp-in\"\nports = [\"tcp/25\", \"tcp/587\"]\nttl = \"1m30s\"\n\
        max-ttl = \"1m30s\"",
        "name = \"all\"\nports = \"all\"\nttl = \"30m\"\nmax-ttl = \"8h\"",
    ] {
        assert!(server.contains(part), "{part}\n{server}");
    }
    let said = remarks(&imported);
    for line in [
        "2: note",
        "5: note",
        "7: note",
        "12: note",
        "13: NOT TAKEN OVER: Target",
        "14: NOT TAKEN OVER: not one of",
        "17: warning: knockd leaves",
    ] {
        assert!(
            said.iter().any(|remark| remark.starts_with(&format!("knockd.conf:{line}"))),
            "{line}: {said:#?}"
        );
    }
}

#[test]
fn what_opens_more_than_a_knock_may_is_refused() {
    for command in [
        "/sbin/iptables -A INPUT -p tcp --dport 22 -j ACCEPT",
        "/sbin/iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT; rm -rf /",
        "/sbin/iptables -A INPUT -s 0.0.0.0/0 -p tcp --dport 22 -j ACCEPT",
        "/sbin/iptables -t nat -A PREROUTING -s %IP% -p tcp --dport 22 -j DNAT --to 10.0.0.1",
        "/sbin/iptables -A INPUT ! -s %IP% -p tcp --dport 22 -j ACCEPT",
        "/sbin/iptables -A INPUT -s %IP% -p tcp --dport 22 -j DROP",
        "/sbin/iptables -A INPUT -s %IP% -p gre -j ACCEPT",
        "/sbin/iptables -A INPUT -s %IP% -p tcp --dport 0 -j ACCEPT",
        "ufw allow 22/tcp",
        "/bin/sh -c 'iptables -A INPUT -s %IP% -j ACCEPT'",
    ] {
        let imported =
            run(Peer::Knockd, "k", &format!("[a]\nsequence=1,2\ncommand={command}\n")).unwrap();
        let server = imported.server.unwrap();
        assert!(!server.contains("[[service]]"), "{command}: {server}");
        assert!(
            imported
                .remarks
                .iter()
                .any(|remark| remark.weight == RemarkWeight::Lost && remark.place.line == 3),
            "{command}"
        );
    }
}

#[test]
fn bad_lines_are_refused_with_their_place_and_without_keys() {
    let cases = [
        (
            Peer::Fwknop,
            "access.conf",
            "KEY x\n",
            "access.conf:1: KEY: before the first SOURCE, which begins a stanza",
        ),
        (
            Peer::Fwknop,
            "access.conf",
            "SOURCE ANY\n\nKEY\n",
            "access.conf:3: KEY: a value is missing; fwknop would not take this line",
        ),
        (
            Peer::Fwknop,
            "access.conf",
            "SOURCE nowhere/99\n",
            "access.conf:1: SOURCE: `nowhere/99` is not a network, as 192.168.10.0/24",
        ),
        (
            Peer::Fwknop,
            "access.conf",
            "SOURCE ANY\nc2VjcmV0+w== x\n",
            "access.conf:2: this is no directive; the line is not shown, as it may hold a key",
        ),
        (
            Peer::Fwknop,
            "access.conf",
            "SOURCE ANY\nOPEN_PORTS icmp/8\n",
            "access.conf:2: OPEN_PORTS: `icmp/8` is not a port: write tcp/22 or udp/53",
        ),
        (
            Peer::Fwknop,
            "access.conf",
            "SOURCE ANY\nACCESS_EXPIRE 31/12/2027\n",
            "access.conf:2: ACCESS_EXPIRE: the value is not a day: MM/DD/YYYY",
        ),
        (
            Peer::Fwknop,
            "x",
            "hello\n",
            "x:1: neither fwknopd.conf nor access.conf nor .fwknoprc: no line of it says which; \
             name the file as fwknop does",
        ),
        (
            Peer::Knockd,
            "k",
            "sequence = 1\n",
            "k:1: SEQUENCE: a directive before the first [section]; knockd would not start with it",
        ),
        (Peer::Knockd, "k", "[a\n", "k:1: a section without its `]`"),
        (
            Peer::Knockd,
            "k",
            "[a]\nsequence = 1,99999\n",
            "k:2: SEQUENCE: one of the ports is not \
            a port",
        ),
    ];
    for (peer, name, text, expected) in cases {
        assert_eq!(run(peer, name, text).unwrap_err().to_string(), expected);
    }
}

proptest! {
    #[test]
    fn nothing_panics_and_what_comes_out_is_toml(
        lines in proptest::collection::vec(("(SOURCE|OPEN_PORTS|KEY|\\[a\\]|sequence =|command \
            =|ACCESS|SPA_SERVER|PCAP_FILTER|FW_ACCESS_TIMEOUT|REQUIRE_USERNAME|.{0,8})", ".{0,24}"), 0..12),
        name in "(access.conf|fwknopd.conf|.fwknoprc|.{0,9})",
        knockd: bool,
    ) {
        let text: String = lines.iter().map(|(word, value)| format!("{word} {value}\n")).collect();
        let peer = if knockd { Peer::Knockd } else { Peer::Fwknop };
        if let Ok(imported) = run(peer, &name, &text) {
            for text in imported.server.iter().chain(&imported.client) {
                prop_assert!(text.parse::<toml_edit::DocumentMut>().is_ok(), "{}", text);
                prop_assert!(!text.contains(|c: char| c.is_control() && c != '\n'));
            }
        }
    }
}

fn knock(command: &str) -> Imported {
    run(Peer::Knockd, "k", &format!("[a]\nsequence=1,2\ncommand={command}\n")).unwrap()
}

#[test]
fn rules_of_every_firewall_become_services() {
    for (command, ports) in [
        ("iptables -A INPUT -s %IP% -p tcp --dport ssh -j ACCEPT", "[\"tcp/22\"]"),
        (
            "iptables -A INPUT -s %IP% -p tcp -m multiport --dports ssh,https -j ACCEPT",
            "[\"tcp/22\", \"tcp/443\"]",
        ),
        ("/usr/sbin/ufw allow from %IP% to any port ssh proto tcp", "[\"tcp/22\"]"),
        ("ufw insert 1 allow from %IP% to any app OpenSSH", "[\"tcp/22\"]"),
        ("ufw allow proto tcp from %IP% to any port 8000:8010", "[\"tcp/8000-8010\"]"),
        (
            "firewall-cmd --zone=public --add-rich-rule='rule family=\"ipv4\" source \
             address=\"%IP%\" port port=\"22\" protocol=\"tcp\" accept'",
            "[\"tcp/22\"]",
        ),
        (
            "firewall-cmd --add-rich-rule 'rule family=ipv4 source address=%IP% service name=ssh \
             accept' --timeout=30",
            "[\"tcp/22\"]",
        ),
        ("nft add rule inet filter input ip saddr %IP% tcp dport 22 accept", "[\"tcp/22\"]"),
        (
            "nft insert rule inet filter input ip6 saddr %IP% udp dport { 53, 123 } counter accept",
            "[\"udp/53\", \"udp/123\"]",
        ),
    ] {
        let imported = knock(command);
        let lost = imported.remarks.iter().any(|remark| remark.weight == RemarkWeight::Lost);
        assert!(!lost && !imported.empty, "{command}: {:?}", remarks(&imported));
        let server = imported.server.unwrap();
        assert!(server.contains(&format!("\nports = {ports}\n")), "{command}: {server}");
    }
}

#[test]
fn what_is_not_taken_over_is_told_with_a_hook_or_what_to_write() {
    for (command, told, hook) in [
        (
            "/usr/bin/etherwake 00:11:22:33:44:55",
            "not one of",
            "run = [\"/usr/bin/etherwake\", \"00:11:22:33:44:55\"], user = \"nobody\"",
        ),
        ("/opt/notify %IP%", "not one of", "run = [\"/opt/notify\", \"{source}\"]"),
        (
            "nft add element inet filter knocked { %IP% timeout 1h }",
            "an element of a set of nft",
            "a-script-with-that-command\", \"{source}\"]",
        ),
        ("firewall-cmd --reload", "an unknown word of firewall-cmd", "a-script"),
        ("a; b", "more than one command", "a-script"),
        ("iptables -A INPUT -s %IP% -p tcp --dport nonsense-x -j ACCEPT", "neither numbers", ""),
    ] {
        let imported = knock(command);
        let said = remarks(&imported).join("\n");
        assert!(said.contains("k:3: NOT TAKEN OVER: ") && said.contains(told), "{command}: {said}");
        assert!(imported.empty, "{command}");
        assert!(imported.server.unwrap().contains(hook), "{command}");
    }
    let imported = knock("iptables -A INPUT -s %IP% -j ACCEPT");
    let said = remarks(&imported).join("\n");
    assert!(said.contains("NOT TAKEN OVER: it opens every port"), "{said}");
    let imported = knock("iptables -A INPUT -i eth0 -s %IP% -p tcp --dport 22 -j ACCEPT");
    assert!(remarks(&imported).join("\n").contains("opens more than before: -i"));
}

#[test]
fn the_uci_file_of_openwrt_is_read_with_its_own_lines() {
    let text = "config global\n\toption uselog 1\n\nconfig network\n\toption network 'wan'\n\n\
        config access\n\toption keytype 'Base 64'\n\toption SOURCE '192.0.2.0/24'\n\
        \toption KEY 'zzsecret'\n\toption OPEN_PORTS \"tcp/22\"\n\toption NONSENSE 1\n\n\
        config config\n\toption PCAP_FILTER 'udp port 62202'\n";
    let imported = run(Peer::Fwknop, "fwknopd", text).unwrap();
    let said = remarks(&imported);
    for line in [
        "fwknopd:2: NOT TAKEN OVER: only sections",
        "fwknopd:5: NOT TAKEN OVER: only sections",
        "fwknopd:10: warning: KEY",
        "fwknopd:12: NOT TAKEN OVER: NONSENSE: not known",
    ] {
        assert!(said.iter().any(|remark| remark.starts_with(line)), "{line}: {said:#?}");
    }
    let server = imported.server.unwrap();
    for part in ["ports = [62202]", "ports = [\"tcp/22\"]", "--from 192.0.2.0/24"] {
        assert!(server.contains(part), "{part}: {server}");
    }
    assert!(!server.contains("zzsecret") && !imported.empty);
    let refused = run(Peer::Knockd, "knockd", text).unwrap_err().to_string();
    assert!(refused.contains("UCI file of OpenWrt"), "{refused}");
}
