//! HTML in EUC-KR, declared by the transport; date and time on two lines of a cell; oldest first. Korean, local time of
//! Seoul.

use super::{Answer, Ask, Media, Place, Profile, Shape, View, Words, markup, place};
use crate::{journey::Happening, ledger::Shown};

pub(super) struct MoonhareParcel;

const PLACES: &[Place] = &[
    place("수원 영통", "KR", "Asia/Seoul"),
    place("대전HUB", "KR", "Asia/Seoul"),
    place("부산 사상", "KR", "Asia/Seoul"),
    place("강릉", "KR", "Asia/Seoul"),
    place("오사카", "JP", "Asia/Tokyo"),
    place("웨이하이", "CN", "Asia/Shanghai"),
];

const WORDS: Words = [
    ("", ["운송장 등록", "발송 정보 접수"]),
    ("", ["집하 완료", "상품 인수"]),
    ("", ["물류센터 도착", "간선 하차"]),
    ("", ["물류센터 출발", "간선 상차"]),
    ("", ["발송국 출발", "발송국 공항 출발"]),
    ("", ["도착국 도착", "국내 공항 도착"]),
    ("", ["통관 진행중", "세관 접수"]),
    ("", ["통관 완료", "세관 반출"]),
    ("", ["통관 보류: 서류 필요", "통관 보류 (개인통관고유부호 확인)"]),
    ("", ["배송 지연", "기상 악화로 지연"]),
    ("", ["배송 출발", "배달중"]),
    ("", ["수취인 부재", "부재중 미배달"]),
    ("", ["주소 불명", "주소 오류"]),
    ("", ["편의점 보관중", "대리점 보관, 방문 수령"]),
    ("", ["배달 완료", "배송 완료 (문앞)"]),
    ("", ["수취 거부", "고객 수취 거절"]),
    ("", ["반송 진행중", "발송인에게 반송"]),
    ("", ["반송 완료", "발송인 반송 완료"]),
    ("", ["분실", "화물 분실 확정"]),
];

static PROFILE: Profile = Profile {
    slug: "moonhare-parcel",
    rate: 10.0,
    requests_per_look: 1,
    media: Media::Html,
    zone: "Asia/Seoul",
    places: PLACES,
    home: 4,
    words: &WORDS,
};

impl Shape for MoonhareParcel {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn number(&self, serial: u64) -> String {
        format!("MH{:011}", serial * 17 + 3)
    }

    fn shown(&self, happening: &Happening) -> Option<Shown> {
        let time_raw = PROFILE.local(happening.at_ms).strftime("%Y.%m.%d %H:%M").to_string();
        Some(PROFILE.shown(happening, time_raw))
    }

    fn answer(&self, ask: &Ask, view: &View<'_>) -> Option<Answer> {
        if ask.step != "page" {
            return None;
        }
        let body = markup::encoded(&page(view), encoding_rs::EUC_KR);
        Some(Answer::new("text/html; charset=euc-kr", body, view.kind()))
    }
}

fn page(view: &View<'_>) -> String {
    let rows: String = view
        .rows
        .iter()
        .map(|row| {
            format!(
                "<tr><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                row.shown.time_raw.replace(' ', "<br/>"),
                markup::cell(row.shown.location.as_deref()),
                markup::escape(&row.shown.text)
            )
        })
        .collect();
    let result = if view.known {
        format!(
            "<table class=\"detail\" summary=\"배송조회\">\n<tr><th>일시</th><th>위치</th><th>처리현황</th></tr>\n{rows}</table>"
        )
    } else {
        "<p class=\"nodata\">조회된 운송장이 없습니다.</p>".to_owned()
    };
    format!(
        "<html><head><title>달토끼택배 조회</title></head><body>\n<h1>운송장 {}</h1>\n{result}\n<span hidden>{}</span>\n</body></html>\n",
        view.number,
        view.noise()
    )
}
