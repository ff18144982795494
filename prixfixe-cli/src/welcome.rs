//! What `serve` says to a person at a terminal: where mail goes in, where it is kept, and where the
//! page is.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path;

use prixfixe_config::Configuration;
use prixfixe_delivery::TargetUrl;

/// A log is for programs and stays as it is, so nothing is written unless standard error is a
/// terminal.
pub(crate) fn greet(mail: &[impl Display], configuration: &Configuration, admin: &[SocketAddr]) {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        // A terminal that hung up is no reason to stop, as `eprint!` would.
        let _ = stderr.write_all(text(mail, &urls(configuration), admin).as_bytes());
    }
}

fn urls(configuration: &Configuration) -> Vec<TargetUrl> {
    let targets = configuration.routed_targets();
    targets
        .into_iter()
        .filter_map(|target| target.url)
        .collect()
}

fn text(mail: &[impl Display], targets: &[TargetUrl], admin: &[SocketAddr]) -> String {
    let page = match admin {
        [] => "none; --admin 127.0.0.1:9125 serves one".to_owned(),
        addresses => list(addresses.iter().map(|address| format!("http://{address}/"))),
    };
    format!(
        "Mail goes in at  {}\nMail is kept in  {}\nStatus page      {page}\n",
        list(mail),
        list(targets.iter().map(place))
    )
}

/// A relative path says nothing to whoever looks for the mail in another terminal.
fn place(target: &TargetUrl) -> String {
    match target.maildir_path() {
        Some(given) => match path::absolute(&given) {
            Ok(absolute) => absolute.join("new").display().to_string(),
            Err(_) => given.join("new").display().to_string(),
        },
        None => target.to_string(),
    }
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn three_lines_say_where_everything_is() {
        let target = TargetUrl::maildir("/var/mail/in");
        assert_eq!(
            text(&[address(25), address(2525)], &[target], &[address(9125)]),
            "Mail goes in at  127.0.0.1:25, 127.0.0.1:2525\n\
             Mail is kept in  /var/mail/in/new\n\
             Status page      http://127.0.0.1:9125/\n"
        );
    }

    #[test]
    fn a_relative_maildir_is_shown_as_an_absolute_path() {
        let shown = place(&TargetUrl::maildir("./mail"));
        assert!(path::Path::new(&shown).is_absolute(), "{shown}");
        assert!(shown.ends_with("mail/new"), "{shown}");
    }

    #[test]
    fn without_a_page_it_says_how_to_get_one() {
        let discard = "discard:".parse().unwrap();
        let said = text(&[address(2525)], &[discard], &[]);
        assert!(said.contains("--admin 127.0.0.1:9125"), "{said}");
        assert!(said.contains("discard:"), "{said}");
        assert_eq!(said.lines().count(), 3);
    }
}
