#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;

fn one_of_each() -> Vec<Command> {
    let source: IpAddr = "2001:db8::7".parse().unwrap();
    vec![
        Command::Status { brief: true },
        Command::Reload { force: true },
        Command::Grants,
        Command::Open { service: "ssh".into(), source, ttl_s: Some(60) },
        Command::Close(CloseRequest { grant: Some("g1".into()), ..Default::default() }),
        Command::Bans { limit: Some(7), after: Some("2001:db8::/64".parse().unwrap()) },
        Command::Ban { source: "192.0.2.1".into(), time_s: Some(60) },
        Command::Unban { source: None, all: true },
        Command::Clients { limit: None, after: Some("laptop".into()) },
        Command::Explain(ExplainRequest {
            client: "laptop".into(),
            service: "ssh".into(),
            from: Some(source),
            at: None,
            wanted: Some(source),
            ttl_s: Some(60),
        }),
        Command::Metrics,
        Command::AcceptClock,
        Command::Audit(AuditQuery::default()),
        Command::Try { time_s: Some(10), session: None },
        Command::Confirm { session: Some("there-here".into()) },
        Command::Cancel,
        Command::Revoke { client: "laptop".into() },
    ]
}

#[test]
fn what_is_asked_is_read() {
    let mut words = Vec::new();
    for command in one_of_each() {
        let question = Question { version: PROTOCOL_VERSION, command };
        let line = serde_json::to_string(&question).unwrap();
        assert_eq!(Question::read(&line), Ok(question), "{line}");
        let value: Value = serde_json::from_str(&line).unwrap();
        words.push(value.get("command").and_then(Value::as_str).unwrap().to_owned());
    }
    assert_eq!(words, KNOWN_COMMANDS);
}

#[test]
fn an_older_program_asks_for_the_status_without_arguments() {
    let question = Question::read(r#"{"version":1,"command":"status"}"#).unwrap();
    assert_eq!(question.command, Command::Status { brief: false });
}

#[test]
fn what_is_wrong_is_said() {
    for (line, words) in [
        ("", "not understood"),
        ("[]", "one JSON object"),
        (r#"{"command":"status"}"#, "`version` is missing; it is 1"),
        (r#"{"version":"1","command":"status"}"#, "`version` is missing"),
        (
            r#"{"version":2,"command":"dance"}"#,
            "version 1 of the control socket, and was asked in version 2",
        ),
        (r#"{"version":1}"#, "there is no command ``; this server knows status, reload"),
        (r#"{"version":1,"command":"dan\u001bce"}"#, "there is no command `dan\\u{1b}ce`"),
        (r#"{"version":1,"command":"open","service":"ssh"}"#, "missing field `source`"),
        (r#"{"version":1,"command":"open","service":"ssh","source":"here"}"#, "invalid IP address"),
        (r#"{"version":1,"command":"grants","colour":1}"#, ""),
        (r#"{"version":1,"command":"close","every":true}"#, "unknown field `every`"),
    ] {
        match Question::read(line) {
            Err(failure) => {
                assert!(
                    failure.to_string().contains(words) && !words.is_empty(),
                    "{line}: {failure}"
                )
            }
            // serde cannot refuse more fields of a command that has none.
            Ok(question) => assert_eq!((question.command, words), (Command::Grants, ""), "{line}"),
        }
    }
}
