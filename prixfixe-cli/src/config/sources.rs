//! The places where an option can be set, the first of which counts: flag, variable, file.

use std::ffi::OsString;

use super::arguments::ConfigurationArguments;
use super::file::File;
use super::given::{Given, Invalid, Origin};
use super::options::{Kind, Opt};

/// Looks a variable up.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// All of the places.
pub(super) struct Sources<'a> {
    pub(super) arguments: &'a ConfigurationArguments,
    pub(super) environment: Environment<'a>,
    pub(super) file: File,
}

impl Sources<'_> {
    /// Where an option was set.
    pub(super) fn origin(&self, option: &'static Opt) -> Result<Origin, Invalid> {
        let given = self.given(option)?.unwrap_or_default();
        let named = Origin::Variable(option.variable.or(option.key).unwrap_or_default());
        Ok(given.into_iter().next().map_or(named, |given| given.origin))
    }

    pub(super) fn one<T>(
        &self,
        option: &'static Opt,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Invalid> {
        let given = self.given(option)?;
        given
            .as_deref()
            .and_then(|given| given.first())
            .map(|given| given.parse(parse))
            .transpose()
    }

    pub(super) fn list<T>(
        &self,
        option: &'static Opt,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<Vec<T>>, Invalid> {
        let parse_all = |given: Vec<Given>| given.iter().map(|given| given.parse(&parse)).collect();
        self.given(option)?.map(parse_all).transpose()
    }

    /// What the first of the sources that know the option says.
    pub(super) fn given(&self, option: &'static Opt) -> Result<Option<Vec<Given>>, Invalid> {
        Ok(match self.flag_or_variable(option)? {
            Some(given) => Some(given),
            None => self.file.get(option).map(<[Given]>::to_vec),
        })
    }

    pub(super) fn flag_or_variable(
        &self,
        option: &'static Opt,
    ) -> Result<Option<Vec<Given>>, Invalid> {
        if let (Some(flag), Some(values)) = (option.flag, self.arguments.get(option)) {
            let given = values
                .iter()
                .flat_map(|value| pieces(option, value))
                .map(|text| given(text, Origin::Flag(flag)));
            return Ok(Some(given.collect()));
        }
        let Some(variable) = option.variable else {
            return Ok(None);
        };
        let origin = Origin::Variable(variable);
        match (self.environment)(variable).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(value)) => Ok(meant(&value).map(|value| {
                pieces(option, value)
                    .into_iter()
                    .map(|text| given(text, origin.clone()))
                    .collect()
            })),
            Some(Err(_)) => Err(origin.invalid("is not UTF-8; set it again")),
        }
    }
}

/// What a variable says, if anything. Files of variables with CRLF, secrets and manifests leave blanks and line ends
/// around a value. One that is set to nothing is how many tools write one that isn't set.
fn meant(value: &str) -> Option<&str> {
    Some(value.trim()).filter(|value| !value.is_empty())
}

fn given(text: &str, origin: Origin) -> Given {
    Given {
        text: text.to_owned(),
        origin,
    }
}

/// The values of a list have commas between them. A comma too many is no value.
fn pieces<'a>(option: &Opt, value: &'a str) -> Vec<&'a str> {
    if option.kind != Kind::List {
        return vec![value];
    }
    let pieces: Vec<&str> = value
        .split(',')
        .map(str::trim)
        .filter(|piece| !piece.is_empty())
        .collect();
    if pieces.is_empty() {
        vec![value]
    } else {
        pieces
    }
}
