//! Rows as ClickHouse's RowBinary: each column knows its type's name and writes its own bytes.
//!
//! Records become bytes as soon as they are read, so a waiting range costs what it will weigh on the wire and a repeated
//! insert sends the very same bytes. The names and types travel in front of the rows (`RowBinaryWithNamesAndTypes`), so a
//! table of another shape refuses the insert instead of storing shifted columns.

use std::collections::BTreeMap;

use waybill_schemas::{Milestone, shipment::Moment};

/// One or more neighbouring columns of a row.
pub(crate) trait Column {
    /// Adds the names and types, for a field of this name.
    fn describe(name: &str, into: &mut Vec<(String, &'static str)>);
    /// Writes the values.
    fn put(&self, out: &mut Vec<u8>);
}

/// A column of one type that may also be null.
pub(crate) trait Value {
    /// The type's name.
    const TYPE: &'static str;
    /// The name of its nullable form.
    const NULLABLE: &'static str;
    /// Writes the value.
    fn put_value(&self, out: &mut Vec<u8>);
}

impl<T: Value> Column for T {
    fn describe(name: &str, into: &mut Vec<(String, &'static str)>) {
        into.push((name.to_owned(), T::TYPE));
    }
    fn put(&self, out: &mut Vec<u8>) {
        self.put_value(out);
    }
}

impl<T: Value> Column for Option<T> {
    fn describe(name: &str, into: &mut Vec<(String, &'static str)>) {
        into.push((name.to_owned(), T::NULLABLE));
    }
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => {
                out.push(0);
                value.put_value(out);
            }
            None => out.push(1),
        }
    }
}

/// Writes a length.
pub(crate) fn put_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

/// Writes a text or bytes behind their length.
pub(crate) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

macro_rules! numbers {
    ($($rust:ty => $name:literal),* $(,)?) => {$(
        impl Value for $rust {
            const TYPE: &'static str = $name;
            const NULLABLE: &'static str = concat!("Nullable(", $name, ")");
            fn put_value(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
numbers!(u8 => "UInt8", u32 => "UInt32", u64 => "UInt64", u128 => "UInt128", i64 => "Int64", f64 => "Float64");

impl Value for bool {
    const TYPE: &'static str = "Bool";
    const NULLABLE: &'static str = "Nullable(Bool)";
    fn put_value(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Value for &str {
    const TYPE: &'static str = "String";
    const NULLABLE: &'static str = "Nullable(String)";
    fn put_value(&self, out: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), out);
    }
}

/// Any bytes.
pub(crate) struct Blob<'a>(pub(crate) &'a [u8]);

impl Value for Blob<'_> {
    const TYPE: &'static str = "String";
    const NULLABLE: &'static str = "Nullable(String)";
    fn put_value(&self, out: &mut Vec<u8>) {
        put_bytes(self.0, out);
    }
}

/// A word of a small vocabulary.
#[derive(Default)]
pub(crate) struct Word<'a>(pub(crate) &'a str);

impl Value for Word<'_> {
    const TYPE: &'static str = "LowCardinality(String)";
    const NULLABLE: &'static str = "LowCardinality(Nullable(String))";
    fn put_value(&self, out: &mut Vec<u8>) {
        put_bytes(self.0.as_bytes(), out);
    }
}

/// An instant in milliseconds since 1970, already known to be within what the type holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Instant(pub(crate) i64);

impl Value for Instant {
    const TYPE: &'static str = "DateTime64(3, 'UTC')";
    const NULLABLE: &'static str = "Nullable(DateTime64(3, 'UTC'))";
    fn put_value(&self, out: &mut Vec<u8>) {
        self.0.put_value(out);
    }
}

/// A day, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Day(pub(crate) u16);

impl Value for Day {
    const TYPE: &'static str = "Date";
    const NULLABLE: &'static str = "Nullable(Date)";
    fn put_value(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_le_bytes());
    }
}

/// Which kind of record a row of `registrations` was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub(crate) enum RegistrationSource {
    #[default]
    Register = 1,
    Order = 2,
    Schedule = 3,
}

impl Value for RegistrationSource {
    const TYPE: &'static str = "Enum8('register' = 1, 'order' = 2, 'schedule' = 3)";
    const NULLABLE: &'static str = "Nullable(Enum8('register' = 1, 'order' = 2, 'schedule' = 3))";
    fn put_value(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }
}

/// Who wrote a row of `carriers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum BudgetWriter {
    Fetcher = 1,
    Scheduler = 2,
}

