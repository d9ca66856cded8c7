//! One trace from the API's request through every topic to ClickHouse (W3C trace context, OpenTelemetry's names for
//! messaging).
//!
//! Every record may carry the header `traceparent`. Whoever takes a record opens a span below it and writes its own
//! context into what it produces; a process that exports nothing passes the header on as it came, so a trace is not cut
//! by a service that does not take part. What is done for many records at once is a span of its own that links to each.
//!
//! Spans have the target [`TARGET`]: log lines do not show them, and where nothing is exported they cost one comparison.
//! A tracking number, a parameter or a secret is never an attribute.

mod export;
mod parent;

use bytes::Bytes;
use opentelemetry::{
    Context,
    trace::{SpanContext, TraceContextExt as _},
};
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use waybill_schemas::headers;

pub use export::{Exporter, OtlpConfig, OtlpError};
pub use parent::TraceParent;

/// Target of all spans that are exported.
pub const TARGET: &str = "waybill_trace";

/// Most records that one span links to; a batch of more is linked by its first ones.
pub const MOST_LINKS: usize = 128;

/// Where a record stands, for the attributes of a span.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The topic's full name.
    pub topic: &'a str,
    /// Its partition.
    pub partition: u32,
    /// Its offset there.
    pub offset: u64,
}

/// Taking one record: a consumer's span below the record's own context.
pub fn process(at: Place<'_>, group: &str, parent: Option<TraceParent>) -> Span {
    let span = tracing::info_span!(
        target: TARGET,
        "process",
        otel.name = format!("process {}", at.topic),
        otel.kind = "consumer",
        messaging.system = "kafka",
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        messaging.destination.name = at.topic,
        messaging.destination.partition.id = at.partition.to_string(),
        messaging.kafka.offset = i64::try_from(at.offset).unwrap_or(i64::MAX),
        messaging.consumer.group.name = group,
        otel.status_code = Empty,
        waybill.outcome = Empty,
    );
    below(span, parent)
}

/// Appending records to a topic: a producer's span below `within`, or below a context that waited.
pub fn send(topic: &str, records: usize, within: Sender<'_>) -> Span {
    let open = |topic: &str| {
        tracing::info_span!(
            target: TARGET,
            "send",
            otel.name = format!("send {topic}"),
            otel.kind = "producer",
            messaging.system = "kafka",
            messaging.operation.name = "send",
            messaging.operation.type = "send",
            messaging.destination.name = topic,
            messaging.batch.message_count = i64::try_from(records).unwrap_or(i64::MAX),
        )
    };
    match within {
        Sender::Span(span) => span.in_scope(|| open(topic)),
        Sender::Context(parent) => below(open(topic), parent),
    }
}

/// A span that works on a record, and the context that came in with it: what goes along with the work.
#[derive(Debug, Clone)]
pub struct Trail {
    span: Span,
    incoming: Option<TraceParent>,
}

impl Default for Trail {
    /// Work that no record asked for.
    fn default() -> Self {
        Self { span: Span::none(), incoming: None }
    }
}

impl Trail {
    /// Taking a record that carries this header.
    pub fn process(at: Place<'_>, group: &str, carried: Option<&Bytes>) -> Self {
        let incoming = carried.and_then(|value| TraceParent::read(value));
        Self { span: process(at, group, incoming), incoming }
    }

    /// Answering an HTTP request; `route` is the pattern, never the path that was asked.
    pub fn serve(method: &str, route: &str, incoming: Option<TraceParent>) -> Self {
        Self { span: server(method, route, incoming), incoming }
    }

    /// The span of the work.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// The context of the work, for what waits.
    pub fn context(&self) -> Option<TraceParent> {
        forward(&self.span, self.incoming)
    }

    /// Part of this work is done within another's: a link leads there.
    pub fn join(&self, other: &Self) {
        if let Some(context) = other.context().filter(|_| !self.span.is_disabled()) {
            self.span.add_link(context.into());
        }
    }

