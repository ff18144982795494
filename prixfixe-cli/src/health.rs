//! `prixfixe health`: whether a running server is ready, for the health checks of containers.

use std::net::SocketAddr;
use std::process::ExitCode;

use prixfixe_admin::{Answer, ask, reachable};
use prixfixe_config::{Admin, AdminArguments, Scope, Target};

use crate::error::{Error, print};

pub(crate) fn run(arguments: &AdminArguments) -> Result<ExitCode, Error> {
    let admin = Admin::load(arguments)?;
    let target = admin.look_up()?.ok_or(Error::NoAdmin)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::EventLoop)?;
    let mut failure = Error::NoAdminAddress;
    for address in addresses(target) {
        if address.port() == 0 {
            return Err(Error::NoAdminPort(address));
        }
        match runtime.block_on(ask(address)) {
            Ok(answer) => return judge(address, &answer),
            Err(reason) => failure = Error::NoAnswer { address, reason },
        }
    }
    Err(failure)
}

/// A server that listens on all addresses is asked on the loopback.
fn addresses(target: Target) -> Vec<SocketAddr> {
    match target {
        Target::Both(_, port) => Scope::Loopback.addresses(port).to_vec(),
        Target::Addresses(addresses) => addresses.into_iter().map(reachable).collect(),
        // No admin address is one.
        Target::Unix(_) => Vec::new(),
    }
}

fn judge(address: SocketAddr, answer: &Answer) -> Result<ExitCode, Error> {
    match answer.code {
        200 => {
            print("ready\n")?;
            Ok(ExitCode::SUCCESS)
        }
        503 => Err(Error::NotReady(answer.text.clone())),
        _ => Err(Error::NotAdmin {
            address,
            status: answer.status.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_both_families_is_asked_on_the_loopback() {
        let loopback = ["127.0.0.1:1", "[::1]:1"].map(|it| it.parse().unwrap());
        for scope in [Scope::Loopback, Scope::All] {
            assert_eq!(addresses(Target::Both(scope, 1)), loopback);
        }
    }
}
