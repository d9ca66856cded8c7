-- What people query. The views show every record once, in its newest version, whatever was published twice upstream.
--
-- Events, changes and outcomes of one key always lie in one partition, so FINAL need not look across partitions.
-- transit_times is counted anew from the deduplicated deliveries instead of being kept up to date by inserts: repeats,
-- corrections and erasure come out right without states to repair. v_transit_times is the same without the wait.

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
    time_precision, zone_source, text, code, location, country, leg, status, sub_status, matched_by, seen_at,
    source_attempt, source_payload, source_adapter, source_adapter_version, source_mapping_version,
    source_reader, source_selector, log_partition, log_offset
FROM waybill.tracking_events FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Every tracking event once, in its newest version';

CREATE OR REPLACE VIEW waybill.v_shipments
(
    carrier LowCardinality(String) COMMENT 'Slug of the carrier asked',
    number String COMMENT 'Canonical tracking number',
    instance UInt32 COMMENT 'Which life of a recycled number, from 1',
    ref Nullable(String) COMMENT 'The registrant''s own reference',
    origin LowCardinality(Nullable(String)) COMMENT 'Origin country, ISO 3166-1 alpha-2',
    origin_source LowCardinality(Nullable(String)) COMMENT 'Who told the origin: registration or carrier',
    destination LowCardinality(Nullable(String)) COMMENT 'Destination country, ISO 3166-1 alpha-2',
    destination_source LowCardinality(Nullable(String)) COMMENT 'Who told the destination: registration or carrier',
    status LowCardinality(String) COMMENT 'Canonical main status',
    sub_status LowCardinality(String) COMMENT 'Canonical sub-status',
    since_time Nullable(String) COMMENT 'Since when the main status holds, as printed, ISO 8601',
    since_time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'The same as an instant. Null when the zone is unknown',
    since_seen_at DateTime64(3, 'UTC') COMMENT 'When an answer first showed the main status',
    latest_event_event_id Nullable(String) COMMENT 'Identity of the newest event. Null when there is none',
    latest_event_time_raw Nullable(String) COMMENT 'Its time as printed by the carrier',
    latest_event_time Nullable(String) COMMENT 'Its time, ISO 8601',
    latest_event_time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'Its instant. Null when the zone is unknown',
    latest_event_text Nullable(String) COMMENT 'What happened, in the carrier''s own words',
    latest_event_location Nullable(String) COMMENT 'Its place as printed',
    latest_event_sub_status LowCardinality(Nullable(String)) COMMENT 'Its sub-status. Null when nothing matched',
    milestone_info_received_time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'First instant of InfoReceived. Null when not reached or when the zone of its time is unknown',
    milestone_info_received_time Nullable(String) COMMENT 'First time of InfoReceived as printed, ISO 8601. Null when not reached or not printed',
    milestone_info_received_seen_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When an answer first showed InfoReceived. Null exactly when it is not reached',
    milestone_picked_up_time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'First instant of PickedUp. Null when not reached or when the zone of its time is unknown',
    milestone_picked_up_time Nullable(String) COMMENT 'First time of PickedUp as printed, ISO 8601. Null when not reached or not printed',
    milestone_picked_up_seen_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When an answer first showed PickedUp. Null exactly when it is not reached',
    milestone_departure_time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'First instant of Departure. Null when not reached or when the zone of its time is unknown',
    milestone_departure_time Nullable(String) COMMENT 'First time of Departure as printed, ISO 8601. Null when not reached or not printed',
    milestone_departure_seen_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When an answer first showed Departure. Null exactly when it is not reached',
    milestone_arrival_time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'First instant of Arrival. Null when not reached or when the zone of its time is unknown',
    milestone_arrival_time Nullable(String) COMMENT 'First time of Arrival as printed, ISO 8601. Null when not reached or not printed',
    milestone_arrival_seen_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When an answer first showed Arrival. Null exactly when it is not reached',
    milestone_available_for_pickup_time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'First instant of AvailableForPickup. Null when not reached or when the zone of its time is unknown',
    milestone_available_for_pickup_time Nullable(String) COMMENT 'First time of AvailableForPickup as printed, ISO 8601. Null when not reached or not printed',
    milestone_available_for_pickup_seen_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When an answer first showed AvailableForPickup. Null exactly when it is not reached',
    milestone_out_for_delivery_time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'First instant of OutForDelivery. Null when not reached or when the zone of its time is unknown',
    milestone_out_for_delivery_time Nullable(String) COMMENT 'First time of OutForDelivery as printed, ISO 8601. Null when not reached or not printed',
    milestone_out_for_delivery_seen_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When an answer first showed OutForDelivery. Null exactly when it is not reached',
    milestone_delivered_time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'First instant of Delivered. Null when not reached or when the zone of its time is unknown',
    milestone_delivered_time Nullable(String) COMMENT 'First time of Delivered as printed, ISO 8601. Null when not reached or not printed',
    milestone_delivered_seen_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When an answer first showed Delivered. Null exactly when it is not reached',
    milestone_returning_time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'First instant of Returning. Null when not reached or when the zone of its time is unknown',
    milestone_returning_time Nullable(String) COMMENT 'First time of Returning as printed, ISO 8601. Null when not reached or not printed',
    milestone_returning_seen_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When an answer first showed Returning. Null exactly when it is not reached',
    milestone_returned_time_utc Nullable(DateTime64(3, 'UTC')) COMMENT 'First instant of Returned. Null when not reached or when the zone of its time is unknown',
    milestone_returned_time Nullable(String) COMMENT 'First time of Returned as printed, ISO 8601. Null when not reached or not printed',
    milestone_returned_seen_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When an answer first showed Returned. Null exactly when it is not reached',
    estimated_delivery_from Nullable(String) COMMENT 'Earliest estimated delivery, ISO 8601 as printed',
    estimated_delivery_to Nullable(String) COMMENT 'Latest estimated delivery, ISO 8601 as printed',
    estimated_delivery_source LowCardinality(Nullable(String)) COMMENT 'Who estimated',
    service LowCardinality(Nullable(String)) COMMENT 'Product as named by the carrier',
    weight Nullable(String) COMMENT 'Weight as printed, with its unit',
    legs Array(Tuple(carrier String, number String)) COMMENT 'Partners that carry part of the way, each under its own number',
    event_count UInt32 COMMENT 'Known events of this instance',
    registered_at DateTime64(3, 'UTC') COMMENT 'When the shipment was first registered. Never changes until the number is forgotten',
    last_outcome_class LowCardinality(String) COMMENT 'How the last look-up ended, e.g. tracked, not_found, carrier_down',
    last_outcome_at DateTime64(3, 'UTC') COMMENT 'When the last look-up ended',
    last_outcome_detail Nullable(String) COMMENT 'One sentence on it, where there is something to say',
    tracking LowCardinality(String) COMMENT 'active or stopped',
    stop_reason LowCardinality(Nullable(String)) COMMENT 'Why looking up ended',
    version Int64 COMMENT 'The attempt that wrote this state. Higher is newer'
)
AS SELECT
    carrier, number, instance, ref, origin, origin_source, destination, destination_source, status, sub_status,
    since_time, since_time_utc, since_seen_at, latest_event_event_id, latest_event_time_raw, latest_event_time,
    latest_event_time_utc, latest_event_text, latest_event_location, latest_event_sub_status,
    milestone_info_received_time_utc, milestone_info_received_time, milestone_info_received_seen_at,
    milestone_picked_up_time_utc, milestone_picked_up_time, milestone_picked_up_seen_at,
    milestone_departure_time_utc, milestone_departure_time, milestone_departure_seen_at,
    milestone_arrival_time_utc, milestone_arrival_time, milestone_arrival_seen_at,
    milestone_available_for_pickup_time_utc, milestone_available_for_pickup_time,
    milestone_available_for_pickup_seen_at, milestone_out_for_delivery_time_utc,
    milestone_out_for_delivery_time, milestone_out_for_delivery_seen_at, milestone_delivered_time_utc,
    milestone_delivered_time, milestone_delivered_seen_at, milestone_returning_time_utc,
    milestone_returning_time, milestone_returning_seen_at, milestone_returned_time_utc, milestone_returned_time,
    milestone_returned_seen_at, estimated_delivery_from, estimated_delivery_to, estimated_delivery_source,
    service, weight, legs, event_count, registered_at, last_outcome_class, last_outcome_at, last_outcome_detail,
    tracking, stop_reason, version