    /// Sends a record of the work: it carries the context of the span that is answered, to be kept until it is acknowledged.
    pub fn send(&self, topic: &str, carrying: &mut Vec<(String, Bytes)>) -> Span {
        let span = if self.span.is_disabled() { Span::none() } else { send(topic, 1, Sender::Span(&self.span)) };
        if let Some(named) = header(forward(&span, self.incoming)) {
            carrying.retain(|(name, _)| name != headers::TRACEPARENT);
            carrying.push(named);
        }
        span
    }
}

/// Under what something is sent.
#[derive(Debug, Clone, Copy)]
pub enum Sender<'a> {
    /// A span of this process.
    Span(&'a Span),
    /// A context that came from elsewhere; none starts a trace.
    Context(Option<TraceParent>),
}

/// Answering an HTTP request; `route` is the pattern, never the path that was asked.
pub fn server(method: &str, route: &str, parent: Option<TraceParent>) -> Span {
    let span = tracing::info_span!(
        target: TARGET,
        "server",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        otel.status_code = Empty,
    );
    below(span, parent)
}

/// Asking a carrier; only the host is told, because the rest holds numbers. It is a child of the current span.
pub fn client(method: &str, host: &str) -> Span {
    tracing::info_span!(
        target: TARGET,
        "client",
        otel.name = format!("{method} {host}"),
        otel.kind = "client",
        http.request.method = method,
        server.address = host,
        http.response.status_code = Empty,
        error.r#type = Empty,
        otel.status_code = Empty,
    )
}

/// One insert into ClickHouse: a span of its own that links to the contexts of its records.
pub fn insert(table: &str, rows: usize, links: impl IntoIterator<Item = TraceParent>) -> Span {
    let span = tracing::info_span!(
        target: TARGET,
        "insert",
        otel.name = format!("INSERT {table}"),
        otel.kind = "client",
        db.system.name = "clickhouse",
        db.operation.name = "INSERT",
        db.collection.name = table,
        db.operation.batch.size = i64::try_from(rows).unwrap_or(i64::MAX),
        otel.status_code = Empty,
    );
    if !span.is_disabled() {
        for link in links.into_iter().take(MOST_LINKS) {
            span.add_link(link.into());
        }
    }
    span
}

/// The context that what this span produces carries: the span's own where it is exported, else what came in.
pub fn forward(span: &Span, incoming: Option<TraceParent>) -> Option<TraceParent> {
    if span.is_disabled() {
        return incoming;
    }
    let context = span.context();
    let own = context.span().span_context().clone();
    if own.is_valid() { Some(TraceParent::from(&own)) } else { incoming }
}

/// The header of a context, to be put among a record's.
pub fn header(context: Option<TraceParent>) -> Option<(String, Bytes)> {
    context.map(|context| (headers::TRACEPARENT.to_owned(), Bytes::from(context.to_string())))
}

fn below(span: Span, parent: Option<TraceParent>) -> Span {
    if let Some(parent) = parent.filter(|_| !span.is_disabled()) {
        // Fails only where nothing is exported.
        let _ = span.set_parent(Context::new().with_remote_span_context(SpanContext::from(parent)));
    }
    span
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::{
        error::OTelSdkResult,
        trace::{SdkTracerProvider, SpanData, SpanExporter},
    };
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// What would have been sent.
    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    #[test]
    fn work_whose_requests_are_anothers_is_linked_to_where_they_are_made() {
        const FIRST: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        const SECOND: &str = "5bf92f3577b34da6a3ce929d0e0e4736";
        let kept = Kept::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let take = |offset: u64, trace: &str| {
                let carried = Bytes::from(format!("00-{trace}-00f067aa0ba902b7-01"));
                Trail::process(Place { topic: "t", partition: 0, offset }, "g", Some(&carried))
            };
            let (first, second) = (take(1, FIRST), take(2, SECOND));
            second.join(&first);
        });
        let spans = kept.0.lock().unwrap();
        let of = |trace: &str| spans.iter().find(|span| span.span_context.trace_id().to_string() == trace).unwrap();
        let (first, second) = (of(FIRST), of(SECOND));
        let named = |context: &SpanContext| (context.trace_id(), context.span_id());
        let links: Vec<_> = second.links.iter().map(|link| named(&link.span_context)).collect();
        assert_eq!(links, [named(&first.span_context)]);
        assert!(first.links.is_empty());
    }
}
