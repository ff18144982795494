//! A name server on loopback that answers from a table, and misbehaves where a test wants it to.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use mail_auth::hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use mail_auth::hickory_resolver::proto::rr::rdata::SOA;
use mail_auth::hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// What is known of a name.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    /// A record.
    Record(RData),
    /// Questions of this type, of any that has no record if none is said, get no answer.
    Silence(Option<RecordType>),
    /// Questions get SERVFAIL.
    Failure,
}

/// A name server, until it is dropped.
#[derive(Debug)]
pub(crate) struct Dns {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    names: Mutex<HashMap<String, Vec<Known>>>,
    questions: AtomicUsize,
}

impl Dns {
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let answers = Arc::clone(&state);
        std::thread::spawn(move || {
            let mut packet = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                // A datagram with nothing in it ends the server.
                if length == 0 {
                    return;
                }
                if let Some(answer) = answers.answer(&packet[..length]) {
                    socket.send_to(&answer, from).expect("a client on loopback");
                }
            }
        });
        Self { address, state }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Knows something more of a name.
    pub(crate) fn knows(&self, name: &str, known: Known) -> &Self {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let mut names = self.state.names.lock().expect("no panic under it");
        names.entry(name).or_default().push(known);
        drop(names);
        self
    }

    /// A TXT record, in strings of at most 255 bytes.
    pub(crate) fn txt(&self, name: &str, text: &str) -> &Self {
        self.knows(name, Known::Record(txt(text)))
    }

    pub(crate) fn a(&self, name: &str, address: [u8; 4]) -> &Self {
        self.knows(
            name,
            Known::Record(RData::A(std::net::Ipv4Addr::from(address).into())),
        )
    }

    /// How many questions have come.
    pub(crate) fn questions(&self) -> usize {
        self.state.questions.load(Ordering::SeqCst)
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let _ = socket.send_to(&[], self.address);
    }
}

pub(crate) fn txt(text: &str) -> RData {
    use mail_auth::hickory_resolver::proto::rr::rdata::TXT;
    let strings = text.as_bytes().chunks(255);
    // A text without a string is none: an empty one has an empty string.
    let strings = match text {
        "" => vec![&b""[..]],
        _ => strings.collect(),
    };
    RData::TXT(TXT::from_bytes(strings))
}

/// The labels as they are, in lower case: a name in the usual form has escapes.
fn key(name: &Name) -> String {
    let labels: Vec<_> = name.iter().map(String::from_utf8_lossy).collect();
    labels.join(".").to_ascii_lowercase()
}

impl State {
    fn answer(&self, packet: &[u8]) -> Option<Vec<u8>> {
        self.questions.fetch_add(1, Ordering::SeqCst);
        let question = Message::from_vec(packet).ok()?;
        let query = question.queries.first()?.clone();
        let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        answer.metadata.recursion_available = true;
        answer.add_query(query.clone());
        let code = self.fill(&mut answer, query.name(), query.query_type())?;
        answer.metadata.response_code = code;
        let is_known = matches!(code, ResponseCode::NoError | ResponseCode::NXDomain);
        if is_known && answer.answers.is_empty() {
            // That there is nothing is kept for so long (RFC 2308 section 5).
            let soa = SOA::new(Name::root(), Name::root(), 1, 300, 300, 300, 300);
            let record = Record::from_rdata(Name::root(), 300, RData::SOA(soa));
            answer.add_authority(record);
        }
        answer.to_vec().ok()
    }

    /// Puts records into an answer, those that aliases lead to as well. Nothing is a question
    /// without an answer.
    fn fill(&self, answer: &mut Message, name: &Name, kind: RecordType) -> Option<ResponseCode> {
        let names = self.names.lock().expect("no panic under it");
        let mut name = name.clone();
        // A chain of aliases that leads in a circle ends here; who asks must see to the rest.
        for _ in 0..8 {
            let key = key(&name);
            let Some(known) = names.get(&key) else {
                let is_parent = |other: &String| other.ends_with(&format!(".{key}"));
                let exists = names.keys().any(is_parent);
                return Some(match exists {
                    true => ResponseCode::NoError,
                    false => ResponseCode::NXDomain,
                });
            };
            let has_kind = |it: &Known| matches!(it, Known::Record(it) if it.record_type() == kind);
            let has_kind = known.iter().any(has_kind);
            let mut alias = None;
            for it in known {
                match it {
                    Known::Silence(Some(of)) if *of == kind => return None,
                    Known::Silence(None) if !has_kind => return None,
                    Known::Silence(_) => {}
                    Known::Failure => return Some(ResponseCode::ServFail),
                    Known::Record(data) => {
                        let is_alias = data.record_type() == RecordType::CNAME;
                        if data.record_type() == kind || is_alias {
                            answer.add_answer(Record::from_rdata(name.clone(), 300, data.clone()));
                        }
                        if let RData::CNAME(target) = data {
                            alias = Some(target.0.clone());
                        }
                    }
                }
            }
            match alias {
                Some(target) if kind != RecordType::CNAME => name = target,
                _ => break,
            }
        }
        Some(ResponseCode::NoError)
    }
}