FROM waybill.shipments FINAL
COMMENT 'Every shipment once, in its newest state';

CREATE OR REPLACE VIEW waybill.v_status_changes
(
    carrier LowCardinality(String) COMMENT 'Slug of the carrier asked',
    number String COMMENT 'Canonical tracking number',
    instance UInt32 COMMENT 'Which life of a recycled number, from 1',
    ref Nullable(String) COMMENT 'The registrant''s own reference',
    previous LowCardinality(Nullable(String)) COMMENT 'The main status before. Null for the first',
    current LowCardinality(String) COMMENT 'The main status from now on',
    sub_status LowCardinality(String) COMMENT 'The sub-status from now on',
    first Bool COMMENT 'Whether it is the first status of this instance',
    initial Bool COMMENT 'Whether it was found at the first look, so possibly old news',
    cause LowCardinality(String) COMMENT 'What made it: poll (an answer), clock (time passing) or replay (a correction)',
    registered_at DateTime64(3, 'UTC') COMMENT 'When the shipment was first registered. Never changes until the number is forgotten',
    event_time Nullable(String) COMMENT 'The printed moment of the event that made it, ISO 8601',
    seen_at DateTime64(3, 'UTC') COMMENT 'When the carrier answered',
    attempt Int64 COMMENT 'The attempt'
)
AS SELECT
    carrier, number, instance, ref, previous, current, sub_status, first, initial, cause, registered_at,
    event_time, seen_at, attempt
