-- Numbers whose carrier is not settled: which candidates were tried, and what came of it.

CREATE TABLE IF NOT EXISTS waybill.settlements
(
    carrier LowCardinality(String) COMMENT 'The pseudo-carrier: detect',
    number String COMMENT 'Canonical tracking number' CODEC(ZSTD(1)),
    decided LowCardinality(Nullable(String)) COMMENT 'Slug of the carrier whose number it is, registered there. Null while none is found',
    round UInt32 COMMENT 'Rounds of trying that were begun' CODEC(ZSTD(1)),
    settlement String COMMENT 'Candidates and what came of trying each, as in the schedule record, JSON' CODEC(ZSTD(1)),
    version UInt128 COMMENT 'Order of the rows: epoch times 2^64 plus log_offset, so that a record of a lower epoch never wins' CODEC(ZSTD(1)),
    is_deleted UInt8 COMMENT '1 when the record was withdrawn. Such rows are in no view',
    log_partition UInt32 COMMENT 'Partition of the topic that the row was read from' CODEC(ZSTD(1)),
    log_offset UInt64 COMMENT 'Offset of the record within that partition' CODEC(Delta, ZSTD(1)),
    log_time DateTime64(3, 'UTC') COMMENT 'When the log appended the record' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (carrier, number)
SETTINGS non_replicated_deduplication_window = 20000
COMMENT 'Numbers whose carrier is not settled, per number the last schedule record. Query waybill.v_settlements';

CREATE OR REPLACE VIEW waybill.v_settlements
(
    carrier LowCardinality(String) COMMENT 'The pseudo-carrier: detect',
    number String COMMENT 'Canonical tracking number',
    decided LowCardinality(Nullable(String)) COMMENT 'Slug of the carrier whose number it is, registered there. Null while none is found',
    round UInt32 COMMENT 'Rounds of trying that were begun',
    settlement String COMMENT 'Candidates and what came of trying each, JSON'
)
AS SELECT
    s.carrier AS carrier,
    s.number AS number,
    s.decided AS decided,
    s.round AS round,
    s.settlement AS settlement
FROM waybill.settlements AS s FINAL
COMMENT 'One row per number whose carrier is to be settled by trying';
