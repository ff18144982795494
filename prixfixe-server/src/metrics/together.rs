//! The texts of several servers as one.

use std::fmt::Write;

/// What stands between two families: what one of them is begins with this.
const HELP: &str = "# HELP ";
const END: &str = "# EOF";

/// Appends each family once, with the series of all servers, each with its server's name.
pub(super) fn merge<'a>(texts: impl Iterator<Item = (&'a str, String)>, out: &mut String) {
    let mut families: Vec<(String, String)> = Vec::new();
    for (server, text) in texts {
        let label = format!("server=\"{}\"", escaped(server));
        let mut place = None;
        for line in text.lines().filter(|line| *line != END) {
            if line.starts_with(HELP) {
                place = Some(family(&mut families, line));
            }
            if let Some((head, series)) = place.and_then(|at: usize| families.get_mut(at)) {
                match line.starts_with('#') {
                    true if !head.lines().any(|known| known == line) => push(head, line),
                    true => {}
                    false => push(series, &labelled(line, &label)),
                }
            }
        }
    }
    for (head, series) in families {
        out.push_str(&head);
        out.push_str(&series);
    }
}

/// Where the family is that this line begins.
fn family(families: &mut Vec<(String, String)>, line: &str) -> usize {
    let known = |(head, _): &(String, String)| head.lines().next() == Some(line);
    families.iter().position(known).unwrap_or_else(|| {
        families.push(Default::default());
        families.len() - 1
    })
}

fn push(text: &mut String, line: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "{line}");
}

/// `name{a="b"} 1` or `name 1`, with one label more.
fn labelled(line: &str, label: &str) -> String {
    let end = line.find(['{', ' ']).unwrap_or(line.len());
    let (name, rest) = line.split_at_checked(end).unwrap_or((line, ""));
    match rest.strip_prefix('{') {
        Some(labels) => format!("{name}{{{label},{labels}"),
        None => format!("{name}{{{label}}}{rest}"),
    }
}

fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_stands_once_and_each_series_names_its_server() {
        let text = |count| {
            format!(
                "# HELP a_total A.\n# TYPE a_total counter\na_total {count}\n\
                 # HELP b B.\n# TYPE b gauge\nb{{x=\"1\"}} 2\n"
            )
        };
        let mut out = String::new();
        merge([("mx", text(1)), ("a\"b", text(5))].into_iter(), &mut out);
        assert_eq!(
            out,
            "# HELP a_total A.\n# TYPE a_total counter\n\
             a_total{server=\"mx\"} 1\na_total{server=\"a\\\"b\"} 5\n\
             # HELP b B.\n# TYPE b gauge\n\
             b{server=\"mx\",x=\"1\"} 2\nb{server=\"a\\\"b\",x=\"1\"} 2\n"
        );
    }
}
