-- The base tables. Each row of a topic is inserted here under its offset range's token, so a crash of the store leaves each
-- record once. What is published twice upstream meets in one partition under one key and is merged away, and until then
-- is hidden by the views of 0003: people query the views.
--
-- non_replicated_deduplication_window: a token must be remembered until the crashed writer's range has been sent again.
-- Every insert adds an entry per month it touches. 32 partitions that insert twice a second into two months each add 128
-- entries a second, so 20000 of them outlast 150 s, three times what a partition needs to find a new owner (session 15 s,
-- drain, start). An entry is some 100 bytes.
--
-- LowCardinality is for vocabularies and names of carriers. Nullable is only where null means something. Times of parcels
-- compress best as differences, texts with ZSTD. Number-like columns of the key stay as they are.

CREATE TABLE IF NOT EXISTS waybill.tracking_events
(
    event_id String COMMENT 'Identity of the event, 32 hexadecimal digits. The same for every version of it' CODEC(ZSTD(1)),
    version UInt32 COMMENT 'Counts publications of this event from 1. The highest is the one to show' CODEC(ZSTD(1)),
    kind LowCardinality(String) COMMENT 'Why it was published: scan, rendering (new wording of a known event) or correction (new reading by replay)',
    carrier LowCardinality(String) COMMENT 'Slug of the carrier asked',
    number String COMMENT 'Canonical tracking number' CODEC(ZSTD(1)),
    instance UInt32 COMMENT 'Which life of a recycled number, from 1' CODEC(ZSTD(1)),
    ref Nullable(String) COMMENT 'The registrant''s own reference' CODEC(ZSTD(1)),
    registered_at DateTime64(3, 'UTC') COMMENT 'When the shipment was first registered. Never changes until the number is forgotten' CODEC(Delta, ZSTD(1)),
    time_raw String COMMENT 'The time as printed by the carrier' CODEC(ZSTD(1)),
    time Nullable(String) COMMENT 'The printed time as ISO 8601, only as exact as printed, with an offset only if the zone is known' CODEC(ZSTD(1)),
    time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'The instant. Null when the zone is unknown' CODEC(ZSTD(1)),
    time_precision LowCardinality(Nullable(String)) COMMENT 'How exact the time is: date, half_day, minute or second. Null when nothing of it was understood',
    zone_source LowCardinality(String) COMMENT 'Where the zone of the time came from: carrier, place, adapter or unknown',
    text String COMMENT 'What happened, in the carrier''s own words' CODEC(ZSTD(1)),
    code LowCardinality(Nullable(String)) COMMENT 'The carrier''s code of the event',
    location Nullable(String) COMMENT 'The place as printed' CODEC(ZSTD(1)),
    country LowCardinality(Nullable(String)) COMMENT 'Country of the event, ISO 3166-1 alpha-2',
    leg UInt8 COMMENT '0 is the carrier asked, n the n-th of the shipment''s legs',
    status LowCardinality(Nullable(String)) COMMENT 'Canonical main status. Null when nothing matched',
    sub_status LowCardinality(Nullable(String)) COMMENT 'Canonical sub-status. Null when nothing matched',
    matched_by LowCardinality(String) COMMENT 'What decided the status: code, exact, prefix, contains, regex, phrase or none',
    seen_at DateTime64(3, 'UTC') COMMENT 'When the carrier''s answer showed it' CODEC(Delta, ZSTD(1)),
    source_attempt Int64 COMMENT 'The attempt that brought it' CODEC(Delta, ZSTD(1)),
    source_payload Nullable(String) COMMENT 'Hash of the carrier''s bytes, where kept: hash of waybill.payloads' CODEC(ZSTD(1)),
    source_adapter LowCardinality(String) COMMENT 'Slug of the adapter',
    source_adapter_version LowCardinality(String) COMMENT 'Digest of the adapter''s files',
    source_mapping_version LowCardinality(String) COMMENT 'Digest of the adapter''s mapping',
    source_reader LowCardinality(String) COMMENT 'The reader within the adapter',
    source_selector String COMMENT 'Where in the answer it stood' CODEC(ZSTD(1)),
    log_partition UInt32 COMMENT 'Partition of the topic that the row was read from' CODEC(ZSTD(1)),
    log_offset UInt64 COMMENT 'Offset of the record within that partition' CODEC(Delta, ZSTD(1)),
    log_time DateTime64(3, 'UTC') COMMENT 'When the log appended the record' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(registered_at)
ORDER BY (carrier, number, instance, event_id)
SETTINGS non_replicated_deduplication_window = 20000
COMMENT 'Every published version of every tracking event, as on waybill.tracking-events. Query waybill.v_events for the newest version of each';

CREATE TABLE IF NOT EXISTS waybill.shipments
(
    carrier LowCardinality(String) COMMENT 'Slug of the carrier asked',
    number String COMMENT 'Canonical tracking number' CODEC(ZSTD(1)),
    instance UInt32 COMMENT 'Which life of a recycled number, from 1' CODEC(ZSTD(1)),
    ref Nullable(String) COMMENT 'The registrant''s own reference' CODEC(ZSTD(1)),
    origin LowCardinality(Nullable(String)) COMMENT 'Origin country, ISO 3166-1 alpha-2',
    origin_source LowCardinality(Nullable(String)) COMMENT 'Who told the origin: registration or carrier',
    destination LowCardinality(Nullable(String)) COMMENT 'Destination country, ISO 3166-1 alpha-2',
    destination_source LowCardinality(Nullable(String)) COMMENT 'Who told the destination: registration or carrier',
    status LowCardinality(String) COMMENT 'Canonical main status',
    sub_status LowCardinality(String) COMMENT 'Canonical sub-status',
    since_time Nullable(String) COMMENT 'Since when the main status holds, as printed, ISO 8601' CODEC(ZSTD(1)),
    since_time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'The same as an instant. Null when the zone is unknown' CODEC(ZSTD(1)),
    since_seen_at DateTime64(3, 'UTC') COMMENT 'When an answer first showed the main status' CODEC(ZSTD(1)),
    latest_event_event_id Nullable(String) COMMENT 'Identity of the newest event. Null when there is none' CODEC(ZSTD(1)),
    latest_event_time_raw Nullable(String) COMMENT 'Its time as printed by the carrier' CODEC(ZSTD(1)),
    latest_event_time Nullable(String) COMMENT 'Its time, ISO 8601' CODEC(ZSTD(1)),
    latest_event_time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'Its instant. Null when the zone is unknown' CODEC(ZSTD(1)),
    latest_event_text Nullable(String) COMMENT 'What happened, in the carrier''s own words' CODEC(ZSTD(1)),
    latest_event_location Nullable(String) COMMENT 'Its place as printed' CODEC(ZSTD(1)),
    latest_event_sub_status LowCardinality(Nullable(String)) COMMENT 'Its sub-status. Null when nothing matched',
    milestone_info_received_time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'First instant of InfoReceived. Null when not reached or when the zone of its time is unknown' CODEC(ZSTD(1)),
    milestone_info_received_time Nullable(String) COMMENT 'First time of InfoReceived as printed, ISO 8601. Null when not reached or not printed' CODEC(ZSTD(1)),
    milestone_info_received_seen_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When an answer first showed InfoReceived. Null exactly when it is not reached' CODEC(ZSTD(1)),
    milestone_picked_up_time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'First instant of PickedUp. Null when not reached or when the zone of its time is unknown' CODEC(ZSTD(1)),
    milestone_picked_up_time Nullable(String) COMMENT 'First time of PickedUp as printed, ISO 8601. Null when not reached or not printed' CODEC(ZSTD(1)),
    milestone_picked_up_seen_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When an answer first showed PickedUp. Null exactly when it is not reached' CODEC(ZSTD(1)),
    milestone_departure_time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'First instant of Departure. Null when not reached or when the zone of its time is unknown' CODEC(ZSTD(1)),
    milestone_departure_time Nullable(String) COMMENT 'First time of Departure as printed, ISO 8601. Null when not reached or not printed' CODEC(ZSTD(1)),
    milestone_departure_seen_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When an answer first showed Departure. Null exactly when it is not reached' CODEC(ZSTD(1)),
    milestone_arrival_time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'First instant of Arrival. Null when not reached or when the zone of its time is unknown' CODEC(ZSTD(1)),
    milestone_arrival_time Nullable(String) COMMENT 'First time of Arrival as printed, ISO 8601. Null when not reached or not printed' CODEC(ZSTD(1)),
    milestone_arrival_seen_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When an answer first showed Arrival. Null exactly when it is not reached' CODEC(ZSTD(1)),
    milestone_available_for_pickup_time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'First instant of AvailableForPickup. Null when not reached or when the zone of its time is unknown' CODEC(ZSTD(1)),
    milestone_available_for_pickup_time Nullable(String) COMMENT 'First time of AvailableForPickup as printed, ISO 8601. Null when not reached or not printed' CODEC(ZSTD(1)),
    milestone_available_for_pickup_seen_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When an answer first showed AvailableForPickup. Null exactly when it is not reached' CODEC(ZSTD(1)),
    milestone_out_for_delivery_time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'First instant of OutForDelivery. Null when not reached or when the zone of its time is unknown' CODEC(ZSTD(1)),
    milestone_out_for_delivery_time Nullable(String) COMMENT 'First time of OutForDelivery as printed, ISO 8601. Null when not reached or not printed' CODEC(ZSTD(1)),
    milestone_out_for_delivery_seen_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When an answer first showed OutForDelivery. Null exactly when it is not reached' CODEC(ZSTD(1)),
    milestone_delivered_time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'First instant of Delivered. Null when not reached or when the zone of its time is unknown' CODEC(ZSTD(1)),
    milestone_delivered_time Nullable(String) COMMENT 'First time of Delivered as printed, ISO 8601. Null when not reached or not printed' CODEC(ZSTD(1)),
    milestone_delivered_seen_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When an answer first showed Delivered. Null exactly when it is not reached' CODEC(ZSTD(1)),
    milestone_returning_time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'First instant of Returning. Null when not reached or when the zone of its time is unknown' CODEC(ZSTD(1)),
    milestone_returning_time Nullable(String) COMMENT 'First time of Returning as printed, ISO 8601. Null when not reached or not printed' CODEC(ZSTD(1)),
    milestone_returning_seen_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When an answer first showed Returning. Null exactly when it is not reached' CODEC(ZSTD(1)),
    milestone_returned_time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'First instant of Returned. Null when not reached or when the zone of its time is unknown' CODEC(ZSTD(1)),
    milestone_returned_time Nullable(String) COMMENT 'First time of Returned as printed, ISO 8601. Null when not reached or not printed' CODEC(ZSTD(1)),
    milestone_returned_seen_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When an answer first showed Returned. Null exactly when it is not reached' CODEC(ZSTD(1)),
    estimated_delivery_from Nullable(String) COMMENT 'Earliest estimated delivery, ISO 8601 as printed' CODEC(ZSTD(1)),
    estimated_delivery_to Nullable(String) COMMENT 'Latest estimated delivery, ISO 8601 as printed' CODEC(ZSTD(1)),
    estimated_delivery_source LowCardinality(Nullable(String)) COMMENT 'Who estimated',
    service LowCardinality(Nullable(String)) COMMENT 'Product as named by the carrier',
    weight Nullable(String) COMMENT 'Weight as printed, with its unit' CODEC(ZSTD(1)),
    legs Array(Tuple(carrier String, number String)) COMMENT 'Partners that carry part of the way, each under its own number' CODEC(ZSTD(1)),
    event_count UInt32 COMMENT 'Known events of this instance' CODEC(ZSTD(1)),
    registered_at DateTime64(3, 'UTC') COMMENT 'When the shipment was first registered. Never changes until the number is forgotten' CODEC(Delta, ZSTD(1)),
    last_outcome_class LowCardinality(String) COMMENT 'How the last look-up ended, e.g. tracked, not_found, carrier_down',
    last_outcome_at DateTime64(3, 'UTC') COMMENT 'When the last look-up ended' CODEC(ZSTD(1)),
    last_outcome_detail Nullable(String) COMMENT 'One sentence on it, where there is something to say' CODEC(ZSTD(1)),
    tracking LowCardinality(String) COMMENT 'active or stopped',
    stop_reason LowCardinality(Nullable(String)) COMMENT 'Why looking up ended',
    version Int64 COMMENT 'The attempt that wrote this state. Higher is newer' CODEC(ZSTD(1)),
    is_deleted UInt8 COMMENT '1 when the shipment was withdrawn from the topic. Such rows are in no view',
    log_partition UInt32 COMMENT 'Partition of the topic that the row was read from' CODEC(ZSTD(1)),
    log_offset UInt64 COMMENT 'Offset of the record within that partition' CODEC(Delta, ZSTD(1)),
    log_time DateTime64(3, 'UTC') COMMENT 'When the log appended the record' CODEC(Delta, ZSTD(1)),
    INDEX by_ref ref TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (carrier, number)
SETTINGS non_replicated_deduplication_window = 20000
COMMENT 'The current state of every shipment, as on waybill.shipments. Query waybill.v_shipments for the newest state of each';

CREATE TABLE IF NOT EXISTS waybill.status_changes
(
    carrier LowCardinality(String) COMMENT 'Slug of the carrier asked',
    number String COMMENT 'Canonical tracking number' CODEC(ZSTD(1)),
    instance UInt32 COMMENT 'Which life of a recycled number, from 1' CODEC(ZSTD(1)),
    ref Nullable(String) COMMENT 'The registrant''s own reference' CODEC(ZSTD(1)),
    previous LowCardinality(Nullable(String)) COMMENT 'The main status before. Null for the first',
    current LowCardinality(String) COMMENT 'The main status from now on',
    sub_status LowCardinality(String) COMMENT 'The sub-status from now on',
    first Bool COMMENT 'Whether it is the first status of this instance',
    initial Bool COMMENT 'Whether it was found at the first look, so possibly old news',
    cause LowCardinality(String) COMMENT 'What made it: poll (an answer), clock (time passing) or replay (a correction)',
    registered_at DateTime64(3, 'UTC') COMMENT 'When the shipment was first registered. Never changes until the number is forgotten' CODEC(Delta, ZSTD(1)),
    event_time Nullable(String) COMMENT 'The printed moment of the event that made it, ISO 8601' CODEC(ZSTD(1)),
    seen_at DateTime64(3, 'UTC') COMMENT 'When the carrier answered' CODEC(Delta, ZSTD(1)),
    attempt Int64 COMMENT 'The attempt' CODEC(Delta, ZSTD(1)),
    log_partition UInt32 COMMENT 'Partition of the topic that the row was read from' CODEC(ZSTD(1)),
    log_offset UInt64 COMMENT 'Offset of the record within that partition' CODEC(Delta, ZSTD(1)),
    log_time DateTime64(3, 'UTC') COMMENT 'When the log appended the record' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(registered_at)
ORDER BY (carrier, number, instance, attempt, current)
SETTINGS non_replicated_deduplication_window = 20000
COMMENT 'Every published change of a shipment''s main status, as on waybill.status-changes. Query waybill.v_status_changes';

CREATE TABLE IF NOT EXISTS waybill.deliveries
(
    carrier LowCardinality(String) COMMENT 'Slug of the carrier asked',
    number String COMMENT 'Canonical tracking number' CODEC(ZSTD(1)),
    instance UInt32 COMMENT 'Which life of a recycled number, from 1' CODEC(ZSTD(1)),
    ref Nullable(String) COMMENT 'The registrant''s own reference' CODEC(ZSTD(1)),
    origin LowCardinality(Nullable(String)) COMMENT 'Origin country, ISO 3166-1 alpha-2',
    destination LowCardinality(Nullable(String)) COMMENT 'Destination country, ISO 3166-1 alpha-2',
    service LowCardinality(Nullable(String)) COMMENT 'Product as named by the carrier',
    registered_at DateTime64(3, 'UTC') COMMENT 'When the shipment was first registered. Never changes until the number is forgotten' CODEC(Delta, ZSTD(1)),
    picked_up_time Nullable(String) COMMENT 'When the carrier took it over, as printed, ISO 8601' CODEC(ZSTD(1)),
    picked_up_at Nullable(DateTime64(3, 'UTC')) COMMENT 'The same as an instant. Null when unknown or of unknown zone' CODEC(ZSTD(1)),
    delivered_time Nullable(String) COMMENT 'When it was delivered, as printed, ISO 8601' CODEC(ZSTD(1)),
    delivered_at Nullable(DateTime64(3, 'UTC')) COMMENT 'The same as an instant. Null when unknown or of unknown zone' CODEC(ZSTD(1)),
    delivered_seen_at DateTime64(3, 'UTC') COMMENT 'When an answer first showed the delivery' CODEC(ZSTD(1)),
    delivered_on Date COMMENT 'Day of delivery: as printed, else of the instant in UTC, else of delivered_seen_at' CODEC(ZSTD(1)),
    transit_days Nullable(Float64) COMMENT 'Days from pick-up to delivery: between instants where both zones are known, else between printed local times. Null when either was not printed' CODEC(ZSTD(1)),
    event_count UInt32 COMMENT 'Known events' CODEC(ZSTD(1)),
    version Int64 COMMENT 'The attempt that wrote this state. Higher is newer' CODEC(ZSTD(1)),
    is_deleted UInt8 COMMENT '1 when the shipment is delivered no longer. Such rows are in no view',
    log_partition UInt32 COMMENT 'Partition of the topic that the row was read from' CODEC(ZSTD(1)),
    log_offset UInt64 COMMENT 'Offset of the record within that partition' CODEC(Delta, ZSTD(1)),
    log_time DateTime64(3, 'UTC') COMMENT 'When the log appended the record' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (carrier, number, instance)
SETTINGS non_replicated_deduplication_window = 20000
COMMENT 'One row per delivered shipment, from waybill.shipments. Query waybill.v_deliveries: a shipment that is delivered no longer is marked deleted here until its rows merge';

CREATE TABLE IF NOT EXISTS waybill.fetch_outcomes
(
    carrier LowCardinality(String) COMMENT 'Slug of the carrier asked',
    number String COMMENT 'Canonical tracking number' CODEC(ZSTD(1)),
    instance UInt32 COMMENT 'Which life of a recycled number, from 1' CODEC(ZSTD(1)),
    attempt Int64 COMMENT 'The attempt, milliseconds since 1970 when it was ordered' CODEC(Delta, ZSTD(1)),
    attempted_at DateTime64(3, 'UTC') COMMENT 'The attempt as an instant' CODEC(Delta, ZSTD(1)),
    request_offset UInt64 COMMENT 'Offset of the request on waybill.fetch-requests' CODEC(Delta, ZSTD(1)),
    kind LowCardinality(String) COMMENT 'What the request was for: poll, clock, stop, resume, replay or forget',
    class LowCardinality(String) COMMENT 'How it ended, e.g. tracked, not_found, throttled',
    detail Nullable(String) COMMENT 'One sentence, where there is something to say' CODEC(ZSTD(1)),
    needs Array(String) COMMENT 'With needs_data: the parameters that are missing' CODEC(ZSTD(1)),
    status LowCardinality(Nullable(String)) COMMENT 'The shipment''s main status after it. Null before the first accepted reading',
    sub_status LowCardinality(Nullable(String)) COMMENT 'The sub-status after it',
    changed Bool COMMENT 'Whether events or status changed',
    seen_at DateTime64(3, 'UTC') COMMENT 'When the carrier answered' CODEC(Delta, ZSTD(1)),
    not_before Nullable(DateTime64(3, 'UTC')) COMMENT 'The number may not be tried before (deferral)' CODEC(ZSTD(1)),
    feedback_spent UInt32 COMMENT 'Requests that left for the carrier' CODEC(ZSTD(1)),
    feedback_budget_not_before Nullable(DateTime64(3, 'UTC')) COMMENT 'The budget is blocked until then' CODEC(ZSTD(1)),
    log_partition UInt32 COMMENT 'Partition of the topic that the row was read from' CODEC(ZSTD(1)),
    log_offset UInt64 COMMENT 'Offset of the record within that partition' CODEC(Delta, ZSTD(1)),
    log_time DateTime64(3, 'UTC') COMMENT 'When the log appended the record' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(attempted_at)
ORDER BY (carrier, number, attempt)
SETTINGS non_replicated_deduplication_window = 20000
COMMENT 'How each attempt ended, as on waybill.outcomes. Query waybill.v_fetch_outcomes';

CREATE TABLE IF NOT EXISTS waybill.registrations
(
    carrier LowCardinality(String) COMMENT 'Slug of the carrier asked',
    number String COMMENT 'Canonical tracking number' CODEC(ZSTD(1)),
    source Enum8('register' = 1, 'order' = 2, 'schedule' = 3) COMMENT 'What the row was read from: a command register or lookup, a command of another kind, or a schedule record',
    kind LowCardinality(Nullable(String)) COMMENT 'Kind of the command. Null for a schedule record',
    command_id Nullable(String) COMMENT 'Id of the command. Null for a schedule record' CODEC(ZSTD(1)),
    command_partition Nullable(UInt32) COMMENT 'Partition of the command on waybill.commands. Null for a schedule record' CODEC(ZSTD(1)),
    command_offset Nullable(UInt64) COMMENT 'Its offset there: the highest tells how far the store has read. Null for a schedule record' CODEC(ZSTD(1)),
    ref Nullable(String) COMMENT 'The registrant''s own reference' CODEC(ZSTD(1)),
    tags Array(String) COMMENT 'The registrant''s labels' CODEC(ZSTD(1)),
    origin LowCardinality(Nullable(String)) COMMENT 'Origin country as registered, ISO 3166-1 alpha-2',
    destination LowCardinality(Nullable(String)) COMMENT 'Destination country as registered, ISO 3166-1 alpha-2',
    ordered_at Nullable(String) COMMENT 'When the goods were ordered, ISO 8601' CODEC(ZSTD(1)),
    params Array(LowCardinality(String)) COMMENT 'Names of the parameters that were given. Their values are personal data and are not stored' CODEC(ZSTD(1)),
    until Nullable(DateTime64(3, 'UTC')) COMMENT 'A temporary registration ends here' CODEC(ZSTD(1)),
    registered_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When first registered. Null until the scheduler has accepted it' CODEC(ZSTD(1)),
    instance UInt32 COMMENT 'Which life of a recycled number. 0 until the scheduler has accepted it' CODEC(ZSTD(1)),
    tracking LowCardinality(Nullable(String)) COMMENT 'active or stopped. Null until the scheduler has accepted it',
    stop_reason LowCardinality(Nullable(String)) COMMENT 'Why looking up ended',
    attempt Int64 COMMENT 'The last attempt whose outcome was applied. 0 before the first' CODEC(ZSTD(1)),
    due Nullable(DateTime64(3, 'UTC')) COMMENT 'When it is due next. Null until the scheduler has accepted it' CODEC(ZSTD(1)),
    not_before Nullable(DateTime64(3, 'UTC')) COMMENT 'Not to be asked before, whatever due says' CODEC(ZSTD(1)),
    why_rule LowCardinality(Nullable(String)) COMMENT 'The rule that decided when it is due',
    why_text Nullable(String) COMMENT 'One sentence on it for people' CODEC(ZSTD(1)),
    why_interval_ms Nullable(Int64) COMMENT 'The interval chosen, in milliseconds' CODEC(ZSTD(1)),
    status LowCardinality(Nullable(String)) COMMENT 'Main status after the last outcome. Null before the first accepted reading',
    sub_status LowCardinality(Nullable(String)) COMMENT 'Sub-status after the last outcome',
    last_change Nullable(DateTime64(3, 'UTC')) COMMENT 'When a change was last seen. Null until the scheduler has accepted it' CODEC(ZSTD(1)),
    last_reading Nullable(DateTime64(3, 'UTC')) COMMENT 'When the last accepted reading was seen' CODEC(ZSTD(1)),
    failures UInt32 COMMENT 'Look-ups in a row that failed' CODEC(ZSTD(1)),
    epoch UInt64 COMMENT 'Epoch of the claim under which a schedule record was written. 0 for commands' CODEC(ZSTD(1)),
    version UInt128 COMMENT 'Order of the rows: epoch times 2^64 plus log_offset, so that a record of a lower epoch never wins' CODEC(ZSTD(1)),
    is_deleted UInt8 COMMENT '1 when the record was withdrawn. Such rows are in no view',
    log_partition UInt32 COMMENT 'Partition of the topic that the row was read from' CODEC(ZSTD(1)),
    log_offset UInt64 COMMENT 'Offset of the record within that partition' CODEC(Delta, ZSTD(1)),
    log_time DateTime64(3, 'UTC') COMMENT 'When the log appended the record' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (carrier, number, source)
SETTINGS non_replicated_deduplication_window = 20000
COMMENT 'What was registered and what the scheduler makes of it: per number the last registering command, the last other command and the last schedule record. Query waybill.v_registrations for one row a number';

CREATE TABLE IF NOT EXISTS waybill.payloads
(
    hash String COMMENT 'Hash of the bytes: source_payload of an event' CODEC(ZSTD(1)),
    carrier LowCardinality(String) COMMENT 'The carrier that answered',
    content_type LowCardinality(String) COMMENT 'Media type of the answer, empty when not told',
    size UInt32 COMMENT 'Compressed size in bytes' CODEC(ZSTD(1)),
    truncated_from Nullable(UInt64) COMMENT 'Uncut length in bytes of an answer that did not fit. Null when it is whole' CODEC(ZSTD(1)),
    body String COMMENT 'The answer, compressed with zstd as it came from the fetcher' CODEC(NONE),
    log_partition UInt32 COMMENT 'Partition of the topic that the row was read from' CODEC(ZSTD(1)),
    log_offset UInt64 COMMENT 'Offset of the record within that partition' CODEC(Delta, ZSTD(1)),
    log_time DateTime64(3, 'UTC') COMMENT 'When the log appended the record' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toMonday(log_time)
ORDER BY hash
TTL toDateTime(log_time) + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 20000, ttl_only_drop_parts = 1
COMMENT 'Carriers'' answers as they came, under the hash of their bytes. Kept for 30 days';

CREATE TABLE IF NOT EXISTS waybill.carriers
(
    budget LowCardinality(String) COMMENT 'Name of the budget: a carrier''s slug unless its adapter names another',
    writer Enum8('fetcher' = 1, 'scheduler' = 2) COMMENT 'Who wrote the row. It fills only its own columns',
    at DateTime64(3, 'UTC') COMMENT 'When it was written' CODEC(ZSTD(1)),
    tat Nullable(DateTime64(3, 'UTC')) COMMENT 'Fetcher: theoretical arrival time of the limiter' CODEC(ZSTD(1)),
    quota_day Nullable(String) COMMENT 'Fetcher: civil date of the quota day''s start. Null without a quota' CODEC(ZSTD(1)),
    quota_used Nullable(UInt32) COMMENT 'Fetcher: requests recorded as used that day' CODEC(ZSTD(1)),
    blocked_until Nullable(DateTime64(3, 'UTC')) COMMENT 'Nothing is sent before (fetcher) or no credit is given before (scheduler)' CODEC(ZSTD(1)),
    block_reason LowCardinality(Nullable(String)) COMMENT 'Fetcher: why it is blocked',
    backoff_ms Nullable(Int64) COMMENT 'Fetcher: delay of the last back-off in milliseconds' CODEC(ZSTD(1)),
    streak_unavailable Nullable(UInt32) COMMENT 'Fetcher: failures in a row to get an answer' CODEC(ZSTD(1)),
    streak_unreadable Nullable(UInt32) COMMENT 'Fetcher: unreadable answers in a row' CODEC(ZSTD(1)),
    streak_blocked Nullable(UInt32) COMMENT 'Fetcher: refusals in a row' CODEC(ZSTD(1)),
    refused_at Nullable(DateTime64(3, 'UTC')) COMMENT 'Fetcher: when the carrier was marked as refusing automation' CODEC(ZSTD(1)),
    rate_per_second Nullable(Float64) COMMENT 'Fetcher: requests per second of the budget in force' CODEC(ZSTD(1)),
    burst Nullable(UInt32) COMMENT 'Fetcher: burst of the budget in force' CODEC(ZSTD(1)),
    concurrency Nullable(UInt32) COMMENT 'Fetcher: concurrent requests of the budget in force' CODEC(ZSTD(1)),
    quota_requests Nullable(UInt32) COMMENT 'Fetcher: requests a day of the budget in force. Null without a quota' CODEC(ZSTD(1)),
    min_interval_s Nullable(UInt32) COMMENT 'Fetcher: least seconds between two looks at one parcel of the budget in force' CODEC(ZSTD(1)),
    active Nullable(UInt64) COMMENT 'Scheduler: numbers tracked' CODEC(ZSTD(1)),
    stopped Nullable(UInt64) COMMENT 'Scheduler: numbers stopped' CODEC(ZSTD(1)),
    queue Nullable(UInt64) COMMENT 'Scheduler: numbers due and waiting for credit' CODEC(ZSTD(1)),
    in_flight Nullable(UInt64) COMMENT 'Scheduler: attempts without an outcome' CODEC(ZSTD(1)),
    oldest_due Nullable(DateTime64(3, 'UTC')) COMMENT 'Scheduler: the oldest due number waits since' CODEC(ZSTD(1)),
    stretch_ratio Nullable(Float64) COMMENT 'Scheduler: how much intervals are stretched to fit the budget. 1 is not at all' CODEC(ZSTD(1)),
    version UInt128 COMMENT 'Order of the rows: epoch times 2^64 plus log_offset, so that a record of a lower epoch never wins' CODEC(ZSTD(1)),
    is_deleted UInt8 COMMENT '1 when the record was withdrawn. Such rows are in no view',
    log_partition UInt32 COMMENT 'Partition of the topic that the row was read from' CODEC(ZSTD(1)),
    log_offset UInt64 COMMENT 'Offset of the record within that partition' CODEC(Delta, ZSTD(1)),
    log_time DateTime64(3, 'UTC') COMMENT 'When the log appended the record' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (budget, writer)
SETTINGS non_replicated_deduplication_window = 20000
COMMENT 'State of every politeness budget, as on waybill.carriers: one row a budget and writer. Query waybill.v_carriers for one row a budget';
