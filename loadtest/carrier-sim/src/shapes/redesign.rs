//! The next year's layout: everything is there, and nothing where an adapter of this year looks for it.

use super::{Answer, Media, View, markup::escape};
use crate::ledger::AnswerKind;

/// The view in the next year's layout.
pub(crate) fn answer(media: Media, view: &View<'_>) -> Answer {
    let kind = AnswerKind::ChangedLayout;
    match media {
        Media::Html => Answer::html(html(view), kind),
        Media::Json => Answer::json(&json(view), kind),
        Media::Xml => Answer::new("application/xml; charset=utf-8", xml(view), kind),
    }
}

fn html(view: &View<'_>) -> String {
    let cards: String = view
        .rows
        .iter()
        .map(|row| {
            let place = row.shown.location.as_deref().map(escape).unwrap_or_default();
            format!(
                "<x-step when=\"{}\" where=\"{place}\"><h4>{}</h4></x-step>\n",
                escape(&row.shown.time_raw),
                escape(&row.shown.text)
            )
        })
        .collect();
    format!(
        "<!DOCTYPE html>\n<html data-build=\"{}\"><head><meta charset=\"utf-8\"><title>A fresh look</title></head>\n\
         <body><x-app><x-parcel no=\"{}\">\n{cards}</x-parcel></x-app></body></html>\n",
        view.noise(),
        escape(view.number)
    )
}

fn json(view: &View<'_>) -> serde_json::Value {
    let steps: Vec<serde_json::Value> = view
        .rows
        .iter()
        .map(|row| serde_json::json!([row.shown.time_raw, row.shown.text, row.shown.location]))
        .collect();
    serde_json::json!({ "apiVersion": 9, "payload": { "id": view.number, "timeline": steps } })
}

fn xml(view: &View<'_>) -> String {
    let steps: String = view
        .rows
        .iter()
        .map(|row| format!("<s t=\"{}\">{}</s>", escape(&row.shown.time_raw), escape(&row.shown.text)))
        .collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<timeline version=\"9\" id=\"{}\">{steps}</timeline>\n",
        view.number
    )
}
