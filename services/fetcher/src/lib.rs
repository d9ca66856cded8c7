//! The fetcher.
#![allow(dead_code)]
mod admission;
mod budget;
mod choose;
mod classify;
mod config;
mod exchange;
mod hosts;
mod look_up;
mod memory;
mod payload;
mod results;
mod retry_after;
mod robots;
mod robots_cache;
mod turnstile;