FROM waybill.status_changes FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Every change of a shipment''s main status once';

CREATE OR REPLACE VIEW waybill.v_deliveries
(
    carrier LowCardinality(String) COMMENT 'Slug of the carrier asked',
    number String COMMENT 'Canonical tracking number',
    instance UInt32 COMMENT 'Which life of a recycled number, from 1',
    ref Nullable(String) COMMENT 'The registrant''s own reference',
    origin LowCardinality(Nullable(String)) COMMENT 'Origin country, ISO 3166-1 alpha-2',
    destination LowCardinality(Nullable(String)) COMMENT 'Destination country, ISO 3166-1 alpha-2',
    service LowCardinality(Nullable(String)) COMMENT 'Product as named by the carrier',
    registered_at DateTime64(3, 'UTC') COMMENT 'When the shipment was first registered. Never changes until the number is forgotten',
    picked_up_time Nullable(String) COMMENT 'When the carrier took it over, as printed, ISO 8601',
    picked_up_at Nullable(DateTime64(3, 'UTC')) COMMENT 'The same as an instant. Null when unknown or of unknown zone',
    delivered_time Nullable(String) COMMENT 'When it was delivered, as printed, ISO 8601',
    delivered_at Nullable(DateTime64(3, 'UTC')) COMMENT 'The same as an instant. Null when unknown or of unknown zone',
    delivered_seen_at DateTime64(3, 'UTC') COMMENT 'When an answer first showed the delivery',
    delivered_on Date COMMENT 'Day of delivery: as printed, else of the instant in UTC, else of delivered_seen_at',
    transit_days Nullable(Float64) COMMENT 'Days from pick-up to delivery: between instants where both zones are known, else between printed local times. Null when either was not printed',
    event_count UInt32 COMMENT 'Known events',
    version Int64 COMMENT 'The attempt that wrote this state. Higher is newer'
)
AS SELECT
    carrier, number, instance, ref, origin, destination, service, registered_at, picked_up_time, picked_up_at,
    delivered_time, delivered_at, delivered_seen_at, delivered_on, transit_days, event_count, version
