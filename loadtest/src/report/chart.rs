//! Charts as SVG, without a script: lines over a grid, and a legend. Colours come from the page's style.

use std::fmt::{self, Write};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;
/// Grid lines in each direction, about.
const GRID: f64 = 5.0;

pub struct Chart<'a> {
    pub lines: Vec<Line>,
    pub x_label: &'a str,
    /// How a value of each axis is written.
    pub x_text: fn(f64) -> String,
    pub y_text: fn(f64) -> String,
    pub axis: Axis,
    /// Vertical lines with a word.
    pub moments: &'a [(f64, String)],
    /// For the percentile curve: halvings of the distance to 100 %.
    pub x_marks: Option<Vec<(f64, String)>>,
}

/// How the vertical axis is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    Plain,
    /// In steps that are round in KiB, MiB and so on.
    Bytes,
    Log,
}

pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

struct Scale {
    x: (f64, f64),
    y: (f64, f64),
    axis: Axis,
}

impl Scale {
    fn of(chart: &Chart<'_>) -> Option<Self> {
        let points = || chart.lines.iter().flat_map(|line| &line.points);
        let range = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
                (low.min(v), high.max(v))
            })
        };
        let x = range(&mut points().map(|point| point.0));
        let y = range(&mut points().map(|point| point.1));
        if !x.0.is_finite() || !y.0.is_finite() {
            return None;
        }
        let x = if x.1 > x.0 { x } else { (x.0, x.0 + 1.0) };
        let y = if chart.axis == Axis::Log {
            let low = 10_f64.powf(y.0.max(1.0).log10().floor());
            (low, 10_f64.powf(y.1.max(low * 10.0).log10().ceil()))
        } else {
            (0.0, chart.axis.step(y.1.max(f64::MIN_POSITIVE) / GRID) * (GRID + 0.5))
        };
        Some(Self { x, y, axis: chart.axis })
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + (value - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let share = if self.axis == Axis::Log {
            (value.max(self.y.0).ln() - self.y.0.ln()) / (self.y.1.ln() - self.y.0.ln())
        } else {
            value / self.y.1
        };
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }

    fn y_marks(&self) -> Vec<f64> {
        if self.axis == Axis::Log {
            let decades = std::iter::successors(Some(self.y.0), |mark| Some(mark * 10.0));
            return decades.take_while(|mark| *mark <= self.y.1 * 1.01).collect();
        }
        let step = self.axis.step(self.y.1 / (GRID + 0.6));
        (0..)
            .map(|turn| f64::from(turn) * step)
            .take_while(|mark| *mark <= self.y.1)
            .collect()
    }
}

impl Axis {
    /// A round step, at least as large as this one.
    fn step(self, least: f64) -> f64 {
        let unit = match self {
            Self::Bytes if least >= 1.0 => 1024_f64.powf(least.log(1024.0).floor()),
            _ => 1.0,
        };
        nice(least / unit) * unit
    }
}

/// The next of 1, 2 and 5 times a power of ten.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|factor| factor * power >= step * 0.999);
    factor.unwrap_or(10.0) * power
}

