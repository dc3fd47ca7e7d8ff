//! Numbers as people read them.

/// Thousands apart, and as many places as tell something.
pub fn plain(value: f64) -> String {
    if !value.is_finite() {
        return "–".into();
    }
    let places = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 0.1 || v == 0.0 => 2,
        _ => 4,
    };
    let text = format!("{value:.places$}");
    let (whole, rest) = text
        .split_once('.')
        .map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let out = apart(whole.trim_start_matches('-'));
    let sign = if whole.starts_with('-') { "-" } else { "" };
    let rest = if rest.bytes().all(|digit| digit == b'0') {
        ""
    } else {
        rest
    };
    if rest.is_empty() {
        format!("{sign}{out}")
    } else {
        format!("{sign}{out}.{rest}")
    }
}

pub fn count(value: u64) -> String {
    apart(&value.to_string())
}

/// Digits in groups of three.
fn apart(digits: &str) -> String {
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

pub fn micros(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{} s", plain(v / 1e6)),
        v if v >= 1e3 => format!("{} ms", plain(v / 1e3)),
        v => format!("{} µs", plain(v)),
    }
}

pub fn bytes(value: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = value;
    let mut unit = 0;
    while value.abs() >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", plain(value), UNITS[unit])
}

/// A figure by its name's end.
pub fn figure(name: &str, value: f64) -> String {
    if name.ends_with("_us") || name.contains("_us_") {
        micros(value)
    } else if name.ends_with("_kib") || name.contains("_kib_") {
        format!("{} KiB", plain(value))
    } else if name.ends_with("_percent") {
        format!("{} %", plain(value))
    } else if name.ends_with("_seconds") {
        format!("{} s", plain(value))
    } else {
        plain(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        let pairs = [
            (0.0, "0"),
            (3.0, "3"),
            (3.456, "3.46"),
            (42.19, "42.2"),
            (1234567.8, "1,234,568"),
            (0.0123, "0.0123"),
        ];
        for (value, text) in pairs {
            assert_eq!(plain(value), text);
        }
        assert_eq!(plain(-1500.0), "-1,500");
        assert_eq!(plain(f64::NAN), "–");
    }

    #[test]
    fn units_fit_the_size() {
        assert_eq!(micros(850.0), "850 µs");
        assert_eq!(micros(12_340.0), "12.3 ms");
        assert_eq!(bytes(3.0 * 1024.0 * 1024.0), "3 MiB");
        assert_eq!(figure("rss_kib_per_connection", 2.5), "2.50 KiB");
        assert_eq!(figure("cpu_us_per_delivery", 5.81), "5.81 µs");
    }
}
