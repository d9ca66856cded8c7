//! `POST /v1/detect`: whose numbers may be, without registering anything.

use axum::{Json, body::Bytes, extract::State, http::StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use waybill_schemas::limits::{MAX_DETECT_TEXT_BYTES, MAX_NUMBERS_PER_POST};

use crate::{
    carriers::DetectedNumber,
    problem::Problem,
    server::{App, parse},
};

/// Numbers, or a text that holds some.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    #[serde(default)]
    numbers: Option<Vec<String>>,
    #[serde(default)]
    text: Option<String>,
}

pub(crate) async fn post_detect(State(shared): App, body: Bytes) -> Result<Json<Value>, Problem> {
    let Question { numbers, text } = parse(&body)?;
    if numbers.is_none() && text.is_none() {
        return Err(Problem::bad_request("send numbers, e.g. {\"numbers\": [\"…\"]}, or a text that holds some"));
    }
    let numbers = numbers.unwrap_or_default();
    if numbers.len() > MAX_NUMBERS_PER_POST {
        let detail = format!("at most {MAX_NUMBERS_PER_POST} numbers a call");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many", detail));
    }
    if text.as_ref().is_some_and(|text| text.len() > MAX_DETECT_TEXT_BYTES) {
        let detail = format!("a text has at most {MAX_DETECT_TEXT_BYTES} bytes; send it in parts");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_long", detail));
    }
    let carriers = std::sync::Arc::clone(&shared.deps.carriers);
    // A thousand numbers or a long text keep a core busy for a while: not one that answers others.
    let answered = tokio::task::spawn_blocking(move || {
        let each = numbers.iter().map(|typed| match carriers.detect(typed) {
            Ok(detected) => shown(&detected),
            Err(error) => {
                let typed: String = typed.chars().take(80).collect();
                let error = json!({ "code": "number_invalid", "message": error.to_string() });
                json!({ "number": typed, "candidates": [], "carrier": null, "error": error })
            }
        });
        let mut all: Vec<Value> = each.collect();
        let found = text.map(|text| carriers.extract(&text)).unwrap_or_default();
        all.extend(found.iter().take(MAX_NUMBERS_PER_POST).map(shown));
        all
    });
    let all = answered.await.map_err(|_| Problem::bad_request("the text cannot be looked through"))?;
    Ok(Json(json!({ "numbers": all })))
}

fn shown(detected: &DetectedNumber) -> Value {
    json!({ "number": detected.number, "candidates": detected.candidates, "carrier": detected.carrier })
}
