-- A year that no page printed is marked as inferred.

ALTER TABLE waybill.tracking_events
    ADD COLUMN IF NOT EXISTS year_inferred Bool DEFAULT false COMMENT 'Whether no year was printed: the year of time follows from when the carrier answered' AFTER zone_source;

CREATE OR REPLACE VIEW waybill.v_events
(
    event_id String COMMENT 'Identity of the event, 32 hexadecimal digits. The same for every version of it',
    version UInt32 COMMENT 'Counts publications of this event from 1. The highest is the one to show',
    kind LowCardinality(String) COMMENT 'Why it was published: scan, rendering (new wording of a known event) or correction (new reading by replay)',
    carrier LowCardinality(String) COMMENT 'Slug of the carrier asked',
    number String COMMENT 'Canonical tracking number',
    instance UInt32 COMMENT 'Which life of a recycled number, from 1',
    ref Nullable(String) COMMENT 'The registrant''s own reference',
    registered_at DateTime64(3, 'UTC') COMMENT 'When the shipment was first registered. Never changes until the number is forgotten',
    time_raw String COMMENT 'The time as printed by the carrier',
    time Nullable(String) COMMENT 'The printed time as ISO 8601, only as exact as printed, with an offset only if the zone is known',
    time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'The instant. Null when the zone is unknown',
    time_precision LowCardinality(Nullable(String)) COMMENT 'How exact the time is: date, half_day, minute or second. Null when nothing of it was understood',
    zone_source LowCardinality(String) COMMENT 'Where the zone of the time came from: carrier, place, adapter or unknown',
    year_inferred Bool COMMENT 'Whether no year was printed: the year of time follows from when the carrier answered',
    text String COMMENT 'What happened, in the carrier''s own words',
    code LowCardinality(Nullable(String)) COMMENT 'The carrier''s code of the event',
    location Nullable(String) COMMENT 'The place as printed',
    country LowCardinality(Nullable(String)) COMMENT 'Country of the event, ISO 3166-1 alpha-2',
    leg UInt8 COMMENT '0 is the carrier asked, n the n-th of the shipment''s legs',
    status LowCardinality(Nullable(String)) COMMENT 'Canonical main status. Null when nothing matched',
    sub_status LowCardinality(Nullable(String)) COMMENT 'Canonical sub-status. Null when nothing matched',
    matched_by LowCardinality(String) COMMENT 'What decided the status: code, exact, prefix, contains, regex, phrase or none',
    seen_at DateTime64(3, 'UTC') COMMENT 'When the carrier''s answer showed it',
    source_attempt Int64 COMMENT 'The attempt that brought it',
    source_payload Nullable(String) COMMENT 'Hash of the carrier''s bytes, where kept: hash of waybill.payloads',
    source_adapter LowCardinality(String) COMMENT 'Slug of the adapter',
    source_adapter_version LowCardinality(String) COMMENT 'Digest of the adapter''s files',
    source_mapping_version LowCardinality(String) COMMENT 'Digest of the adapter''s mapping',
    source_reader LowCardinality(String) COMMENT 'The reader within the adapter',
    source_selector String COMMENT 'Where in the answer it stood',
    log_partition UInt32 COMMENT 'Partition of waybill.tracking-events that holds it',
    log_offset UInt64 COMMENT 'Its offset there: events of one answer follow each other from the oldest to the newest'
)
AS SELECT
    event_id, version, kind, carrier, number, instance, ref, registered_at, time_raw, time, time_utc,
    time_precision, zone_source, year_inferred, text, code, location, country, leg, status, sub_status, matched_by, seen_at,
    source_attempt, source_payload, source_adapter, source_adapter_version, source_mapping_version,
    source_reader, source_selector, log_partition, log_offset
FROM waybill.tracking_events FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Every tracking event once, in its newest version';
