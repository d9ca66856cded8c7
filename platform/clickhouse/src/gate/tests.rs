#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
use super::*;

fn gate() -> Gate {
    Gate::new(["file", "url", "numbers", "s3", "brandNewOutlet", "values", "view"])
}

fn refused(sql: &str) {
    for access in [Access::Reader, Access::Writer] {
        assert!(gate().check(sql, access).is_err(), "{access:?} got through with: {sql}");
    }
}

fn accepted(sql: &str) {
    assert_eq!(gate().check(sql, Access::Writer), Ok(()), "{sql}");
}

#[test]
fn ways_out_are_refused_however_they_are_written() {
    for sql in [
        "select * from file('/etc/passwd')",
        "select * from FILE('/etc/passwd')",
        "select * from file/* hidden */('/etc/passwd')",
        "select * from file -- hidden\n ('/etc/passwd')",
        "select * from `file`('/etc/passwd')",
        "select * from \"file\" ('/etc/passwd')",
        "select file('/etc/passwd')",
        "select 1 where '' != (select file('x'))",
        "select * from (select * from (select * from url('http://x', CSV)))",
        "with a as (select * from s3('x')) select * from a",
        "create view waybill.v as select * from url('http://x', CSV)",
        "create materialized view waybill.v to waybill.t as select * from remote('x', system.one)",
        "select * from view(select * from executable('x', CSV, 'a String'))",
        "insert into waybill.t select * from mysql('h', 'd', 't', 'u', 'p')",
        "insert into function file('/tmp/x', CSV) select 1",
        "insert into table function url('http://x') select 1",
        "create table waybill.t as file('x')",
        "describe table file('/etc/passwd')",
        "explain select * from file('/etc/passwd')",
        "select * from brandNewOutlet('x')",
        "select * from cluster('c', system.one)",
        "select 'it''s' , file('x')",
        "select '\\'' , file('x')",
        "select 1 into outfile '/tmp/x'",
        "select 1 INTO /* */ OUTFILE '/tmp/x'",
        "insert into waybill.t from infile 'x'",
        "select 1 settings dialect = 'prql'",
        "select 1 SETTINGS max_threads = 1, `format_schema` = '/x'",
        "select (select 1 settings additional_table_filters = {'a': 'b'})",
        "select * from {f:Identifier}('x')",
        "select * from eval('select 1')",
    ] {
        refused(sql);
    }
}

#[test]
fn definitions_that_reach_out_are_refused() {
    for sql in [
        "create table waybill.t (a UInt8) engine = File(CSV)",
        "create table waybill.t (a UInt8) ENGINE File(CSV)",
        "create table waybill.t (a UInt8) engine /* */ = /* */ `URL`('x')",
        "create table waybill.t (a UInt8) engine = Distributed(c, d, t)",
        "create table waybill.t (a UInt8) engine = Executable('x')",
        "create table waybill.t (a UInt8) engine = Kafka",
        "create table waybill.t (a UInt8) engine = MergeTree order by a settings disk = disk(type = local, path = '/')",
        "create table waybill.t (a UInt8) engine = MergeTree order by a settings storage_policy = 'x'",
        "create dictionary waybill.d (a UInt8) primary key a source(file(path 'x')) layout(flat())",
        "create or replace dictionary waybill.d (a UInt8) primary key a source(http(url 'x')) layout(flat())",
        "alter table waybill.t modify setting disk = 'x'",
        "create database x engine = MySQL('h', 'd', 'u', 'p')",
    ] {
        assert!(gate().check(sql, Access::Writer).is_err(), "got through with: {sql}");
    }
}

#[test]
fn ordinary_work_passes() {
    for sql in [
        "select 1",
        "select 'file(x)', `file`, file, engine from system.tables where name = 'url(''x'')' -- file('x')",
        "select engine, count() from system.tables group by engine order by engine",
        "select * from numbers(10) where number in (select * from values('a UInt8', 1))",
        "with a as (select 1 as x) select * from a settings max_threads = 1",
        "create table if not exists waybill.t (engine String, url String, file String) engine = ReplacingMergeTree(v) \
         partition by toYYYYMM(d) order by (a, b) settings index_granularity = 1024, non_replicated_deduplication_window = 100",
        "create view if not exists waybill.v as select engine from waybill.t where engine = 'File'",
        "create materialized view if not exists waybill.m to waybill.t as select engine as e, engine from waybill.s",
        "create table waybill.t (a UInt8) engine = MergeTree() order by a comment 'engine = File'",
        "alter table waybill.t add column if not exists c String comment 'x'",
        "insert into waybill.t (url, file) format RowBinary",
        "insert into waybill.t (`a`) values",
        "describe table waybill.t settings describe_include_subcolumns = 0",
    ] {
        accepted(sql);
    }
}

#[test]
fn only_the_own_database_may_be_created_whole() {
    assert!(creates_own_database("create database if not exists waybill", "waybill"));
    assert!(creates_own_database("CREATE DATABASE `waybill` ENGINE = Atomic;", "waybill"));
    for sql in [
        "create database other",
        "drop database waybill",
        "create database waybill engine = MySQL('h', 'd', 'u', 'p')",
        "create database waybill engine = Overlay",
        "create database if not exists waybill on cluster c",
        "create table waybill (a UInt8)",
    ] {
        assert!(!creates_own_database(sql, "waybill"), "{sql}");
    }
}
