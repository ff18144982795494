//! Plots as inline SVG. Colours come from the page's style sheet, so that they follow light and
//! dark.

use std::fmt::Write as _;

const WIDTH: f64 = 680.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 40.0;

/// An axis: what it covers, where its ticks are and what they say.
#[derive(Debug)]
pub(super) struct Axis {
    scale: Scale,
    ticks: Vec<(f64, String)>,
    label: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Scale {
    Linear { from: f64, to: f64 },
    Log { from: f64, to: f64 },
}

/// What is drawn, in coordinates of its axes.
#[derive(Debug)]
pub(super) enum Series {
    /// A line. A gap in the data is a gap in the line.
    Line {
        class: &'static str,
        points: Vec<Option<(f64, f64)>>,
    },
    /// The same, filled down to the axis.
    Area {
        class: &'static str,
        points: Vec<Option<(f64, f64)>>,
    },
    /// Bars: from, to, height, and what they say when pointed at.
    Bars {
        class: &'static str,
        bars: Vec<(f64, f64, f64, String)>,
    },
}

impl Axis {
    /// From nought to `most` and a little more, with round ticks.
    pub(super) fn linear(most: f64, label: &'static str, name: impl Fn(f64) -> String) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let step = round_step(most / 4.0);
        let count = (most / step).ceil().clamp(1.0, 10.0);
        let mut ticks = Vec::new();
        let mut at = 0.0;
        while at <= count {
            ticks.push((at * step, name(at * step)));
            at += 1.0;
        }
        Self {
            scale: Scale::Linear {
                from: 0.0,
                to: count * step,
            },
            ticks,
            label,
        }
    }

    /// From nought to exactly `most`.
    pub(super) fn exact(most: f64, label: &'static str, name: impl Fn(f64) -> String) -> Self {
        let mut axis = Self::linear(most, label, name);
        let to = if most > 0.0 { most } else { 1.0 };
        axis.ticks.retain(|(at, _)| *at <= to);
        axis.scale = Scale::Linear { from: 0.0, to };
        axis
    }

    /// From `least` to `most` in powers of ten, with ticks at 1, 2 and 5 of each.
    pub(super) fn logarithmic(
        least: f64,
        most: f64,
        label: &'static str,
        name: impl Fn(f64) -> String,
    ) -> Self {
        let from = least.max(1e-3) * 0.9;
        let to = most.max(from * 2.0) * 1.1;
        let steps: &[f64] = if to / from > 1e3 {
            &[1.0]
        } else {
            &[1.0, 2.0, 5.0]
        };
        let mut ticks = Vec::new();
        let mut power = 10f64.powf(from.log10().floor());
        while power <= to {
            ticks.extend(
                steps
                    .iter()
                    .map(|step| step * power)
                    .filter(|at| (from..=to).contains(at))
                    .map(|at| (at, name(at))),
            );
            power *= 10.0;
        }
        Self {
            scale: Scale::Log { from, to },
            ticks,
            label,
        }
    }

