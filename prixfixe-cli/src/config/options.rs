//! The options of `serve`, once: the command line, the environment, the configuration file and the
//! documentation's test are all made from this table.

/// One option, with a name in each of the places where it can be set.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opt {
    /// The long flag, without its dashes.
    pub(crate) flag: Option<&'static str>,
    /// `None` for what is set in the file alone.
    pub(crate) variable: Option<&'static str>,
    /// The dotted TOML key; `None` for what only a variable sets, and for what `[[listener]]` tables say.
    pub(crate) key: Option<&'static str>,
    pub(crate) kind: Kind,
    /// What stands for the value in the help.
    pub(crate) value: &'static str,
    pub(crate) default: Option<&'static str>,
    pub(crate) help: &'static str,
}

/// What a value looks like. Variables and flags are always text; a TOML value must have the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A TOML string.
    Text,
    /// A TOML integer.
    Count,
    /// A size or a time: a TOML integer, or a string with units.
    Quantity,
    /// A TOML boolean; a flag that may stand alone.
    Switch,
    /// As `Switch`, but the TOML key says the opposite of the flag and the variable.
    InvertedSwitch,
    /// A TOML array of strings; a repeatable flag, whose values may have commas between them.
    List,
}

/// The options in the order of the documentation.
pub(crate) const ALL: &[&Opt] = &[
    &DOMAIN,
    &LISTEN,
    &PORT,
    &LISTEN_TLS,
    &REUSE_PORT,
    &USER,
    &PROXY_PROTOCOL_FROM,
    &MAX_CONNECTIONS,
    &MAX_CONNECTIONS_PER_CLIENT,
    &CONNECTIONS_PER_MINUTE,
    &MESSAGES_PER_MINUTE,
    &MAX_IDLE_COMMANDS,
    &IDLE_TIMEOUT,
    &MAX_MESSAGE_SIZE,
    &MAX_RECIPIENTS,
    &MAX_ERRORS,
    &COMMAND_TIMEOUT,
    &MIN_DATA_RATE,
    &DRAIN_TIMEOUT,
    &TLS_CERT,
    &TLS_KEY,
    &TLS_KEY_PASSWORD_FILE,
    &TLS_SELF_SIGNED,
    &TLS_MIN_VERSION,
    &TLS_REQUIRED,
    &TLS_CLIENT_CA,
    &TLS_CLIENT_AUTH,
    &TLS_HANDSHAKE_TIMEOUT,
    &TLS_RELOAD_INTERVAL,
    &ACCEPT_DOMAINS,
    &BARE_LINE_ENDS,
    &DELIVER,
    &MIN_FREE,
    &NO_FSYNC,
    &TRANSPORT,
    &THREADS,
    &ADMIN,
    &LOG_FORMAT,
    &LOG_LEVEL,
];

/// The keys of a `[[listener]]` table.
pub(crate) const LISTENER_KEYS: &[&str] = &["address", "tls", "proxy-protocol-from"];

/// The keys of a `[[tls.certificate]]` table.
pub(crate) const CERTIFICATE_KEYS: &[&str] = &["cert", "key", "key-password-file"];

/// The dotted keys of the options.
pub(crate) fn keys() -> impl Iterator<Item = &'static str> {
    ALL.iter().filter_map(|option| option.key)
}

pub(crate) const DOMAIN: Opt = Opt {
    flag: Some("domain"),
    variable: Some("SMTP_DOMAIN"),
    key: Some("domain"),
    kind: Kind::Text,
    value: "NAME",
    default: Some("localhost"),
    help: "The name that the server gives itself, in its greeting and in Received headers",
};

pub(crate) const LISTEN: Opt = Opt {
    flag: Some("listen"),
    variable: Some("SMTP_LISTEN"),
    key: None,
    kind: Kind::List,
    value: "ADDR:PORT",
    default: Some("localhost:2525"),
    help: "Where to receive mail; repeatable. Port 0 takes a free one",
};

pub(crate) const PORT: Opt = Opt {
    flag: None,
    variable: Some("SMTP_PORT"),
    key: None,
    kind: Kind::Count,
    value: "PORT",
    default: None,
    help: "The port of the default listener",
};

