//! Which recipients go where.

use std::sync::Arc;

use prixfixe_server::{ForwardPath, Mail, Reply};

use crate::pattern::Index;
use crate::tracked::Tracked;
use crate::{RecipientPattern, Target};

/// Which recipients go to which target: the first route that matches a recipient has it.
///
/// ```
/// use prixfixe_delivery::{Delivery, Discard, Maildir, MaildirOptions, Routes};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let routes = Routes::new("mx.example.com")
///     .target("keep", Maildir::open("mail", MaildirOptions::default())?)
///     .target("drop", Discard::new())
///     .route(["@example.com".parse()?, "abuse@".parse()?], "keep")?
///     .rest("drop")?;
/// let handler = Delivery::new(routes);
/// # drop(handler);
/// # Ok(()) }
/// ```
#[derive(Debug, Default)]
pub struct Routes {
    /// The server's own domain, where a bare `postmaster` is.
    own: Box<str>,
    targets: Vec<Arc<Tracked>>,
    index: Index,
    /// The targets of each route.
    routes: Vec<Box<[usize]>>,
}

/// A route leads to a target that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no target {0:?}")]
pub struct UnknownTarget(String);

impl Routes {
    /// No routes at all: every recipient is refused. The domain is the server's own, where a bare
    /// `postmaster` is.
    #[must_use]
    pub fn new(domain: impl Into<Box<str>>) -> Self {
        Self {
            own: domain.into(),
            ..Self::default()
        }
    }

    /// Everything goes to one target.
    #[must_use]
    pub fn all_to(name: impl Into<Box<str>>, target: impl Target) -> Self {
        Self::all_to_shared(name, Arc::new(target))
    }

    pub(crate) fn all_to_shared(name: impl Into<Box<str>>, target: Arc<dyn Target>) -> Self {
        let mut routes = Self::new("");
        routes.targets.push(Arc::new(Tracked::new(name, target)));
        routes.add_rest([0].into());
        routes
    }

    /// A target under its name. The last of several with one name counts.
    #[must_use]
    pub fn target(self, name: impl Into<Box<str>>, target: impl Target) -> Self {
        self.shared_target(name, Arc::new(target))
    }

    /// A target of any type under its name.
    #[must_use]
    pub fn shared_target(mut self, name: impl Into<Box<str>>, target: Arc<dyn Target>) -> Self {
        self.targets.push(Arc::new(Tracked::new(name, target)));
        self
    }

    /// The recipients that one of these patterns matches go to the target, unless a route before
    /// has them.
    ///
    /// # Errors
    ///
    /// [`UnknownTarget`].
    pub fn route(
        mut self,
        recipients: impl IntoIterator<Item = RecipientPattern>,
        target: &str,
    ) -> Result<Self, UnknownTarget> {
        self.add_route(recipients, &[target])?;
        Ok(self)
    }

    /// The recipients that one of these patterns matches go to each of the targets, unless a route
    /// before has them. That needs a [`Spool`](crate::Spool): without one they go to the first.
    ///
    /// # Errors
    ///
    /// [`UnknownTarget`].
    #[cfg(feature = "spool")]
    pub fn route_to_all(
        mut self,
        recipients: impl IntoIterator<Item = RecipientPattern>,
        targets: &[&str],
    ) -> Result<Self, UnknownTarget> {
        self.add_route(recipients, targets)?;
        Ok(self)
    }

    fn add_route(
        &mut self,
        recipients: impl IntoIterator<Item = RecipientPattern>,
        targets: &[&str],
    ) -> Result<(), UnknownTarget> {
        let targets = self.positions(targets)?;
        let number = self.routes.len();
        for pattern in recipients {
            self.index.add(&pattern, number);
        }
        self.routes.push(targets);
        Ok(())
    }

    /// All other recipients go to the target. Without this they are refused with `550 5.7.1`.
    ///
    /// # Errors
    ///
    /// [`UnknownTarget`].
    pub fn rest(mut self, target: &str) -> Result<Self, UnknownTarget> {
        let targets = self.positions(&[target])?;
        self.add_rest(targets);
        Ok(self)
    }

    /// All other recipients go to each of the targets. That needs a [`Spool`](crate::Spool):
    /// without one they go to the first.
    ///
    /// # Errors
    ///
    /// [`UnknownTarget`].
    #[cfg(feature = "spool")]
    pub fn rest_to_all(mut self, targets: &[&str]) -> Result<Self, UnknownTarget> {
        let targets = self.positions(targets)?;
        self.add_rest(targets);
        Ok(self)
    }

    fn add_rest(&mut self, targets: Box<[usize]>) {
        self.index.add_everything(self.routes.len());
        self.routes.push(targets);
    }

    /// Each once.
    fn positions(&self, names: &[&str]) -> Result<Box<[usize]>, UnknownTarget> {
        let mut positions = Vec::with_capacity(names.len());
        for name in names {
            let position = self.position(name)?;
            if !positions.contains(&position) {
                positions.push(position);
            }
        }
        Ok(positions.into())
    }

    fn position(&self, name: &str) -> Result<usize, UnknownTarget> {
        let position = self.targets.iter().rposition(|it| it.name() == name);
        position.ok_or_else(|| UnknownTarget(name.to_owned()))
    }

    /// The same routes, whose targets go on counting where those of the same name left off.
    pub(crate) fn with_numbers_of(mut self, before: &Self) -> Self {
        for target in &mut self.targets {
            let same = before.targets.iter().find(|it| it.name() == target.name());
            if let Some(same) = same {
                *target = Arc::new(same.replaced_by(target));
            }
        }
        self
    }

    /// Where a recipient goes.
    pub(crate) fn find(&self, path: &ForwardPath) -> Option<&Arc<Tracked>> {
        match self.only() {
            Some(only) => Some(only),
            None => self.find_all(path).next(),
        }
    }

    /// Everywhere that a recipient goes.
    pub(crate) fn find_all(&self, path: &ForwardPath) -> impl Iterator<Item = &Arc<Tracked>> {
        let route = self.index.find(path, &self.own);
        let route = route.and_then(|route| self.routes.get(route));
        let targets = route.into_iter().flat_map(|route| route.iter());
        targets.filter_map(|target| self.targets.get(*target))
    }

    /// The target of this name, whether or not a route leads there.
    #[cfg(feature = "spool")]
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Tracked>> {
        self.targets.get(self.position(name).ok()?)
    }

    /// The targets, whether or not a route leads there.
    #[cfg(feature = "spool")]
    pub(crate) fn all_targets(&self) -> &[Arc<Tracked>] {
        &self.targets
    }

    /// The one target of all mail.
    pub(crate) fn only(&self) -> Option<&Arc<Tracked>> {
        match (&*self.routes, &*self.targets) {
            ([_], [only]) if self.index.is_everything() => Some(only),
            _ => None,
        }
    }

    /// Whether a transaction has a chance: one of the targets has a place for it.
    pub(crate) fn admit(&self, mail: Mail<'_>) -> Result<(), Reply> {
        let mut refusal = Ok(());
        for target in self.targets() {
            refusal = target.target().admit(mail);
            if refusal.is_ok() {
                break;
            }
        }
        refusal
    }

    /// The targets that a route leads to.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Arc<Tracked>> {
        let routed = |number: &usize| self.routes.iter().any(|it| it.contains(number));
        let numbered = self.targets.iter().enumerate();
        numbered
            .filter(move |(number, _)| routed(number))
            .map(|(_, target)| target)
    }
}