    /// From nought to `to`, with the ticks given.
    pub(super) fn with_ticks(to: f64, label: &'static str, ticks: Vec<(f64, String)>) -> Self {
        Self {
            scale: Scale::Linear { from: 0.0, to },
            ticks,
            label,
        }
    }
}

impl Scale {
    /// Where a value lies, between 0 and 1.
    fn place(self, value: f64) -> f64 {
        let part = match self {
            Self::Linear { from, to } => (value - from) / (to - from),
            Self::Log { from, to } => (value.max(from) / from).ln() / (to / from).ln(),
        };
        if part.is_finite() {
            part.clamp(0.0, 1.0)
        } else {
            0.0
        }
    }
}

/// A plot. `title` is for those who cannot see it.
pub(super) fn plot(title: &str, x: &Axis, y: &Axis, series: &[Series]) -> String {
    let mut svg =
        format!(r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">"#);
    // Writing to a String cannot fail.
    let _ = axes(&mut svg, x, y);
    for one in series {
        let _ = draw(&mut svg, x, y, one);
    }
    svg.push_str("</svg>");
    svg
}

fn across(x: &Axis, value: f64) -> f64 {
    LEFT + x.scale.place(value) * (WIDTH - LEFT - RIGHT)
}

fn down(y: &Axis, value: f64) -> f64 {
    HEIGHT - BOTTOM - y.scale.place(value) * (HEIGHT - TOP - BOTTOM)
}

fn axes(svg: &mut String, x: &Axis, y: &Axis) -> std::fmt::Result {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for (at, name) in &y.ticks {
        let at = down(y, *at);
        write!(
            svg,
            r#"<line class="grid" x1="{LEFT}" y1="{at:.1}" x2="{right}" y2="{at:.1}"/>"#
        )?;
        write!(
            svg,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{name}</text>"#,
            LEFT - 7.0,
            at + 4.0
        )?;
    }
    for (at, name) in &x.ticks {
        let at = across(x, *at);
        write!(
            svg,
            r#"<line class="tick" x1="{at:.1}" y1="{bottom}" x2="{at:.1}" y2="{:.1}"/>"#,
            bottom + 4.0
        )?;
        write!(
            svg,
            r#"<text x="{at:.1}" y="{:.1}" text-anchor="middle">{name}</text>"#,
            bottom + 17.0
        )?;
    }
    write!(
        svg,
        r#"<line class="axis" x1="{LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}"/>"#
    )?;
    let middle = (LEFT + right) / 2.0;
    write!(
        svg,
        r#"<text class="label" x="{middle:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
        HEIGHT - 5.0,
        x.label
    )?;
    let side = (TOP + bottom) / 2.0;
    write!(
        svg,
        r#"<text class="label side" transform="translate(12 {side:.1}) rotate(-90)" text-anchor="middle">{}</text>"#,
        y.label
    )
}

fn draw(svg: &mut String, x: &Axis, y: &Axis, series: &Series) -> std::fmt::Result {
    match series {
        Series::Line { class, points } => {
            for run in points.split(Option::is_none) {
                path(svg, class, &places(x, y, run), false)?;
            }
            Ok(())
        }
        Series::Area { class, points } => {
            for run in points.split(Option::is_none) {
                path(svg, class, &places(x, y, run), true)?;
            }
            Ok(())
        }
        Series::Bars { class, bars } => {
            let bottom = HEIGHT - BOTTOM;
            for (from, to, height, says) in bars.iter().filter(|bar| bar.2 > 0.0) {
                let (left, right, top) = (across(x, *from), across(x, *to), down(y, *height));
                // A bar of one among thousands is there to be seen all the same.
                let tall = (bottom - top).max(1.5);
                let wide = (right - left - 1.0).max(1.0);
                write!(
                    svg,
                    r#"<rect class="{class}" x="{left:.1}" y="{:.1}" width="{wide:.1}" height="{tall:.1}"><title>{says}</title></rect>"#,
                    bottom - tall
                )?;
            }
            Ok(())
        }
    }
}

fn places(x: &Axis, y: &Axis, points: &[Option<(f64, f64)>]) -> Vec<(f64, f64)> {
    points
        .iter()
        .flatten()
        .map(|(a, b)| (across(x, *a), down(y, *b)))
        .collect()
}

fn path(svg: &mut String, class: &str, places: &[(f64, f64)], filled: bool) -> std::fmt::Result {
    let (Some(first), Some(last)) = (places.first(), places.last()) else {
        return Ok(());
    };
    let mut line = String::new();
    for (i, (x, y)) in places.iter().enumerate() {
        write!(line, "{}{x:.1} {y:.1}", if i == 0 { "M" } else { "L" })?;
    }
    if places.len() == 1 {
        return write!(
            svg,
            r#"<circle class="{class}" cx="{:.1}" cy="{:.1}" r="3"/>"#,
            first.0, first.1
        );
    }
    if filled {
        let bottom = HEIGHT - BOTTOM;
        write!(
            svg,
            r#"<path class="{class} fill" d="{line}L{:.1} {bottom}L{:.1} {bottom}Z"/>"#,
            last.0, first.0
        )?;
    }
    write!(svg, r#"<path class="{class} line" d="{line}"/>"#)
}

/// The next of 1, 2, 2.5 and 5 times a power of ten.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let lead = step / power;
    let round = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .find(|round| lead <= *round + 1e-9)
        .unwrap_or(10.0);
    round * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_cover() {
        for (step, round) in [
            (1.0, 1.0),
            (1.1, 2.0),
            (2.2, 2.5),
            (3.0, 5.0),
            (0.07, 0.1),
            (7000.0, 10_000.0),
        ] {
            assert!((round_step(step) / round - 1.0).abs() < 1e-6, "{step}");
        }
    }

    #[test]
    fn whatever_is_plotted_stays_inside() {
        let axes = [
            Axis::linear(0.0, "", |at| at.to_string()),
            Axis::linear(7.0, "", |at| at.to_string()),
            Axis::exact(3.3, "", |at| at.to_string()),
            Axis::logarithmic(0.0, 0.0, "", |at| at.to_string()),
            Axis::logarithmic(12.0, 1e9, "", |at| at.to_string()),
        ];
        for axis in &axes {
            assert!(!axis.ticks.is_empty(), "{axis:?}");
            for value in [-1.0, 0.0, 1.0, 5e4, f64::NAN, f64::INFINITY] {
                assert!(
                    (0.0..=1.0).contains(&axis.scale.place(value)),
                    "{axis:?} {value}"
                );
            }
        }
    }
}
