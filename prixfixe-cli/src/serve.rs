//! `prixfixe serve`: from a configuration to a server that runs until it is told to stop.

use std::process::ExitCode;
use std::sync::Arc;

use prixfixe_admin::{Notice, Status};
use prixfixe_config::{self as config, Configuration, ConfigurationArguments, Environment};
use prixfixe_delivery::{AcceptRecipients, TemporarySpace};
use prixfixe_server::{Protocol, Server, Transport};
use tracing::{info, warn};

use crate::admin;
use crate::auth;
use crate::control::Control;
use crate::destinations::{Destinations, OfSpool};
use crate::error::Error;
use crate::file_limit::FileLimit;
use crate::policy::Policy;
use crate::reload::{self, Certificates, Reload};
use crate::signals::Signals;
use crate::sockets::Sockets;
use crate::systemd::Purpose;
use crate::targets::Prepared;
use crate::{logging, privileges, recipients, systemd, temporary, welcome};

pub(crate) fn run(arguments: ConfigurationArguments) -> Result<ExitCode, Error> {
    // Before there are threads: it changes the environment.
    let inherited = systemd::inherited_sockets()?;
    let configuration = Configuration::load(&arguments)?;
    let signals = Signals::catch().map_err(Error::Signals)?;
    let logging = Arc::new(logging::start(&configuration.log).map_err(Error::Logging)?);
    // An error leaves from here, while the thread of the signals keeps the log.
    let _last_lines = logging.last_lines();
    let control = Arc::new(Control::new(Arc::clone(&logging)));
    let acting = Arc::clone(&control);
    signals
        .handle(move |request| acting.act(request))
        .map_err(Error::Signals)?;
    for warning in Environment::of_this_process().warnings() {
        warn!(target: "prixfixe", "{warning}");
    }
    let limit = FileLimit::raise();
    let user = privileges::successor(&configuration)?;

    let tls = configuration.tls.load(&configuration.domain)?;
    let (for_admin, for_mail) = inherited
        .into_iter()
        .partition(|(purpose, _)| *purpose == Purpose::Admin);
    // What can fail comes before mail's sockets listen: under `reuse-port` connections to them are
    // taken from a process that serves.
    let recipients = AcceptRecipients::default();
    let targets =
        privileges::acting_as(user.as_ref(), || Prepared::new(&configuration, &recipients))?;
    recipients.set_rules(recipients::prepare(&configuration)?);
    let policy = Policy::default();
    policy.replace(policy.prepare(&configuration)?);
    let logins = privileges::acting_as(user.as_ref(), || auth::prepare(&configuration))?;
    let admin = admin::bind(&configuration, systemd::sockets(for_admin))?;
    let mut sockets = Sockets::open(&configuration, for_mail)?;
    let implicit_tls = sockets.implicit_tls();
    let protocols = sockets.protocols();
    let origins = sockets.origins();
    if let Some(user) = &user {
        sockets = sockets.for_threads(configuration.threads())?;
        privileges::drop_to(user)?;
        reload::warn_of_what_is_unreadable(&arguments, tls.as_ref());
    }
    // Its threads write files, which belong to whoever the process is.
    let targets = targets.start(&configuration, &recipients)?;
    let delivery = targets.delivery().clone();
    let spool = targets.spool().cloned();
    let logins = logins.start()?;
    // All but the threads' own is open by now.
    let file_limit = limit.with_what_is_open(&configuration);
    file_limit.warn(&configuration);
    let room = file_limit.room(&configuration);
    let space = TemporarySpace::default();
    temporary::change(&space, &configuration);
    temporary::watch(&space).map_err(Error::Threads)?;
    let builder = Server::builder()
        .settings(reload::settings(
            &configuration,
            room,
            tls.clone(),
            &logins,
            origins.auth(&configuration)?,
        ))
        .threads(configuration.threads())
        .transport(transport(&configuration))
        .check(space.clone())
        .check(recipients.clone())
        .check(policy.clone())
        .handler(delivery.clone());
    let server = Arc::new(sockets.add_to(builder, &delivery).start()?);

    let notice = Notice::default();
    notice.set(auth::warning(&configuration));
    let status = Status::new(Arc::clone(&server))
        .delivery(Destinations {
            delivery: delivery.clone(),
            spool: spool.clone(),
            temporary: space.clone(),
        })
        .notice(notice.clone())
        .numbers(policy.numbers());
    let status = match &spool {
        Some(spool) => status.numbers(Arc::new(OfSpool(spool.clone()))),
        None => status,
    };
    let page = admin.addresses();
    let leaving = control.leaving();
    admin.serve(status, async move { leaving.notified().await })?;
    let listening = configuration.clone();
    let reload = Reload {
        tls: Certificates::new(&configuration.tls, tls)?,
        logins,
        origins,
        arguments,
        running: configuration,
        server: Arc::clone(&server),
        targets,
        recipients,
        temporary: space,
        policy,
        file_limit,
        logging,
        notice,
    };
    control.serve(Arc::clone(&server), spool.clone(), reload)?;
    privileges::warn_of_root(&listening);
    for warning in auth::warning(&listening)
        .into_iter()
        .chain(listening.mail_warnings())
    {
        warn!(target: "prixfixe", "{warning}");
    }
    log_listeners(&listening, &server, &implicit_tls, &protocols);
    welcome::greet(server.addresses(), &listening, &page);
    systemd::watch(Arc::clone(&server))?;

    pollster::block_on(server.stopped());
    if !control.is_draining() {
        return Err(Error::Stopped);
    }
    if spool.is_some_and(|spool| !spool.wait()) {
        control.exit_with(1);
    }
    info!(target: "prixfixe", "stopped");
    control.exit()
}

fn transport(configuration: &Configuration) -> Transport {
    match configuration.transport {
        config::Transport::Auto => Transport::Auto,
        config::Transport::Tokio => Transport::Tokio,
        config::Transport::Raw => Transport::Raw,
    }
}

pub(crate) fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Raw => "raw",
        _ => "tokio",
    }
}

/// The server has its addresses in the order in which it was given the sockets.
fn log_listeners(
    configuration: &Configuration,
    server: &Server,
    implicit_tls: &[bool],
    protocols: &[Protocol],
) {
    let transport = transport_name(server.transport());
    let targets = configuration.routed_targets();
    let urls = targets.iter().filter_map(|target| target.url.as_ref());
    let deliver = urls.map(ToString::to_string).collect::<Vec<_>>().join(",");
    let kinds = implicit_tls.iter().zip(protocols);
    for (address, (implicit, protocol)) in server.addresses().iter().zip(kinds) {
        info!(
            target: "prixfixe",
            %address,
            domain = configuration.domain,
            transport,
            protocol = (*protocol == Protocol::Lmtp).then_some("lmtp"),
            tls = implicit.then_some("implicit"),
            deliver,
            "listening"
        );
    }
}