pub(crate) const LISTEN_TLS: Opt = Opt {
    flag: Some("listen-tls"),
    variable: Some("SMTP_LISTEN_TLS"),
    key: None,
    kind: Kind::List,
    value: "ADDR:PORT",
    default: None,
    help: "Where to receive mail with TLS before anything else; repeatable",
};

pub(crate) const REUSE_PORT: Opt = Opt {
    flag: Some("reuse-port"),
    variable: Some("SMTP_REUSE_PORT"),
    key: Some("reuse-port"),
    kind: Kind::Switch,
    value: "BOOLEAN",
    default: None,
    help: "Listen beside another server of the same user at the same addresses, which is to stop then",
};

pub(crate) const USER: Opt = Opt {
    flag: Some("user"),
    variable: Some("SMTP_USER"),
    key: Some("user"),
    kind: Kind::Text,
    value: "NAME",
    default: None,
    help: "Whom to become once started as root, when ports are taken and keys are read",
};

pub(crate) const PROXY_PROTOCOL_FROM: Opt = Opt {
    flag: Some("proxy-protocol-from"),
    variable: Some("SMTP_PROXY_PROTOCOL_FROM"),
    key: None,
    kind: Kind::List,
    value: "CIDR",
    default: None,
    help: "A network of load balancers, whose connections begin with a PROXY protocol header; repeatable",
};

pub(crate) const MAX_CONNECTIONS: Opt = Opt {
    flag: Some("max-connections"),
    variable: Some("SMTP_MAX_CONNECTIONS"),
    key: Some("limits.max-connections"),
    kind: Kind::Count,
    value: "N",
    default: Some("100"),
    help: "Connections at once; one more is told 421 and closed",
};

pub(crate) const MAX_CONNECTIONS_PER_CLIENT: Opt = Opt {
    flag: Some("max-connections-per-client"),
    variable: Some("SMTP_MAX_CONNECTIONS_PER_CLIENT"),
    key: Some("limits.max-connections-per-client"),
    kind: Kind::Count,
    value: "N",
    default: Some("half of max-connections"),
    help: "Maximum number of concurrent connections of one client, an IPv4 address or an IPv6 /64; one more receives 421 and is closed; 0 for no limit. The default does not hold for loopback, private and link-local addresses",
};

pub(crate) const CONNECTIONS_PER_MINUTE: Opt = Opt {
    flag: Some("connections-per-minute"),
    variable: Some("SMTP_CONNECTIONS_PER_MINUTE"),
    key: Some("limits.connections-per-minute"),
    kind: Kind::Count,
    value: "N",
    default: Some("0"),
    help: "New connections a minute of one client; one more is told 421 and closed; 0 for no limit",
};

pub(crate) const MESSAGES_PER_MINUTE: Opt = Opt {
    flag: Some("messages-per-minute"),
    variable: Some("SMTP_MESSAGES_PER_MINUTE"),
    key: Some("limits.messages-per-minute"),
    kind: Kind::Count,
    value: "N",
    default: Some("0"),
    help: "Messages a minute of one client; one more is told 450; 0 for no limit",
};

pub(crate) const MAX_IDLE_COMMANDS: Opt = Opt {
    flag: None,
    variable: None,
    key: Some("limits.max-idle-commands"),
    kind: Kind::Count,
    value: "N",
    default: Some("100"),
    help: "Maximum number of commands since the last message that bring no message nearer; one more receives 421 and is closed; 0 for no limit",
};

pub(crate) const IDLE_TIMEOUT: Opt = Opt {
    flag: None,
    variable: None,
    key: Some("limits.idle-timeout"),
    kind: Kind::Quantity,
    value: "SECONDS",
    default: Some("600"),
    help: "How long a client may take to come to its next message",
};

pub(crate) const MAX_MESSAGE_SIZE: Opt = Opt {
    flag: Some("max-message-size"),
    variable: Some("SMTP_MAX_MESSAGE_SIZE"),
    key: Some("limits.max-message-size"),
    kind: Kind::Quantity,
    value: "BYTES",
    default: Some("10485760"),
    help: "The largest message, as SIZE announces it",
};

pub(crate) const MAX_RECIPIENTS: Opt = Opt {
    flag: Some("max-recipients"),
    variable: Some("SMTP_MAX_RECIPIENTS"),
    key: Some("limits.max-recipients"),
    kind: Kind::Count,
    value: "N",
    default: Some("1000"),
    help: "Recipients of one message; one more is told 452",
};

