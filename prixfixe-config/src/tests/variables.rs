//! Variables that are not ours, or not meant for us.

use super::*;

fn warnings(variables: &[(&str, &str)]) -> Vec<String> {
    let environment: Environment = variables.iter().copied().collect();
    environment.warnings()
}

#[test]
fn a_variable_that_is_none_of_ours_is_a_warning_with_the_one_probably_meant() {
    for (strange, meant) in [
        ("SMTP_ACCEPT_DOMAIN", "SMTP_ACCEPT_DOMAINS"),
        ("SMTP_PROT", "SMTP_PORT"),
        ("SMTP_MAX_CONECTIONS", "SMTP_MAX_CONNECTIONS"),
        ("SMTP_TLS_CRT", "SMTP_TLS_CERT"),
    ] {
        let expected = format!("{strange} is not a variable of prixfixe; did you mean {meant}?");
        assert_eq!(warnings(&[(strange, "x")]), [expected]);
    }
}

#[test]
fn what_an_orchestrator_sets_for_a_service_named_smtp_is_one_warning_and_no_error() {
    let variables = [
        ("SMTP_PORT", "tcp://10.0.0.7:25"),
        ("SMTP_PORT_25_TCP", "tcp://10.0.0.7:25"),
        ("SMTP_SERVICE_HOST", "10.0.0.7"),
        ("SMTP_DOMAIN", "a"),
        ("PATH", "/bin"),
    ];
    let [ignored, strange] = warnings(&variables).try_into().unwrap();
    assert!(ignored.starts_with("SMTP_PORT is ignored: "), "{ignored}");
    let names = "not variables of prixfixe: SMTP_PORT_25_TCP, SMTP_SERVICE_HOST; ";
    assert!(strange.starts_with(names), "{strange}");
    let configuration = load("", &variables, &[]).unwrap();
    assert_eq!(shown(&configuration, "listen"), r#"["localhost:2525"]"#);
    // The same for every number, and for nothing else.
    let threads = [("SMTP_THREADS", "tcp://10.0.0.7:25")];
    assert_eq!(warnings(&threads).len(), 1);
    assert_eq!(load("", &threads, &[]), load("", &[], &[]));
    assert!(load("", &[("SMTP_LISTEN", "tcp://10.0.0.7:25")], &[]).is_err());
}

#[test]
fn a_port_that_has_no_effect_is_a_warning() {
    let port = ("SMTP_PORT", "2600");
    let expected = "SMTP_PORT does nothing beside SMTP_LISTEN=a:25, which has its own ports";
    assert_eq!(warnings(&[port, ("SMTP_LISTEN", "a:25")]), [expected]);
    assert!(warnings(&[port, ("SMTP_LISTEN", "*, a:25")]).is_empty());
    assert!(warnings(&[port, ("SMTP_LISTEN", " ")]).is_empty());
}

#[test]
fn every_variable_of_ours_is_known() {
    for arg in COMMAND.get_arguments() {
        let variable = variable_of(&flag_of(arg.get_id().as_str()));
        assert!(warnings(&[(&variable, "1")]).is_empty(), "{variable}");
    }
    assert!(warnings(&[("SMTP_PORT", "25")]).is_empty());
}