impl Value for BudgetWriter {
    const TYPE: &'static str = "Enum8('fetcher' = 1, 'scheduler' = 2)";
    const NULLABLE: &'static str = "Nullable(Enum8('fetcher' = 1, 'scheduler' = 2))";
    fn put_value(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }
}

/// A list of texts.
#[derive(Default)]
pub(crate) struct Texts<'a>(pub(crate) &'a [String]);

impl Column for Texts<'_> {
    fn describe(name: &str, into: &mut Vec<(String, &'static str)>) {
        into.push((name.to_owned(), "Array(String)"));
    }
    fn put(&self, out: &mut Vec<u8>) {
        put_length(self.0.len(), out);
        self.0.iter().for_each(|text| put_bytes(text.as_bytes(), out));
    }
}

/// A list of words of a small vocabulary.
#[derive(Default)]
pub(crate) struct Words<'a>(pub(crate) Vec<&'a str>);

impl Column for Words<'_> {
    fn describe(name: &str, into: &mut Vec<(String, &'static str)>) {
        into.push((name.to_owned(), "Array(LowCardinality(String))"));
    }
    fn put(&self, out: &mut Vec<u8>) {
        put_length(self.0.len(), out);
        self.0.iter().for_each(|word| put_bytes(word.as_bytes(), out));
    }
}

/// The partners of a shipment.
pub(crate) struct Legs<'a>(pub(crate) &'a [waybill_schemas::event::Leg]);

impl Column for Legs<'_> {
    fn describe(name: &str, into: &mut Vec<(String, &'static str)>) {
        into.push((name.to_owned(), "Array(Tuple(carrier String, number String))"));
    }
    fn put(&self, out: &mut Vec<u8>) {
        put_length(self.0.len(), out);
        for leg in self.0 {
            put_bytes(leg.carrier.as_bytes(), out);
            put_bytes(leg.number.as_bytes(), out);
        }
    }
}

/// The nine milestones, three columns each.
pub(crate) struct Milestones<'a>(pub(crate) &'a BTreeMap<Milestone, Moment>);

