//! The text format of Prometheus, as servers and `cscli metrics` read it.
//!
//! Libraries write OpenMetrics, where a counter's family has another name than its samples; tools that read
//! the older format would not find the families by the names that they know.

use std::fmt::Write as _;

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Bounds and counts of a histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Histogram {
    /// Upper bounds in seconds, ascending, without infinity.
    pub(crate) bounds: &'static [f64],
    /// Observations in each, not summed up; one more than there are bounds.
    pub(crate) counts: Vec<u64>,
    /// Seconds of all observations.
    pub(crate) sum: f64,
}

impl Histogram {
    /// An empty one.
    pub(crate) fn new(bounds: &'static [f64]) -> Histogram {
        Histogram { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// Counts an observation.
    pub(crate) fn observe(&mut self, seconds: f64) {
        let at = self.bounds.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.counts.get_mut(at) {
            *count += 1;
        }
        self.sum += seconds;
    }
}

/// A page of metrics.
#[derive(Debug, Default)]
pub(crate) struct Page(String);

impl Page {
    /// Begins a family; its samples follow.
    pub(crate) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a text cannot fail, here and below.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// A sample.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        self.labels(labels, None);
        let _ = writeln!(self.0, " {value}");
    }

    /// A sample of a count.
    pub(crate) fn count(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.0.push_str(name);
        self.labels(labels, None);
        let _ = writeln!(self.0, " {value}");
    }

    /// A family of one sample.
    pub(crate) fn single(&mut self, name: &str, kind: Kind, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// The samples of a histogram.
    pub(crate) fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let mut total = 0;
        for (at, count) in histogram.counts.iter().enumerate() {
            total += count;
            let bound = histogram.bounds.get(at).map_or_else(|| "+Inf".to_owned(), ToString::to_string);
            let _ = write!(self.0, "{name}_bucket");
            self.labels(labels, Some(&bound));
            let _ = writeln!(self.0, " {total}");
        }
        let _ = write!(self.0, "{name}_sum");
        self.labels(labels, None);
        let _ = write!(self.0, " {}\n{name}_count", histogram.sum);
        self.labels(labels, None);
        let _ = writeln!(self.0, " {total}");
    }

    fn labels(&mut self, labels: &[(&str, &str)], bound: Option<&str>) {
        let all = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        for (at, (name, value)) in all.enumerate() {
            self.0.push(if at == 0 { '{' } else { ',' });
            self.0.push_str(name);
            self.0.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        if !labels.is_empty() || bound.is_some() {
            self.0.push('}');
        }
    }

    /// The page.
    pub(crate) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_written_as_they_are_read() {
        let mut page = Page::default();
        page.family("a_total", Kind::Counter, "What a is.");
        page.count("a_total", &[("source", "/var/\"x\"\\\n"), ("type", "")], 3);
        page.single("b", Kind::Gauge, "What b is.", 0.5);
        let mut histogram = Histogram::new(&[0.1, 1.0]);
        for seconds in [0.05, 0.1, 0.2, 7.0] {
            histogram.observe(seconds);
        }
        page.family("c", Kind::Histogram, "What c is.");
        page.histogram("c", &[("x", "y")], &histogram);
        let expected = "\
# HELP a_total What a is.
# TYPE a_total counter
a_total{source=\"/var/\\\"x\\\"\\\\\\n\",type=\"\"} 3
# HELP b What b is.
# TYPE b gauge
b 0.5
# HELP c What c is.
# TYPE c histogram
c_bucket{x=\"y\",le=\"0.1\"} 2
c_bucket{x=\"y\",le=\"1\"} 3
c_bucket{x=\"y\",le=\"+Inf\"} 4
c_sum{x=\"y\"} 7.35
c_count{x=\"y\"} 4
";
        assert_eq!(page.finish(), expected);
    }
}
