//! Rows of one partition that wait for their insert, already as bytes.
//!
//! [`Filling`] grows while records come in; [`Sealed`] is one contiguous range that never changes again. Pure.

use std::collections::BTreeSet;

use bytes::Bytes;
use waybill_log::Record;
use waybill_runtime::trace::{MOST_LINKS, TraceParent};

use crate::{
    columns::{Part, TableRow},
    erase::Erasure,
    plan::Span,
};

/// Where the rows of one record end. All of a record's rows in one table are in one partition of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    offset: u64,
    end: usize,
    rows: u32,
    part: Part,
}

/// Rows of one table.
#[derive(Debug, Default)]
struct Rows {
    bytes: Vec<u8>,
    marks: Vec<Mark>,
}

/// A record that goes to the dead letters, and why.
#[derive(Debug, Clone)]
pub(crate) struct Dead {
    pub(crate) record: Record,
    pub(crate) reason: String,
}

/// A range that is still growing.
#[derive(Debug)]
pub(crate) struct Filling {
    tables: Vec<Rows>,
    range: Option<(u64, u64)>,
    erasures: Vec<Erasure>,
    dead: Vec<Dead>,
    bytes: usize,
    rows: usize,
    traces: Vec<TraceParent>,
}

impl Filling {
    pub(crate) fn new(tables: usize) -> Self {
        Self {
            tables: std::iter::repeat_with(Rows::default).take(tables).collect(),
            range: None,
            erasures: Vec::new(),
            dead: Vec::new(),
            bytes: 0,
            rows: 0,
            traces: Vec::new(),
        }
    }

    /// What follows belongs to the record at `offset`. Offsets rise.
    pub(crate) fn begin(&mut self, offset: u64) {
        let first = self.range.map_or(offset, |(first, _)| first);
        self.range = Some((first, offset));
    }

    /// Adds a row of the record that was begun to the table with this index.
    pub(crate) fn row<R: TableRow>(&mut self, table: usize, row: &R) {
        let (Some((_, offset)), Some(rows)) = (self.range, self.tables.get_mut(table)) else { return };
        let before = rows.bytes.len();
        row.put(&mut rows.bytes);
        let end = rows.bytes.len();
        self.bytes += end - before;
        self.rows += 1;
        match rows.marks.last_mut() {
            Some(mark) if mark.offset == offset => *mark = Mark { end, rows: mark.rows + 1, ..*mark },
            _ => rows.marks.push(Mark { offset, end, rows: 1, part: row.part() }),
        }
    }

    pub(crate) fn erase(&mut self, erasure: Erasure) {
        self.bytes += std::mem::size_of::<Erasure>() + 64;
        self.rows += 1;
        self.erasures.push(erasure);
    }

    /// A record's trace, for the insert to link to; the first ones of a range are enough.
    pub(crate) fn trace(&mut self, context: Option<TraceParent>) {
        if self.traces.len() < MOST_LINKS {
            self.traces.extend(context);
        }
    }

    pub(crate) fn dead(&mut self, record: Record, reason: String) {
        self.bytes += record.value.as_ref().map_or(0, Bytes::len) + reason.len();
        self.rows += 1;
        self.dead.push(Dead { record, reason });
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Rows that wait.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.range.is_none()
    }

    /// Closes the range and leaves an empty one behind; `None` when nothing has come.
    pub(crate) fn seal(&mut self) -> Option<Sealed> {
        let (first, last) = self.range?;
        let full = std::mem::replace(self, Self::new(self.tables.len()));
        let tables = full.tables.into_iter().map(|rows| SealedRows { bytes: rows.bytes.into(), marks: rows.marks });
        Some(Sealed {
            first,
            last,
            tables: tables.collect(),
            erasures: full.erasures,
            dead: full.dead,
            bytes: full.bytes,
            traces: full.traces,
        })
    }
}

/// A closed range of one partition.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) first: u64,
    pub(crate) last: u64,
    tables: Vec<SealedRows>,
    pub(crate) erasures: Vec<Erasure>,
    pub(crate) dead: Vec<Dead>,
    pub(crate) bytes: usize,
    /// Traces that records of the range belong to.
    pub(crate) traces: Vec<TraceParent>,
}