/// `OutForDelivery` → `out_for_delivery`.
fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for (index, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && index > 0 {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

impl Column for Milestones<'_> {
    fn describe(name: &str, into: &mut Vec<(String, &'static str)>) {
        for milestone in Milestone::ALL {
            let place = format!("{name}_{}", snake(milestone.as_str()));
            into.push((format!("{place}_time_utc"), <Instant as Value>::NULLABLE));
            into.push((format!("{place}_time"), <&str as Value>::NULLABLE));
            into.push((format!("{place}_seen_at"), <Instant as Value>::NULLABLE));
        }
    }
    fn put(&self, out: &mut Vec<u8>) {
        for milestone in Milestone::ALL {
            let moment = self.0.get(&milestone);
            moment.and_then(|moment| moment.time_utc).and_then(crate::rows::instant).put(out);
            moment.and_then(|moment| moment.time.as_deref()).put(out);
            moment.and_then(|moment| crate::rows::instant(moment.seen_at)).put(out);
        }
    }
}

/// Where a record stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogPlace {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) time: Instant,
}

impl Column for LogPlace {
    fn describe(name: &str, into: &mut Vec<(String, &'static str)>) {
        u32::describe(&format!("{name}_partition"), into);
        u64::describe(&format!("{name}_offset"), into);
        Instant::describe(&format!("{name}_time"), into);
    }
    fn put(&self, out: &mut Vec<u8>) {
        self.partition.put(out);
        self.offset.put(out);
        self.time.put(out);
    }
}

/// A row of a table.
pub(crate) trait TableRow {
    /// The table.
    const TABLE: &'static str;
    /// Names and types in order.
    fn columns() -> Vec<(String, &'static str)>;
    /// Writes the values in order.
    fn put(&self, out: &mut Vec<u8>);
    /// The table's partition that the row belongs to.
    fn part(&self) -> Part;
}

/// A partition of a table, by the name that ClickHouse gives it: 0 for tables that have none, `YYYYMM` or `YYYYMMDD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Part(u32);

impl Part {
    /// The only one of a table without partitions.
    pub(crate) const ALL: Self = Self(0);

    /// As `toYYYYMM` makes it.
    pub(crate) fn month(at: Instant) -> Self {
        let date = date(at);
        Self(u32::try_from(i32::from(date.year()) * 100 + i32::from(date.month())).unwrap_or(0))
    }

    /// As `toMonday` makes it.
    pub(crate) fn week(at: Instant) -> Self {
        let date = date(at);
        let back = i64::from(date.weekday().to_monday_zero_offset());
        let monday = date.saturating_sub(jiff::Span::new().days(back));
        let month = i32::from(monday.year()) * 100 + i32::from(monday.month());
        Self(u32::try_from(month * 100 + i32::from(monday.day())).unwrap_or(0))
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if *self == Self::ALL { f.write_str("all") } else { write!(f, "{}", self.0) }
    }
}

fn date(at: Instant) -> jiff::civil::Date {
    let instant = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default();
    jiff::tz::TimeZone::UTC.to_datetime(instant).date()
}

/// Declares a row: its struct, its table, how its partition follows from it, its columns in the order of the fields.
macro_rules! table_row {
    ($(#[$meta:meta])* $name:ident in $table:literal, $part:expr, { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$meta])*
        pub(crate) struct $name<'a> {
            $(pub(crate) $field: $type),*
        }
        impl<'a> $crate::columns::TableRow for $name<'a> {
            const TABLE: &'static str = $table;
            fn columns() -> Vec<(String, &'static str)> {
                let mut columns = Vec::new();
                $(<$type as $crate::columns::Column>::describe(stringify!($field).trim_start_matches("r#"), &mut columns);)*
                columns
            }
            fn put(&self, out: &mut Vec<u8>) {
                $($crate::columns::Column::put(&self.$field, out);)*
            }
            fn part(&self) -> $crate::columns::Part {
                let part: fn(&Self) -> $crate::columns::Part = $part;
                part(self)
            }
        }
    };
}
pub(crate) use table_row;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_in_groups_of_seven_bits() {
        for (length, bytes) in [(0, vec![0]), (127, vec![127]), (128, vec![0x80, 1]), (300, vec![0xac, 2])] {
            let mut out = Vec::new();
            put_length(length, &mut out);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn null_is_a_one_and_a_value_follows_a_zero() {
        let mut out = Vec::new();
        Option::<&str>::None.put(&mut out);
        Some("ab").put(&mut out);
        Some(7_u32).put(&mut out);
        assert_eq!(out, [1, 0, 2, b'a', b'b', 0, 7, 0, 0, 0]);
    }

    #[test]
    fn parts_are_named_as_clickhouse_names_partitions() {
        let at = Instant(1_790_942_400_000); // Friday, 2026-10-02 12:00
        assert_eq!(Part::month(at).to_string(), "202610");
        assert_eq!(Part::week(at).to_string(), "20260928");
        assert_eq!(Part::ALL.to_string(), "all");
    }

    #[test]
    fn milestones_are_named_in_snake_case() {
        assert_eq!(snake("AvailableForPickup"), "available_for_pickup");
        assert_eq!(snake("Delivered"), "delivered");
    }
}
