//! What checks found.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::Edit;

/// What a check found in a message that it does not refuse, and what it wants changed in it.
///
/// ```
/// use prixfixe_server::{Edit, Verdict};
///
/// let header = Edit::Prepend { name: "X-Spam-Score".into(), value: "1.5".into() };
/// let verdict = Verdict::default().finding("spam", "1.5").edit(header);
/// assert_eq!(verdict.get("spam"), Some("1.5"));
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a verdict counts when a check returns it"]
pub struct Verdict {
    findings: Vec<Finding>,
    edits: Vec<Edit>,
    /// Where each step of the edits but the first begins.
    steps: Vec<usize>,
}

/// One thing that a check found, in the form of RFC 8601 section 2.2: a method, its result, and
/// what it looked at.
///
/// ```
/// use prixfixe_server::Finding;
///
/// let finding = Finding::new("dkim", "pass").property("header.d", "example.com");
/// assert_eq!(finding.get("header.d"), Some("example.com"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What was looked for, such as `spf`.
    pub name: Box<str>,
    /// What was found, such as `pass`.
    pub value: Box<str>,
    /// What was looked at, such as `smtp.mailfrom` and a domain.
    pub properties: Vec<(Box<str>, Box<str>)>,
}

impl Finding {
    /// A finding without properties.
    #[must_use]
    pub fn new(name: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
            properties: Vec::new(),
        }
    }

    /// Adds something that was looked at.
    #[must_use]
    pub fn property(mut self, name: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Self {
        self.properties.push((name.into(), value.into()));
        self
    }

    /// The first property of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut properties = self.properties.iter();
        let (_, value) = properties.find(|(it, _)| &**it == name)?;
        Some(value)
    }
}

impl Verdict {
    /// Adds something that was found, without properties.
    pub fn finding(self, name: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Self {
        self.found(Finding::new(name, value))
    }

    /// Adds something that was found.
    pub fn found(mut self, finding: Finding) -> Self {
        self.findings.push(finding);
        self
    }

    /// Adds something to change. Edits are applied in the order of the checks, and of those of a
    /// check in theirs.
    pub fn edit(mut self, edit: Edit) -> Self {
        self.edits.push(edit);
        self
    }

    /// What was found, in the order of the checks.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The first finding of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut findings = self.findings.iter();
        let finding = findings.find(|finding| &*finding.name == name)?;
        Some(&finding.value)
    }

    /// What was asked to be changed.
    #[must_use]
    pub fn edits(&self) -> &[Edit] {
        &self.edits
    }

    /// What this one says, and behind it what another one does: for a check that asks others. Both
    /// have seen the same content.
    pub fn and(mut self, other: Self) -> Self {
        self.append(other);
        self
    }

    /// What this one says, and behind it what another one does that has seen the content with the
    /// edits of this one: what [`Content::edited`](super::Content::edited) gives.
    ///
    /// ```
    /// use prixfixe_server::{Edit, Verdict};
    ///
    /// let add = Edit::Prepend { name: "X-Seen".into(), value: "yes".into() };
    /// let remove = Edit::Remove { name: "X-Seen".into(), occurrence: 0 };
    /// let first = Verdict::default().edit(add);
    /// // What the first has added is gone again: beside it there would be nothing to remove.
    /// let both = first.then(Verdict::default().edit(remove));
    /// assert_eq!(both.edits().len(), 2);
    /// ```
    pub fn then(mut self, mut other: Self) -> Self {
        self.findings.append(&mut other.findings);
        let begin = self.edits.len();
        if begin > 0 && !other.edits.is_empty() {
            self.steps.push(begin);
        }
        self.steps.extend(other.steps.iter().map(|at| at + begin));
        self.edits.append(&mut other.edits);
        self
    }

    /// Puts what another check of the same content found behind it.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.findings.append(&mut other.findings);
        if self.steps.is_empty() && other.steps.is_empty() {
            self.edits.append(&mut other.edits);
            return;
        }
        let (mine, theirs) = (std::mem::take(self), other);
        self.findings = mine.findings.clone();
        let mut theirs = theirs.steps();
        let mut mine = mine.steps();
        loop {
            let (ours, others) = (mine.next(), theirs.next());
            if ours.is_none() && others.is_none() {
                return;
            }
            if !self.edits.is_empty() {
                self.steps.push(self.edits.len());
            }
            let both = ours.into_iter().chain(others).flatten();
            self.edits.extend(both.cloned());
        }
    }

    /// The edits of each step: those of one step have all seen the same content.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &[Edit]> {
        let begins = std::iter::once(0).chain(self.steps.iter().copied());
        let ends = self.steps.iter().copied().chain([self.edits.len()]);
        begins
            .zip(ends)
            .filter_map(|(begin, end)| self.edits.get(begin..end))
    }

    /// Some of the edits are of a content that others have edited.
    pub(crate) fn has_steps(&self) -> bool {
        !self.steps.is_empty()
    }
}

/// Where the verdict on a transaction is kept for the log, once its content was checked. Not a part
/// of the envelope's value.
#[derive(Default)]
pub(crate) struct Judged(OnceLock<Arc<Verdict>>);

impl Judged {
    pub(crate) fn set(&self, verdict: &Arc<Verdict>) {
        let _ = self.0.set(Arc::clone(verdict));
    }

    /// The word that a method came to: `pass` where one of several findings is that, else the
    /// first.
    pub(crate) fn word(&self, method: &str) -> Option<&str> {
        let findings = self.0.get()?.findings.iter();
        let words = findings
            .filter(|it| &*it.name == method)
            .map(|it| &*it.value);
        words.reduce(|first, other| if other == "pass" { other } else { first })
    }
}

impl fmt::Debug for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.get().fmt(f)
    }
}

/// A copy is about to be changed.
impl Clone for Judged {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Judged {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Judged {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_findings_the_one_that_passes_counts() {
        let judged = Judged::default();
        assert_eq!(judged.word("dkim"), None);
        let verdict = Verdict::default()
            .finding("dkim", "fail")
            .finding("spf", "none");
        let verdict = verdict.finding("dkim", "pass").finding("dkim", "neutral");
        judged.set(&Arc::new(verdict));
        let words = ["dkim", "spf", "dmarc"].map(|method| judged.word(method));
        assert_eq!(words, [Some("pass"), Some("none"), None]);
    }

    #[test]
    fn edits_are_one_after_the_other_or_side_by_side() {
        let edit = |value: &str| Edit::Prepend {
            name: "X".into(),
            value: value.into(),
        };
        let said = |value| Verdict::default().edit(edit(value));
        let steps = |verdict: &Verdict| {
            let steps = verdict.steps().map(<[Edit]>::to_vec);
            steps.collect::<Vec<_>>()
        };
        let [a, b, c, d] = ["a", "b", "c", "d"].map(edit);
        let staged = said("a").then(said("b"));
        assert_eq!(steps(&staged), [vec![a.clone()], vec![b.clone()]]);
        let beside = staged.clone().and(said("c"));
        assert_eq!(
            steps(&beside),
            [vec![a.clone(), c.clone()], vec![b.clone()]]
        );
        let behind = said("c").then(staged.clone());
        assert_eq!(
            steps(&behind),
            [vec![c.clone()], vec![a.clone()], vec![b.clone()]]
        );
        let both = staged.and(said("c").then(said("d")));
        assert_eq!(steps(&both), [vec![a.clone(), c], vec![b, d]]);
        let nothing = Verdict::default().then(said("a")).then(Verdict::default());
        assert_eq!(steps(&nothing), [vec![a]]);
    }
}