FROM waybill.deliveries FINAL
COMMENT 'One row per delivered shipment';

CREATE OR REPLACE VIEW waybill.v_fetch_outcomes
(
    carrier LowCardinality(String) COMMENT 'Slug of the carrier asked',
    number String COMMENT 'Canonical tracking number',
    instance UInt32 COMMENT 'Which life of a recycled number, from 1',
    attempt Int64 COMMENT 'The attempt, milliseconds since 1970 when it was ordered',
    attempted_at DateTime64(3, 'UTC') COMMENT 'The attempt as an instant',
    request_offset UInt64 COMMENT 'Offset of the request on waybill.fetch-requests',
    kind LowCardinality(String) COMMENT 'What the request was for: poll, clock, stop, resume, replay or forget',
    class LowCardinality(String) COMMENT 'How it ended, e.g. tracked, not_found, throttled',
    detail Nullable(String) COMMENT 'One sentence, where there is something to say',
    needs Array(String) COMMENT 'With needs_data: the parameters that are missing',
    status LowCardinality(Nullable(String)) COMMENT 'The shipment''s main status after it. Null before the first accepted reading',
    sub_status LowCardinality(Nullable(String)) COMMENT 'The sub-status after it',
    changed Bool COMMENT 'Whether events or status changed',
    seen_at DateTime64(3, 'UTC') COMMENT 'When the carrier answered',
    not_before Nullable(DateTime64(3, 'UTC')) COMMENT 'The number may not be tried before (deferral)',
    feedback_spent UInt32 COMMENT 'Requests that left for the carrier',
    feedback_budget_not_before Nullable(DateTime64(3, 'UTC')) COMMENT 'The budget is blocked until then'
)
AS SELECT
    carrier, number, instance, attempt, attempted_at, request_offset, kind, class, detail, needs, status,
    sub_status, changed, seen_at, not_before, feedback_spent, feedback_budget_not_before
FROM waybill.fetch_outcomes FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'The outcome of every attempt once';

