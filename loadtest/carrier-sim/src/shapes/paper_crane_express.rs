//! HTML in Shift_JIS behind a cookie step: the cookie must come back with the second request. A list of terms and
//! descriptions, newest first. Japanese, local time of Tokyo.

use super::{Answer, Ask, Media, Place, Profile, Shape, View, Words, markup, place};
use crate::{
    journey::Happening,
    ledger::{AnswerKind, Shown},
};

pub(super) struct PaperCraneExpress;

const PLACES: &[Place] = &[
    place("札幌中央店", "JP", "Asia/Tokyo"),
    place("千葉ベース", "JP", "Asia/Tokyo"),
    place("高松営業所", "JP", "Asia/Tokyo"),
    place("長野北店", "JP", "Asia/Tokyo"),
    place("釜山", "KR", "Asia/Seoul"),
    place("台北", "TW", "Asia/Taipei"),
];

const WORDS: Words = [
    ("", ["出荷情報登録", "送り状データ受信"]),
    ("", ["荷物受付", "集荷完了"]),
    ("", ["拠点到着", "作業店通過"]),
    ("", ["拠点発送", "輸送中"]),
    ("", ["発送国出発", "国外発送"]),
    ("", ["到着国到着", "国内到着"]),
    ("", ["通関手続中", "税関検査中"]),
    ("", ["通関許可", "通関手続完了"]),
    ("", ["通関保留(書類不備)", "税関より問い合わせ中"]),
    ("", ["配達遅延", "悪天候のため遅延"]),
    ("", ["配達中", "持ち出し中"]),
    ("", ["ご不在", "ご不在のため持ち戻り"]),
    ("", ["住所不明", "宛先不完全"]),
    ("", ["店頭お受け取り可能", "宅配ボックス保管中"]),
    ("", ["配達完了", "お届け済み"]),
    ("", ["受取拒否", "受取辞退"]),
    ("", ["返送手続中", "差出人へ返送"]),
    ("", ["返送完了", "差出人へ返還済み"]),
    ("", ["紛失", "紛失確定"]),
];

static PROFILE: Profile = Profile {
    slug: "paper-crane-express",
    rate: 20.0,
    requests_per_look: 2,
    media: Media::Html,
    zone: "Asia/Tokyo",
    places: PLACES,
    home: 4,
    words: &WORDS,
};

impl Shape for PaperCraneExpress {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn number(&self, serial: u64) -> String {
        format!("PC{:010}JP", serial + 2_000_000_000)
    }

    fn shown(&self, happening: &Happening) -> Option<Shown> {
        let time_raw = PROFILE.local(happening.at_ms).strftime("%Y年%m月%d日 %H:%M").to_string();
        Some(PROFILE.shown(happening, time_raw))
    }

    fn answer(&self, ask: &Ask, view: &View<'_>) -> Option<Answer> {
        let html = |text: String, kind| {
            Answer::new("text/html; charset=Shift_JIS", markup::encoded(&text, encoding_rs::SHIFT_JIS), kind)
        };
        match ask.step.as_str() {
            "cookie" => {
                let cookie = format!("orizuru={}; Path=/; HttpOnly", view.secret("cookie"));
                let page = "<html><head><title>お問い合わせ</title></head><body><form></form></body></html>\n";
                Some(html(page.to_owned(), AnswerKind::Step).header("set-cookie", cookie))
            }
            "detail" => {
                let wanted = format!("orizuru={}", view.secret("cookie"));
                let shown = ask.header("cookie").split(';').any(|cookie| cookie.trim() == wanted);
                if !shown {
                    let page = "<html><body><p id=\"error\">セッションが切れました。</p></body></html>\n";
                    return Some(html(page.to_owned(), AnswerKind::Refused).status(403));
                }
                Some(html(page(view), view.kind()))
            }
            _ => None,
        }
    }
}

fn page(view: &View<'_>) -> String {
    let rows: String = view
        .rows
        .iter()
        .rev()
        .map(|row| {
            let place = row.shown.location.as_deref().unwrap_or_default();
            format!(
                "<dt>{}</dt>\n<dd><em>{}</em> <span class=\"ten\">{}</span></dd>\n",
                row.shown.time_raw.replace(' ', "&nbsp;"),
                markup::escape(&row.shown.text),
                markup::escape(place)
            )
        })
        .collect();
    let result = if view.known {
        format!("<dl class=\"rireki\">\n{rows}</dl>")
    } else {
        "<p class=\"mitouroku\">伝票番号未登録</p>".to_owned()
    };
    format!(
        "<html><head><meta http-equiv=\"Content-Type\" content=\"text/html; charset=Shift_JIS\"><title>荷物追跡</title></head>\n\
         <body><h2>伝票番号 {}</h2>\n{result}\n<!-- {} -->\n</body></html>\n",
        view.number,
        view.noise()
    )
}
