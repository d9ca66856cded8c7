//! HTML: a table, oldest first; date and time in separate cells; the heading is a row like the others; the place is split
//! over city and state in one cell. English of the United States, local time of Chicago, AM and PM.

use super::{Answer, Ask, Media, Place, Profile, Shape, View, Words, markup, place};
use crate::{journey::Happening, ledger::Shown};

pub(super) struct BluebirdExpress;

const PLACES: &[Place] = &[
    place("Peoria, IL", "US", "America/Chicago"),
    place("Des Moines, IA", "US", "America/Chicago"),
    place("Chicago O'Hare, IL", "US", "America/Chicago"),
    place("Baton Rouge, LA", "US", "America/Chicago"),
    place("Duluth, MN", "US", "America/Chicago"),
    place("Monterrey, MX", "MX", "America/Monterrey"),
    place("Winnipeg, CA", "CA", "America/Winnipeg"),
];

const WORDS: Words = [
    ("", ["Label created", "Electronic information received"]),
    ("", ["Picked up", "Origin scan"]),
    ("", ["Arrived at Bluebird hub", "Hub scan"]),
    ("", ["Departed Bluebird hub", "In transit to next facility"]),
    ("", ["Export scan", "Departed origin country"]),
    ("", ["Import scan", "Arrived in the United States"]),
    ("", ["Presented to customs", "Clearance in progress"]),
    ("", ["Cleared customs", "Clearance completed"]),
    ("", ["Clearance hold: documents required", "Customs requires information from receiver"]),
    ("", ["Delay: mechanical failure", "Severe weather delay"]),
    ("", ["Out for delivery", "On vehicle for delivery"]),
    ("", ["Delivery attempted: no one home", "Customer not available"]),
    ("", ["Delivery exception: bad address", "Incorrect address"]),
    ("", ["Held at Bluebird Nest for pickup", "Ready for customer pickup"]),
    ("", ["Delivered: left at front door", "Delivered"]),
    ("", ["Receiver refused delivery", "Refused"]),
    ("", ["Return to shipper initiated", "Returning to shipper"]),
    ("", ["Returned to shipper", "Return delivered to shipper"]),
    ("", ["Package lost", "Trace closed: package lost"]),
];

static PROFILE: Profile = Profile {
    slug: "bluebird-express",
    rate: 15.0,
    requests_per_look: 1,
    media: Media::Html,
    zone: "America/Chicago",
    places: PLACES,
    home: 5,
    words: &WORDS,
};

impl Shape for BluebirdExpress {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn number(&self, serial: u64) -> String {
        format!("BB{:012}", serial * 3 + 100_000_000_000)
    }

    fn shown(&self, happening: &Happening) -> Option<Shown> {
        let time_raw = PROFILE.local(happening.at_ms).strftime("%m/%d/%Y %-I:%M %p").to_string();
        Some(PROFILE.shown(happening, time_raw))
    }

    fn answer(&self, ask: &Ask, view: &View<'_>) -> Option<Answer> {
        (ask.step == "page").then(|| Answer::html(page(view), view.kind()))
    }
}

fn page(view: &View<'_>) -> String {
    let mut rows = String::from("<TR BGCOLOR=silver><TD>Date<TD>Time<TD>Activity<TD>Location</TR>\n");
    for row in &view.rows {
        let (date, time) = row.shown.time_raw.split_once(' ').unwrap_or_default();
        rows.push_str(&format!(
            "<TR><TD NOWRAP>{date}</TD><TD NOWRAP>{}</TD><TD>{}</TD><TD>{}</TD></TR>\n",
            time.replace(' ', "&#160;"),
            markup::escape(&row.shown.text),
            markup::cell(row.shown.location.as_deref()).replace(", ", ",<br>")
        ));
    }
    if !view.known {
        rows = "<TR><TD COLSPAN=4>No information is available for this tracking number.</TD></TR>\n".to_owned();
    }
    // Closing tags are a matter of taste to these people; the last one is there.
    format!(
        "<HTML><HEAD><TITLE>Bluebird Express - Detail</TITLE></HEAD>\n<BODY>\n<FORM><INPUT TYPE=hidden NAME=sid VALUE={}>\n\
         <FONT FACE=Arial>Tracking number: <B>{}</B></FONT>\n<TABLE CLASS=activity WIDTH=600>\n{rows}</TABLE>\n</FORM>\n</BODY></HTML>\n",
        view.noise(),
        view.number
    )
}