CREATE OR REPLACE VIEW waybill.v_registrations
(
    carrier LowCardinality(String) COMMENT 'Slug of the carrier asked',
    number String COMMENT 'Canonical tracking number',
    pending Bool COMMENT 'Whether the scheduler has not accepted it yet',
    ref Nullable(String) COMMENT 'The registrant''s own reference',
    tags Array(String) COMMENT 'The registrant''s labels',
    origin LowCardinality(Nullable(String)) COMMENT 'Origin country as registered, ISO 3166-1 alpha-2',
    destination LowCardinality(Nullable(String)) COMMENT 'Destination country as registered, ISO 3166-1 alpha-2',
    ordered_at Nullable(String) COMMENT 'When the goods were ordered, ISO 8601',
    params Array(LowCardinality(String)) COMMENT 'Names of the parameters that were given. Their values are personal data and are not stored',
    until Nullable(DateTime64(3, 'UTC')) COMMENT 'A temporary registration ends here',
    registered_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When first registered. Null until the scheduler has accepted it',
    instance UInt32 COMMENT 'Which life of a recycled number. 0 until the scheduler has accepted it',
    tracking LowCardinality(Nullable(String)) COMMENT 'active or stopped. Null until the scheduler has accepted it',
    stop_reason LowCardinality(Nullable(String)) COMMENT 'Why looking up ended',
    attempt Int64 COMMENT 'The last attempt whose outcome was applied. 0 before the first',
    due Nullable(DateTime64(3, 'UTC')) COMMENT 'When it is due next. Null until the scheduler has accepted it',
    not_before Nullable(DateTime64(3, 'UTC')) COMMENT 'Not to be asked before, whatever due says',
    why_rule LowCardinality(Nullable(String)) COMMENT 'The rule that decided when it is due',
    why_text Nullable(String) COMMENT 'One sentence on it for people',
    why_interval_ms Nullable(Int64) COMMENT 'The interval chosen, in milliseconds',
    status LowCardinality(Nullable(String)) COMMENT 'Main status after the last outcome. Null before the first accepted reading',
    sub_status LowCardinality(Nullable(String)) COMMENT 'Sub-status after the last outcome',
    last_change Nullable(DateTime64(3, 'UTC')) COMMENT 'When a change was last seen. Null until the scheduler has accepted it',
    last_reading Nullable(DateTime64(3, 'UTC')) COMMENT 'When the last accepted reading was seen',
    failures UInt32 COMMENT 'Look-ups in a row that failed',
    ordered_last LowCardinality(Nullable(String)) COMMENT 'The last order beside registering: stop, resume, refresh, forget or replay'
)
AS SELECT
    r.carrier AS carrier,
    r.number AS number,
    countIf(r.source = 'schedule') = 0 AS pending,
    if(countIf(r.source = 'schedule') = 0, anyIf(r.ref, r.source = 'register'), anyIf(r.ref, r.source = 'schedule')) AS ref,
    if(countIf(r.source = 'schedule') = 0, anyIf(r.tags, r.source = 'register'), anyIf(r.tags, r.source = 'schedule')) AS tags,
    if(countIf(r.source = 'schedule') = 0, anyIf(r.origin, r.source = 'register'), anyIf(r.origin, r.source = 'schedule')) AS origin,
    if(countIf(r.source = 'schedule') = 0, anyIf(r.destination, r.source = 'register'), anyIf(r.destination, r.source = 'schedule')) AS destination,
    if(countIf(r.source = 'schedule') = 0, anyIf(r.ordered_at, r.source = 'register'), anyIf(r.ordered_at, r.source = 'schedule')) AS ordered_at,
    if(countIf(r.source = 'schedule') = 0, anyIf(r.params, r.source = 'register'), anyIf(r.params, r.source = 'schedule')) AS params,
    if(countIf(r.source = 'schedule') = 0, anyIf(r.until, r.source = 'register'), anyIf(r.until, r.source = 'schedule')) AS until,
    anyIf(r.registered_at, r.source = 'schedule') AS registered_at,
    anyIf(r.instance, r.source = 'schedule') AS instance,
    anyIf(r.tracking, r.source = 'schedule') AS tracking,
    anyIf(r.stop_reason, r.source = 'schedule') AS stop_reason,
    anyIf(r.attempt, r.source = 'schedule') AS attempt,
    anyIf(r.due, r.source = 'schedule') AS due,
    anyIf(r.not_before, r.source = 'schedule') AS not_before,
    anyIf(r.why_rule, r.source = 'schedule') AS why_rule,
    anyIf(r.why_text, r.source = 'schedule') AS why_text,
    anyIf(r.why_interval_ms, r.source = 'schedule') AS why_interval_ms,
    anyIf(r.status, r.source = 'schedule') AS status,
    anyIf(r.sub_status, r.source = 'schedule') AS sub_status,
    anyIf(r.last_change, r.source = 'schedule') AS last_change,
    anyIf(r.last_reading, r.source = 'schedule') AS last_reading,
    anyIf(r.failures, r.source = 'schedule') AS failures,
    anyIf(r.kind, r.source = 'order') AS ordered_last
FROM waybill.registrations AS r FINAL
GROUP BY r.carrier, r.number
HAVING countIf(r.source != 'order') > 0
COMMENT 'One row per registered number: what was registered and what the scheduler makes of it';

