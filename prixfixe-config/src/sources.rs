//! The places where an option can be set, the first of which counts: flag, variable, file.

use clap::ArgMatches;

use super::arguments::flag_of;
use super::file::File;
use super::given::{Invalid, Problem};
use super::variables::{Variables, variable_of};

/// All of the places.
pub(super) struct Sources<'a> {
    pub(super) flags: &'a ArgMatches,
    pub(super) variables: &'a Variables,
    pub(super) file: &'a File,
}

impl Sources<'_> {
    /// Where an option was set.
    pub(super) fn place(&self, id: &str) -> String {
        let has = |matches: &ArgMatches| matches.try_contains_id(id).unwrap_or(false);
        if has(self.flags) {
            format!("--{}", flag_of(id))
        } else if has(self.variables.matches()) {
            variable_of(&flag_of(id))
        } else {
            self.file.place(id, None).unwrap_or_else(|| id.to_owned())
        }
    }

    /// What a flag or else a variable says of a list. `None`: nothing.
    pub(super) fn list<T>(
        &self,
        id: &str,
        parse: impl Fn(&str) -> Result<T, Problem>,
    ) -> Result<Option<Vec<T>>, Invalid> {
        let given = [self.flags, self.variables.matches()]
            .into_iter()
            .find_map(|matches| matches.try_get_many::<String>(id).ok().flatten());
        let Some(values) = given else {
            return Ok(None);
        };
        let pieces = values.flat_map(|value| pieces(value));
        pieces
            .map(|piece| parse(piece).map_err(|problem| Invalid::new(self.place(id), problem)))
            .collect::<Result<_, _>>()
            .map(Some)
    }
}

/// The values of a list have commas between them. A comma too many is no value.
fn pieces(value: &str) -> Vec<&str> {
    let pieces = value.split(',').map(str::trim);
    let pieces: Vec<&str> = pieces.filter(|piece| !piece.is_empty()).collect();
    match pieces.is_empty() {
        true => vec![value],
        false => pieces,
    }
}