impl Chart<'_> {
    /// Nothing where there are no points.
    pub fn svg(&self) -> String {
        let mut out = String::new();
        if let Some(scale) = Scale::of(self) {
            // Writing to a String cannot fail.
            let _ = self.write(&mut out, &scale);
        }
        out
    }

    fn write(&self, out: &mut String, scale: &Scale) -> fmt::Result {
        writeln!(out, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">")?;
        self.write_grid(out, scale)?;
        for (at, word) in self.moments {
            if *at < scale.x.0 || *at > scale.x.1 {
                continue;
            }
            let x = scale.x(*at);
            let bottom = HEIGHT - BOTTOM;
            writeln!(
                out,
                "<line class=\"moment\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>"
            )?;
            writeln!(
                out,
                "<text class=\"moment\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                x + 3.0,
                TOP + 9.0,
                escape(word)
            )?;
        }
        for (number, line) in self.lines.iter().enumerate() {
            self.write_line(out, scale, number, line)?;
        }
        writeln!(out, "</svg>")?;
        self.write_legend(out)
    }

    fn write_grid(&self, out: &mut String, scale: &Scale) -> fmt::Result {
        for mark in scale.y_marks() {
            let y = scale.y(mark);
            writeln!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
                WIDTH - RIGHT
            )?;
            let text = (self.y_text)(mark);
            writeln!(
                out,
                "<text class=\"y\" x=\"{}\" y=\"{:.1}\">{text}</text>",
                LEFT - 6.0,
                y + 4.0
            )?;
        }
        let marks = self.x_marks.clone().unwrap_or_else(|| {
            let step = nice((scale.x.1 - scale.x.0) / GRID);
            let first = (scale.x.0 / step).ceil();
            let marks = (0..).map(|turn| (first + f64::from(turn)) * step);
            marks
                .take_while(|mark| *mark <= scale.x.1)
                .map(|mark| (mark, (self.x_text)(mark)))
                .collect()
        });
        for (mark, text) in marks {
            let x = scale.x(mark);
            writeln!(
                out,
                "<text class=\"x\" x=\"{x:.1}\" y=\"{:.1}\">{text}</text>",
                HEIGHT - BOTTOM + 14.0
            )?;
        }
        let (x, y) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 4.0);
        writeln!(
            out,
            "<text class=\"x\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
            escape(self.x_label)
        )
    }

    fn write_line(&self, out: &mut String, scale: &Scale, number: usize, line: &Line) -> fmt::Result {
        let mut path = String::new();
        for (place, (x, y)) in line.points.iter().enumerate() {
            let word = if place == 0 { 'M' } else { 'L' };
            write!(path, "{word}{:.1} {:.1}", scale.x(*x), scale.y(*y))?;
        }
        writeln!(out, "<path class=\"line c{}\" d=\"{path}\"/>", number % 6)?;
        // Values are told by the pointer; few enough points, so that the page stays small.
        if line.points.len() <= 400 {
            for (x, y) in &line.points {
                let (cx, cy) = (scale.x(*x), scale.y(*y));
                let text = format!("{}, {}: {}", line.name, (self.x_text)(*x), (self.y_text)(*y));
                writeln!(
                    out,
                    "<circle class=\"dot c{}\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3\"><title>{}</title></circle>",
                    number % 6,
                    escape(&text)
                )?;
            }
        }
        Ok(())
    }

    fn write_legend(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "<p class=\"legend\">")?;
        for (number, line) in self.lines.iter().enumerate() {
            writeln!(out, "<span class=\"key c{}\"></span>{}", number % 6, escape(&line.name))?;
        }
        writeln!(out, "</p>")
    }
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>, axis: Axis) -> String {
        let chart = Chart {
            lines: vec![Line {
                name: "a<b".into(),
                points,
            }],
            x_label: "seconds",
            x_text: |x| format!("{x}"),
            y_text: |y| format!("{y}"),
            axis,
            moments: &[(1.0, "storm".into())],
            x_marks: None,
        };
        chart.svg()
    }

    #[test]
    fn all_points_lie_within_the_frame() {
        for axis in [Axis::Plain, Axis::Bytes, Axis::Log] {
            let svg = chart(vec![(0.0, 0.0), (1.0, 12.0), (2.0, 987_654.0)], axis);
            let places = svg
                .split("cy=\"")
                .skip(1)
                .map(|rest| rest.split('"').next().expect("a number"));
            for y in places.map(|y| y.parse::<f64>().expect("a number")) {
                assert!((0.0..=HEIGHT - BOTTOM + 0.1).contains(&y), "{y} in {svg}");
            }
            assert!(svg.contains("a&lt;b") && svg.contains("storm"));
        }
    }

    #[test]
    fn nothing_is_no_chart() {
        assert_eq!(chart(Vec::new(), Axis::Plain), "");
    }

    #[test]
    fn steps_of_the_grid_are_round() {
        assert_eq!(Axis::Bytes.step(3.0 * 1024.0), 5.0 * 1024.0);
        assert_eq!([0.7, 1.0, 1.2, 3.0, 70.0].map(nice), [1.0, 1.0, 2.0, 5.0, 100.0]);
    }
}
