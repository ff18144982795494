//! A help desk within an axum application: mail to a ticket's address becomes a part of the ticket,
//! which the web side shows. One runtime, one signal that stops both sides, and the mail server's
//! numbers on the application's own `/metrics`.
//!
//! `cargo run --example axum_helpdesk`, then
//! `swaks --server 127.0.0.1:2525 --to ticket+abc@desk.example` and
//! `curl http://127.0.0.1:8080/tickets/abc`.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Router, routing::get};
use mail_parser::MessageParser;
use prixfixe_server::{
    Accepted, CertificateSource, Client, Endpoint, Message, MessageId, Metrics, OrReply, Rcpt,
    Reply, Server, Session, TlsConfig, reply,
};
use tokio::net::TcpListener;

/// What a mail may have in bytes.
const MAX_MAIL: u64 = 1 << 20;

/// The application's database. The key of a mail is its id: what a client sends again is another
/// mail, but nothing that was kept is lost by it.
#[derive(Default)]
struct Desk(Mutex<BTreeMap<String, BTreeMap<String, String>>>);

impl Desk {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<String, String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, ticket: &str) {
        self.lock().entry(ticket.to_owned()).or_default();
    }

    fn add(&self, ticket: &str, id: MessageId, text: &str) -> Result<(), &'static str> {
        let mut tickets = self.lock();
        let ticket = tickets.get_mut(ticket).ok_or("the ticket is gone")?;
        ticket.insert(id.to_string(), text.to_owned());
        Ok(())
    }
}

/// One connection of a mail client's.
struct Visit {
    desk: Arc<Desk>,
    /// What RCPT found is there when the message comes.
    tickets: Vec<String>,
}

impl Session for Visit {
    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        let Some(mailbox) = rcpt.path().mailbox() else {
            return Ok(()); // `postmaster`: RFC 5321 section 4.5.1
        };
        let ticket = mailbox.local_part().strip_prefix("ticket+");
        let ticket = ticket.filter(|it| self.desk.lock().contains_key(*it));
        let ticket = ticket.ok_or(reply!(550 5.1.1 "There is no such ticket"))?;
        self.tickets.push(ticket.to_owned());
        Ok(())
    }

    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        let message = message.collect_up_to(MAX_MAIL).await?; // more is `552 5.3.4`
        let mail = MessageParser::default().parse(message.content().as_ref());
        let mail = mail.ok_or(reply!(554 5.6.0 "This is no mail"))?;
        let subject = mail.subject().unwrap_or("(no subject)");
        let text = format!("{subject}\n{}", mail.body_text(0).unwrap_or_default());
        for ticket in std::mem::take(&mut self.tickets) {
            // The error is logged; the client hears that it may try again.
            let kept = self.desk.add(&ticket, message.id(), &text);
            kept.or_reply(Reply::TRY_LATER)?;
        }
        Ok(Accepted::with_text("We read it soon"))
    }

    fn reset(&mut self) {
        self.tickets.clear();
    }
}

fn mail_server(desk: &Arc<Desk>, endpoint: Endpoint) -> Result<Server, Box<dyn Error>> {
    let domains = vec!["desk.example".to_owned()];
    let tls = TlsConfig::builder().certificate(CertificateSource::self_signed(domains));
    let desk = Arc::clone(desk);
    let server = Server::builder()
        .domain("desk.example")
        .listen(endpoint)
        .tls(tls.build()?)
        .accept_domains(["desk.example"])
        .sessions(move |_: Client| {
            let (desk, tickets) = (Arc::clone(&desk), Vec::new());
            async { Ok(Visit { desk, tickets }) }
        })
        .start()?;
    Ok(server)
}

fn web(desk: Arc<Desk>, metrics: Metrics) -> Router {
    Router::new()
        .route("/tickets/{ticket}", get(ticket))
        .route("/metrics", get(move || numbers(metrics)))
        .with_state(desk)
}

async fn ticket(State(desk): State<Arc<Desk>>, Path(name): Path<String>) -> impl IntoResponse {
    match desk.lock().get(&name) {
        Some(mails) => (StatusCode::OK, mails.values().cloned().collect::<String>()),
        None => (StatusCode::NOT_FOUND, "no such ticket\n".to_owned()),
    }
}

async fn numbers(metrics: Metrics) -> impl IntoResponse {
    let mut text = "helpdesk_up 1\n".to_owned(); // what else the application counts
    metrics.encode(&mut text);
    ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], text)
}

/// Serves both until the signal, and then until both have finished what was under way.
async fn run(
    mail: Server,
    http: TcpListener,
    desk: Arc<Desk>,
    signal: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Box<dyn Error>> {
    let (router, handle) = (web(desk, mail.metrics()), mail.handle());
    let both = async move {
        signal.await;
        handle.shutdown(); // at the same time, or mail is accepted while HTTP drains
    };
    axum::serve(http, router)
        .with_graceful_shutdown(both)
        .await?;
    mail.stopped().await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let desk = Arc::new(Desk::default());
    desk.open("abc");
    // Load balancers in 10.0.0.0/8 say by the PROXY protocol who the client is.
    let endpoint = Endpoint::from("127.0.0.1:2525").proxy_protocol_from(["10.0.0.0/8".parse()?]);
    let mail = mail_server(&desk, endpoint)?;
    let http = TcpListener::bind("127.0.0.1:8080").await?;
    println!(
        "mail on {}, web on {}",
        mail.local_address(),
        http.local_addr()?
    );
    let signal = async { drop(tokio::signal::ctrl_c().await) };
    run(mail, http, desk, signal).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn get(web: std::net::SocketAddr, path: &str) -> Result<String, std::io::Error> {
        let mut stream = tokio::net::TcpStream::connect(web).await?;
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut response = String::new();
        stream.read_to_string(&mut response).await?;
        Ok(response)
    }

    #[tokio::test]
    async fn mail_becomes_a_part_of_its_ticket() -> Result<(), Box<dyn Error>> {
        let desk = Arc::new(Desk::default());
        desk.open("abc");
        let mail = mail_server(&desk, "127.0.0.1:0".into())?;
        let http = TcpListener::bind("127.0.0.1:0").await?;
        let (smtp, web) = (mail.local_address(), http.local_addr()?);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let both = async {
            let signal = async { drop(stopped.await) };
            run(mail, http, desk, signal).await
        };
        let client = async {
            let sender = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1")
                .port(smtp.port())
                .build();
            let to = |recipient: &str| {
                lettre::Message::builder()
                    .from("ann@example.org".parse()?)
                    .to(recipient.parse()?)
                    .subject("It is broken")
                    .body("Please help".to_owned())
                    .map_err(Box::<dyn Error>::from)
            };
            sender.send(to("ticket+abc@Desk.Example")?).await?;
            let refused = sender.send(to("ticket+nobody@desk.example")?).await;
            assert!(refused.is_err_and(|it| it.to_string().contains("no such ticket")));
            assert!(sender.send(to("ticket+abc@example.com")?).await.is_err());
            let ticket = get(web, "/tickets/abc").await?;
            assert!(ticket.contains("It is broken\nPlease help"), "{ticket}");
            let numbers = get(web, "/metrics").await?;
            assert!(
                numbers.contains("smtp_messages_success_total 1\n"),
                "{numbers}"
            );
            drop(sender);
            drop(stop);
            Ok::<_, Box<dyn Error>>(())
        };
        let (served, asked) = tokio::join!(both, client);
        asked.and(served)
    }
}
