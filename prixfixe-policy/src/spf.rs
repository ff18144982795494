//! SPF (RFC 7208): may this host send for that domain?
//!
//! It is written here, since of the suite that comes with the RFC every case has to come out: limits on look-ups that
//! find nothing, records in several texts, the whole syntax. A record is parsed as a whole, and evaluated with what
//! may still be asked of the DNS.

mod evaluate;
mod lookup;
mod macros;
mod question;
mod record;

use std::net::IpAddr;

use prixfixe_http::BoxFuture;

use self::lookup::Lookups;
pub(crate) use self::question::{Answer, Question};
use crate::Resolver;

/// The first of the client's names in the DNS that leads back to it, in lower case.
pub(crate) fn proved_name(resolver: &Resolver, client: IpAddr) -> BoxFuture<'_, Option<String>> {
    Box::pin(async move {
        let names = Lookups::new(resolver).validated_names(client).await;
        names.ok()?.into_iter().next()
    })
}