pub(crate) const MAX_ERRORS: Opt = Opt {
    flag: Some("max-errors"),
    variable: Some("SMTP_MAX_ERRORS"),
    key: Some("limits.max-errors"),
    kind: Kind::Count,
    value: "N",
    default: Some("10"),
    help: "Bad commands of one connection; after one more it is closed",
};

pub(crate) const COMMAND_TIMEOUT: Opt = Opt {
    flag: Some("command-timeout"),
    variable: Some("SMTP_COMMAND_TIMEOUT"),
    key: Some("limits.command-timeout"),
    kind: Kind::Quantity,
    value: "SECONDS",
    default: Some("300"),
    help: "How long a client may take over a command, and over a message beside --min-data-rate",
};

pub(crate) const MIN_DATA_RATE: Opt = Opt {
    flag: Some("min-data-rate"),
    variable: Some("SMTP_MIN_DATA_RATE"),
    key: Some("limits.min-data-rate"),
    kind: Kind::Quantity,
    value: "BYTES",
    default: Some("500"),
    help: "Octets a second that a client must send at least; 0 for no minimum",
};

pub(crate) const DRAIN_TIMEOUT: Opt = Opt {
    flag: Some("drain-timeout"),
    variable: Some("SMTP_DRAIN_TIMEOUT"),
    key: Some("limits.drain-timeout"),
    kind: Kind::Quantity,
    value: "SECONDS",
    default: Some("30"),
    help: "After SIGTERM or SIGINT, how long transactions may go on",
};

pub(crate) const TLS_CERT: Opt = Opt {
    flag: Some("tls-cert"),
    variable: Some("SMTP_TLS_CERT"),
    key: Some("tls.cert"),
    kind: Kind::Text,
    value: "FILE",
    default: None,
    help: "The certificate chain in PEM; with it STARTTLS is offered",
};

pub(crate) const TLS_KEY: Opt = Opt {
    flag: Some("tls-key"),
    variable: Some("SMTP_TLS_KEY"),
    key: Some("tls.key"),
    kind: Kind::Text,
    value: "FILE",
    default: None,
    help: "The certificate's private key in PEM",
};

pub(crate) const TLS_KEY_PASSWORD_FILE: Opt = Opt {
    flag: Some("tls-key-password-file"),
    variable: Some("SMTP_TLS_KEY_PASSWORD_FILE"),
    key: Some("tls.key-password-file"),
    kind: Kind::Text,
    value: "FILE",
    default: None,
    help: "A file whose first line is the password of an encrypted key",
};

pub(crate) const TLS_SELF_SIGNED: Opt = Opt {
    flag: Some("tls-self-signed"),
    variable: Some("SMTP_TLS_SELF_SIGNED"),
    key: Some("tls.self-signed"),
    kind: Kind::Switch,
    value: "BOOLEAN",
    default: None,
    help: "Make a certificate for the domain at start",
};

pub(crate) const TLS_MIN_VERSION: Opt = Opt {
    flag: Some("tls-min-version"),
    variable: Some("SMTP_TLS_MIN_VERSION"),
    key: Some("tls.min-version"),
    kind: Kind::Text,
    value: "1.2|1.3",
    default: Some("1.2"),
    help: "The oldest TLS that is spoken",
};

pub(crate) const TLS_REQUIRED: Opt = Opt {
    flag: Some("tls-required"),
    variable: Some("SMTP_TLS_REQUIRED"),
    key: Some("tls.required"),
    kind: Kind::Switch,
    value: "BOOLEAN",
    default: None,
    help: "Take no mail before STARTTLS",
};

pub(crate) const TLS_CLIENT_CA: Opt = Opt {
    flag: Some("tls-client-ca"),
    variable: Some("SMTP_TLS_CLIENT_CA"),
    key: Some("tls.client-ca"),
    kind: Kind::Text,
    value: "FILE",
    default: None,
    help: "The CA certificates in PEM that vouch for clients",
};

pub(crate) const TLS_CLIENT_AUTH: Opt = Opt {
    flag: Some("tls-client-auth"),
    variable: Some("SMTP_TLS_CLIENT_AUTH"),
    key: Some("tls.client-auth"),
    kind: Kind::Text,
    value: "off|request|require",
    default: Some("off"),
    help: "Whether clients are asked for a certificate of --tls-client-ca",
};