CREATE OR REPLACE VIEW waybill.v_carriers
(
    budget LowCardinality(String) COMMENT 'Name of the budget: a carrier''s slug unless its adapter names another',
    fetcher_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When the fetcher wrote its state. Null before it did',
    tat Nullable(DateTime64(3, 'UTC')) COMMENT 'Theoretical arrival time of the limiter',
    quota_day Nullable(String) COMMENT 'Civil date of the quota day''s start. Null without a quota',
    quota_used Nullable(UInt32) COMMENT 'Requests recorded as used that day',
    blocked_until Nullable(DateTime64(3, 'UTC')) COMMENT 'Nothing is sent before',
    block_reason LowCardinality(Nullable(String)) COMMENT 'Why it is blocked',
    backoff_ms Nullable(Int64) COMMENT 'Delay of the last back-off in milliseconds',
    streak_unavailable Nullable(UInt32) COMMENT 'Failures in a row to get an answer',
    streak_unreadable Nullable(UInt32) COMMENT 'Unreadable answers in a row',
    streak_blocked Nullable(UInt32) COMMENT 'Refusals in a row',
    refused_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When the carrier was marked as refusing automation',
    rate_per_second Nullable(Float64) COMMENT 'Requests per second of the budget in force',
    burst Nullable(UInt32) COMMENT 'Burst of the budget in force',
    concurrency Nullable(UInt32) COMMENT 'Concurrent requests of the budget in force',
    quota_requests Nullable(UInt32) COMMENT 'Requests a day of the budget in force. Null without a quota',
    min_interval_s Nullable(UInt32) COMMENT 'Least seconds between two looks at one parcel of the budget in force',
    scheduler_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When the scheduler wrote its state. Null before it did',
    active Nullable(UInt64) COMMENT 'Numbers tracked',
    stopped Nullable(UInt64) COMMENT 'Numbers stopped',
    queue Nullable(UInt64) COMMENT 'Numbers due and waiting for credit',
    in_flight Nullable(UInt64) COMMENT 'Attempts without an outcome',
    oldest_due Nullable(DateTime64(3, 'UTC')) COMMENT 'The oldest due number waits since',
    stretch_ratio Nullable(Float64) COMMENT 'How much intervals are stretched to fit the budget. 1 is not at all',
    credit_blocked_until Nullable(DateTime64(3, 'UTC')) COMMENT 'No credit is given before'
)
AS SELECT
    r.budget AS budget,
    anyOrNullIf(r.at, r.writer = 'fetcher') AS fetcher_at,
    anyIf(r.tat, r.writer = 'fetcher') AS tat,
    anyIf(r.quota_day, r.writer = 'fetcher') AS quota_day,
    anyIf(r.quota_used, r.writer = 'fetcher') AS quota_used,
    anyIf(r.blocked_until, r.writer = 'fetcher') AS blocked_until,
    anyIf(r.block_reason, r.writer = 'fetcher') AS block_reason,
    anyIf(r.backoff_ms, r.writer = 'fetcher') AS backoff_ms,
    anyIf(r.streak_unavailable, r.writer = 'fetcher') AS streak_unavailable,
    anyIf(r.streak_unreadable, r.writer = 'fetcher') AS streak_unreadable,
    anyIf(r.streak_blocked, r.writer = 'fetcher') AS streak_blocked,
    anyIf(r.refused_at, r.writer = 'fetcher') AS refused_at,
    anyIf(r.rate_per_second, r.writer = 'fetcher') AS rate_per_second,
    anyIf(r.burst, r.writer = 'fetcher') AS burst,
    anyIf(r.concurrency, r.writer = 'fetcher') AS concurrency,
    anyIf(r.quota_requests, r.writer = 'fetcher') AS quota_requests,
    anyIf(r.min_interval_s, r.writer = 'fetcher') AS min_interval_s,
    anyOrNullIf(r.at, r.writer = 'scheduler') AS scheduler_at,
    anyIf(r.active, r.writer = 'scheduler') AS active,
    anyIf(r.stopped, r.writer = 'scheduler') AS stopped,
    anyIf(r.queue, r.writer = 'scheduler') AS queue,
    anyIf(r.in_flight, r.writer = 'scheduler') AS in_flight,
    anyIf(r.oldest_due, r.writer = 'scheduler') AS oldest_due,
    anyIf(r.stretch_ratio, r.writer = 'scheduler') AS stretch_ratio,
    anyIf(r.blocked_until, r.writer = 'scheduler') AS credit_blocked_until
