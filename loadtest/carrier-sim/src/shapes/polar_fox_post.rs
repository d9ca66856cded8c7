//! HTML in windows-1251, declared only inside the page; blocks instead of a table; texts spread over elements; oldest
//! first. Russian, local time of Moscow.

use super::{Answer, Ask, Media, Place, Profile, Shape, View, Words, markup, place};
use crate::{journey::Happening, ledger::Shown};

pub(super) struct PolarFoxPost;

const PLACES: &[Place] = &[
    place("Мурманск", "RU", "Europe/Moscow"),
    place("Вологда МСЦ", "RU", "Europe/Moscow"),
    place("Санкт-Петербург 187", "RU", "Europe/Moscow"),
    place("Орёл", "RU", "Europe/Moscow"),
    place("Алматы", "KZ", "Asia/Almaty"),
    place("Ереван", "AM", "Asia/Yerevan"),
];

const WORDS: Words = [
    ("", ["Присвоен трек-номер", "Данные получены от отправителя"]),
    ("", ["Принято в отделении", "Принято от отправителя"]),
    ("", ["Прибыло в сортировочный центр", "Сортировка"]),
    ("", ["Покинуло сортировочный центр", "В пути"]),
    ("", ["Покинуло страну отправления", "Экспорт"]),
    ("", ["Прибыло в страну назначения", "Импорт"]),
    ("", ["Передано таможне", "Таможенное оформление"]),
    ("", ["Выпущено таможней", "Таможенное оформление завершено"]),
    ("", ["Задержано таможней: нужны документы", "Таможня запрашивает сведения"]),
    ("", ["Доставка задерживается", "Задержка из-за погоды"]),
    ("", ["Передано курьеру", "Доставляется получателю"]),
    ("", ["Неудачная попытка вручения", "Получатель отсутствует"]),
    ("", ["Неверный адрес", "Неполный адрес"]),
    ("", ["Ожидает в отделении", "Прибыло в место вручения"]),
    ("", ["Вручено адресату", "Вручение: «лично в руки»"]),
    ("", ["Отказ адресата", "Адресат отказался"]),
    ("", ["Возврат отправителю", "Направлено обратно"]),
    ("", ["Возвращено отправителю", "Вручено отправителю"]),
    ("", ["Утеряно", "Отправление утрачено"]),
];

static PROFILE: Profile = Profile {
    slug: "polar-fox-post",
    rate: 8.0,
    requests_per_look: 1,
    media: Media::Html,
    zone: "Europe/Moscow",
    places: PLACES,
    home: 4,
    words: &WORDS,
};

impl Shape for PolarFoxPost {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn number(&self, serial: u64) -> String {
        format!("PF{serial:09}RU")
    }

    fn shown(&self, happening: &Happening) -> Option<Shown> {
        let time_raw = PROFILE.local(happening.at_ms).strftime("%d.%m.%Y %H:%M:%S").to_string();
        Some(PROFILE.shown(happening, time_raw))
    }

    fn answer(&self, ask: &Ask, view: &View<'_>) -> Option<Answer> {
        if ask.step != "page" {
            return None;
        }
        let body = markup::encoded(&page(view), encoding_rs::WINDOWS_1251);
        Some(Answer::new("text/html", body, view.kind()))
    }
}

fn page(view: &View<'_>) -> String {
    let rows: String = view
        .rows
        .iter()
        .map(|row| {
            let (date, time) = row.shown.time_raw.split_once(' ').unwrap_or_default();
            let place =
                row.shown.location.as_deref().map(|place| format!("<div class=where>{}</div>", markup::escape(place)));
            format!(
                "<div class=step><div class=when><span>{date}</span> <small>{time}</small></div>\
                 <div class=what>{}</div>{}</div>\n",
                markup::dressed(&row.shown.text),
                place.unwrap_or_default()
            )
        })
        .collect();
    let result = if view.known {
        format!("<div id=track>\n{rows}</div>")
    } else {
        "<div id=track-empty>Отправление не найдено</div>".to_owned()
    };
    format!(
        "<html>\n<head>\n<meta http-equiv=\"Content-Type\" content=\"text/html; charset=windows-1251\">\n<title>Отслеживание</title>\n</head>\n\
         <body>\n<input type=hidden name=key value={}>\n<h1>{}</h1>\n{result}\n</body>\n</html>\n",
        view.noise(),
        view.number
    )
}
