//! Texts that name a target, and what is wrong with them.

use super::*;

#[test]
fn every_target_is_read_and_written_the_same() {
    for text in [
        "maildir:./mail",
        "maildir:/a b/c:d",
        "maildir:/var/mail/{domain}/{local}",
        "discard:",
        "stdout:",
    ] {
        let url: TargetUrl = text.parse().unwrap();
        assert_eq!(url.to_string(), text);
        assert!(text.starts_with(url.scheme()));
    }
}

#[test]
fn an_error_names_what_is_wrong_and_what_would_be_right() {
    let cases = [
        ("", "\"\" is no delivery target: write maildir:PATH, "),
        (
            "./mail",
            "\"./mail\" is no delivery target: write maildir:PATH, ",
        ),
        (
            "mbox:x",
            "unknown kind of delivery target \"mbox\": write maildir:PATH, ",
        ),
        (
            "maildir:",
            "maildir: needs the path of a directory, such as maildir:./mail",
        ),
        (
            "maildir:/var/mail/{user}",
            "maildir: \"{user}\" is none of {domain} and {local}, which stand alone between slashes",
        ),
        (
            "discard:x",
            "discard: takes nothing behind the colon, \"x\" was found there",
        ),
        (
            "stdout:-",
            "stdout: takes nothing behind the colon, \"-\" was found there",
        ),
    ];
    for (text, message) in cases {
        let error = text.parse::<TargetUrl>().expect_err(text).to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

#[test]
fn an_option_of_another_kind_is_named() {
    let options = TargetOptions {
        args: vec!["-x".to_owned()],
        ..TargetOptions::default()
    };
    let url: TargetUrl = "discard:".parse().unwrap();
    let problem = "is nothing that a target of the kind discard: takes".to_owned();
    assert_eq!(url.check_options(&options), Err(("args", problem)));
    assert_eq!(url.check_options(&TargetOptions::default()), Ok(()));
}

#[test]
fn only_a_template_makes_maildirs() {
    let options = TargetOptions {
        create: Some(true),
        ..TargetOptions::default()
    };
    let key = |text: &str| {
        let url: TargetUrl = text.parse().unwrap();
        url.check_options(&options).err().map(|(key, _)| key)
    };
    assert_eq!(key("maildir:/var/mail/{local}"), None);
    assert_eq!(key("maildir:/var/mail"), Some("create"));
    assert_eq!(key("stdout:"), Some("create"));
}