FROM waybill.carriers AS r FINAL
GROUP BY r.budget
COMMENT 'One row per politeness budget: the fetcher''s and the scheduler''s last records';

CREATE OR REPLACE VIEW waybill.v_transit_times
(
    carrier LowCardinality(String) COMMENT 'Slug of the carrier asked',
    origin LowCardinality(Nullable(String)) COMMENT 'Origin country, ISO 3166-1 alpha-2. Null when unknown',
    destination LowCardinality(Nullable(String)) COMMENT 'Destination country, ISO 3166-1 alpha-2. Null when unknown',
    service LowCardinality(Nullable(String)) COMMENT 'Product as named by the carrier. Null when unknown',
    week Date COMMENT 'Monday of the week of delivery',
    count UInt64 COMMENT 'Delivered shipments',
    measured UInt64 COMMENT 'Those of them whose days from pick-up to delivery are known',
    p50_days Nullable(Float64) COMMENT 'Days from pick-up to delivery that half of the measured did not exceed',
    p90_days Nullable(Float64) COMMENT 'Days that nine in ten of the measured did not exceed',
    p95_days Nullable(Float64) COMMENT 'Days that nineteen in twenty of the measured did not exceed'
)
AS SELECT
    d.carrier AS carrier, d.origin AS origin, d.destination AS destination, d.service AS service,
    toMonday(d.delivered_on) AS week,
    count() AS count,
    count(d.transit_days) AS measured,
    quantileExact(0.5)(d.transit_days) AS p50_days,
    quantileExact(0.9)(d.transit_days) AS p90_days,
    quantileExact(0.95)(d.transit_days) AS p95_days
FROM waybill.v_deliveries AS d
GROUP BY d.carrier, d.origin, d.destination, d.service, week
COMMENT 'Transit times counted when asked: always exact, and as slow as a walk over all deliveries';

CREATE MATERIALIZED VIEW IF NOT EXISTS waybill.transit_times
REFRESH AFTER 15 SECOND
(
    carrier LowCardinality(String) COMMENT 'Slug of the carrier asked',
    origin LowCardinality(Nullable(String)) COMMENT 'Origin country, ISO 3166-1 alpha-2. Null when unknown',
    destination LowCardinality(Nullable(String)) COMMENT 'Destination country, ISO 3166-1 alpha-2. Null when unknown',
    service LowCardinality(Nullable(String)) COMMENT 'Product as named by the carrier. Null when unknown',
    week Date COMMENT 'Monday of the week of delivery',
    count UInt64 COMMENT 'Delivered shipments',
    measured UInt64 COMMENT 'Those of them whose days from pick-up to delivery are known',
    p50_days Nullable(Float64) COMMENT 'Days from pick-up to delivery that half of the measured did not exceed',
    p90_days Nullable(Float64) COMMENT 'Days that nine in ten of the measured did not exceed',
    p95_days Nullable(Float64) COMMENT 'Days that nineteen in twenty of the measured did not exceed'
)
ENGINE = MergeTree
ORDER BY (carrier, week)
AS SELECT carrier, origin, destination, service, week, count, measured, p50_days, p90_days, p95_days
FROM waybill.v_transit_times
COMMENT 'Transit times by carrier, origin, destination, service and week, counted anew every 15 seconds from waybill.v_deliveries';
