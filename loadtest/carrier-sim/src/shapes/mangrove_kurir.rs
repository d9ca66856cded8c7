//! JSON inside a script inside HTML; the visible page is empty and filled by the script. Month names, a dot in the time
//! and a zone's abbreviation. Indonesian, oldest first.

use serde_json::json;

use super::{Answer, Ask, Media, Place, Profile, Shape, View, Words, place};
use crate::{journey::Happening, ledger::Shown};

pub(super) struct MangroveKurir;

const PLACES: &[Place] = &[
    place("Bogor", "ID", "Asia/Jakarta"),
    place("Kab. Bandung Barat", "ID", "Asia/Jakarta"),
    place("Semarang", "ID", "Asia/Jakarta"),
    place("Palembang", "ID", "Asia/Jakarta"),
    place("Johor Bahru", "MY", "Asia/Kuala_Lumpur"),
    place("Guangzhou", "CN", "Asia/Shanghai"),
];

const MONTHS: [&str; 12] = [
    "Januari",
    "Februari",
    "Maret",
    "April",
    "Mei",
    "Juni",
    "Juli",
    "Agustus",
    "September",
    "Oktober",
    "November",
    "Desember",
];

const WORDS: Words = [
    ("", ["Resi telah dibuat", "Pesanan diterima sistem"]),
    ("", ["Paket dijemput kurir", "Paket diterima dari pengirim"]),
    ("", ["Paket tiba di gudang sortir", "Paket sedang disortir"]),
    ("", ["Paket berangkat dari gudang sortir", "Paket dalam perjalanan"]),
    ("", ["Paket meninggalkan negara asal", "Berangkat dari negara asal"]),
    ("", ["Paket tiba di Indonesia", "Tiba di negara tujuan"]),
    ("", ["Paket dalam proses bea cukai", "Pemeriksaan bea cukai"]),
    ("", ["Paket dilepas bea cukai", "Bea cukai selesai"]),
    ("", ["Bea cukai membutuhkan dokumen", "Tertahan di bea cukai, hubungi kami"]),
    ("", ["Pengiriman tertunda", "Tertunda karena banjir"]),
    ("", ["Paket dibawa kurir menuju alamat", "Paket dalam pengantaran"]),
    ("", ["Penerima tidak di tempat", "Rumah kosong"]),
    ("", ["Alamat tidak lengkap", "Alamat tidak ditemukan"]),
    ("", ["Paket siap diambil di agen", "Menunggu diambil di konter"]),
    ("", ["Paket telah diterima", "Paket diterima oleh </penerima>"]),
    ("", ["Penerima menolak paket", "Paket ditolak"]),
    ("", ["Paket dikembalikan ke pengirim", "Proses retur dimulai"]),
    ("", ["Retur telah diterima pengirim", "Paket kembali di pengirim"]),
    ("", ["Paket hilang", "Paket dinyatakan hilang"]),
];

static PROFILE: Profile = Profile {
    slug: "mangrove-kurir",
    rate: 14.0,
    requests_per_look: 1,
    media: Media::Html,
    zone: "Asia/Jakarta",
    places: PLACES,
    home: 4,
    words: &WORDS,
};

impl Shape for MangroveKurir {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn number(&self, serial: u64) -> String {
        format!("MGK{serial:010}")
    }

    fn shown(&self, happening: &Happening) -> Option<Shown> {
        let time = PROFILE.local(happening.at_ms);
        let month = MONTHS[usize::from(time.month().unsigned_abs()).saturating_sub(1) % 12];
        let time_raw = format!("{} {month} {} {} WIB", time.day(), time.year(), time.strftime("%H.%M"));
        Some(PROFILE.shown(happening, time_raw))
    }

    fn answer(&self, ask: &Ask, view: &View<'_>) -> Option<Answer> {
        (ask.step == "page").then(|| Answer::html(page(view), view.kind()))
    }
}

fn page(view: &View<'_>) -> String {
    let rows: Vec<serde_json::Value> = view
        .rows
        .iter()
        .map(|row| json!({ "waktu": row.shown.time_raw, "keterangan": row.shown.text, "kota": row.shown.location }))
        .collect();
    let state = json!({
        "token": view.noise(),
        "hasil": if view.known { json!({ "resi": view.number, "riwayat": rows }) } else { serde_json::Value::Null },
        "pesan": if view.known { "ok" } else { "resi tidak ditemukan" },
    });
    // A script ends at the first `</`, also inside a string.
    let state = state.to_string().replace("</", "<\\/");
    format!(
        "<!doctype html>\n<html lang=\"id\"><head><meta charset=\"utf-8\"><title>Lacak Paket</title>\n\
         <script>window.dataLayer=[{{\"riwayat\":[]}}];</script></head>\n<body><div id=\"app\"></div>\n\
         <script>\n  window.__LACAK__ = {state};\n</script>\n<script src=\"/app.{}.js\"></script>\n</body></html>\n",
        view.noise()
    )
}