#[derive(Debug)]
struct SealedRows {
    bytes: Bytes,
    marks: Vec<Mark>,
}

/// A table's rows of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slice {
    bytes: Bytes,
    /// With ends counted from the slice's beginning.
    marks: Vec<Mark>,
}

impl Sealed {
    /// The rows of one table in a span of the range.
    pub(crate) fn slice(&self, table: usize, span: Span) -> Slice {
        let Some(rows) = self.tables.get(table) else { return Slice { bytes: Bytes::new(), marks: Vec::new() } };
        let begin = rows.marks.partition_point(|mark| mark.offset < span.from);
        let end = rows.marks.partition_point(|mark| mark.offset <= span.to);
        let from = if begin == 0 { 0 } else { rows.marks[begin - 1].end };
        let marks = &rows.marks[begin..end];
        let to = marks.last().map_or(from, |mark| mark.end);
        let marks = marks.iter().map(|mark| Mark { end: mark.end - from, ..*mark }).collect();
        Slice { bytes: rows.bytes.slice(from..to), marks }
    }
}

impl Slice {
    /// All rows.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many.
    pub(crate) fn rows(&self) -> u64 {
        self.marks.iter().map(|mark| u64::from(mark.rows)).sum()
    }

    /// The records that they are of, in order.
    pub(crate) fn offsets(&self) -> Vec<u64> {
        self.marks.iter().map(|mark| mark.offset).collect()
    }

    /// The partitions of the table that they belong to.
    pub(crate) fn parts(&self) -> BTreeSet<Part> {
        self.marks.iter().map(|mark| mark.part).collect()
    }

    /// The rows of some partitions only, in the same order.
    pub(crate) fn of_parts(&self, parts: &BTreeSet<Part>) -> Bytes {
        let mut kept = Vec::new();
        let mut from = 0;
        for mark in &self.marks {
            if parts.contains(&mark.part) {
                kept.extend_from_slice(&self.bytes[from..mark.end]);
            }
            from = mark.end;
        }
        kept.into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    struct Two(u8);
    impl TableRow for Two {
        const TABLE: &'static str = "two";
        fn columns() -> Vec<(String, &'static str)> {
            Vec::new()
        }
        fn put(&self, out: &mut Vec<u8>) {
            out.extend([self.0, self.0]);
        }
        fn part(&self) -> Part {
            if self.0 < 5 { Part::ALL } else { Part::month(crate::columns::Instant(0)) }
        }
    }

    #[test]
    fn slices_of_a_range_are_its_rows_in_order_without_overlap() {
        let mut filling = Filling::new(2);
        assert!(filling.seal().is_none());
        for offset in [3_u8, 4, 7, 9] {
            filling.begin(u64::from(offset));
            filling.row(0, &Two(offset));
            if offset == 7 {
                filling.row(0, &Two(70));
                filling.row(1, &Two(71));
            }
        }
        filling.begin(12);
        assert_eq!((filling.rows(), filling.bytes()), (6, 12));
        let sealed = filling.seal().unwrap();
        assert!(filling.is_empty() && filling.bytes() == 0);
        assert_eq!((sealed.first, sealed.last), (3, 12));
        let slice = |from, to| sealed.slice(0, Span { from, to });
        assert_eq!(slice(3, 12).bytes(), [3, 3, 4, 4, 7, 7, 70, 70, 9, 9].as_slice());
        let middle = slice(4, 7);
        assert_eq!(middle.bytes(), [4, 4, 7, 7, 70, 70].as_slice());
        assert_eq!((middle.offsets(), middle.rows()), (vec![4, 7], 3));
        assert_eq!(middle.parts().len(), 2);
        assert_eq!(middle.of_parts(&[Part::ALL].into()), [4, 4].as_slice());
        assert_eq!(middle.of_parts(&middle.parts()), middle.bytes());
        assert_eq!(slice(5, 6).rows(), 0);
        assert_eq!(slice(10, 12).bytes().len(), 0);
        assert_eq!(sealed.slice(1, Span { from: 3, to: 12 }).offsets(), [7]);
    }
}