pub(crate) const TLS_HANDSHAKE_TIMEOUT: Opt = Opt {
    flag: None,
    variable: None,
    key: Some("tls.handshake-timeout"),
    kind: Kind::Quantity,
    value: "SECONDS",
    default: Some("30"),
    help: "How long a client may take over a handshake",
};

pub(crate) const TLS_RELOAD_INTERVAL: Opt = Opt {
    flag: None,
    variable: None,
    key: Some("tls.reload-interval"),
    kind: Kind::Quantity,
    value: "SECONDS",
    default: Some("60"),
    help: "How often certificates and keys are looked at for new content; 0 for on SIGHUP only",
};

pub(crate) const ACCEPT_DOMAINS: Opt = Opt {
    flag: Some("accept-domain"),
    variable: Some("SMTP_ACCEPT_DOMAINS"),
    key: Some("accept.domains"),
    kind: Kind::List,
    value: "NAME",
    default: None,
    help: "Domain to accept recipients of, or *.NAME for all below it; repeatable. Without it every recipient is accepted",
};

pub(crate) const BARE_LINE_ENDS: Opt = Opt {
    flag: Some("bare-line-ends"),
    variable: Some("SMTP_BARE_LINE_ENDS"),
    key: Some("accept.bare-line-ends"),
    kind: Kind::Text,
    value: "refuse|repair",
    default: Some("refuse"),
    help: "What to do with a message that has a bare CR or LF: refuse it, or make each a CRLF",
};

pub(crate) const DELIVER: Opt = Opt {
    flag: Some("deliver"),
    variable: Some("SMTP_DELIVER"),
    key: Some("delivery.target"),
    kind: Kind::Text,
    value: "TARGET",
    default: Some("maildir:./mail"),
    help: "Where mail goes: maildir:PATH, discard: or stdout:",
};

pub(crate) const MIN_FREE: Opt = Opt {
    flag: None,
    variable: None,
    key: Some("delivery.min-free"),
    kind: Kind::Quantity,
    value: "BYTES",
    default: Some("1.5 times max-message-size"),
    help: "Free space, and 1,000 inodes, below which MAIL is answered 452; 0 for no limit",
};

pub(crate) const NO_FSYNC: Opt = Opt {
    flag: Some("no-fsync"),
    variable: Some("SMTP_NO_FSYNC"),
    key: Some("delivery.fsync"),
    kind: Kind::InvertedSwitch,
    value: "BOOLEAN",
    default: None,
    help: "Don't wait for the disk before 250: faster, and a power failure loses mail",
};

pub(crate) const TRANSPORT: Opt = Opt {
    flag: Some("transport"),
    variable: Some("SMTP_TRANSPORT"),
    key: Some("transport"),
    kind: Kind::Text,
    value: "auto|tokio|raw",
    default: Some("auto"),
    help: "What moves the bytes; auto takes tokio, and raw where that cannot be set up",
};

pub(crate) const THREADS: Opt = Opt {
    flag: Some("threads"),
    variable: Some("SMTP_THREADS"),
    key: Some("threads"),
    kind: Kind::Count,
    value: "N",
    default: Some("number of cores"),
    help: "Threads that serve connections",
};

pub(crate) const ADMIN: Opt = Opt {
    flag: Some("admin"),
    variable: Some("SMTP_ADMIN"),
    key: Some("admin.listen"),
    kind: Kind::Text,
    value: "ADDR:PORT",
    default: None,
    help: "Where to answer HTTP: the status page, /metrics, /healthz and /readyz",
};

pub(crate) const LOG_FORMAT: Opt = Opt {
    flag: Some("log-format"),
    variable: Some("SMTP_LOG_FORMAT"),
    key: Some("log.format"),
    kind: Kind::Text,
    value: "text|json",
    default: Some("text"),
    help: "The form of the log on stderr",
};

pub(crate) const LOG_LEVEL: Opt = Opt {
    flag: Some("log"),
    variable: Some("SMTP_LOG"),
    key: Some("log.level"),
    kind: Kind::Text,
    value: "LEVEL",
    default: Some("info"),
    help: "The least severe events that are logged: off, error, warn, info, debug or trace",
};
